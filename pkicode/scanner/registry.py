"""Which probes there are: one line each.

A probe is a module with `ask`, which uses connections and adds to what is known, or `judge`, which makes findings of
what is known, or both.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Final

from attrs import frozen

from pkicode.scanner.finding import Finding
from pkicode.scanner.probes import (
    ccs,
    certificates,
    diffie_hellman,
    early_data,
    extensions,
    fallback,
    groups,
    heartbleed,
    http,
    intolerance,
    jarm,
    preference,
    renegotiation,
    resumption,
    robot,
    server_hello,
    signatures,
    suites,
    versions,
    weak_suites,
)
from pkicode.scanner.session import Known, Session


@frozen
class Probe:
    """One line."""

    name: str
    stage: int
    """Those of a stage ask at the same time, after those of the stage before."""
    judge: Callable[[Known], list[Finding]]
    ask: Callable[[Session], Coroutine[Any, Any, None]] | None = None


QUICK: Final = (
    Probe("versions", 1, versions.judge, versions.ask),
    Probe("certificates", 2, certificates.judge),
)
"""At most four connections, the first hello with them."""

DEEP: Final = (
    Probe("suites", 1, suites.judge, suites.ask),
    Probe("versions", 2, versions.judge),
    Probe("groups", 2, groups.judge, groups.ask),
    Probe("preference", 2, preference.judge, preference.ask),
    Probe("certificates", 2, certificates.judge, certificates.ask),
    Probe("fallback", 2, fallback.judge, fallback.ask),
    Probe("extensions", 2, extensions.judge),
    Probe("diffie-hellman", 2, diffie_hellman.judge),
    Probe("weak-suites", 2, weak_suites.judge),
    Probe("intolerance", 3, intolerance.judge, intolerance.ask),
    Probe("heartbleed", 3, heartbleed.judge, heartbleed.ask),
    Probe("ccs", 3, ccs.judge, ccs.ask),
    Probe("robot", 3, robot.judge, robot.ask),
    Probe("signatures", 2, signatures.judge, signatures.ask),
    Probe("resumption", 3, resumption.judge, resumption.ask),
    Probe("early-data", 3, early_data.judge, early_data.ask),
    Probe("renegotiation", 3, renegotiation.judge, renegotiation.ask),
    Probe("http", 2, http.judge, http.ask),
)
"""Everything that belongs to a deep scan.  What may make somebody on the way shut the door, the attacks, comes last."""

BY_NAME: Final = (
    Probe("jarm", 4, jarm.judge, jarm.ask),
    Probe("server-hello", 4, server_hello.judge),
)
"""Only where they are named: they say nothing of how well a target speaks TLS, and JARM takes ten connections."""
