"""Ports: the only Protocols.  Each says what is durable when, what may run at once, and which errors are raised.

Nothing in here does anything; adapters/ implements, everything else depends on these shapes.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from attrs import field, frozen

from pkicode.model.event import Event
from pkicode.model.faults import Reach
from pkicode.model.pickling import by_position
from pkicode.model.row import Held


@frozen
class About:
    """What the store says of itself."""

    project: str
    lineage: str
    """Random, drawn when the state was created; two states of one name are told apart by it."""
    env: str
    schema: int
    sequence: int
    """Rises by one with each commit."""
    head: str
    """Hash of the newest audit event, hex."""
    newest: int
    """The instant of the newest event, 0 when there is none: a clock behind it is refused."""


@frozen
class Lease:
    """Leave to write.  `epoch` is the fencing token every commit carries."""

    name: str
    holder: str
    host: str
    pid: int
    epoch: int
    heartbeat: int
    expires: int


NO_LEASE = Lease("", "", "", 0, 0, 0, 0)
"""What a process has that writes under publish leases only: no store takes a commit with it."""


class CertificateStatus:
    """The life of a row of the inventory: intent -> issued | aborted | unknown; issued, unknown -> revoked."""

    INTENT = "intent"
    ISSUED = "issued"
    ABORTED = "aborted"
    UNKNOWN = "unknown"
    REVOKED = "revoked"


SEEN_AS = ("good", "revoked", "expired", "unknown")
"""What relying parties see of a row, best first; `unknown` may have been signed, and counts as issued."""


def seen_as(status: str, not_after: int, now: int) -> str | None:
    """A word of SEEN_AS; None where nothing was ever signed."""
    if status == CertificateStatus.ABORTED:
        return None
    if status == CertificateStatus.REVOKED:
        return "revoked"
    if not_after < now:
        return "expired"
    return "good" if status == CertificateStatus.ISSUED else "unknown"


@frozen
class Certificate:
    """One row of the inventory: everything ever signed, and every intent to.

    Times are epoch seconds; `serial` is lower-case hex without leading zeros; `issuer_key`, `spki` and `sha256` are
    lower-case hex SHA-256 digests (of the issuer's SPKI, the subject's SPKI, the certificate).
    `der` is the TBS while the status is intent, the certificate afterwards.
    """

    issuer_key: str
    serial: str
    issuer_dn: bytes
    status: str
    address: str
    generation: int
    ca: str
    """Name of the issuing [ca.X], "" for a foreign issuer."""
    ca_generation: int
    profile: str
    subject: str
    """RFC 4514 text."""
    sans: str
    """JSON list of `type:value`."""
    not_before: int
    not_after: int
    key_alg: str
    key_label: str
    """Label in the keystore, "" when the key is not ours (CSR mode)."""
    spki: str
    sha256: str
    """"" while the status is intent."""
    der: bytes
    plan_id: str
    reason: str
    """The reason code this was issued for."""
    session: str
    created: int
    duty: str
    """JSON list of the CRL URLs named in the certificate: publication duty until not_after."""
    revoked_at: int | None = None
    revocation_reason: str | None = None


@frozen
class Settlement:
    """How an intent ended."""

    issuer_key: str
    serial: str
    status: str
    sha256: str = ""
    der: bytes | None = None
    """None keeps the stored TBS (aborted, unknown)."""


@frozen
class Ends:
    """When what a CA generation signed ends, 0 where it signed nothing."""

    leaf: int = 0
    """The last not_after of what is neither a CA nor an OCSP responder."""
    anything: int = 0
    """The last not_after of all but OCSP responders, which it signs for its own duty."""


@frozen
class Revocation:
    """One serial revoked; the first date is kept for ever, whatever is committed later."""

    issuer_key: str
    serial: str
    revoked_at: int
    reason: str
    """RFC 5280 reason name in camelCase: unspecified, keyCompromise, ..."""
    not_after: int
    entry: str
    """What asked for it: "removed", "unknown-intent", or the id of a [[revoke]] entry."""
    invalidity: int | None = None


@frozen
class Blocked:
    """A public key that no certificate is issued for, or by, ever again."""

    spki: str
    at: int
    reason: str
    entry: str
    """The [[revoke]] entry that asked for it."""


@frozen
class Match:
    """A certificate that a [[revoke]] entry was about, for this reason: it is acted on once."""

    entry: str
    issuer_key: str
    serial: str
    reason: str
    at: int


@frozen
class Artefact:
    """The newest signed list of one issuer key and scope: a CRL, or a pack of OCSP answers.

    `number` is the cRLNumber as lower-case hex (up to 20 octets); packs count as well.
    """

    kind: str
    name: str
    """`issuing-g1`"""
    scope: str
    """"" for the full list."""
    number: str
    this_update: int
    next_update: int
    sha256: str
    der: bytes | None
    """None where only the facts were asked for."""


@frozen
class Published:
    """One file last put on one target, verified by reading it back."""

    target: str
    path: str
    sha256: str
    """"" in a Write: what lies there is looked after no more, and Store.published is silent about it."""
    at: int


@frozen
class Archive:
    """What one file of an archive took from the inventory of one CA generation; the row is its receipt.

    Counts and ends that only rise go on from here, as if nothing had left.
    """

    file: str
    """Its name, below the folder of archives."""
    issuer_key: str
    ca: str
    ca_generation: int
    sha256: str
    """Of the file, hex."""
    at: int
    certificates: int
    """How many it holds of this generation, whatever their status."""
    revoked: int
    """How many revocations, those for keyCompromise counted twice (Store.revoked)."""
    newest: int
    """The last not_after of all of them."""
    ended: int
    """The last not_after of those that count for Store.ends, 0 where none does."""


@frozen
class Write:
    """Everything one commit changes, in one transaction with its audit event.

    Held rows are upserts: `version` is the version they replace (0 = must be absent); the store stores version + 1.
    A CA has a row per key generation; every other address has one row, whose generation moves on.
    """

    at: int
    actor: str
    action: str
    """The audit word: issue.intent, issue.issued, revoke, crl, publish, output, forget, move, ..."""
    subject: str
    """What it was about: an address or `cert.fleet x500`."""
    detail: str = "{}"
    """Canonical JSON for the audit; never a secret."""
    held: Sequence[tuple[Held, str]] = ()
    """(row, record): record is JSON text, what the kind remembers."""
    forgotten: Sequence[Held] = ()
    moved: Sequence[tuple[str, str]] = ()
    """(old address, new address): certificates of the inventory follow their address."""
    intents: Sequence[Certificate] = ()
    adopted: Sequence[Certificate] = ()
    """Rows that enter with their final status (imports, recovered from the journal)."""
    settled: Sequence[Settlement] = ()
    revocations: Sequence[Revocation] = ()
    blocked: Sequence[Blocked] = ()
    matches: Sequence[Match] = ()
    artefacts: Sequence[Artefact] = ()
    published: Sequence[Published] = ()
    archives: Sequence[Archive] = ()
    archived: Sequence[Certificate] = ()
    """Leave the inventory with their revocations; refused for one that is not as given here, or has not ended."""
    parted: Sequence[Match] = ()
    """Leave with them."""
    meta: Mapping[str, str] = field(factory=dict)


@frozen
class Audited:
    """One event of the hash chain: hash = sha256(prev || canonical JSON of the rest)."""

    sequence: int
    at: int
    actor: str
    action: str
    subject: str
    detail: str
    prev: str
    hash: str


@frozen
class Want:
    """Which certificates are asked for; every given condition must hold."""

    ca: str | None = None
    ca_generation: int | None = None
    statuses: Sequence[str] = ()
    or_reason: str | None = None
    """Beside statuses: those that entered for this reason are wanted too, whatever their status."""
    address: str | None = None
    """An exact address text."""
    block: str | None = None
    """An address text without key: all rows of a fan-out."""
    serial: str | None = None
    serials: Sequence[str] = ()
    """Any of these; a few hundred at most."""
    spki: str | None = None
    spkis: Sequence[str] = ()
    """As serials."""
    issuer_key: str | None = None
    generation: int | None = None
    created_before: int | None = None
    unexpired_at: int | None = None
    """Whether valid already or not."""
    matched_by: str | None = None
    """A [[revoke]] entry that was acted on."""
    not_matched_by: tuple[str, str] | None = None
    """A [[revoke]] entry that was not yet acted on for this reason: (entry, reason)."""
    blocked_by: str | None = None
    """A [[revoke]] entry that blocked the key."""
    expiring_before: int | None = None
    valid_at: int | None = None
    seen_as: Sequence[str] = ()
    """Any of `good`, `revoked`, `expired`, `unknown`: what relying parties see at `seen_at`."""
    seen_at: int = 0
    with_der: bool = True
    """False leaves `der` empty: frames of 100,000 need no bytes."""


class Store(Protocol):
    """The state store.  One writer at a time per lease; any number of readers.

    Every method may raise StateError (damage, full disk, gone); after an error of `commit` the caller does not know
    whether it happened, and must read before it tries again.
    """

    async def about(self) -> About: ...

    async def meta(self) -> Mapping[str, str]:
        """What commits have put under Write.meta, beside what the store says of itself."""

    async def held(self, kind: str = "", name: str = "") -> Sequence[Held]:
        """Every resource row, those of one kind, or those of one block, in no order.  One query."""

    async def templates(self) -> Mapping[int, str]:
        """Number -> template text of every template a row refers to.  One query."""

    async def template(self, text: str, *, lease: Lease) -> int:
        """The number of a template, stored if new.  Durable before it returns; not an audit event."""

    async def records(self, kind: str, name: str, keys: Sequence[str] | None = None) -> Mapping[tuple[str, int], str]:
        """(key, generation) -> record of the rows of a block; None asks for all of them."""

    async def authorities(self) -> Mapping[tuple[str, int], str]:
        """(name, generation) -> record of every row of kind ca.  One query; there are few."""

    async def living(self, now: int) -> Mapping[tuple[str, int], int]:
        """(ca, ca_generation) -> unexpired certificates (issued, unknown), a root's own apart.

        Asked for only when a CA was deleted.
        """

    async def ends(self) -> Mapping[tuple[str, int], Ends]:
        """(ca, ca_generation) -> when what it signed ends, its own certificate apart; asked for only when that decides
        something.  One query."""

    async def signed(self) -> Mapping[tuple[str, int], int]:
        """(ca, ca_generation) -> certificates ever signed by it, open intents not counted; only rises.  One query."""

    async def answerable(self, issuer_key: str, ca: str, generation: int, now: int) -> Sequence[str]:
        """Serials of every unexpired certificate of an issuer key (issued, unknown, revoked), in order of number."""

    async def ders(self, ids: Sequence[tuple[str, str]]) -> Sequence[bytes | None]:
        """The certificate of each (issuer_key, serial), None where there is none, in the order asked."""

    async def duties(self, ca: str, generation: int, now: int) -> Sequence[str]:
        """Every different `duty` of a CA generation's unexpired certificates, aborted ones left out.  One query."""

    async def duty_of(self, ids: Sequence[tuple[str, str]]) -> Sequence[str | None]:
        """The duty of each (issuer_key, serial), None where there is no such row, in the order asked."""

    async def owners(self, spkis: Sequence[str], now: int) -> Sequence[Sequence[str]]:
        """For each public key (sha256, hex) the addresses it was certified for: CAs ever, others while it is valid."""

    async def artefacts(self) -> Sequence[Artefact]:
        """The newest of each (kind, name, scope), without bytes."""

    async def artefact(self, kind: str, name: str, scope: str = "") -> Artefact | None:
        """One, with bytes."""

    async def published(self) -> Sequence[Published]: ...

    async def certificates(self, want: Want) -> Sequence[Certificate]:
        """In the order they were created."""

    async def facts(
        self, want: Want, names: Sequence[str], made: Callable[[Iterable[Sequence[Any]]], list[Any]]
    ) -> list[Any]:
        """Fields of the certificates that are wanted, in the order of their creation, while they are read.

        Args:
            want: which certificates.
            names: fields of Certificate.
            made: is given rows of these fields, once or several times, maybe in another thread; what it makes of
                them is joined.  What it keeps is all that is kept: a million certificates need not fit into memory.
        """
        ...

    async def intents(self) -> Sequence[Certificate]:
        """Every row whose status is still intent."""

    async def revocations(self, issuer_key: str, serials: Sequence[str] | None = None) -> Sequence[Revocation]:
        """Every revocation of an issuer key, sorted by serial as a number; or those of these serials, in no order."""

    async def revoked(self) -> Mapping[str, int]:
        """Issuer key -> number of revocations recorded for it, which only rises.  One query."""

    async def blocked(self, spkis: Sequence[str] | None = None) -> Mapping[str, Blocked]:
        """Those of these public keys (sha256, hex) that are on the block list; None asks for the whole list."""

    async def entries(self) -> Mapping[str, int]:
        """[[revoke]] entry -> the end of the last certificate it was about, 0 where it only blocked keys."""

    async def matches(self) -> Sequence[Match]:
        """Every certificate that a [[revoke]] entry was about.  One query; asked for only by an archive."""

    async def archives(self) -> Sequence[Archive]:
        """The receipts of all that was archived.  One query."""

    async def acquire(self, name: str, *, holder: str, now: int, ttl: int) -> Lease:
        """Take the lease, with a higher epoch than anybody before.

        Raises:
            LeaseHeld: somebody holds it and has not expired; says who, where and until when.
        """

    async def renew(self, lease: Lease, *, now: int, ttl: int) -> Lease:
        """Heartbeat.

        Raises:
            LeaseLost: the epoch is no longer ours.
        """

    async def release(self, lease: Lease) -> None: ...

    async def break_lease(self, name: str, *, now: int, actor: str) -> Lease | None:
        """Take the lease from whoever holds it, for a human who knows better; audited.  Whom it was taken from."""

    async def leases(self) -> Sequence[Lease]:
        """Every lease that is held, expired or not."""

    async def commit(self, write: Write, lease: Lease) -> int:
        """Do all of `write` or nothing, durably, with one audit event; returns the new sequence.

        Raises:
            LeaseLost: the lease's epoch is not the newest: nothing was written.
            StateError: a row version differs, a serial is taken (nothing was written), or the store failed.
        """

    async def audit(self, *, after: int = 0, limit: int = 1000) -> Sequence[Audited]: ...

    async def close(self) -> None: ...


