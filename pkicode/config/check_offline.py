"""What [ca.X] and [keystore.X] say of keys that are on another machine (docs/explanation/ceremony.md)."""

from collections.abc import Iterator

import attrs

from pkicode.config.check_paths import escapes
from pkicode.config.language import CrlSpec, KeystoreSpec, OcspSpec
from pkicode.config.named import Entry, Tables, bare
from pkicode.config.tree import Path
from pkicode.model.instants import DAY, duration
from pkicode.model.problem import Part

SHORTEST_CRL = 60 * DAY
"""Of a CA whose key has to be fetched first."""

SHORTEST_DELEGATE = 90 * DAY
"""Of who answers for it."""

_PATH = attrs.fields(KeystoreSpec).path.default
_Wrong = tuple[Path, str, str]
"""Where, what, how to mend it."""


def everything(tables: Tables, cas: dict[str, Entry], certs: dict[str, Entry]) -> None:
    """Tell of keys that would be offline and at hand at once, and of work that a key elsewhere cannot do."""
    stores = tables.entries["keystore"]
    away = {name for name, entry in stores.items() if entry.values.get("offline")}
    found = [wrong for name in away for wrong in _store(stores[name])]
    for entry in cas.values():
        found += _ca(entry, away) if entry.values.get("offline") else _online(entry, away)
    for entry in certs.values():
        found += _online(entry, away)
        issuer = cas.get(bare(entry.values.get("issuer") or ""))
        if issuer is not None and issuer.values.get("offline"):
            mend = "put a CA that is online between them"
            found.append((entry.path, f"ca.{issuer.name} is offline, and would sign cert.{entry.name}", mend))
    for path, message, mend in found:
        tables.notes.add("E0346", message, path, part=Part.TABLE if len(path) == 2 else Part.KEY, help=mend)


def _store(entry: Entry) -> Iterator[_Wrong]:
    values = entry.values
    path = values.get("path", _PATH)
    if path == _PATH or escapes(path):
        mend = 'write path = "ceremony", a folder inside the project'
        yield (*entry.path, "offline"), f"[keystore.{entry.name}] is offline: `path` is the folder of its cards", mend
    if "passphrase" in values:
        mend = "remove it; it belongs to the machine that has the keys"
        yield (*entry.path, "passphrase"), f"[keystore.{entry.name}] is offline: nothing here opens it", mend


def _ca(entry: Entry, away: set[str]) -> Iterator[_Wrong]:
    values = entry.values
    key = values.get("key")
    if key is None or key.store not in away:
        mend = 'name a [keystore.X] with offline = true in key = { store = "..." }'
        yield (*entry.path, "offline"), f"ca.{entry.name} is offline, and its key would be in a keystore at hand", mend
    yield from _answers(entry, away)
    crl: CrlSpec = values.get("crl", CrlSpec())
    at = (*entry.path, "crl") if "crl" in values else (*entry.path, "offline")
    if crl.validity < SHORTEST_CRL or crl.shards:
        what = "shards its CRL" if crl.shards else f"has CRLs for {duration(crl.validity)}, and a ceremony for each"
        yield at, f"ca.{entry.name} is offline, and {what}", 'write crl = { validity = "1y", refresh = "180d" }'


def _answers(entry: Entry, away: set[str]) -> Iterator[_Wrong]:
    """Answers are signed every day, by a key at hand whose certificate a ceremony signs."""
    ocsp: OcspSpec | None = entry.values.get("ocsp")
    if ocsp is None:
        return
    if ocsp.store is None or ocsp.store in away:
        mend = 'name a [keystore.X] at hand for who does, in ocsp = { store = "..." }, or let clients read its CRL'
        yield (*entry.path, "ocsp"), f"ca.{entry.name} is offline, and cannot sign answers every day", mend
    if ocsp.delegate < SHORTEST_DELEGATE:
        what = f"would have to sign for who answers every {duration(ocsp.delegate * 2 // 3)}"
        yield (*entry.path, "ocsp"), f"ca.{entry.name} is offline, and {what}", 'write delegate = "548d"'


def _online(entry: Entry, away: set[str]) -> Iterator[_Wrong]:
    for name in ("store", "delegate") if isinstance(entry.raw.get("ocsp"), dict) else ():
        if name in entry.raw["ocsp"]:
            what = f"{entry.path[0]}.{entry.name} is not offline, and `ocsp.{name}` is for CAs that are"
            yield (*entry.path, "ocsp", name), what, "remove it: who answers has 30 days and the CA's keystore"
    key = entry.values.get("key")
    if key is not None and key.store in away:
        what = f"{entry.path[0]}.{entry.name}"
        mend = "name another keystore" if entry.path[0] == "cert" else "add offline = true, or name another keystore"
        yield entry.path, f"the key of {what} would be in an offline keystore", mend
