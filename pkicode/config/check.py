"""What tables say about each other: references, circles, nesting, narrowing.  Paths are in check_paths.py."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from pkicode.config import check_keystores, check_offline, check_paths, check_revoke, check_rotation, check_scan
from pkicode.config.language import SECRET_FILES, CaSpec, CertSpec, Output, PublishSpec, Renew
from pkicode.config.named import Entry, Tables, bare
from pkicode.config.tree import Notes, Path
from pkicode.model.address import parse
from pkicode.model.instants import duration, renewal_window
from pkicode.model.names import SanType
from pkicode.model.problem import Part

_LEAF = attrs.fields(CertSpec)
_Listed = dict[str, list[tuple[Path, dict[str, Any]]]]


def everything(tables: Tables, listed: _Listed) -> None:
    """Tell of everything that is wrong between sound tables."""
    _references(tables)
    cas = {name: entry for name, entry in tables.entries["ca"].items() if entry.sound}
    certs = {name: entry for name, entry in tables.entries["cert"].items() if entry.sound}
    _ca_chains(tables, cas)
    check_rotation.everything(tables.notes, cas, certs)
    check_offline.everything(tables, cas, certs)
    for profile in tables.entries["profile"].values():
        if profile.values.get("lint") == ():
            message = f"`lint` of [profile.{profile.name}] leaves out rfc5280, which is always on"
            tables.notes.add("E0204", message, (*profile.path, "lint"), help="remove it")
    for entry in cas.values():
        if not entry.values.get("subject"):
            mend = 'add subject = { cn = "...", o = "..." }'
            tables.notes.add("E0201", f"[ca.{entry.name}] has no `subject`", entry.path, part=Part.TABLE, help=mend)
    for entry in certs.values():
        _certificate(tables, entry)
    _unseen(tables, cas, certs)
    check_keystores.everything(tables, list(certs.values()))
    check_paths.everything(tables, list(certs.values()))
    _moves(tables, listed)
    check_revoke.everything(tables, listed["revoke"])
    check_scan.everything(tables)


def approvals(tables: Tables, policy: Mapping[str, Any]) -> None:
    """Tell of approvals that nobody can give."""
    if policy.get("require_approval") and not tables.entries["approver"] and not tables.suspect("approver"):
        mend = 'add [approver.NAME] with public_key = "...", or take the rule out'
        message = "`require_approval` asks for approvals, and there is no [approver.X]"
        tables.notes.add("E0347", message, ("policy", "require_approval"), help=mend)


def _references(tables: Tables) -> None:
    """One problem for each name that is missing, at its first use."""
    missing: dict[tuple[str, str], list[Path]] = {}
    for kind, name, path in _uses(tables):
        if name not in tables.entries[kind] and not tables.suspect(kind) and not tables.notes.spoiled(path):
            missing.setdefault((kind, name), []).append(path)
    for (kind, name), paths in missing.items():
        tables.missing(kind, name, paths[0], f", used {len(paths)} times" if len(paths) > 1 else "")


def _uses(tables: Tables) -> Iterator[tuple[str, str, Path]]:
    """Every reference as written: the kind meant, the name, where."""
    for entry in _all(tables, "profile", "ca", "cert"):
        for key, kind in (("extends", "profile"), ("profile", "profile"), ("issuer", "ca")):
            name = entry.raw.get(key)
            if isinstance(name, str) and _is_own(entry, key):
                yield kind, bare(name) if kind == "ca" else name, (*entry.path, key)
        key_table = entry.raw.get("key")
        if isinstance(key_table, dict) and isinstance(key_table.get("store"), str) and _is_own(entry, "key", "store"):
            yield "keystore", key_table["store"], (*entry.path, "key", "store")
        answers = entry.raw.get("ocsp") if entry.path[0] == "ca" else None
        if isinstance(answers, dict) and isinstance(answers.get("store"), str):
            yield "keystore", answers["store"], (*entry.path, "ocsp", "store")
        for key, kind in (("publish", "publish"), ("cross_sign", "ca")) if entry.path[0] == "ca" else ():
            listed = entry.raw.get(key, [])
            for index, name in enumerate(listed if isinstance(listed, list) else []):
                if isinstance(name, str):
                    yield kind, bare(name) if kind == "ca" else name, (*entry.path, key, index)


def _is_own(entry: Entry, *keys: str) -> bool:
    """Whether the entry says this itself; what its profile says is told there."""
    origin = entry.origins.get(keys)
    return origin is None or tuple(entry.path) == origin.keys[-len(keys) - 2 : -len(keys)]


def _all(tables: Tables, *kinds: str) -> Iterable[Entry]:
    return [entry for kind in kinds for entry in tables.entries[kind].values()]


def _ca_chains(tables: Tables, cas: dict[str, Entry]) -> None:
    for name, entry in cas.items():
        chain = _chain(cas, name)
        if chain[-1] in chain[:-1]:
            if chain[0] == chain[-1] == min(chain):
                told = " -> ".join(chain)
                tables.notes.add("E0303", f"CAs sign each other in a circle: {told}", (*entry.path, "issuer"))
            continue
        _path_length(tables.notes, entry, [cas[link] for link in chain[1:]])
        if len(chain) > 1:
            _outlives(tables.notes, entry, cas[chain[1]], CaSpec)


def _chain(cas: dict[str, Entry], name: str) -> list[str]:
    """The CA and its issuers up to the root, or up to the first that comes again."""
    chain = [name]
    while (issuer := bare(cas[chain[-1]].values.get("issuer") or "")) in cas:
        chain.append(issuer)
        if issuer in chain[:-1]:
            break
    return chain


def _path_length(notes: Notes, entry: Entry, issuers: list[Entry]) -> None:
    """RFC 5280 section 4.2.1.9: at most path_len CAs may follow below."""
    for below, issuer in enumerate(issuers):
        limit = issuer.values.get("path_len")
        if limit is not None and limit <= below:
            message = f"ca.{entry.name} is {below + 1} below ca.{issuer.name}, whose path_len is {limit}"
            mend = f"set path_len = {below + 1} or more in [ca.{issuer.name}]"
            notes.add(
                "E0304",
                message,
                (*entry.path, "issuer"),
                help=mend,
                related=[("its path_len", (*issuer.path, "path_len"))],
            )
            return
    own, above = entry.values.get("path_len"), issuers[0].values.get("path_len") if issuers else None
    if own is not None and above is not None and own >= above:
        message = f"path_len of ca.{entry.name} must be less than that of its issuer, {above}"
        notes.add(
            "E0304", message, (*entry.path, "path_len"), related=[("the issuer's", (*issuers[0].path, "path_len"))]
        )


def _outlives(notes: Notes, entry: Entry, issuer: Entry, cls: type) -> None:
    default = attrs.fields_dict(cls)["validity"].default
    own = entry.values.get("validity", default)
    above = issuer.values.get("validity", attrs.fields(CaSpec).validity.default)
    if own <= above:
        return
    notes.add(
        "E0311",
        f"{entry.path[0]}.{entry.name} would outlive its issuer",
        _set_at(entry, "validity"),
        label=f"{duration(own)} from apply is after ca.{issuer.name} ends",
        help=f"set validity <= {duration(above)}, or ca.{issuer.name}.validity >= {duration(own)}"
        "   (pkicode explain E0311)",
        related=[
            (
                f"ca.{issuer.name}, declared here",
                (*issuer.path, "validity") if "validity" in issuer.values else issuer.path,
            )
        ],
    )


def _set_at(entry: Entry, key: str) -> Path:
    """Where a CA's or certificate's value was written: there, in its profile, or nowhere, which is the block."""
    if key not in entry.values:
        return entry.path
    own = entry.path[0] == "ca" or _is_own(entry, key)
    return (*entry.path, key) if own else ("profile", *entry.origins[(key,)].keys[-2:])


def _due_at_birth(notes: Notes, entry: Entry) -> None:
    """A certificate that is due when it is made would be made again by every apply, for ever."""
    renew = entry.values.get("renew", Renew())
    validity, backdate = (entry.values.get(key, getattr(_LEAF, key).default) for key in ("validity", "backdate"))
    declared, width = renewal_window(renew.at, renew.jitter, validity)
    if declared - width > backdate:
        return
    too_early = "renew" in entry.values and declared == 0
    notes.add(
        "E0329",
        f"cert.{entry.name} would be due as soon as it is issued, and every apply would issue it again",
        _set_at(entry, "renew" if too_early else "validity"),
        label=f"due {renew.at} before the end of {duration(validity)}"
        if too_early
        else f"{duration(validity)}, of which {duration(backdate)} lie before its issuance",
        help="renew later: a fraction such as 2/3, or a duration well below the validity"
        if too_early
        else "lengthen the validity (`m` are minutes; three months are 90d), shorten `backdate`, or renew later",
    )


def narrower(notes: Notes, entry: Entry, profile: Entry) -> None:
    """A certificate may make its profile's validity shorter, not longer."""
    own = entry.values.get("validity")
    limit = profile.values.get("validity", attrs.fields(CertSpec).validity.default)
    if own is not None and own > limit:
        place = ("profile", profile.name)
        related = [("the profile's", (*place, "validity") if "validity" in profile.raw else place)]
        message = f"`validity` of cert.{entry.name} is longer than its profile's {duration(limit)}"
        notes.add(
            "E0307",
            message,
            (*entry.path, "validity"),
            help="a certificate may only narrow its profile",
            related=related,
        )