@frozen
class NewKey:
    """A key to make: `label` is `ADDRESS@generation`, `alg` one of x509/keys.py's names (ec-p256, ed25519, ...)."""

    label: str
    alg: str


@by_position
@frozen
class KeyFacts:
    """The public side of a held key."""

    label: str
    alg: str
    spki: bytes
    """DER SubjectPublicKeyInfo."""


@by_position
@frozen
class MintedKey:
    """A new key, sealed: safe to pass between processes, useless without the keystore's passphrase."""

    facts: KeyFacts
    sealed: bytes = field(repr=False)


class Signer(Protocol):
    """One private key, for signing only."""

    @property
    def facts(self) -> KeyFacts: ...

    @property
    def deterministic(self) -> bool:
        """Whether signing the same bytes again gives the same signature (resume finishes instead of burning)."""

    def sign(self, tbs: bytes) -> bytes:
        """The signature value for the algorithm x509/keys.py assigns to this key.  The caller verifies it.

        May wait for a token or a network: an event loop calls it in a thread, one call after the other.

        Raises:
            KeyStoreError: the token is gone or refuses.
        """

    def portable(self) -> bytes | None:
        """PKCS#8 DER for a worker process of ours, None for keys that never leave their token."""


Mint = Callable[[Sequence[NewKey]], Sequence[MintedKey]]


