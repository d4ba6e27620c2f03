"""What [ca.X] says of its generations over time: names apart, room for what is signed, who may cross-sign whom."""

import attrs

from pkicode.config.language import CaSpec, CertSpec, Rotate
from pkicode.config.named import Entry, bare
from pkicode.config.tree import Notes
from pkicode.model.instants import duration
from pkicode.model.problem import Part

_CA, _CERT = attrs.fields(CaSpec), attrs.fields(CertSpec)


def everything(notes: Notes, cas: dict[str, Entry], certs: dict[str, Entry]) -> None:
    """Tell of everything that would only be found when the next generation is due, years from now."""
    for name, entry in cas.items():
        if rotate := entry.values.get("rotate"):
            below = [one for one in (*cas.values(), *certs.values()) if _issuer(one) == name]
            _apart(notes, entry)
            _room(notes, entry, rotate, below)
        _roots_only(notes, entry, cas)


def _issuer(entry: Entry) -> str:
    return bare(entry.values.get("issuer") or "")


def _apart(notes: Notes, entry: Entry) -> None:
    """GnuTLS takes the CRL of one generation for that of another if both have one name."""
    if any("${generation}" in text for _, text in entry.values.get("subject", ())):
        return
    notes.add(
        "E0340",
        f"ca.{entry.name} has `rotate`, but every generation would have the same subject",
        (*entry.path, "subject"),
        help='put ${generation} into it, as in { cn = "Corp Issuing A${generation}" }',
    )


def _room(notes: Notes, entry: Entry, rotate: Rotate, below: list[Entry]) -> None:
    """Up to the day the next generation issues, what the newest signs must fit into its validity."""
    validity = entry.values.get("validity", _CA.validity.default)
    longest = max((one.values.get("validity", _default(one)) for one in below), default=0)
    place = (*entry.path, "rotate")
    # A root that the one before cannot cross-sign issues only once every older bundle is out of use.
    overlap = entry.values.get("overlap", _CA.overlap.default)
    wait = rotate.prepublish if _issuer(entry) else max(rotate.prepublish, overlap)
    if wait >= rotate.every:
        mend = f"set rotate.every above {duration(wait)}"
        notes.add("E0341", f"ca.{entry.name} would get its next generation before the newest issues", place, help=mend)
    elif rotate.every + wait + longest > validity:
        notes.add(
            "E0341",
            f"what ca.{entry.name} signs would outlive it before its next generation issues",
            place,
            label=f"{duration(rotate.every)} + {duration(wait)} and then {duration(longest)} of what it signs"
            f" are more than {duration(validity)}",
            help="rotate earlier, or lengthen the validity of the CA",
        )


def _default(entry: Entry) -> int:
    found: int | None = (_CA if entry.path[0] == "ca" else _CERT).validity.default
    return found or 0


def _roots_only(notes: Notes, entry: Entry, cas: dict[str, Entry]) -> None:
    """Bundles hold roots, and a cross-certificate ends at another root."""
    if _issuer(entry):
        for key in ("cross_sign", "overlap"):
            if key in entry.values:
                message = f"`{key}` is for roots, and ca.{entry.name} is signed by ca.{_issuer(entry)}"
                notes.add(
                    "E0342", message, (*entry.path, key), part=Part.KEY, help=f"set it in the root of {entry.name}"
                )
        return
    for index, other in enumerate(entry.values.get("cross_sign", ())):
        name = bare(other)
        if name == entry.name or (name in cas and _issuer(cas[name])):
            why = "is itself" if name == entry.name else "is no root"
            message = f"ca.{name} cannot cross-sign ca.{entry.name}: it {why}"
            notes.add("E0342", message, (*entry.path, "cross_sign", index), help="name another root")
