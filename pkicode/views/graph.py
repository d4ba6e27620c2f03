"""The hierarchy of a pki.toml as Graphviz DOT or Mermaid: who signs whom, and who publishes where."""

import json
from collections.abc import Iterator

from pkicode.config.reader import Config
from pkicode.views.text import printable

Edge = tuple[str, str, str]
"""From, to, and what the arrow means."""


def edges(config: Config) -> list[Edge]:
    """Each CA to what it signs, fan-outs as one node, and each CA to its publish targets; in the order of the file."""
    return list(_edges(config))


def _edges(config: Config) -> Iterator[Edge]:
    for block in config.blocks:
        here = f"{block.kind}.{block.name}"
        if block.kind in ("ca", "cert") and block.spec.issuer:
            yield f"ca.{block.spec.issuer}", here, "signs"
        if block.kind == "ca":
            for target in block.spec.publish:
                yield here, f"publish.{target}", "publishes to"


def nodes(config: Config) -> list[str]:
    """Every block, and every publish target."""
    blocks = [f"{block.kind}.{block.name}" for block in config.blocks]
    return [*blocks, *(f"publish.{target.name}" for target in config.settings.publish)]


def dot(config: Config) -> str:
    """A Graphviz digraph."""
    lines = [f"  {_quoted(node)};" for node in nodes(config)]
    lines += [f"  {_quoted(source)} -> {_quoted(to)} [label={_quoted(label)}];" for source, to, label in edges(config)]
    return "\n".join(["digraph pki {", "  rankdir=LR;", "  node [shape=box];", *lines, "}"]) + "\n"


def mermaid(config: Config) -> str:
    """A Mermaid flow chart, as forges draw it in Markdown."""
    ids = {node: f"n{number}" for number, node in enumerate(nodes(config))}
    lines = [f"  {key}[{_quoted(node)}]" for node, key in ids.items()]
    lines += [f"  {ids[source]} -->|{label}| {ids[to]}" for source, to, label in edges(config)]
    return "\n".join(["flowchart LR", *lines]) + "\n"


def _quoted(text: str) -> str:
    """Names are letters, digits, `_` and `-` (config/tables.py); quoting is what both languages want anyway."""
    return json.dumps(printable(text), ensure_ascii=False)
