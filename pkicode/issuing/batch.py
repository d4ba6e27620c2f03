"""The pure half of issuance: what is asked for, `prepare` (requests, names, TBS, lint) and `sign` (sign, verify).

Both are picklable functions for a worker process: no port, no clock, no randomness.  Order and durability are the
cycle's (pkicode.issuing).
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from attrs import evolve, field, frozen
from cryptography import x509

from pkicode.model.instants import NO_EXPIRY
from pkicode.model.names import Sans, Subject
from pkicode.model.pickling import by_position
from pkicode.model.problem import Problem, Severity
from pkicode.model.row import Held
from pkicode.ports import Mint, MintedKey, NewKey
from pkicode.revocation.shards import shard_of, sharded
from pkicode.x509 import keys, san_list
from pkicode.x509.chain import verify_issued, verify_profile
from pkicode.x509.constraints import Allow, Constraints, allowed, verdict
from pkicode.x509.lint import Linter
from pkicode.x509.names import subject_der, subject_text
from pkicode.x509.profile import Profile
from pkicode.x509.request import csr as read_request
from pkicode.x509.tbs import Form, IssuerFacts, certificate, form, self_issued


@frozen
class Issuer:
    """Who signs: a generation of a CA that has its certificate, or without the last four one that signs itself."""

    ca: str
    generation: int
    key: tuple[str, str]
    """Keystore and label of the signing key."""
    facts: IssuerFacts | None = None
    """None: by the order's own key; a batch then has one order."""
    certificate: bytes | None = field(default=None, repr=False)
    not_before: int = 0
    not_after: int = NO_EXPIRY


@frozen
class Template:
    """What all certificates of a batch have in common."""

    profile_name: str
    profile: Profile
    issuer: Issuer
    validity: int
    backdate: int
    store: str
    """Keystore of the subjects' keys."""
    crl_urls: tuple[str, ...]
    """Named in the certificates: publication duty."""
    crl_shards: int = 0
    """More than none: each certificate names the URLs of its shard instead (`on_shard`)."""
    copy: tuple[str, ...] = ()
    """SAN types taken over from a CSR.  Nothing else of a CSR but its key ever is."""
    constraints: tuple[Constraints, ...] = ()
    """Name constraints of the issuer and of every CA above it."""
    allow: Allow | None = None
    """Which names the profile lets through; None leaves that to the constraints."""
    offline: bool = False
    """The signing key is on another machine: a ceremony comes between intent and signature."""
    until: int | None = None
    """A last second of validity that is fixed, whenever it begins: a cross-certificate ends with its roots."""

    def not_after(self, not_before: int) -> int:
        """The last second of what begins then."""
        return not_before + self.validity - 1 if self.until is None else self.until


@frozen
class Order:
    """One certificate asked for."""

    address: str
    generation: int
    subject: Subject
    sans: Sans
    key_alg: str
    key_label: str
    """Made if it is not there; "" in CSR mode."""
    csr: bytes | None = field(default=None, repr=False)
    reason: str = "new"
    context: Any = field(default=None, repr=False)
    """Handed back untouched."""


@frozen
class Issued:
    """One certificate, signed and verified."""

    order: Order
    serial: int
    not_before: int
    not_after: int
    spki: bytes
    key_alg: str
    sha256: str
    der: bytes = field(repr=False)


Settle = Callable[[Sequence[Issued]], Sequence[tuple[Held, str]]]
"""The resource rows (row, record) that enter in the same commit as these certificates."""


@by_position
@frozen
class Asked:
    """One order as it travels to a worker: with serial and dates, without the caller's context."""

    address: str
    subject: Subject
    sans: Sans
    key_alg: str
    key_label: str
    csr: bytes | None
    spki: bytes
    """Of a key that is there already; b"" when it comes with the CSR or is to be minted."""
    serial: int
    not_before: int
    not_after: int


@by_position
@frozen
class Ready:
    """One linted TBS, and what the inventory will say of it."""

    tbs: bytes
    serial: int
    not_before: int
    not_after: int
    spki: bytes
    key_alg: str
    subject: str
    sans: str
    minted: MintedKey | None
    """Not yet durable."""


class _Refused(Exception):
    def __init__(self, code: str, message: str, help: str) -> None:  # noqa: A002 - the word of Problem
        super().__init__(message)
        self.code = code
        self.help = help


def prepare(template: Template, batch: Sequence[Asked], mint: Mint | None) -> list[Ready | Problem]:
    """The linted TBS of each, or what is wrong with it.

    Args:
        template: common to all.
        batch: what is asked for.
        mint: makes the keys that neither a CSR nor `Asked.spki` gives.
    """
    wanted = [NewKey(one.key_label, one.key_alg) for one in batch if one.csr is None and not one.spki]
    minted = {key.facts.label: key for key in mint(wanted)} if mint and wanted else {}
    linter = Linter()

    @lru_cache(maxsize=512)
    def compiled(issuer: IssuerFacts, alg: str, shard: str) -> Form:
        return form(on_shard(template, shard), issuer, alg)

    def one(asked: Asked) -> Ready | Problem:
        try:
            return _ready(template, asked, minted.get(asked.key_label), compiled, linter)
        except _Refused as error:
            return Problem(error.code, f"{asked.address}: {error}", help=error.help, address=asked.address)

    return [one(asked) for asked in batch]


