"""Which names a CA and a profile let through: name constraints (RFC 5280 section 4.2.1.10) and allow-lists.

The verdict given here at plan time is the one a verifier gives on the issued certificate; where verifiers differ it is
the strictest.  Syntax of names is names.py's.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property

from attrs import evolve, fields_dict, frozen
from cryptography import x509

from pkicode.model.names import San, Sans, SanType, Subject
from pkicode.x509 import der, names

_NOBODY = "invalid"
"""Never anybody's host (RFC 6761 section 6.4)."""
_NOWHERE = {4: "0.0.0.0/32", 6: "::/128"}
"""Unspecified addresses: never a host's (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.2)."""
TYPES = ("dns", "ip", "email", "uri")
"""Those that constraints can be about."""
_TAGS = {"email": 0x81, "dns": 0x82, "uri": 0x86, "ip": 0x87}


@frozen
class Constraints:
    """Name constraints of one CA, each base in normal form; see `check`."""

    permit_dns: tuple[str, ...] = ()
    """`corp.example` is itself and everything below."""
    exclude_dns: tuple[str, ...] = ()
    permit_ip: tuple[str, ...] = ()
    """Networks."""
    exclude_ip: tuple[str, ...] = ()
    permit_email: tuple[str, ...] = ()
    """A mailbox, a host (its own mailboxes only), or `.domain` (hosts below it)."""
    exclude_email: tuple[str, ...] = ()
    permit_uri: tuple[str, ...] = ()
    """A host, or `.domain` (hosts below it)."""
    exclude_uri: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is constrained; an empty extension may not be issued (RFC 5280 section 4.2.1.10)."""
        return not any(getattr(self, name) for name in fields_dict(Constraints))

    @cached_property
    def permits_some(self) -> bool:
        return any(self.permitted(kind) for kind in TYPES)

    @cached_property
    def closed(self) -> tuple[str, ...]:
        """The types of which no name may be issued because another type is permitted."""
        return tuple(kind for kind in TYPES if self.permits_some and not self.permitted(kind))

    def shuts(self, kind: SanType) -> bool:
        """Whether no name of this type passes because names of others are permitted."""
        return self.permits_some and (kind not in TYPES or kind in self.closed)

    @cached_property
    def _below(self) -> tuple[str, ...]:
        return tuple(f".{base}" for base in self.permit_dns)

    def plainly_permits(self, name: San) -> bool:
        """Whether a DNS name is let through by its ending alone, which nearly every name of a fleet is."""
        kind, text = name
        if kind is not SanType.DNS or self.exclude_dns:
            return False
        return text.endswith(self._below) or text in self.permit_dns

    def permitted(self, kind: str) -> tuple[str, ...]:
        return tuple(getattr(self, f"permit_{kind}"))

    def excluded(self, kind: str) -> tuple[str, ...]:
        return tuple(getattr(self, f"exclude_{kind}"))

    def check(self) -> list[str]:
        """What is wrong with the bases, a sentence each."""
        wrong = []
        for field in fields_dict(Constraints):
            for base in getattr(self, field):
                wrong += [f"{field}: {reason}" for reason in _base_problems(field.partition("_")[2], base)]
        return wrong or list(_contradictions(self, self))


@frozen
class Allow:
    """Names a profile lets through; a type that is not given allows none of that type."""

    dns: tuple[str, ...] = ()
    """`host.example` exactly, `.example` everything below it."""
    ip: tuple[str, ...] = ()
    """Networks."""
    email: tuple[str, ...] = ()
    """A mailbox, `@host`, or `.domain` (every host below it)."""
    uri: tuple[str, ...] = ()
    """Prefixes that end in /, or whole URIs."""
    wildcard: bool = False
    """Whether `*.` names are let through."""

    @cached_property
    def below(self) -> tuple[str, ...]:
        """The entries of `dns` that let through every name below them."""
        return tuple(one for one in self.dns if one.startswith("."))

    def check(self) -> list[str]:
        """What is wrong with the entries, a sentence each."""
        forms: dict[str, Callable[[str], str]] = {
            "dns": lambda text: _dotted(text, names.host),
            "ip": _network,
            "email": lambda text: f"@{names.host(text[1:])}" if text.startswith("@") else _mail_base(text),
            "uri": lambda text: names.san("uri", text)[1],
        }
        return [
            f"allow.{kind}: {reason}"
            for kind, form in forms.items()
            for text in getattr(self, kind)
            for reason in _differs(text, form)
        ]


def _base_problems(kind: str, base: str) -> Iterator[str]:
    forms: dict[str, Callable[[str], str]] = {
        "dns": names.host,
        "ip": _network,
        "email": _mail_base,
        "uri": lambda text: _dotted(text, names.host),
    }
    yield from _differs(base, forms[kind])


def _differs(text: str, form: Callable[[str], str]) -> Iterator[str]:
    try:
        normal = form(text)
    except ValueError as error:
        yield f"`{text}`: {error}"
        return
    if normal != text:
        yield f"`{text}`: write `{normal}`"


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise ValueError("not a network; write an address, a slash and the bits, as in 10.0.0.0/8") from None


def _dotted(text: str, form: Callable[[str], str]) -> str:
    return f".{form(text[1:])}" if text.startswith(".") else form(text)


def _mail_base(text: str) -> str:
    return names.mailbox(text) if "@" in text else _dotted(text, names.host)


def effective(constraints: Constraints) -> Constraints:
    """What a certificate must say so that a permit of one type closes the others.

    RFC 5280 leaves a type that is not mentioned wide open: with permit_dns alone every address, URI and mailbox would
    pass.  A type is closed by permitting the one name of it that nobody can have.  Excluding everything is worse: an
    empty e-mail or URI base excludes nothing in OpenSSL 3.0 and makes Java refuse the chain, and 0.0.0.0/0 beside ::/0
    makes Java 17 fail on every chain with two constrained CAs.
    Other types (upn, rid, dirname) are closed by `verdict` only: GnuTLS refuses every chain that constrains them.
    """
    changes: dict[str, tuple[str, ...]] = {f"permit_{kind}": (_NOBODY,) for kind in constraints.closed if kind != "ip"}
    if constraints.permits_some:
        # Some verifiers match the two families of addresses apart.
        families = {ipaddress.ip_network(text).version for text in constraints.permit_ip}
        nowhere = tuple(network for version, network in _NOWHERE.items() if version not in families)
        changes["permit_ip"] = constraints.permit_ip + nowhere
    return evolve(constraints, **changes)


def extension_der(constraints: Constraints) -> bytes:
    """The NameConstraints value of `effective(constraints)`."""
    encoded = effective(constraints)
    parts = []
    for tag, bases in ((0xA0, encoded.permitted), (0xA1, encoded.excluded)):
        subtrees = [_subtree(kind, base) for kind in TYPES for base in bases(kind)]
        if subtrees:
            parts.append(der.tlv(tag, *subtrees))
    return der.tlv(der.SEQUENCE, *parts)


def read(certificate: x509.Certificate) -> Constraints | None:
    """The constraints that `extension_der` wrote into a certificate, None where it has none."""
    try:
        said = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return None
    types = {x509.DNSName: "dns", x509.IPAddress: "ip", x509.RFC822Name: "email", x509.UniformResourceIdentifier: "uri"}
    found: dict[str, list[str]] = {}
    for word, subtrees in (("permit", said.permitted_subtrees), ("exclude", said.excluded_subtrees)):
        for one in subtrees or ():
            kind, base = types.get(type(one), ""), str(one.value)
            # What closes a type permits nobody; it is closed again where the constraints are read.
            if kind and not (word == "permit" and base in (_NOBODY, *_NOWHERE.values())):
                found.setdefault(f"{word}_{kind}", []).append(base)
    return Constraints(**{field: tuple(bases) for field, bases in found.items()})


def _subtree(kind: str, base: str) -> bytes:
    if kind == "ip":
        network = ipaddress.ip_network(base)
        value = network.network_address.packed + network.netmask.packed
    else:
        value = base.encode("ascii")
    return der.tlv(der.SEQUENCE, der.tlv(_TAGS[kind], value))


def verdict(subject: Subject, sans: Sans, chain: Sequence[Constraints]) -> list[str]:
    """Why the CAs of a chain do not let these names through, a sentence each; empty when they do.

    The subject counts too: its e-mail addresses, and a common name that some verifier takes for a host.
    """
    claimed = dict.fromkeys([*sans, *_subject_names(subject, sans)]) if subject else sans
    return [
        reason
        for constraints in chain
        for name in claimed
        if not constraints.plainly_permits(name)
        for reason in _reasons(name, constraints)
    ]


def _subject_names(subject: Subject, sans: Sans) -> Iterator[San]:
    has_dns = any(kind is SanType.DNS for kind, _ in sans)
    for key, value in subject:
        if key == "email":
            yield SanType.EMAIL, value
        elif key == "cn":
            yield from _common_name(value, has_dns=has_dns)


def _common_name(value: str, *, has_dns: bool) -> Iterator[San]:
    """Where no dNSName stands beside it, OpenSSL takes an IPv4 address for a host name, Java even a single label."""
    if names.is_address(value):
        yield SanType.IP, str(ipaddress.ip_address(value))
    elif names.looks_like_host(value):
        yield SanType.DNS, value.lower()
    if not has_dns and re.fullmatch(r"[A-Za-z0-9-]+|[0-9.]+", value):
        yield SanType.DNS, value.lower()


def _reasons(name: San, constraints: Constraints) -> Iterator[str]:
    kind, text = name
    what = f"`{names.san_text(name)}`"
    if constraints.shuts(kind):
        yield f"{what} is of a type that the CA does not permit"
    if kind not in TYPES:
        return
    permitted, excluded = constraints.permitted(kind), constraints.excluded(kind)
    if kind is SanType.URI and (permitted or excluded) and not _is_dns_host(names.uri_host(text)):
        yield f"{what} has no host name, which the CA's constraints are about"
        return
    for base in excluded:
        if _within(kind, text, base) or (kind is SanType.DNS and text == f"*.{base.partition('.')[2]}"):
            yield f"{what} is inside `{base}`, which the CA excludes"
    if permitted and not any(_within(kind, text, base) for base in permitted):
        yield f"{what} is outside {' '.join(f'`{base}`' for base in permitted)}, which is all the CA permits"


def _is_dns_host(host: str | None) -> bool:
    return bool(host) and not names.is_address(str(host).strip("[]"))


def _within(kind: SanType, text: str, base: str) -> bool:
    """RFC 5280 section 4.2.1.10."""
    if kind is SanType.DNS:
        return text == base or text.endswith(f".{base}")
    if kind is SanType.IP:
        return ipaddress.ip_address(text) in ipaddress.ip_network(base)
    if kind is SanType.EMAIL:
        return text == base if "@" in base else _host_within(text.rpartition("@")[2], base)
    return _host_within(names.uri_host(text) or "", base)


def _host_within(host: str, base: str) -> bool:
    return host.endswith(base) if base.startswith(".") else host == base


def wider(constraints: Constraints, issuer: Constraints) -> list[str]:
    """What a CA permits and its issuer does not, a sentence each.

    No verifier should let such a name through; Java 17 refuses every certificate below, or accepts all of them.
    """
    return [
        f"`{base}` ({kind}) is not inside what the issuing CA permits: {' '.join(issuer.permitted(kind)) or 'nothing'}"
        for kind in TYPES
        for base in constraints.permitted(kind)
        if issuer.permits_some and not _inside(kind, base, issuer.permitted(kind))
    ] + list(_contradictions(constraints, issuer))


def _contradictions(constraints: Constraints, excluding: Constraints) -> Iterator[str]:
    for kind in TYPES:
        for base in constraints.permitted(kind):
            if _inside(kind, base, excluding.excluded(kind)):
                yield f"permit_{kind}: `{base}` is excluded as well, so it permits nothing; drop one of the two"


def _inside(kind: str, base: str, bases: tuple[str, ...]) -> bool:
    return any(_base_within(kind, base, above) for above in bases)


def _base_within(kind: str, base: str, above: str) -> bool:
    if kind == "ip":
        inner, outer = ipaddress.ip_network(base), ipaddress.ip_network(above)
        return inner.version == outer.version and inner.network_address in outer and inner.prefixlen >= outer.prefixlen
    if base == above or base.endswith(f".{above}" if kind == "dns" else above if above.startswith(".") else "\0"):
        return True
    return kind == "email" and "@" in base and base.rpartition("@")[2] == above


def allowed(sans: Sans, allow: Allow) -> list[str]:
    """Why a profile's allow-list does not let these names through, a sentence each; empty when it does."""
    return [reason for name in sans for reason in _refusals(name, allow)]


