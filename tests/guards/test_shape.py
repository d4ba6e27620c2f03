"""Guards 5, 6 and 12: ports earn their keep, nobody inherits, files are short, names speak, nothing is a stub."""

import ast
import builtins
import re

import pytest

from tests.guards.tree import Source, is_there, package, sources

LINES, LINES_OF_TESTS = 400, 600
"""A file of tests is read a test at a time."""
LONGER = {
    "pkicode/ports.py": "every Protocol and the values that cross one, in one place on purpose",
}
UNREASONED = re.compile(r"# [n]oqa\b(?!: [A-Z]+\d+(, [A-Z]+\d+)* - \w)")
SAY_NOTHING = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "base", "misc"}
AWAITED = {
    "Store": "one class over two databases, adapters/store.py; the contract test runs on both",
    "Signer": "the second is the token's, with PKCS#11",
}
"""Protocols that have one implementation, and why."""


def everything() -> tuple[Source, ...]:
    return sources("pkicode", "tests", "docs", "bench", "examples")


def test_files_are_short_enough_to_be_read_in_one_go() -> None:
    long = {source.path: lines for source in everything() if (lines := source.text.count("\n")) > _limit(source)}
    assert long.keys() <= LONGER.keys(), f"split them, one idea a file: {long}"


def _limit(source: Source) -> int:
    return LINES_OF_TESTS if source.path.startswith("tests/") else LINES


def test_names_of_files_say_what_is_inside() -> None:
    found = [source.path for source in everything() if SAY_NOTHING & set(source.path.removesuffix(".py").split("/"))]
    assert not found, f"a module is a noun of the domain: {found}"


def test_no_module_only_forwards() -> None:
    """A module of imports alone is one more place to look.  The package root is the one public list of names."""
    found = [
        source.path
        for source in package()
        if source.module != "pkicode"
        and any(isinstance(node, ast.Import | ast.ImportFrom) for node in source.tree.body)
        and all(isinstance(node, ast.Import | ast.ImportFrom | ast.Expr) or _is_all(node) for node in source.tree.body)
    ]
    assert not found, f"import from where the thing is: {found}"


def _is_all(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and any(
        isinstance(name, ast.Name) and name.id == "__all__" for name in node.targets
    )


def test_every_module_opens_with_what_it_is() -> None:
    found = [source.path for source in everything() if source.tree.body and not ast.get_docstring(source.tree)]
    assert not found, f"no docstring: {found}"


def test_nothing_is_a_stub() -> None:
    found = [
        source.at(node)
        for source in package()
        if source.module != "pkicode.ports"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _is_empty(node)
    ] + [source.at(node) for source in package() for node in ast.walk(source.tree) if _names_not_implemented(node)]
    assert not found, f"build it or leave it out: {found}"


def _is_empty(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    only = node.body[0]
    dots = isinstance(only, ast.Expr) and isinstance(only.value, ast.Constant) and only.value.value is ...
    return len(node.body) == 1 and (isinstance(only, ast.Pass) or dots)


def _names_not_implemented(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "NotImplementedError"


def test_nobody_subclasses_our_classes_but_exceptions() -> None:
    ours = {f"{source.module}.{node.name}": (source, node) for source in package() for node in source.classes()}

    def bases(name: str) -> list[str]:
        source, node = ours[name]
        known = source.imports()
        texts = [ast.unparse(base).split("[")[0] for base in node.bases]
        heads = [(text, known.get(text.split(".")[0], f"{source.module}.{text.split('.')[0]}")) for text in texts]
        return [".".join([origin, *text.split(".")[1:]]) for text, origin in heads]

    def is_exception(name: str) -> bool:
        if name in ours:
            return any(is_exception(base) for base in bases(name))
        known = getattr(builtins, name.rpartition(".")[2], None)
        return isinstance(known, type) and issubclass(known, BaseException)

    found = [
        f"{ours[name][0].at(ours[name][1])}: {name} inherits from {base}"
        for name in ours
        for base in bases(name)
        if base in ours and not is_exception(base)
    ]
    assert not found, "\n".join(found)


@pytest.mark.skipif(not is_there("project"), reason="adapters are complete when the composition root is there")
def test_every_port_has_two_real_implementations() -> None:
    ports = next(source for source in package() if source.module == "pkicode.ports")
    protocols = {node.name: _members(node) for node in ports.classes() if "Protocol" in map(ast.unparse, node.bases)}
    classes = [(source.module, node.name, _members(node)) for source in package() for node in source.classes()]
    for name, members in protocols.items():
        found = [f"{module}.{cls}" for module, cls, has in classes if module != "pkicode.ports" and members <= has]
        wanted = 1 if name in AWAITED else 2
        assert len(found) >= wanted, f"{name} is implemented by {found}: a port for one is a class too many"
        assert name not in AWAITED or len(found) == 1, f"{name} has {found}: take it out of AWAITED"


def _members(node: ast.ClassDef) -> set[str]:
    """What a class offers: its public methods, properties and fields."""
    names = {
        item.name if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) else ast.unparse(item.target)
        for item in node.body
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef | ast.AnnAssign)
    }
    return {name for name in names if not name.startswith("_")}


def test_every_exception_to_a_lint_rule_gives_its_reason() -> None:
    found = [
        f"{source.path}:{number}"
        for source in everything()
        for number, line in enumerate(source.text.splitlines(), 1)
        if UNREASONED.search(line)
    ]
    assert not found, f"write the code, a dash and the reason: {found}"