class KeyStore(Protocol):
    """Where private keys live.  Creating is idempotent by label; nothing but `destroy` destroys."""

    async def create(self, keys: Sequence[NewKey]) -> Sequence[KeyFacts]:
        """Make those that are not there yet, all durable before this returns; facts in the order asked.

        Raises:
            KeyStoreError: a label exists with another algorithm, or the keystore cannot be opened.
        """

    async def mint(self) -> Mint | None:
        """A picklable function that makes sealed keys in another process, None where keys are made on a token.

        Opens the keystore first, which is why it is awaited.
        """

    async def keep(self, minted: Sequence[MintedKey]) -> Sequence[KeyFacts]:
        """Store minted keys durably; a label that is already there keeps its old key, whose facts are returned."""

    async def find(self, labels: Sequence[str]) -> Mapping[str, KeyFacts]:
        """The facts of those that are there; needs no passphrase."""

    async def labels(self) -> Sequence[str]:
        """Of every key that is there; needs no passphrase."""

    async def about(self) -> Mapping[str, str]:
        """What it is and where, for people, and a `warning` where there is one; needs no passphrase."""

    async def signer(self, label: str) -> Signer:
        """Raises KeyStoreError: not there, wrong passphrase, altered row."""

    async def export(self, labels: Sequence[str]) -> Sequence[bytes]:
        """PKCS#8 DER of each, for declared outputs only.

        Raises:
            KeyStoreError: as `signer`, or private keys never leave this keystore.
        """

    async def destroy(self, keys: Sequence[KeyFacts]) -> None:
        """Destroy these for ever, durably before it returns; what is not there any more is passed over.

        Raises:
            KeyStoreError: a label is another key than this, or keys of this keystore are destroyed elsewhere.
        """

    async def verify(self) -> Sequence[str]:
        """What is wrong with the keystore and the keys in it, one sentence each."""

    async def close(self) -> None: ...


