"""What people see of an item before it is signed, and what lint says of its very bytes; for both machines.

An item brings its issuer's certificate along: what it says is believed only as far as the key, which the machine has.
"""

from cryptography import x509

from pkicode.ceremony.bundle import Item
from pkicode.model.instants import from_datetime, rfc3339
from pkicode.revocation import crl
from pkicode.x509 import der, keys, tbs
from pkicode.x509.lint import lint
from pkicode.x509.lint.reading import read

UNREADABLE = (x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
"""What the library raises beside ValueError and TypeError of bytes that it cannot read."""
_REVOKES = "revokes"
_NAMES = {
    x509.DNSName: "DNS",
    x509.IPAddress: "IP",
    x509.RFC822Name: "email",
    x509.UniformResourceIdentifier: "URI",
    x509.DirectoryName: "directory name",
}
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
_WIDTH = 22
"""Of the longest name of an extension."""


def facts_of(item: Item) -> tbs.IssuerFacts:
    """Who is to sign it.

    Raises:
        ValueError: neither an issuer's certificate nor a self-signed one.
    """
    if item.issuer_certificate:
        return tbs.facts_of(item.issuer_certificate)
    _, own = read(item.tbs)
    return tbs.self_issued(own.subject, own.spki)


def complaints(item: Item) -> list[str]:
    """What is wrong with these bytes; nothing of which anything is said is signed.

    Raises:
        ValueError: they cannot even be read.
    """
    issuer = facts_of(item)
    if item.kind == "certificate":
        return [f"{one.rule}: {one.message} ({one.section})" for one in lint(item.tbs, issuer)]
    found = crl.read(_with_no_signature(item, issuer), limit=len(item.tbs) + 65536)
    wrong = []
    if found.dn != issuer.dn or found.aki != issuer.ski:
        wrong.append("the list does not name its issuer (RFC 5280 section 5.1.2.3)")
    # As it would be made of what was read: nothing else is in these bytes.
    dates = {"this_update": found.this_update, "next_update": found.next_update}
    if crl.tbs(issuer, found.entries, number=found.number, urls=found.urls, **dates) != item.tbs:
        wrong.append("the list says more than can be shown")
    return wrong


def said(item: Item) -> list[tuple[str, str]]:
    """Everything that the bytes of an item say, as names and values; a list's entries come last.

    Raises:
        ValueError, TypeError, UNREADABLE: they cannot be read.
    """
    made = _with_no_signature(item, facts_of(item))
    return _certificate(made) if item.kind == "certificate" else _crl(made)


def told(item: Item, most: int | None = None) -> list[str]:
    """An item in lines.

    Args:
        item: what is to be signed.
        most: how many entries of a list are shown, all of them if None; of the others it is said where they are.

    Raises:
        ValueError, TypeError, UNREADABLE: its bytes cannot be read.
    """
    head = f"{item.kind}  {item.address}@{item.generation}  signed by {item.issuer}"
    rest = said(item)
    first = next((place for place, (name, _) in enumerate(rest) if name == _REVOKES), len(rest))
    shown = rest if most is None else rest[: first + most]
    lines = [head, *(f"  {name:<{_WIDTH}} {value}" for name, value in shown)]
    if left := len(rest) - len(shown):
        lines.append(f"  {'':<{_WIDTH}} and {left:,} more: `pkicode ceremony show` lists them all")
    return lines


def _with_no_signature(item: Item, issuer: tbs.IssuerFacts) -> bytes:
    """For parsers that want a whole one."""
    return der.tlv(der.SEQUENCE, item.tbs, keys.signature_algorithm(issuer.alg), der.bit_string(bytes(8)))


def _certificate(made: bytes) -> list[tuple[str, str]]:
    loaded = x509.load_der_x509_certificate(made)
    begins, ends = from_datetime(loaded.not_valid_before_utc), from_datetime(loaded.not_valid_after_utc)
    spki = tbs.facts_of(made).spki
    return [
        ("subject", loaded.subject.rfc4514_string()),
        ("issuer", loaded.issuer.rfc4514_string()),
        ("serial", f"{loaded.serial_number:x}"),
        ("valid", f"{rfc3339(begins)} to {rfc3339(ends)}"),
        ("key", f"{keys.alg_of_spki(spki)} {tbs.ski(spki).hex()}"),
        *((_name(one), f"{_value(one)}{', critical' if one.critical else ''}") for one in loaded.extensions),
    ]


def _name(extension: x509.Extension[x509.ExtensionType]) -> str:
    return _oid(extension.oid)


def _oid(oid: x509.ObjectIdentifier) -> str:
    return oid._name if oid._name != "Unknown OID" else oid.dotted_string


def _value(extension: x509.Extension[x509.ExtensionType]) -> str:
    value = extension.value
    if isinstance(value, x509.BasicConstraints):
        length = "" if value.path_length is None else f", at most {value.path_length} CAs below"
        return f"{'a CA' if value.ca else 'no CA'}{length}"
    if isinstance(value, x509.KeyUsage):
        # The last two are undefined, and no question to the library, without key_agreement.
        named = _USAGES if value.key_agreement else _USAGES[:-2]
        return ", ".join(one for one in named if getattr(value, one))
    if isinstance(value, x509.ExtendedKeyUsage):
        return ", ".join(_oid(one) for one in value)
    if isinstance(value, x509.OCSPNoCheck):
        return "nobody asks whether it is revoked"
    if isinstance(value, x509.SubjectKeyIdentifier):
        return value.digest.hex()
    if isinstance(value, x509.AuthorityKeyIdentifier):
        return (value.key_identifier or b"").hex()
    if isinstance(value, x509.NameConstraints):
        bases = [("permit", one) for one in value.permitted_subtrees or ()]
        bases += [("exclude", one) for one in value.excluded_subtrees or ()]
        return ", ".join(f"{word} {_base(one)}" for word, one in bases)
    return _texts(value)


def _base(one: x509.GeneralName) -> str:
    return f"{_NAMES[type(one)]} {one.value}" if type(one) in _NAMES else repr(one)


def _texts(value: x509.ExtensionType) -> str:
    if isinstance(value, x509.CRLDistributionPoints):
        return ", ".join(name.value for point in value for name in point.full_name or ())
    if isinstance(value, x509.AuthorityInformationAccess):
        return ", ".join(f"{one.access_method._name} {one.access_location.value}" for one in value)
    return value.public_bytes().hex()


def _crl(made: bytes) -> list[tuple[str, str]]:
    found = crl.read(made, limit=len(made))
    loaded = x509.load_der_x509_crl(made)
    listed = [
        (_REVOKES, f"{one.serial:x} at {rfc3339(one.revoked_at)}{f', {one.reason}' if one.reason else ''}")
        for one in found.entries
    ]
    return [
        ("issuer", loaded.issuer.rfc4514_string()),
        ("number", str(found.number)),
        ("in force", f"{rfc3339(found.this_update)} to {rfc3339(found.next_update)}"),
        ("entries", str(len(found.entries))),
        *listed,
    ]
