"""Writes the reference pages that are made from the code; `--check` says which are not current, and writes nothing."""

import sys
from collections.abc import Iterator, Mapping, Set
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import attrs

REFERENCE = Path(__file__).parent / "reference"
sys.path.insert(0, str(REFERENCE.parents[1]))


def pages() -> dict[str, str]:
    """File name -> text of every generated page whose source is built."""
    made = {
        "pki-toml.md": ("pkicode.config.tables", language),
        "reasons.md": ("pkicode.views.explain", reasons),
        "codes.md": ("pkicode.config.codes", codes),
        "cli.md": ("pkicode.cli", commands),
    }
    return {
        name: "\n".join(page(import_module(module))).rstrip() + "\n"
        for name, (module, page) in made.items()
        if find_spec(module)
    }


AROUND = """
## Around the tables

| key | meaning |
|---|---|
| `version` | 1, the only version there is |
| `include` | globs inside the folder of this file; included files add certificates, scans, moves and revocations |
| `[vars]` | strings for `${var.NAME}`; the environment's `PKICODE_VAR_NAME` and `--var NAME=VALUE` override them |
| `[env.NAME]` | an overlay, merged deep onto the file when `--env NAME` or `PKICODE_ENV` chooses it |

Substitution happens in string values only: `${var.NAME}`, `${each.COLUMN}` in a fan-out, `${overlay}`; `$${` is a
dollar sign and a brace. An unknown name is an error.
"""


def language(tables: Any) -> Iterator[str]:
    """Every table of pki.toml and the tables inside them."""
    yield "# pki.toml\n"
    yield "Made from the types in `pkicode/config/language.py`. Every key that has no default is required.\n"
    yield "Durations are `30s`, `5m`, `1h`, `90d`, `2w`, `2y`; [forms](#forms) have a least and a most."
    yield AROUND
    inside: dict[str, type] = {}
    for title, table in _tables(tables):
        yield f"## `{title}`\n"
        yield from _rows(table.keys, inside)
        if table.later:
            later = ", ".join(f"`{name}` ({what})" for name, what in sorted(table.later.items()))
            yield f"Kept for later versions: {later}.\n"
    done: set[str] = set()
    used = {key.form for _, table in _tables(tables) for key in table.keys.values()}
    while more := [name for name in inside if name not in done]:
        done.add(more[0])
        yield f"## {more[0]}\n"
        yield from (f"{said}\n" for said in [inside[more[0]].__doc__] if said)
        keys = tables.keys_of(inside[more[0]])
        used |= {key.form for key in keys.values()}
        yield from _rows(keys, inside)
    yield from _forms(import_module("pkicode.config.forms"), used)


def _forms(forms: Any, used: Set[str]) -> Iterator[str]:
    yield "## Forms\n"
    yield "Some keys are limited further: nothing outlives its issuer, and a list is refreshed before it ends.\n"
    yield "| form | is | least and most |\n|---|---|---|"
    yield f"| number | a whole number | 0 to {forms.MOST:,} |"
    for name, form in forms.FORMS.items():
        if name in used:
            yield f"| {name} | {_cell(form.expected)} | {form.within} |"


def _tables(tables: Any) -> Iterator[tuple[str, Any]]:
    yield from ((f"[{name}]", table) for name, table in tables.SINGLE.items())
    yield from ((f"[{name}.NAME]", table) for name, table in tables.NAMED.items())
    yield from ((f"[[{name}]]", table) for name, table in tables.LISTED.items())


def _rows(keys: Mapping[str, Any], inside: dict[str, type]) -> Iterator[str]:
    yield "| key | form | default | meaning |\n|---|---|---|---|"
    for key in keys.values():
        nested = key.type if hasattr(key.type, "__attrs_attrs__") else None
        if nested:
            inside[nested.__name__] = nested
        form = f"[{nested.__name__}](#{nested.__name__.lower()})" if nested else key.form or _plain(key.type)
        form = f"list of {key.form}" if key.form and str(key.type).startswith("tuple[str,") else form
        form = " ".join(f"`{choice}`" for choice in key.choices) or form
        yield f"| `{key.name}` | {form} | {_default(key)} | {_cell(key.doc)} |"
    yield ""


WORDS = {
    "str": "string",
    "int": "number",
    "bool": "true or false",
    "dict[str, int]": "table of numbers",
    "dict[str, str]": "table of strings",
    "tuple[str, ...]": "list of strings",
    "tuple[tuple[str, ...], ...]": "list of lists of strings",
    "dict[str, tuple[str, ...]]": "table of lists of strings",
}


def _plain(annotation: Any) -> str:
    if members := getattr(annotation, "__members__", None):
        return " ".join(f"`{member.value}`" for member in members.values())
    return WORDS[annotation.__name__ if annotation in {str, int, bool} else str(annotation)]


def _default(key: Any) -> str:
    value = key.default
    if key.required or value is attrs.NOTHING:
        return ""
    if hasattr(value, "factory"):
        return "its defaults" if hasattr(value.factory, "__attrs_attrs__") else "none"
    if value in {None, "", ()}:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if key.form == "duration":
        return f"`{import_module('pkicode.model.instants').duration(value)}`"
    return f"`{' '.join(value) if isinstance(value, tuple) else value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def reasons(explain: Any) -> Iterator[str]:
    """The closed set of reason codes, as `pkicode explain CODE` tells them."""
    yield "# Reason codes\n"
    yield "Why a change is planned. The set is closed; scripts may rely on it.\n"
    yield "| code | when |\n|---|---|"
    yield from (f"| `{code}` | {sentence} |" for code, sentence in explain.REASONS.items())


def codes(module: Any) -> Iterator[str]:
    """Every diagnostic code with its page, as `pkicode explain CODE` prints it."""
    yield "# Diagnostic codes\n"
    yield "`pkicode explain CODE` prints the same.\n"
    yield from (f"## {module.explain(code)}" for code in sorted(module.codes()))


def commands(cli: Any) -> Iterator[str]:
    """The help of every command of the tree."""
    import click

    yield "# Commands\n"
    yield "What `pkicode COMMAND --help` prints. Exit codes have [a page of their own](exit-codes.md).\n"
    top = click.Context(cli.root, info_name="pkicode", terminal_width=100, **cli.root.context_settings)
    for context in walk(top):
        yield f"## {context.command_path}\n"
        yield f"```text\n{context.command.get_help(context).rstrip()}\n```\n"


def walk(context: Any) -> Iterator[Any]:
    """The context of every command of a click tree, parents first."""
    yield context
    group = context.command
    for name in group.list_commands(context) if hasattr(group, "list_commands") else ():
        yield from walk(type(context)(group.get_command(context, name), info_name=name, parent=context))


def main(*, check: bool) -> int:
    """Write the pages, or say which differ; the exit code."""
    stale = [name for name, text in pages().items() if _read(REFERENCE / name) != text]
    for name in stale:
        if check:
            print(f"docs/reference/{name} is not current: run make docs", file=sys.stderr)
        else:
            (REFERENCE / name).write_text(pages()[name], encoding="utf-8")
            print(f"wrote docs/reference/{name}")
    return 1 if check and stale else 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv))
