"""From the merged tree to settings and blocks: profiles joined, defaults filled, references followed."""

import hashlib
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import attrs

from pkicode.config import check
from pkicode.config.decode import MISSING, block_name, later, table, unknown_key, value, what
from pkicode.config.language import (
    ApproverSpec,
    CaSpec,
    CertSpec,
    CrlSpec,
    Forget,
    KeystoreSpec,
    Moved,
    PolicySpec,
    ProjectSpec,
    PublishSpec,
    Revoke,
    Settings,
    StateSpec,
)
from pkicode.config.named import Entry, Tables, bare
from pkicode.config.scans import ScanSpec
from pkicode.config.substitute import HOLE
from pkicode.config.tables import CERT, LISTED, NAMED, PROFILE, SINGLE, TOP, TOP_LATER, keys_of, nameless
from pkicode.config.tree import Notes, Path, Tree, merged
from pkicode.model.problem import Part, Place
from pkicode.model.row import Block, Source

TEMPLATE_VERSION = 1


def resolve(notes: Notes) -> tuple[Settings | None, tuple[Block, ...]]:
    """Decode and join the tables of `notes.tree`; with problems in `notes` the result is not usable."""
    data = notes.tree.data
    _top(notes)
    singles = {name: table(notes, (name,), data[name], shape) for name, shape in SINGLE.items() if name in data}
    tables = Tables(notes, {kind: _named(notes, kind) for kind in NAMED}, singles.get("policy", {}).get("hooks", ()))
    listed = {name: _listed(notes, name) for name in LISTED}
    tables = attrs.evolve(tables, entries={**tables.entries, "profile": _profiles(tables)})
    tables = attrs.evolve(tables, entries={**tables.entries, "cert": _certs(tables), "ca": _cas(tables)})
    check.everything(tables, listed)
    check.approvals(tables, singles.get("policy", {}))
    if notes.errors:
        return None, ()
    blocks = [_block(tables, "ca", CaSpec, entry) for entry in tables.entries["ca"].values()]
    blocks += [_block(tables, "cert", CertSpec, entry) for entry in tables.entries["cert"].values()]
    return _settings(singles, tables, listed), tuple(blocks)


def _top(notes: Notes) -> None:
    data = notes.tree.data
    meant = set()
    for name in data:
        if name in TOP_LATER:
            later(notes, (name,), TOP_LATER[name])
        elif name not in TOP:
            meant.add(unknown_key(notes, (name,), TOP))
    for name, mend in (("version", "version = 1"), ("project", '[project] with name = "..."')):
        if name not in data and name not in meant:
            notes.add("E0201", f"the file has no `{name}`", (), help=f"add {mend}")
    version = data.get("version", 1)
    if version != 1 or isinstance(version, bool):
        notes.add("E0110", "this version of pkicode reads version = 1 only", ("version",), help="write version = 1")


def _named(notes: Notes, kind: str) -> dict[str, Entry]:
    raw = notes.tree.data.get(kind, {})
    if not isinstance(raw, dict):
        notes.add("E0202", f"`{kind}` must be tables such as [{kind}.NAME], not {what(raw)}", (kind,), part=Part.KEY)
        return {}
    if nameless(notes.tree.data, kind):
        mend = f"write [{kind}.NAME], with a name of your choice"
        notes.add("E0202", f"[{kind}] has no name", (kind,), part=Part.KEY, help=mend)
        raw = {name: one for name, one in raw.items() if name not in NAMED[kind].keys}
    found = {}
    for name, one in raw.items():
        path = (kind, name)
        block_name(notes, path)
        values = table(notes, path, one, NAMED[kind])
        found[name] = Entry(name, path, one if isinstance(one, dict) else {}, values)
    return found


def _listed(notes: Notes, kind: str) -> list[tuple[Path, dict[str, Any]]]:
    raw = notes.tree.data.get(kind, [])
    if not isinstance(raw, list):
        notes.add("E0202", f"`{kind}` must be written [[{kind}]]", (kind,), part=Part.KEY)
        return []
    return [((kind, index), table(notes, (kind, index), one, LISTED[kind])) for index, one in enumerate(raw)]


