"""Mutants of a module: the same source with one thing wrong, such as `<` for `<=` or a statement left out.

What is left alone: docstrings, annotations, decorators, `__all__`, `repr=`, and texts with a space in them, which are
messages to people.
"""

import ast
from collections.abc import Iterator
from typing import Any

from attrs import frozen

OTHER: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
SKIPPED = {"decorator_list", "annotation", "returns"}


@frozen
class Mutant:
    """One wrong version; `name` stays the same when other lines of the file change."""

    name: str
    """`function: old -> new`."""
    source: str


@frozen
class _Edit:
    """`holder.field` or `holder.field[place]` becomes `value`."""

    holder: ast.AST
    field: str
    value: Any
    place: int | None = None

    def swap(self, value: Any) -> Any:
        """Put a value there; what was there."""
        if self.place is None:
            old = getattr(self.holder, self.field)
            setattr(self.holder, self.field, value)
            return old
        line = getattr(self.holder, self.field)
        old, line[self.place] = line[self.place], value
        return old


def mutants(source: str) -> list[Mutant]:
    """Every mutant, in the order of the source."""
    tree = ast.parse(source)
    found = []
    for where, shown, edit in list(_edits(tree, "")):
        before = ast.unparse(shown)
        was = edit.swap(edit.value)
        after = "pass" if isinstance(edit.value, ast.Pass) else ast.unparse(shown)
        found.append(Mutant(f"{where or 'module'}: {_line(before)} -> {_line(after)}", ast.unparse(tree)))
        edit.swap(was)
    return found


def _line(text: str) -> str:
    """Of a block, its first line."""
    return text.partition("\n")[0]


def _edits(node: ast.AST, where: str) -> Iterator[tuple[str, ast.AST, _Edit]]:
    """Every edit at and below a node, with the function it is in and the node that shows it."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        where = f"{where}.{node.name}".lstrip(".")
    yield from ((where, node, edit) for edit in _here(node))
    for field, value in ast.iter_fields(node):
        if field in SKIPPED:
            continue
        for place, inner in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(inner, ast.AST) or _says_nothing(inner):
                continue
            if isinstance(inner, ast.stmt) and _can_go(inner):
                yield where, inner, _Edit(node, field, ast.Pass(), place)
            yield from _edits(inner, where)


def _here(node: ast.AST) -> Iterator[_Edit]:
    if isinstance(node, ast.Compare):
        for place, op in enumerate(node.ops):
            yield _Edit(node, "ops", OTHER[type(op)](), place)
    elif isinstance(node, ast.BoolOp | ast.BinOp) and type(node.op) in OTHER:
        yield _Edit(node, "op", OTHER[type(node.op)]())
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield _Edit(node, "test", ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.comprehension):
        for place, test in enumerate(node.ifs):
            yield _Edit(node, "ifs", ast.UnaryOp(ast.Not(), test), place)
    elif isinstance(node, ast.Constant):
        yield from (_Edit(node, "value", value) for value in _others(node.value))
    elif isinstance(node, ast.Call) and len(node.args) > 1 and not isinstance(node.args[0], ast.Starred):
        first, second, *rest = node.args
        if ast.dump(first) != ast.dump(second):
            yield _Edit(node, "args", [second, first, *rest])


def _others(value: object) -> list[object]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1]
    return [value + "x"] if isinstance(value, str) and value and not any(map(str.isspace, value)) else []


def _says_nothing(node: ast.AST) -> bool:
    """A docstring, `__all__`, or what `repr` shows."""
    if isinstance(node, ast.keyword):
        return node.arg == "repr"
    if isinstance(node, ast.Assign):
        return isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__"
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _can_go(statement: ast.stmt) -> bool:
    """Calls, raises and the like; without an assignment or a return the rest would not run at all."""
    if isinstance(statement, ast.Assign):
        return isinstance(statement.targets[0], ast.Subscript | ast.Attribute)
    return isinstance(statement, ast.Expr | ast.Raise | ast.AugAssign | ast.Continue | ast.Break)
