"""A [[revoke]] entry put into the text of a file, whose comments, order and layout are kept.  Writes no file."""

import tomllib
from datetime import UTC, datetime, timedelta

import attrs
import tomlkit
from tomlkit.items import AoT, Item, Table

from pkicode.config.files import document
from pkicode.config.language import Revoke
from pkicode.config.reader import Config
from pkicode.model.problem import PkicodeError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def home(config: Config) -> str:
    """The file such an entry belongs to, relative to the root: where the newest one stands, else pki.toml."""
    entries = config.settings.revoke
    return config.place("revoke", len(entries) - 1).path if entries else config.path.name


def appended(path: str, text: str, entry: Revoke) -> str:
    """The text with one more entry.

    Raises:
        ConfigError: the text is not TOML.
        PkicodeError: it says [[revoke]] in a form that cannot be added to without changing something else.
    """
    document(path, text.encode())
    parsed = tomlkit.parse(text)
    block = _block(entry)
    listed = parsed.get("revoke")
    if listed is None:
        entries = tomlkit.aot()
        entries.append(block)
        parsed.append("revoke", entries)
    elif isinstance(listed, AoT):
        if not listed[-1].as_string().endswith("\n\n"):
            listed[-1].add(tomlkit.nl())
        listed.append(block)
    else:
        raise PkicodeError(f"`revoke` in {path} is not written as [[revoke]]", help="write it so, and run this again")
    made = tomlkit.dumps(parsed)
    if 0 < text.count("\n") == text.count("\r\n"):
        made = made.replace("\r\n", "\n").replace("\n", "\r\n")
    # What else the file says is the same, or nothing is written.
    before, after = tomllib.loads(text), tomllib.loads(made)
    added = after.pop("revoke")
    earlier = before.pop("revoke", [])
    if after != before or added[:-1] != earlier or added[-1] != tomllib.loads(tomlkit.dumps(block)):
        raise PkicodeError(f"[[revoke]] cannot be added to {path} without changing it", help="add the block by hand")
    return made


def shown(entry: Revoke) -> str:
    """The block as it is written."""
    return "[[revoke]]\n" + tomlkit.dumps(_block(entry))


def _block(entry: Revoke) -> Table:
    block = tomlkit.table()
    for one in attrs.fields(Revoke):
        value = getattr(entry, one.name)
        if value != one.default:
            block.append(one.name, _item(value, one.metadata["form"]))
    return block


def _item(value: object, form: str) -> Item:
    if form == "instant" and isinstance(value, int):
        return tomlkit.item(_EPOCH + timedelta(seconds=value))
    return tomlkit.item(value)
