"""Guards of the floors: the import contract, no circles, nothing inside knows the package root, light start-up."""

import ast
import re
import subprocess
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter

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
    """The heavy modules that a fresh interpreter has loaded after `statement`."""
    code = f"{statement}\nimport sys\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return HEAVY & set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_after("import pkicode")


@pytest.mark.skipif(not is_there("cli"), reason="the command line is not there yet")
def test_the_command_starts_without_anything_heavy() -> None:
    assert not loaded_after("import pkicode.cli")


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
