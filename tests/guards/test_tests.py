"""Guards 3 and 11: tests that can disagree with the code, and a test for every promise."""

import ast
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.guards.tree import ROOT, Source, dotted, is_there, package, sources

MOCKS = {"unittest.mock", "mock", "pytest_mock"}
INVARIANTS = frozenset(range(1, 14))
LATER = {6: "SCTs arrive with Certificate Transparency, a later issue"}


def test_no_test_imports_a_mock() -> None:
    found = [
        f"{source.path}: {origin}"
        for source in sources("tests")
        for origin in source.imports().values()
        if any(origin == mock or origin.startswith(f"{mock}.") for mock in MOCKS)
    ]
    assert not found, f"use the real thing: SQLite :memory:, memory://, a settable clock: {found}"


def test_no_test_replaces_a_part_of_pkicode() -> None:
    found = [
        f"{source.at(node)}: `{ast.unparse(node)}`"
        for source in sources("tests")
        for node in ast.walk(source.tree)
        if _patches(source, node)
    ]
    assert not found, "hand the thing in instead:\n" + "\n".join(found)


def _patches(source: Source, node: ast.AST) -> bool:
    """Whether a node is `monkeypatch.setattr(OURS...)`, or assigns to an attribute of something of ours."""
    known = {name for name, origin in source.imports().items() if origin.split(".")[0] == "pkicode"}
    if isinstance(node, ast.Call) and dotted(node.func) in {"monkeypatch.setattr", "monkeypatch.delattr"} and node.args:
        target = node.args[0]
        text = target.value if isinstance(target, ast.Constant) else dotted(target)
        return str(text).split(".")[0] in {*known, "pkicode"}
    targets = node.targets if isinstance(node, ast.Assign) else []
    return any(isinstance(target, ast.Attribute) and dotted(target).split(".")[0] in known for target in targets)


def test_no_test_sleeps() -> None:
    found = [
        source.at(node)
        for source in sources("tests")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and dotted(node.func) == "time.sleep"
    ]
    assert not found, f"wait for the thing itself, not for time: {found}"


def test_names_of_tests_are_sentences() -> None:
    found = [
        f"{source.at(node)}: {node.name}"
        for source in sources("tests")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and node.name.count("_") < 3
    ]
    assert not found, "say what holds:\n" + "\n".join(found)


def test_every_invariant_has_a_test_marked_with_it() -> None:
    marked = {
        argument.value
        for source in sources("tests")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and dotted(node.func) == "pytest.mark.invariant"
        for argument in node.args
        if isinstance(argument, ast.Constant)
    }
    assert marked <= INVARIANTS, f"no such invariant: {marked - INVARIANTS}"
    missing = INVARIANTS - LATER.keys() - marked
    assert not missing, f"no test is marked @pytest.mark.invariant(n) for {sorted(missing)}"


def test_the_issuance_cycle_page_names_every_fault_point_and_invariant() -> None:
    page = (ROOT / "docs/explanation/issuance-cycle.md").read_text(encoding="utf-8")
    points = _fault_points()
    assert points, "no fault points found"
    missing = [point for point in points.values() if f"`{point}`" not in page]
    assert not missing, f"not on the page: {missing}"
    numbered = {int(number) for number in re.findall(r"^(\d+)\. ", page, re.MULTILINE)}
    assert numbered == INVARIANTS


@pytest.mark.skipif(not is_there("project"), reason="the code is complete when the composition root is there")
def test_every_fault_point_is_reached_by_the_code() -> None:
    used = {dotted(node) for source in package() for node in ast.walk(source.tree) if isinstance(node, ast.Attribute)}
    missing = [name for name in _fault_points() if f"FaultPoint.{name}" not in used]
    assert not missing, f"never reached: {missing}"


def _fault_points() -> dict[str, str]:
    """Name -> value, read from the source: the guard has no opinion of its own."""
    faults = next(source for source in package() if source.module == "pkicode.model.faults")
    body = next(node for node in faults.classes() if node.name == "FaultPoint").body
    return {
        ast.unparse(item.targets[0]): item.value.value
        for item in body
        if isinstance(item, ast.Assign) and isinstance(item.value, ast.Constant)
    }


@pytest.mark.skipif(not is_there("cli"), reason="the command line is not there yet")
def test_every_command_has_a_test_named_after_it() -> None:
    """`pkicode state lock show` is tested by a test whose name has `state_lock_show` in it."""
    import click

    from pkicode.cli import root

    names = {
        node.name
        for source in sources("tests/cli")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    missing = [
        path
        for path in _leaves(root, click.Context(root))
        if not any("_".join(path).replace("-", "_") in name for name in names)
    ]
    assert not missing, f"no test in tests/cli is named after: {[' '.join(path) for path in missing]}"


def _leaves(command: Any, context: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if not hasattr(command, "list_commands"):
        yield path
        return
    for name in command.list_commands(context):
        yield from _leaves(command.get_command(context, name), context, (*path, name))
