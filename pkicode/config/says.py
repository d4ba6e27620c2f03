"""How a field of the language is declared: its sentence for people, and the form its TOML has."""

from typing import Any

import attrs


def says(doc: str, *, form: str = "", default: Any = attrs.NOTHING, factory: Any = None, **more: Any) -> Any:
    """A field with its sentence; `form` names the TOML form that decode.py knows."""
    metadata = {"doc": doc, "form": form, **more}
    if factory is not None:
        return attrs.field(factory=factory, metadata=metadata)
    return attrs.field(default=default, metadata=metadata)