class Publisher(Protocol):
    """One publish target.  A reader never sees half a file; put returns after every file was read back and compared.

    Raises PkicodeError naming the target when it cannot be reached; nothing of the last good data is removed.
    """

    async def put(self, files: Sequence[tuple[str, bytes, str]]) -> None:
        """(path below the target, bytes, content type), each replaced atomically, in order."""

    async def read(self, path: str, *, limit: int) -> bytes | None:
        """The published bytes, None when absent; more than `limit` is an error."""


@frozen
class OutputFile:
    """One declared path and what it must hold."""

    path: str
    """Relative to the root or absolute as declared; may not leave the root through a link."""
    data: bytes = field(repr=False)
    secret: bool
    """Holds a key: gets `mode`, 0600 from creation."""


@frozen
class OutputSet:
    """The files of one certificate, which switch together."""

    address: str
    generation: int
    files: tuple[OutputFile, ...]
    mode: int = 0o600
    owner: str | None = None
    group: str | None = None


@frozen
class World:
    """Everything an apply may touch.  Made by project/world.py, passed down, never global."""

    store: Store
    lease: Lease
    """What commits are made with: the project's lease, or a publish lease; NO_LEASE where only lists are written."""
    publishing: Callable[[Sequence[str]], AbstractAsyncContextManager[tuple[Lease, int]]]
    """publishing(names): hold the publish leases of these CAs; gives the one for commits, and the instant it was got.

    Waited for as long as [state] lock_timeout says, then LeaseHeld.
    """
    keep: Callable[[], Awaitable[None]]
    """Heartbeat of every lease that is held; LeaseLost where one was taken over."""
    keystores: Mapping[str, KeyStore]
    publishers: Mapping[str, Publisher]
    journal: Callable[[Sequence[bytes]], Awaitable[None]]
    """Append certificates (DER) to the issuance journal; fsynced before it returns."""
    journalled: Callable[[], Awaitable[Mapping[str, bytes]]]
    """sha256 of the TBS (hex) -> certificate, of everything in the journal; read only to resume."""
    work: Callable[..., Awaitable[Any]]
    """work(function, *args): run a pure, picklable function in a worker (a process pool, or one thread)."""
    write_outputs: Callable[[Sequence[OutputSet]], Awaitable[Sequence[str]]]
    """Stage and switch each set; an empty text for success, else what went wrong, per set."""
    run_hook: Callable[[Sequence[str], Mapping[str, str]], Awaitable[str]]
    """Run a deploy hook (no shell, time limit); an empty text for success, else what went wrong."""
    secret: Callable[[Any], Awaitable[bytes]]
    """Read a config.language.Secret."""
    now: int
    """The instant of this apply; one value for all of it."""
    serials: Callable[[int], Sequence[int]]
    """As many numbers of 159 random bits, the top one set: 20 octets and positive (RFC 5280 section 4.1.2.2)."""
    reach: Reach
    emit: Callable[[Event], None]
    project: str
    plan_id: str
    session: str
    actor: str