def _certificate(tables: Tables, entry: Entry) -> None:
    notes, values = tables.notes, entry.values
    if "issuer" not in values:
        mend = f'add issuer = "..." to [profile.{values["profile"]}]'
        notes.add("E0306", f"nothing says which CA signs cert.{entry.name}", (*entry.path, "profile"), help=mend)
    issuer = tables.entries["ca"].get(bare(values.get("issuer", "")))
    if issuer is not None and issuer.sound:
        _outlives(notes, entry, issuer, CertSpec)
    _due_at_birth(notes, entry)
    is_named = any(values.get(str(kind)) for kind in SanType) or ("csr" in values and values.get("copy"))
    if not is_named:
        mend = 'add dns = ["..."], or ip, email, uri, upn; a CN alone names nobody (RFC 6125)'
        notes.add("E0305", f"cert.{entry.name} has no names", entry.path, part=Part.TABLE, help=mend)
    if "cn" in dict(values.get("subject", ())):
        notes.add(
            "E0206",
            "the common name of a certificate is its own key",
            (*entry.path, "subject", "cn"),
            help='write cn = "..."',
        )
    _together(notes, entry)
    if "csr" in values:
        for key in SECRET_FILES:
            if getattr(values.get("output"), key, None):
                message = f"`output.{key}` needs the private key, which stays on the host that made the CSR"
                notes.add(
                    "E0308", message, (*entry.path, "output", key), part=Part.KEY, help="remove it, or remove csr"
                )


