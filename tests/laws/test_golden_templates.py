"""A new release reissues nothing: rows made from templates of an older one plan no signature (decisions, test 12).

golden.json holds what state remembers of blocks as this release, or the one that wrote the file, stored it.  It is
never made anew because a default, a field or the version of a kind changed: that is what it is there to survive.
"""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.kinds.site import Site
from tests.quick import quick_keystore

GOLDEN = Path(__file__).with_name("golden.json")
LEAVES = """
[cert.portal]
profile = "server"
dns = ["portal.corp.example"]
output = { chain = "out/portal.pem", key = "out/portal.key" }
[cert.app]
profile = "server"
validity = "60d"
for_each = { values = ["api", "search"] }
dns = ["${each.value}.corp.example"]
on_remove = "revoke"
"""
Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def site(quick_path: Path) -> Site:
    quick_keystore(quick_path)
    site = Site(quick_path).write(LEAVES)
    assert site.apply().exit_code == 0
    return site


def stored(site: Site) -> dict[str, Any]:
    """Block -> its template in the state."""
    with closing(sqlite3.connect(site.root / ".pkicode/state.db")) as database:
        rows = database.execute(
            "SELECT DISTINCT kind || '.' || name, body FROM resources JOIN templates ON templates.id = template"
        )
        return {block: json.loads(body) for block, body in rows}


def put(site: Site, templates: dict[str, Any]) -> None:
    """As if the rows had been made from these."""
    with closing(sqlite3.connect(site.root / ".pkicode/state.db")) as database, database:
        for number, (block, template) in enumerate(templates.items(), 1000):
            body = json.dumps(template, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            database.execute("INSERT INTO templates VALUES (?, ?, ?)", (number, f"{number:064}", body))
            kind, name = block.split(".")
            database.execute("UPDATE resources SET template = ? WHERE kind = ? AND name = ?", (number, kind, name))


def golden() -> dict[str, Any]:
    templates: dict[str, Any] = json.loads(GOLDEN.read_text("utf-8"))
    return templates


def test_the_templates_in_the_repository_plan_nothing(site: Site) -> None:
    assert golden().keys() == stored(site).keys()
    put(site, golden())
    assert site.plan().changes == ()


def _other_defaults(template: dict[str, Any]) -> None:
    for path in template["defaulted"]:
        *above, last = path.split(".")
        table = template["spec"]
        for key in above:
            table = table.get(key) or {}
        if last in table:
            table[last] = {"another": "default"} if isinstance(table[last], dict) else [table[last], "another default"]


def _fields_of_another_release(template: dict[str, Any]) -> None:
    template["spec"]["a_field_that_is_gone"] = "x"
    template["defaulted"].append("a_field_that_is_gone")
    for path in [one for one in template["defaulted"] if one in template["spec"]][:3]:
        del template["spec"][path]


def _another_version(template: dict[str, Any]) -> None:
    template["version"] += 1


@pytest.mark.parametrize("edit", [_other_defaults, _fields_of_another_release, _another_version])
def test_another_releases_defaults_fields_and_versions_plan_no_signature(edit: Edit, site: Site) -> None:
    templates = golden()
    for template in templates.values():
        edit(template)
    put(site, templates)
    assert [one for one in site.plan().changes if one.irreversible] == []
    assert [one for one in site.plan().changes if one.address.kind in ("ca", "cert")] == []


def test_a_field_that_was_written_does_plan(site: Site) -> None:
    """Templates are compared: what makes these tests pass is not that nothing is."""
    templates = golden()
    templates["cert.portal"]["spec"]["eku"] = ["clientAuth"]
    put(site, templates)
    assert [str(one.address) for one in site.plan().changes if one.irreversible] == ["cert.portal"]
