"""Which address a certificate was made for of which only its bytes are left: by its key, else by its names.

What nothing tells stands at an address of its own, `journal.SERIAL`.  No number of a generation is given twice.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import field, frozen
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from pkicode.config.reader import Config
from pkicode.config.rows import rows as config_rows
from pkicode.kinds.authority import Authority, of_certificate, subject_of
from pkicode.kinds.leaf import filled
from pkicode.kinds.names_check import names_of
from pkicode.kinds.names_check import subject_of as leaf_subject
from pkicode.model.address import Address, parse
from pkicode.model.instants import from_datetime
from pkicode.model.problem import KeyStoreError
from pkicode.ports import KeyStore, Store, Want
from pkicode.x509 import der, keys
from pkicode.x509.names import san_text, subject_der, subject_from_der, subject_text
from pkicode.x509.request import san_of
from pkicode.x509.tbs import IssuerFacts, facts_of

Names = tuple[str, str, tuple[str, ...]]
"""Name of the CA, subject, alternative names in order."""


@frozen
class Line:
    """A certificate of the journal, read."""

    der: bytes = field(repr=False)
    issuer: IssuerFacts = field(repr=False)
    own: IssuerFacts = field(repr=False)
    """What it would say of itself as an issuer: its subject and its key."""
    serial: str
    not_before: int
    not_after: int
    subject: str
    sans: tuple[str, ...]
    urls: tuple[str, ...]
    """Of the CRLs it names."""
    is_ca: bool
    signs_answers: bool

    @property
    def key(self) -> str:
        """Its public key, as the inventory calls it."""
        return keys.digest(self.own.spki)

    @property
    def id(self) -> tuple[str, str]:
        """(issuer_key, serial)."""
        return keys.digest(self.issuer.spki), self.serial


def line_of(made: bytes, issuer: IssuerFacts) -> Line:
    """A certificate, read.

    Raises:
        ValueError: it is none of ours.
    """
    loaded, own = x509.load_der_x509_certificate(made), facts_of(made)
    extensions = {one.oid: one.value for one in loaded.extensions}
    basic = extensions.get(x509.BasicConstraints.oid)
    usage = extensions.get(x509.ExtendedKeyUsage.oid)
    names = extensions.get(x509.SubjectAlternativeName.oid)
    general = der.children(der.only(names.public_bytes(), der.SEQUENCE)) if names else []
    points = extensions.get(x509.CRLDistributionPoints.oid)
    return Line(
        der=made,
        issuer=issuer,
        own=own,
        serial=f"{loaded.serial_number:x}",
        not_before=from_datetime(loaded.not_valid_before_utc),
        not_after=from_datetime(loaded.not_valid_after_utc),
        subject=subject_text(subject_from_der(own.dn)),
        sans=tuple(san_text(san_of(*one)) for one in general),
        urls=tuple(
            name.value
            for point in (points if isinstance(points, x509.CRLDistributionPoints) else ())
            for name in point.full_name or ()
        ),
        is_ca=isinstance(basic, x509.BasicConstraints) and basic.ca,
        signs_answers=isinstance(usage, x509.ExtendedKeyUsage) and ExtendedKeyUsageOID.OCSP_SIGNING in usage,
    )


Keys = Mapping[str, tuple[str, str]]
"""sha256 of a public key (hex) -> the keystore that has it, and its label there."""


async def keys_held(config: Config, opened: Callable[[str], KeyStore]) -> Keys:
    """Every key of every keystore; none is unlocked.

    Raises:
        KeyStoreError: a keystore cannot be asked.
    """
    found: dict[str, tuple[str, str]] = {}
    for spec in config.settings.keystores:
        path = config.root / spec.path
        if spec.type == "file" and not spec.offline and not path.exists():
            # Opened, it would be an empty one, and every CA in it without a key for good.
            raise KeyStoreError(
                f"the keystore {path} is not there, so nobody knows which keys are",
                help="mount it, or `pkicode keystore restore BACKUP`; if it is lost for good, take it out of pki.toml",
            )
        store = opened(spec.name)
        try:
            for label, facts in (await store.find(await store.labels())).items():
                found[keys.digest(facts.spki)] = spec.name, label
        finally:
            await store.close()
    return found


def _meant(key: str, held: Keys) -> tuple[Address, int]:
    """Whom a key was made for, by its label, and for which generation; 0 where no label says so."""
    _, label = held.get(key, ("", ""))
    try:
        address, generation = parse(label)
    except ValueError:
        return Address("", ""), 0
    return address, generation or 0


def authorities(
    lines: Sequence[Line], known: Sequence[Authority], held: Keys, config: Config
) -> dict[bytes, Authority]:
    """Public key -> the CA generation that has it: those of the state, then those that only the journal knows.

    The label of its key tells which generation it is, or else its name, which no other generation has.  A second key
    under the name of a generation that is there belongs to none.

    Args:
        lines: in the order they were signed.
    """
    found = {one.facts.spki: one for one in known}
    of_cas = [line for line in lines if line.is_ca]
    most = max((one.generation for one in known), default=0) + len(of_cas)
    for line in of_cas:
        if line.own.spki in found:
            continue
        is_root = line.own.spki == line.issuer.spki
        above = "" if is_root else found[line.issuer.spki].name if line.issuer.spki in found else None
        address, generation = _meant(line.key, held)
        numbers = {(one.name, one.generation) for one in found.values()}
        labelled = [(address.name, generation)] if address.kind == "ca" else []
        for name, number in labelled or _declared(line, config, most):
            # What another CA signs beside its issuer is a cross-certificate, and no generation.
            if (name, number) not in numbers and above == (config.ca(name).issuer or ""):
                found[line.own.spki] = of_certificate(name, number, line.der, above)
                break
    return found


def _declared(line: Line, config: Config, most: int) -> Iterator[tuple[str, int]]:
    """The generations that pki.toml gives the name of a CA to."""
    for block in config.cas:
        for number in range(1, most + 1):
            if is_named(line.own.dn, block.name, number, config):
                yield block.name, number


def is_named(dn: bytes, name: str, generation: int, config: Config) -> bool:
    """Whether a generation of [ca.NAME] has this name, as pki.toml says it now."""
    try:
        return subject_der(subject_of(config.ca(name), generation)) == dn
    except ValueError:  # told by every plan
        return False


@frozen
class Places:
    """What tells where certificates belong."""

    authorities: Mapping[bytes, Authority]
    """Public key -> the CA generation that has it."""
    held: Keys
    _by_key: Mapping[str, set[str]]
    """Public key -> addresses that it was certified for."""
    _by_names: Mapping[Names, set[str]]
    _highest: defaultdict[str, int]
    """Address -> the highest generation that was ever given."""

    def place(self, line: Line) -> tuple[str, int]:
        """Address and generation of a certificate; asked for each once, in the order they were signed."""
        own = self.authorities.get(line.own.spki)
        if line.is_ca and own:
            # A generation of a CA is a key, however many certificates it has.
            return str(Address("ca", own.name)), own.generation
        address = self._address(line)
        highest = self._highest[address]
        meant, number = _meant(line.key, self.held)
        is_told = str(meant) == address and number > highest
        self._highest[address] = number if is_told else highest + 1
        return address, self._highest[address]

    def _address(self, line: Line) -> str:
        meant, _ = _meant(line.key, self.held)
        above = self.authorities.get(line.issuer.spki)
        candidates = [
            {str(meant)} if meant.kind in ("cert", "ocsp") else set(),
            self._by_key.get(line.key, set()),
            {str(Address("ocsp", above.name, f"g{above.generation}"))} if line.signs_answers and above else set(),
            self._by_names.get(_names(line, self.authorities), set()),
        ]
        found = next((one for one in candidates if len(one) == 1), set()) if not line.is_ca else set()
        return next(iter(found), str(Address("journal", line.serial)))


def _names(line: Line, named: Mapping[bytes, Authority]) -> Names:
    above = named.get(line.issuer.spki)
    return above.name if above else "", line.subject, tuple(sorted(line.sans))


async def places(
    lines: Sequence[Line], known: Sequence[Authority], config: Config, store: Store, opened: Callable[[str], KeyStore]
) -> Places:
    """What tells where these certificates belong: keystores, inventory, rows and pki.toml.

    Raises:
        KeyStoreError: a keystore cannot be asked.
        ConfigError: a fan-out of pki.toml cannot be read.
    """
    held = await keys_held(config, opened)
    named = await asyncio.to_thread(authorities, lines, known, held, config)
    wanted_keys, wanted = {line.key for line in lines}, {_names(line, named) for line in lines}
    by_key: dict[str, set[str]] = defaultdict(set)
    by_names: dict[Names, set[str]] = defaultdict(set)
    highest: defaultdict[str, int] = defaultdict(int)

    def looked(rows: Iterable[Sequence[Any]]) -> list[Any]:
        for address, generation, spki, ca, subject, sans in rows:
            highest[address] = max(generation, highest[address])
            if spki in wanted_keys:
                by_key[spki].add(address)
            names = ca, subject, tuple(sorted(json.loads(sans)))
            if names in wanted and address.startswith("cert."):
                by_names[names].add(address)
        return []

    def declared() -> None:
        for names, address in _all_declared(config) if lines else ():
            if names in wanted:
                by_names[names].add(address)

    await store.facts(Want(), ("address", "generation", "spki", "ca", "subject", "sans"), looked)
    for row in await store.held():
        highest[str(row.address)] = max(row.generation, highest[str(row.address)])
    await asyncio.to_thread(declared)
    return Places(named, held, by_key, by_names, highest)


def _all_declared(config: Config) -> Iterator[tuple[Names, str]]:
    """The names of every certificate that pki.toml declares, and its address."""
    memo: dict[Any, Any] = {}
    for block in config.blocks:
        for row in config_rows(config, block) if block.kind == "cert" else ():
            spec = filled(block, row, memo)
            try:
                sans = tuple(sorted(map(san_text, names_of(spec))))
                yield (spec.issuer, subject_text(leaf_subject(spec)), sans), str(Address("cert", block.name, row.key))
            except ValueError:  # told by every plan
                continue