def _together(notes: Notes, entry: Entry) -> None:
    """A hook that nothing calls and a file that nothing seals are found now, not after the certificate was issued."""
    output: Output | None = entry.values.get("output")
    if entry.values.get("after") and output is None:
        message = f"`after` follows a change of output files, and cert.{entry.name} has no `output`"
        notes.add("E0310", message, (*entry.path, "after"), part=Part.KEY, help='add output = { chain = "..." }')
    for key, other in (("p12", "p12_password"), ("p12_password", "p12")):
        if getattr(output, key, None) and not getattr(output, other, None):
            mend = "add it; a PKCS#12 file without a password protects nothing" if key == "p12" else f"remove `{key}`"
            message = f"`output.{key}` goes with `output.{other}`, which is not there"
            notes.add("E0310", message, (*entry.path, "output", key), part=Part.KEY, help=mend)


def is_pointed_to(target: Entry) -> bool:
    """Whether certificates name a publish target: only one that holds both, what AIA and what CDP point to."""
    content = target.values.get("content", attrs.fields(PublishSpec).content.default)
    return {"ca", "crl"} <= set(content)


def _unseen(tables: Tables, cas: dict[str, Entry], certs: dict[str, Entry]) -> None:
    """Warn of a CA whose certificates say nowhere where its CRL is."""
    pointed_to = {name for name, target in tables.entries["publish"].items() if is_pointed_to(target)}
    signed = [*cas.values(), *(one for one in certs.values() if one.values.get("revocation") != "none")]
    issuers = {bare(one.values.get("issuer") or "") for one in signed}
    for name, entry in cas.items():
        if name in issuers and pointed_to.isdisjoint(entry.values.get("publish", ())):
            mend = 'add publish = ["..."], of a target whose content has ca and crl'
            message = f"ca.{name} publishes no CRL, so revoking what it signs shows nowhere"
            tables.notes.add("W0301", message, entry.path, part=Part.TABLE, help=mend)


def _moves(tables: Tables, listed: _Listed) -> None:
    """[[moved]] and [[forget]]: an old address may not be declared any more, a new one must be."""
    seen: dict[str, Path] = {}
    for path, values in [*listed["moved"], *listed["forget"]]:
        key = "from" if path[0] == "moved" else "address"
        old, new = values.get("from_", values.get("address")), values.get("to")
        if old is None:
            continue
        if old in seen:
            tables.notes.add(
                "E0325", f"`{old}` is moved or forgotten twice", (*path, key), related=[("first here", seen[old])]
            )
        seen.setdefault(old, path)
        if _is_declared(tables, old, with_key=False):
            mend = "remove its block, or this entry"
            tables.notes.add("E0325", f"`{old}` is still declared", (*path, key), help=mend)
        if new is not None and not _is_declared(tables, new, with_key=True):
            tables.notes.add(
                "E0325", f"`{new}` is not declared", (*path, "to"), help="write the address of a block that is there"
            )


def _is_declared(tables: Tables, text: str, *, with_key: bool) -> bool:
    """Whether a block stands at an address; a row of a fan-out counts only where the question is `with_key`."""
    address, _ = parse(text)
    return address.name in tables.entries[address.kind] and (with_key or not address.key)