def _profiles(tables: Tables) -> dict[str, Entry]:
    """Each profile with everything it extends; those in a cycle or on something unknown stay unjoined and unsound."""
    own = tables.entries["profile"]
    joined: dict[str, Entry] = {}
    for name in own:
        chain = [name]
        while (base := own[chain[-1]].values.get("extends")) in own and base not in chain:
            chain.append(str(base))
        if base in own:
            _cycle(tables, [*chain, str(base)])
            joined[name] = attrs.evolve(own[name], sound=False)
            continue
        sound = base is None and not any(tables.notes.broken(own[link].path) for link in chain)
        entry = attrs.evolve(own[chain[-1]], sound=sound)
        for link in reversed(chain[:-1]):
            entry = _joined(tables, own[link], entry, dict(PROFILE.keys))
        joined[name] = attrs.evolve(entry, origins=entry.origins or _places(tables.notes.tree, entry), sound=sound)
    return joined


def _cycle(tables: Tables, chain: list[str]) -> None:
    """Told once, at the profile of the circle that comes first in the alphabet."""
    if chain[0] == chain[-1] == min(chain):
        told = " -> ".join(chain)
        tables.notes.add("E0302", f"profiles extend each other in a circle: {told}", ("profile", chain[0], "extends"))


def _places(tree: Tree, entry: Entry) -> dict[Path, Place]:
    found: dict[Path, Place] = {}

    def walk(raw: Mapping[str, Any], at: Path) -> None:
        for name, item in raw.items():
            found[*at, name] = tree.place((*entry.path, *at, name))
            if isinstance(item, dict):
                walk(item, (*at, name))

    walk(entry.raw, ())
    return found


def _joined(tables: Tables, entry: Entry, base: Entry, keys: Mapping[str, Any]) -> Entry:
    """`entry` on top of `base`: scalars and lists replace, tables merge and are decoded again as one."""
    values = {**base.values, **entry.values}
    raw = merged(base.raw, entry.raw, (), Place("", ()), {})
    quiet = Notes(tables.notes.tree)
    for name in entry.raw:
        if isinstance(entry.raw[name], dict) and isinstance(base.raw.get(name), dict) and name in keys:
            again = value(quiet, (*entry.path, name), raw[name], keys[name])
            if again is not MISSING:
                values[name] = again
    origins = {**(base.origins or _places(tables.notes.tree, base)), **_places(tables.notes.tree, entry)}
    return attrs.evolve(entry, values=values, raw=raw, origins=origins)


def _certs(tables: Tables) -> dict[str, Entry]:
    joined = {}
    for name, entry in tables.entries["cert"].items():
        profile = tables.entries["profile"].get(str(entry.raw.get("profile")))
        if profile is None or not profile.sound or tables.notes.broken(entry.path):
            joined[name] = attrs.evolve(entry, sound=False)
            continue
        check.narrower(tables.notes, entry, profile)
        one = _joined(tables, entry, profile, CERT.keys)
        values = {key: item for key, item in one.values.items() if key != "extends"}
        joined[name] = _with_store(tables, attrs.evolve(one, values=values, sound=True))
    return joined


def _cas(tables: Tables) -> dict[str, Entry]:
    joined = {}
    for name, entry in tables.entries["ca"].items():
        sound = not tables.notes.broken(entry.path)
        placed = attrs.evolve(entry, origins=_places(tables.notes.tree, entry), sound=sound)
        joined[name] = _with_store(tables, placed) if sound else placed
    return joined


def _with_store(tables: Tables, entry: Entry) -> Entry:
    """The only keystore is the one that is meant; with several, and no CSR, the entry has to say which."""
    spec_class = CaSpec if entry.path[0] == "ca" else CertSpec
    key = entry.values.get("key", attrs.fields(spec_class).key.default.factory())
    stores = tables.entries["keystore"]
    if key.store is None and len(stores) == 1:
        key = attrs.evolve(key, store=next(iter(stores)))
    elif key.store is None and "csr" not in entry.values and not _unclear_stores(tables):
        mend = (
            f"add key = {{ store = ... }}: one of {', '.join(stores)}"
            if stores
            else 'add [keystore.soft] with type = "file"'
        )
        message = f"nothing says which keystore holds the key of {entry.path[0]}.{entry.name}"
        tables.notes.add("E0309", message, entry.path, part=Part.TABLE, help=mend)
    return attrs.evolve(entry, values={**entry.values, "key": key})


def _unclear_stores(tables: Tables) -> bool:
    return tables.suspect("keystore") or tables.notes.broken(("keystore",))


