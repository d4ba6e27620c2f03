"""Guards of the floors: the import contract, no circles, nothing inside knows the package root, light start-up."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest
from importlinter.cli import lint_imports_command

import pkicode
from pkicode.model.version import VERSION
from tests.guards.tree import ROOT, is_there, sources

HEAVY = {
    "pandas", "pyarrow", "cryptography", "rich", "asyncio", "sqlite3", "ipywidgets", "IPython", "asyncpg",
    "distributed",
}  # fmt: skip
"""Nothing of these may be loaded by `import pkicode` or by starting the command."""


ON_DEMAND = (
    "pkicode.frames",
    "pkicode.notebook",
    "pkicode.adapters.archive",
    "pkicode.adapters.cluster",
    "pkicode.adapters.postgres",
    "pkicode.adapters.pkcs11",
    "pkicode.adapters.token",
)
"""Modules that are imported inside functions alone, when what comes with an extra is asked for."""


LATE = {
    "pkicode.issuing": "the issuance cycle; a plan signs nothing",
    "pkicode.x509.lint": "its rules are for what is new",
    "pkicode.x509.pkcs12": "written by an apply",
    "pkicode.ceremony": "for CAs whose key is elsewhere",
    "pkicode.plan.forecast": "its own command",
    "pkicode.project.breakglass": "its own command",
    "pkicode.project.ceremony": "its own command",
    "pkicode.project.status": "its own command",
    "pkicode.project.upkeep": "commands that look after state and keystores",
    "pkicode.project.world": "what an apply may touch",
    "pkicode.project.keystores": "a plan opens none",
    "pkicode.adapters.publish": "read with --refresh alone",
    "pkicode.views.html": "another format",
    "fsspec": "reaches what is published",
    "tomlkit": "edits pki.toml",
    "rich": "draws progress",
    "zipfile": "comes with importlib.resources: nothing is read from the package",
}
"""Imported by the functions that need them: a plan with nothing to do, and people plan all day, loads none of these."""


def test_every_floor_stands_only_on_those_below_and_none_on_the_package_root() -> None:
    with pytest.raises(SystemExit) as ended:
        lint_imports_command(["--config", str(ROOT / "pyproject.toml"), "--no-cache", "--no-logo"])
    assert ended.value.code == 0, "the import contract is broken; `make lint` shows where"


def test_there_is_no_import_circle_even_through_functions() -> None:
    graph = grimp.build_graph("pkicode", cache_dir=None)
    below = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(below).prepare()
    except CycleError as error:
        pytest.fail("circle: " + " -> ".join(error.args[1]))


def loaded_after(statement: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after `statement`."""
    code = f"{statement}\nimport sys\nprint()\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return set(done.stdout.splitlines()[-1].split())


def loaded_by(*arguments: str) -> set[str]:
    """The modules that a command has loaded when it ends."""
    return loaded_after(f"from pkicode.cli import main\nassert main({arguments!r}) == 0")


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not HEAVY & loaded_after("import pkicode")


@pytest.mark.skipif(not is_there("cli"), reason="the command line is not there yet")
def test_the_command_starts_without_anything_heavy() -> None:
    assert not HEAVY & loaded_after("import pkicode.cli")


def test_a_plan_with_nothing_to_do_loads_what_a_plan_needs(tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(ROOT / "examples" / "web-and-database", project, ignore=shutil.ignore_patterns(".pkicode", "out"))
    assert "pkicode.issuing" in loaded_by("-C", str(project), "apply", "-y")
    planned = loaded_by("-C", str(project), "plan")
    assert not LATE.keys() & planned, "import it in the function that needs it, or take it out of LATE"


def test_a_scan_of_a_host_loads_nothing_of_projects(tmp_path: Path) -> None:
    # Nobody listens on port 1: what is loaded is loaded before anybody answers.
    loaded = loaded_by("-C", str(tmp_path), "scan", "127.0.0.1:1", "--format", "json")
    assert "pkicode.scanner.registry" in loaded
    assert not {"pkicode.config.scans", "pkicode.project", "pkicode.kinds", "pkicode.ports", "pandas"} & loaded


def test_what_is_imported_late_is_there() -> None:
    ours = {name for name in LATE if name.startswith("pkicode.")}
    assert ours <= grimp.build_graph("pkicode", cache_dir=None).modules, "LATE names what is gone"


def test_everything_imported_is_a_declared_dependency() -> None:
    """What is imported on start is a core dependency, what is imported inside a function may come with an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    core = {_module(text) for text in project["dependencies"]}
    extras = {_module(text) for texts in project["optional-dependencies"].values() for text in texts}
    known = {"pkicode", *sys.stdlib_module_names}
    found = []
    for source in sources("pkicode"):
        allowed = known | core | (extras if source.module.startswith(ON_DEMAND) else set())
        for node in ast.walk(source.tree):
            at_start = node in source.tree.body
            missing = _imported(node) - (allowed if at_start else known | core | extras)
            found += [f"{source.at(node)}: {name}" for name in missing]
    assert not found, "declare it in pyproject.toml:\n" + "\n".join(found)


def _module(requirement: str) -> str:
    """`pandas>=2.2` -> `pandas`; a distribution whose module has another name is listed here."""
    name = re.split(r"[^A-Za-z0-9-]", requirement)[0]
    return {"python-pkcs11": "pkcs11"}.get(name, name)


def _imported(node: ast.AST) -> set[str]:
    if isinstance(node, ast.ImportFrom):
        return {str(node.module).split(".")[0]}
    return {name.name.split(".")[0] for name in node.names} if isinstance(node, ast.Import) else set()


def test_there_is_one_version() -> None:
    assert pkicode.__version__ == VERSION
