"""Guard 6: what nothing inside pkicode uses is deleted; a use by tests alone is no use.

Fields of values and members of enums are left out: vulture cannot see that they are read from outside (JSON, SQL).
"""

import pytest
from vulture import Vulture

from tests.guards.tree import PACKAGE, ROOT, is_there

CALLED_FROM_OUTSIDE = {
    "Pace": "as scan_one",
    "trust_store": "as scan_one",
    "same_everywhere": "as scan_one",
    "drift": "as scan_one",
    "accessor": "pandas calls it: frames that import it have `.pki`",
    "__getattr__": "Python calls it for the lazy names of the package root",
    "__dir__": "as __getattr__",
    "_repr_mimebundle_": "notebooks call it",
    "list_commands": "click calls it",
    "get_command": "click calls it",
    "parse_args": "click calls it",
    "resolve_command": "click calls it",
    "invoke": "click calls it",
    "convert": "click calls it",
    "redirect_request": "urllib calls it",
    "connection_made": "asyncio calls it",
    "connection_lost": "asyncio calls it",
    "pause_writing": "asyncio calls it",
    "resume_writing": "asyncio calls it",
    "data_received": "asyncio calls it",
}
PUBLIC = ("pkicode/__init__.py", "pkicode/project", "pkicode/notebook", "pkicode/frames/accessor.py")
"""What these offer is for users; the command line is only one of them."""


@pytest.mark.skipif(not (is_there("project") and is_there("cli")), reason="its users are not all there yet")
def test_nothing_in_the_package_is_unused() -> None:
    vulture = Vulture(
        ignore_names=list(CALLED_FROM_OUTSIDE), ignore_decorators=["@*.command", "@*.group", "@*.default"]
    )
    vulture.scavenge([str(PACKAGE), str(ROOT / "docs")])
    found = [
        f"{path}:{item.first_lineno}: {item.typ} {item.name}"
        for item in vulture.get_unused_code(min_confidence=60)
        if item.typ not in {"variable", "attribute"}
        and not (path := item.filename.relative_to(ROOT).as_posix()).startswith(PUBLIC)
    ]
    assert not found, "nobody calls it: delete it\n" + "\n".join(found)