def _refusals(name: San, allow: Allow) -> Iterable[str]:
    kind, text = name
    entries: tuple[str, ...] = getattr(allow, kind, ())
    if kind is SanType.DNS and not text.startswith("*") and (text.endswith(allow.below) or text in entries):
        return ()
    what = f"`{names.san_text(name)}`"
    if not entries:
        return [f"{what}: the profile allows no name of type {kind.value}"]
    if kind is SanType.DNS and text.startswith("*.") and not allow.wildcard:
        return [f"{what}: the profile allows no wildcard"]
    if any(_entry_allows(kind, text, entry) for entry in entries):
        return []
    return [f"{what} is not among the names the profile allows: {' '.join(entries)}"]


def _entry_allows(kind: SanType, text: str, entry: str) -> bool:
    if kind is SanType.DNS:
        # `*.corp.example` stands for names below corp.example, never for corp.example itself.
        return text.endswith(entry) if entry.startswith(".") else text == entry
    if kind is SanType.IP:
        return ipaddress.ip_address(text) in ipaddress.ip_network(entry)
    if kind is SanType.EMAIL:
        host = text.rpartition("@")[2]
        return text == entry or f"@{host}" == entry or (entry.startswith(".") and host.endswith(entry))
    return text == entry or (entry.endswith("/") and text.startswith(entry))
