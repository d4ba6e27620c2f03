"""PKI as code: certificates, CAs, revocation and publication described in one pki.toml, planned and applied.

The list of public names.  They are loaded when they are used, so that importing the package costs next to nothing.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pkicode.model.event import Event
    from pkicode.model.problem import (
        ConfigError,
        Denied,
        KeyStoreError,
        LeaseHeld,
        LeaseLost,
        PkicodeError,
        Problem,
        StalePlan,
        StateError,
    )
    from pkicode.notebook.applied import Applied
    from pkicode.notebook.foretold import Foretold
    from pkicode.notebook.pki import Pki, read_frame
    from pkicode.notebook.pki import open_pki as open  # noqa: A004 - users write pkicode.open, as gzip.open
    from pkicode.notebook.planned import Planned
    from pkicode.notebook.scanned import Scanned, ascan, read_scan, scan
else:
    # Untyped on purpose: a checker knows the names above and no others.
    def __getattr__(name):
        from importlib import import_module

        if name not in __all__:
            raise AttributeError(f"module 'pkicode' has no attribute {name!r}")
        return getattr(import_module(_ELSEWHERE.get(name, "pkicode.model.problem")), _CALLED.get(name, name))

    def __dir__():
        return [*globals(), *__all__]

    _ELSEWHERE = {
        "Applied": "pkicode.notebook.applied",
        "Event": "pkicode.model.event",
        "Foretold": "pkicode.notebook.foretold",
        "Pki": "pkicode.notebook.pki",
        "Planned": "pkicode.notebook.planned",
        "Scanned": "pkicode.notebook.scanned",
        "ascan": "pkicode.notebook.scanned",
        "open": "pkicode.notebook.pki",
        "read_frame": "pkicode.notebook.pki",
        "read_scan": "pkicode.notebook.scanned",
        "scan": "pkicode.notebook.scanned",
    }
    _CALLED = {"open": "open_pki"}

__all__ = [
    "Applied",
    "ConfigError",
    "Denied",
    "Event",
    "Foretold",
    "KeyStoreError",
    "LeaseHeld",
    "LeaseLost",
    "Pki",
    "PkicodeError",
    "Planned",
    "Problem",
    "Scanned",
    "StalePlan",
    "StateError",
    "ascan",
    "open",
    "read_frame",
    "read_scan",
    "scan",
]
