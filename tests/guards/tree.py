"""The source as the guards see it: every Python file, read once, with its syntax tree where somebody looks at it."""

import ast
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pkicode"


class Source:
    """One Python file: `path` relative to the repository, `module` dotted, `text`, `tree`."""

    def __init__(self, path: Path) -> None:
        self.path = path.relative_to(ROOT).as_posix()
        self.module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        self.text = path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, filename=self.path)

    @cache  # noqa: B019 - sources are made once and kept
    def imports(self) -> dict[str, str]:
        """Local name -> what it was imported from, dotted, of every import in the file."""
        found = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for name in node.names:
                    found[name.asname or name.name.split(".")[0]] = (
                        name.name if name.asname else name.name.split(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom):
                for name in node.names:
                    found[name.asname or name.name] = f"{node.module}.{name.name}"
        return found

    def classes(self) -> Iterator[ast.ClassDef]:
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef))

    def at(self, node: ast.AST) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 1)}"


@cache
def sources(*folders: str) -> tuple[Source, ...]:
    """Every Python file below the folders, sorted; those that are not there hold none."""
    return tuple(Source(path) for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))


def package() -> tuple[Source, ...]:
    return sources("pkicode")


def dotted(node: ast.AST) -> str:
    """`a.b.c` of a name or attribute, else nothing."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        head = dotted(node.value)
        return f"{head}.{node.attr}" if head else ""
    return ""


def is_there(room: str) -> bool:
    """Whether a room of the house is built."""
    return (PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").is_file()