def _settings(
    singles: Mapping[str, Mapping[str, Any]], tables: Tables, listed: Mapping[str, list[tuple[Path, dict[str, Any]]]]
) -> Settings:
    return Settings(
        project=ProjectSpec(**singles["project"]),
        state=StateSpec(**singles.get("state", {})),
        keystores=tuple(KeystoreSpec(name=one.name, **one.values) for one in tables.entries["keystore"].values()),
        publish=tuple(PublishSpec(name=one.name, **one.values) for one in tables.entries["publish"].values()),
        policy=PolicySpec(**singles.get("policy", {})),
        approvers=tuple(ApproverSpec(name=one.name, **one.values) for one in tables.entries["approver"].values()),
        moved=tuple(Moved(**values) for _, values in listed["moved"]),
        forget=tuple(Forget(**values) for _, values in listed["forget"]),
        revoke=tuple(
            attrs.evolve(one, ca=bare(one.ca) if one.ca else None)
            for one in (Revoke(**values) for _, values in listed["revoke"])
        ),
        scans=tuple(ScanSpec(name=one.name, **one.values) for one in tables.entries["scan"].values()),
    )


def _block(tables: Tables, kind: str, cls: type, entry: Entry) -> Block:
    values = {**entry.values, **_derived(tables, kind, entry.values)}
    if "issuer" in values and values["issuer"] is not None:
        values["issuer"] = bare(values["issuer"])
    if "cross_sign" in values:
        values["cross_sign"] = tuple(map(bare, values["cross_sign"]))
    spec = cls(**values)
    # Who declares no OCSP wrote nothing: rows made before there was any are not told of a change.
    underived = [] if values["ocsp_urls"] else ["ocsp_urls"]
    defaulted = sorted([*_defaulted(spec, entry.raw, ""), *underived])
    body = {"kind": kind, "version": TEMPLATE_VERSION, "spec": plain(spec), "defaulted": defaulted}
    template = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    columns = sorted(_columns(spec)) if values.get("for_each") else ()
    place = tables.notes.tree.place(entry.path)
    source = Source(place.path, place.keys, dict(entry.origins))
    digest = hashlib.sha256(template.encode()).hexdigest()
    return Block(kind, entry.name, spec, template, digest, source, tuple(columns))


def _derived(tables: Tables, kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    issuer = tables.entries["ca"].get(bare(values.get("issuer") or ""))
    ocsp = issuer.values.get("ocsp") if issuer else None
    urls = {
        "base_urls": _urls(tables, issuer.values) if issuer else (),
        "ocsp_urls": (ocsp.url,) if ocsp else (),
    }
    if kind == "ca":
        return {**urls, "own_base_urls": _urls(tables, values)}
    crl: CrlSpec | None = issuer.values.get("crl") if issuer else None
    return {**urls, "crl_shards": crl.shards if crl else 0}


def _urls(tables: Tables, ca: Mapping[str, Any]) -> tuple[str, ...]:
    targets = [tables.entries["publish"][name] for name in ca.get("publish", ())]
    return tuple(one.values["base_url"] for one in targets if check.is_pointed_to(one))


def plain(item: Any) -> Any:
    """A spec as JSON values: classes and subjects to objects and lists, enums to text."""
    if item is None or type(item) in (str, int, bool):
        return item
    if isinstance(item, StrEnum):
        return str(item)
    if attrs.has(type(item)):
        return {one.name: plain(getattr(item, one.name)) for one in attrs.fields(type(item))}
    if isinstance(item, dict):
        return {name: plain(below) for name, below in item.items()}
    return [plain(below) for below in item] if isinstance(item, tuple) else item


def _defaulted(spec: Any, raw: Mapping[str, Any], prefix: str) -> list[str]:
    """Dotted paths of the fields that nobody wrote, and of derived ones for which nobody wrote anything."""
    cls: type = type(spec)
    found = [
        prefix + one.name
        for one in attrs.fields(cls)
        if one.metadata.get("derived") and getattr(spec, one.name) == one.default
    ]
    for name in keys_of(cls):
        below = getattr(spec, name.rstrip("_"), None)
        if name not in raw:
            found.append(prefix + name)
        elif attrs.has(type(below)) and isinstance(raw[name], dict):
            found += _defaulted(below, raw[name], f"{prefix}{name}.")
    return found


def _columns(item: Any) -> set[str]:
    if isinstance(item, str):
        return {match[1][5:] for match in HOLE.finditer(item) if match[1] and match[1].startswith("each.")}
    if attrs.has(type(item)):
        fields = (getattr(item, one.name) for one in attrs.fields(type(item)) if one.name != "for_each")
        return set().union(*map(_columns, fields))
    return set().union(*map(_columns, item)) if isinstance(item, tuple) and item else set()
