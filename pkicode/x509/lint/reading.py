"""A TBSCertificate taken apart for lint, in two halves: what all certificates of a form share, and what is each one's.

Rules about the first half see nothing of the second, so that their findings may be remembered by its bytes.
"""

from functools import cached_property

from attrs import frozen

from pkicode.x509 import der, extensions, keys

_FIELDS = [0xA0, der.INTEGER, der.SEQUENCE, der.SEQUENCE, der.SEQUENCE, der.SEQUENCE, der.SEQUENCE, 0xA3]
_OWN_EXTENSIONS = (extensions.SUBJECT_KEY_IDENTIFIER, extensions.SUBJECT_ALT_NAME)


@frozen
class Extension:
    """One extension as it stands there."""

    oid: bytes
    """DER."""
    critical: bool
    value: bytes


@frozen
class Shared:
    """The half that all certificates of a form share; equal bytes are equal halves."""

    version: bytes
    algorithm: bytes
    issuer: bytes
    raw_extensions: tuple[bytes, ...]
    """Content octets of all but subjectKeyIdentifier and subjectAltName, in order."""
    key_alg: str
    """Of the subject's key; "" where it is none of ours."""

    @cached_property
    def fixed(self) -> bytes:
        """The extensions as they stand, one after the other."""
        return b"".join(der.tlv(der.SEQUENCE, one) for one in self.raw_extensions)

    @cached_property
    def opening(self) -> bytes:
        """What stands before the serial number: whole values, and the INTEGER's tag."""
        return der.tlv(0xA0, self.version) + bytes((der.INTEGER,))

    @cached_property
    def middle(self) -> bytes:
        """What stands between serial number and validity: whole values, and the SEQUENCE's tag."""
        return der.tlv(der.SEQUENCE, self.algorithm) + der.tlv(der.SEQUENCE, self.issuer) + bytes((der.SEQUENCE,))

    @cached_property
    def spki(self) -> tuple[bytes, int]:
        """What the key begins with and its octets altogether; none where its size is not fixed."""
        return keys.spki_form(self.key_alg)

    @cached_property
    def extensions(self) -> tuple[Extension, ...]:
        return tuple(map(_extension, self.raw_extensions))

    def find(self, oid: bytes) -> Extension | None:
        return next((extension for extension in self.extensions if extension.oid == oid), None)

    @cached_property
    def is_ca(self) -> bool:
        found = self.find(extensions.BASIC_CONSTRAINTS)
        return found is not None and (der.BOOLEAN, b"\xff") in der.children(der.only(found.value, der.SEQUENCE))

    @cached_property
    def usage(self) -> frozenset[int]:
        """The keyUsage bits that are set."""
        found = self.find(extensions.KEY_USAGE)
        if found is None:
            return frozenset()
        octets = der.only(found.value, der.BIT_STRING)[1:]
        return frozenset(place for place in range(8 * len(octets)) if octets[place // 8] & (0x80 >> place % 8))

    @cached_property
    def purposes(self) -> tuple[str, ...]:
        """OIDs of extKeyUsage."""
        found = self.find(extensions.EXTENDED_KEY_USAGE)
        values = der.children(der.only(found.value, der.SEQUENCE)) if found else []
        return tuple(der.dotted(content) for _, content in values)


@frozen
class Own:
    """The half that is each certificate's own."""

    serial: bytes
    """Content octets of the INTEGER."""
    validity: bytes
    """Content octets."""
    subject: bytes
    """DER Name."""
    spki: bytes
    """DER SubjectPublicKeyInfo."""
    skis: tuple[Extension, ...]
    sans: tuple[Extension, ...]
    """One at most, where the certificate is right."""


def read(tbs: bytes, *, like: Shared | None = None) -> tuple[Shared, Own]:
    """Both halves.

    Args:
        tbs: what is to be signed.
        like: a half that was read before; it is given back where these bytes hold the same, without reading it again.

    Raises:
        ValueError: not DER, or not a TBSCertificate of version 3 with extensions (RFC 5280 section 4.1).
    """
    if like is not None and (own := _again(tbs, like)):
        return like, own
    fields = der.children(der.only(tbs, der.SEQUENCE))
    if [tag for tag, _ in fields] != _FIELDS:
        raise ValueError("not a TBSCertificate of version 3 with extensions and nothing else")
    version, serial, algorithm, issuer, validity, subject, spki, wrapped = (content for _, content in fields)
    whole_spki = der.tlv(der.SEQUENCE, spki)
    alg, present = _key_alg(whole_spki), der.only(wrapped, der.SEQUENCE)
    # What the other half begins with is whole values, so that what follows reads the same with them or without.
    again = (
        like is not None
        and present.startswith(like.fixed)
        and (version, algorithm, issuer, alg) == (like.version, like.algorithm, like.issuer, like.key_alg)
    )
    rest, skis, sans = _apart(present[len(like.fixed) :] if like and again else present)
    if like and again and not rest:
        shared = like
    else:
        shared = Shared(version, algorithm, issuer, (*(like.raw_extensions if like and again else ()), *rest), alg)
    return shared, Own(serial, validity, der.tlv(der.SEQUENCE, subject), whole_spki, tuple(skis), tuple(sans))


def _again(tbs: bytes, like: Shared) -> Own | None:
    """The own half of bytes that hold `like` between their own fields, in the lengths that nearly all have.

    None says nothing about the bytes: they are to be read value by value.
    """
    spki_header, spki_size = like.spki
    opening, middle, fixed = like.opening, like.middle, like.fixed
    try:
        _, start, end = der.read(tbs)
        at = start + len(opening)
        serial_at = at + 1
        at = serial_at + tbs[at]
        validity_at = at + len(middle) + 1
        subject_at = validity_at + tbs[validity_at - 1]
        spki_at = subject_at + 2 + tbs[subject_at + 1]
        wrapped, extensions_at, wrapped_end = der.read(tbs, spki_at + spki_size)
        listed, fixed_at, listed_end = der.read(tbs, extensions_at)
    except (IndexError, ValueError):
        return None
    # Lengths of one octet only, each where the value before it ends: then this is the one reading of these bytes.
    if (
        not spki_size
        or tbs[0] != der.SEQUENCE
        or max(tbs[serial_at - 1], tbs[validity_at - 1], tbs[subject_at + 1]) >= 0x80
        or tbs[subject_at] != der.SEQUENCE
        or not tbs.startswith(opening, start)
        or not tbs.startswith(middle, at)
        or not tbs.startswith(spki_header, spki_at)
        or (wrapped, listed) != (0xA3, der.SEQUENCE)
        or not end == wrapped_end == listed_end == len(tbs)
        or not tbs.startswith(fixed, fixed_at)
    ):
        return None
    rest, skis, sans = _apart(tbs[fixed_at + len(fixed) :])
    if rest:
        return None
    return Own(
        tbs[serial_at:at],
        tbs[validity_at:subject_at],
        tbs[subject_at:spki_at],
        tbs[spki_at : spki_at + spki_size],
        tuple(skis),
        tuple(sans),
    )


def _apart(present: bytes) -> tuple[list[bytes], list[Extension], list[Extension]]:
    """The extensions that certificates of a form share, the subjectKeyIdentifiers and the subjectAltNames."""
    rest, skis, sans = [], [], []
    for tag, content in der.children(present):
        if tag != der.SEQUENCE:
            raise ValueError("an extension is not a SEQUENCE")
        if not content.startswith(_OWN_EXTENSIONS):
            rest.append(content)
        elif content.startswith(extensions.SUBJECT_KEY_IDENTIFIER):
            skis.append(_extension(content))
        else:
            sans.append(_extension(content))
    return rest, skis, sans


def _extension(content: bytes) -> Extension:
    fields = der.children(content)
    critical = fields[1:2] == [(der.BOOLEAN, b"\xff")]
    if [tag for tag, _ in fields] != [der.OID, *([der.BOOLEAN] if critical else []), der.OCTET_STRING]:
        raise ValueError("an extension is not an OID, TRUE or nothing, and an OCTET STRING")
    return Extension(der.tlv(*fields[0]), critical, fields[-1][1])


def _key_alg(spki: bytes) -> str:
    try:
        return keys.alg_of_spki(spki)
    except ValueError:
        return ""