def sign(template: Template, issuer: IssuerFacts, pkcs8: bytes, batch: Sequence[bytes]) -> list[bytes]:
    """Certificates of these TBS, each signature verified with the issuer's public key.

    The first is checked by a second verifier before the others are signed.

    Raises:
        SignatureError: the key is not the issuer's.
        ValueError: the second verifier refuses the first certificate.
    """
    key = keys.load_signing(pkcs8)
    return signed(template, issuer, lambda tbs: keys.sign(key, tbs), batch, first=True)


def signed(
    template: Template, issuer: IssuerFacts, by: Callable[[bytes], bytes], batch: Sequence[bytes], *, first: bool
) -> list[bytes]:
    """As `sign`, with any way to sign; `first` says whether the batch begins here."""
    return [_certified(template, issuer, tbs, by(tbs), first=first and not place) for place, tbs in enumerate(batch)]


def _certified(template: Template, issuer: IssuerFacts, tbs: bytes, signature: bytes, *, first: bool) -> bytes:
    """The certificate of a TBS and its signature, once both are checked; see `sign`."""
    keys.verify(issuer.spki, issuer.alg, tbs, signature)
    made = certificate(tbs, issuer.alg, signature)
    if first:
        verify_issued(made, template.issuer.certificate or made)
        serial = x509.load_der_x509_certificate(made).serial_number
        verify_profile(made, on_shard(template, shard_of(serial, template.crl_shards)))
    return made


def on_shard(template: Template, shard: str) -> Profile:
    """The profile of the certificates that name this shard of the CRL; "" is the full list."""
    return evolve(template.profile, crl_urls=sharded(template.crl_urls, shard)) if shard else template.profile


def issuer_of(template: Template, subject: Subject, spki: bytes) -> IssuerFacts:
    """Who signs: the template's issuer, or the subject itself."""
    return template.issuer.facts or self_issued(subject_der(subject), spki)


def _ready(
    template: Template,
    asked: Asked,
    minted: MintedKey | None,
    compiled: Callable[[IssuerFacts, str, str], Form],
    linter: Linter,
) -> Ready:
    asked, spki, alg = _with_key(template, asked, minted)
    _names(template, asked)
    try:
        issuer = issuer_of(template, asked.subject, spki)
        tbs = compiled(issuer, alg, shard_of(asked.serial, template.crl_shards)).tbs(
            serial=asked.serial,
            not_before=asked.not_before,
            not_after=asked.not_after,
            subject=subject_der(asked.subject),
            spki=spki,
            sans=asked.sans,
        )
    except ValueError as error:
        raise _Refused("E0523", str(error), "change the profile or the key; nothing was signed") from error
    for finding in linter.lint(tbs, issuer):
        if finding.severity is Severity.ERROR:
            raise _Refused(
                "E0524",
                f"lint {finding.rule}: {finding.message} ({finding.section})",
                "the profile asks for what RFC 5280 forbids; nothing was signed",
            )
    return Ready(
        tbs=tbs,
        serial=asked.serial,
        not_before=asked.not_before,
        not_after=asked.not_after,
        spki=spki,
        key_alg=alg,
        subject=subject_text(asked.subject),
        sans=san_list.written(asked.sans),
        minted=minted,
    )


def _with_key(template: Template, asked: Asked, minted: MintedKey | None) -> tuple[Asked, bytes, str]:
    """The order with the names its CSR may add, its public key, and that key's algorithm."""
    if asked.csr is None:
        spki = asked.spki or (minted.facts.spki if minted else b"")
        if not spki:
            text = f"the keystore holds no key {asked.key_label}"
            raise _Refused("E0527", text, "restore the keystore from a backup")
        if (alg := keys.alg_of_spki(spki)) != asked.key_alg:
            text = f"the key {asked.key_label} is {alg}, not {asked.key_alg}"
            raise _Refused("E0527", text, "a key is never replaced in place: a new generation gets a new key")
        return asked, spki, alg
    try:
        request = read_request(asked.csr)
        offered = request.sans if template.copy else ()
    except ValueError as error:
        raise _Refused("E0521", f"the CSR is refused: {error}", "have the host make a new one") from error
    if template.issuer.facts and request.spki == template.issuer.facts.spki:
        raise _Refused("E0521", "the CSR is refused: it holds the CA's own key", "have the host make its own key")
    copied = tuple(name for name in offered if name[0] in template.copy and name not in asked.sans)
    return (evolve(asked, sans=asked.sans + copied) if copied else asked), request.spki, request.alg


def _names(template: Template, asked: Asked) -> None:
    if reasons := tuple(_forbidden(template, asked)):
        raise _Refused("E0522", "; ".join(reasons), "ask for other names, or let the profile and its CA permit these")


def _forbidden(template: Template, asked: Asked) -> Iterator[str]:
    if template.constraints:
        yield from verdict(asked.subject, asked.sans, template.constraints)
    if template.allow:
        yield from allowed(asked.sans, template.allow)
