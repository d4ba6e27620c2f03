"""What pki.toml may say: one frozen class a table, in resolved form.

`decode` builds these from TOML, `jsonschema` and the reference pages are made from them: the metadata of a field holds
its sentence for people (`doc`) and, where the TOML form differs from the Python one, its `form`
(duration, fraction, secret, ...).  Durations are seconds.
"""

from enum import StrEnum

from attrs import frozen

from pkicode.config.says import says
from pkicode.config.scans import ScanSpec
from pkicode.model.names import SanType, Subject
from pkicode.model.reason import REASONS


class OnRemove(StrEnum):
    ORPHAN = "orphan"
    REVOKE = "revoke"
    FORBID = "forbid"


class Rekey(StrEnum):
    YES = "true"
    NO = "false"
    REQUIRE = "require"


@frozen
class Secret:
    """Where a secret is read from when it is needed; exactly one is set.  Holds no secret itself."""

    env: str | None = says("environment variable", default=None)
    file: str | None = says("file; its first line is the secret", default=None)
    command: tuple[str, ...] | None = says(
        "command whose first output line is the secret; never run by plan", default=None
    )
    create: bool = says("with `file`: make a random one if the file is not there, and warn", default=False)


@frozen
class ProjectSpec:
    name: str = says("the project's name; part of every renewal's jitter, so it cannot change")
    requires: str | None = says("versions of pkicode that may read this, e.g. >=0.1,<2", default=None, form="requires")


@frozen
class StateSpec:
    url: str = says(
        "sqlite:///PATH, relative to the root, or postgresql://USER@HOST:PORT/DATABASE?schema=NAME",
        default="sqlite:///.pkicode/state.db",
        form="state-url",
    )
    password: Secret | None = says("of the PostgreSQL role: env, file or command; never a literal", default=None)
    lock_timeout: int = says("how long apply waits for another apply", form="duration", default=30)
    keep: int | None = says(
        "how long after its end a certificate stays in the inventory; `pkicode state prune` then archives it",
        form="kept",
        default=None,
    )
    plan_ttl: int = says("how long a saved plan may be applied", form="duration", default=86400)


@frozen
class KeystoreSpec:
    name: str
    type: str = says("a sealed file, a PKCS #11 token, or a command that signs", choices=("file", "pkcs11", "command"))
    path: str = says("file: one sealed file, 0600", default=".pkicode/keys.db", form="path")
    passphrase: Secret | None = says("file: env, file or command; never a literal", default=None)
    uri: str | None = says(
        "pkcs11: the token (RFC 7512), as in pkcs11:token=corp; a PIN has no place in it",
        default=None,
        form="pkcs11-uri",
    )
    module: str | None = says(
        "pkcs11: the library that speaks for the token, if the URI has no module-path", default=None, form="path"
    )
    pin: Secret | None = says("pkcs11: the user's PIN; env, file or command; never a literal", default=None)
    keys: dict[str, str] = says('pkcs11: keys that are there already: { "ca.root@1" = "pkcs11:id=%01" }', factory=dict)
    command: tuple[str, ...] = says("command: the program that signs, and its arguments; never run by plan", default=())
    timeout: int = says("command: how long one answer may take", form="duration", default=30)
    offline: bool = says("file: the keys are on another machine; `path` is a folder with their cards", default=False)


@frozen
class PublishSpec:
    name: str
    url: str = says("any fsspec URL; file:// and relative paths are local folders inside the root unless absolute")
    base_url: str = says(
        "the http URL under which `url` is served; goes into CDP and AIA where `content` has ca and crl",
        form="http-url",
    )
    content: tuple[str, ...] = says(
        "what to publish", default=("ca", "crl", "bundle"), choices=("ca", "crl", "ocsp", "bundle")
    )


_SIGNING_ALGS = (
    *("ec-p256", "ec-p384", "ec-p521", "rsa-2048", "rsa-3072", "rsa-4096", "ed25519", "ed448"),
    *("ml-dsa-44", "ml-dsa-65", "ml-dsa-87"),
)
_KEY_ALGS = (*_SIGNING_ALGS, "ml-kem-768", "ml-kem-1024")
_STORE = "the [keystore.X] that holds it; the only one declared if absent"


@frozen
class CaKeySpec:
    """Of a CA: what signs."""

    alg: str = says(" ".join(_SIGNING_ALGS), default="ec-p256", choices=_SIGNING_ALGS)
    store: str | None = says(_STORE, default=None)


@frozen
class KeySpec:
    """Of a leaf: ML-KEM keys too, which secrets are enciphered to and which sign nothing."""

    alg: str = says(" ".join(_KEY_ALGS), default="ec-p256", choices=_KEY_ALGS)
    store: str | None = says(_STORE, default=None)


@frozen
class NameConstraints:
    """One permit_* shuts every type of name that has none, rid, upn and dirname too; exclude_* alone shuts no type."""

    permit_dns: tuple[str, ...] = says("`corp.example` is itself and everything below", default=())
    exclude_dns: tuple[str, ...] = says("see permit_dns", default=())
    permit_ip: tuple[str, ...] = says("networks", default=())
    exclude_ip: tuple[str, ...] = says("networks", default=())
    permit_email: tuple[str, ...] = says("a mailbox, a host, or .domain", default=())
    exclude_email: tuple[str, ...] = says("see permit_email", default=())
    permit_uri: tuple[str, ...] = says("a host, or .domain", default=())
    exclude_uri: tuple[str, ...] = says("see permit_uri", default=())


@frozen
class CrlSpec:
    validity: int = says("next_update - this_update", form="duration", default=7 * 86400)
    refresh: int = says("signed again after this long even when nothing changed", form="duration", default=86400)
    shards: int = says("lists beside the full one, 2 to 256; each leaf names one of them; 0 = none", default=0)


@frozen
class Rotate:
    every: int = says("a new key generation is made when the newest is this old", form="duration")
    prepublish: int = says("it is published this long before it issues", form="duration", default=14 * 86400)


@frozen
class OcspSpec:
    url: str = says("the http URL of the responders; goes into AIA of what the CA issues", form="http-url")
    validity: int = says(
        "next_update - this_update; 15d at most, half the life of who signs", form="duration", default=4 * 86400
    )
    refresh: int = says("signed again after this long even when nothing changed", form="duration", default=86400)
    store: str | None = says(
        "of an offline CA, and only there: the [keystore.X] at hand with the keys that sign answers", default=None
    )
    delegate: int = says(
        "of an offline CA: how long the certificate of who signs answers holds; a ceremony signs the next one when"
        " two thirds are over",
        form="duration",
        default=548 * 86400,
    )


@frozen
class CaSpec:
    """[ca.X], resolved."""

    issuer: str | None = says("the [ca.Y] that signs it; absent = self-signed root", default=None)
    subject: Subject = says('distinguished name, e.g. { cn = "Root", o = "Corp" }', form="subject", default=())
    key: CaKeySpec = says("algorithm and keystore", factory=CaKeySpec)
    validity: int = says("not_after - not_before + 1 s", form="duration", default=10 * 365 * 86400)
    backdate: int = says("how far not_before lies before issuance, 1s or more", form="duration", default=300)
    path_len: int | None = says("how many CAs may follow below", default=None)
    name_constraints: NameConstraints | None = says("RFC 5280 section 4.2.1.10; critical", default=None)
    policies: tuple[str, ...] = says("certificate policy OIDs", default=())
    crl: CrlSpec = says("how its CRL is refreshed", factory=CrlSpec)
    rotate: Rotate | None = says("when the next key generation is made; a root's waits for leave", default=None)
    cross_sign: tuple[str, ...] = says("roots that sign this root's key as well", default=())
    overlap: int = says(
        "of a root: how long clients may go on with an older trust bundle", form="duration", default=30 * 86400
    )
    offline: bool = says("its key is on another machine: ceremonies sign for it", default=False)
    retired: bool = says("it issues nothing any more; its CRL goes on while what it signed lives", default=False)
    ocsp: OcspSpec | None = says("pre-signed OCSP answers; absent = none", default=None)
    publish: tuple[str, ...] = says("the [publish.X] its files go to", default=())
    protect: bool = says("refuse to plan its removal", default=False)
    note: str = says("for people", default="")
    base_urls: tuple[str, ...] = says(
        "derived: base URLs of the *issuer's* publish targets (CDP, AIA)", default=(), derived=True
    )
    own_base_urls: tuple[str, ...] = says("derived: base URLs of its own publish targets", default=(), derived=True)
    ocsp_urls: tuple[str, ...] = says("derived: OCSP URL of the *issuer* (AIA)", default=(), derived=True)


@frozen
class Allow:
    """Which names a profile lets through; a type that is not given allows none of that type."""

    dns: tuple[str, ...] = says("`host.example` exactly, `.example` everything below it", default=())
    ip: tuple[str, ...] = says("networks", default=())
    email: tuple[str, ...] = says("a mailbox, `@host`, or `.domain`", default=())
    uri: tuple[str, ...] = says("prefixes, ending in / unless the whole URI is meant", default=())
    wildcard: bool = says("whether `*.` names are allowed", default=False)


@frozen
class Renew:
    at: str = says(
        "a fraction of the validity (2/3), or a duration before the end (30d)",
        form="fraction-or-duration",
        default="2/3",
    )
    jitter: str = says("how much earlier at random, in percent of the validity", form="percent", default="10%")
    rekey: Rekey = says('true: a new key each time; false: the same; "require": wait for a new CSR', default=Rekey.YES)


@frozen
class Output:
    chain: str | None = says("PEM, leaf first, no root", default=None, form="path")
    key: str | None = says("PKCS#8 PEM, 0600 unless mode says otherwise", default=None, form="path")
    p12: str | None = says("PKCS#12", default=None, form="path")
    p12_password: Secret | None = says("password of the PKCS#12 file", default=None)
    combined: str | None = says("key, then chain, in one PEM", default=None, form="path")
    mode: str = says("octal, of every file that holds a key", default="0600", form="mode")
    owner: str | None = says("user, for root", default=None)
    group: str | None = says("group", default=None)


SECRET_FILES = ("key", "p12", "combined")
"""Fields of an Output that are paths of files with a key in them."""
OUTPUT_FILES = ("chain", *SECRET_FILES)


@frozen
class CsrSpec:
    dir: str = says("folder of the CSRs, inside the root", form="path")
    file: str = says("file name, PEM or DER")


@frozen
class ForEach:
    """Exactly one source."""

    values: tuple[str, ...] | None = says("${each.value}, its own key", default=None)
    matrix: dict[str, tuple[str, ...]] | None = says("every combination", default=None)
    csv: str | None = says("CSV file with a header line", default=None, form="path")
    jsonl: str | None = says("one JSON object a line", default=None, form="path")
    key: str | None = says("a column, or for a matrix a template such as ${each.app}.${each.region}", default=None)
    where: dict[str, tuple[str, ...]] = says("column = value or list of values", factory=dict)


@frozen
class CertSpec:
    """[cert.X] with its profile merged in; strings may still hold ${each.x}."""

    profile: str = says("the [profile.X] it follows")
    issuer: str = says("the [ca.X] that signs it (from the profile)")
    cn: str | None = says("common name; must be among the SANs when it looks like a host", default=None)
    subject: Subject = says("further attributes of the distinguished name", form="subject", default=())
    dns: tuple[str, ...] = says("dNSName SANs", default=())
    ip: tuple[str, ...] = says("iPAddress SANs", default=())
    email: tuple[str, ...] = says("rfc822Name SANs", default=())
    uri: tuple[str, ...] = says("uniformResourceIdentifier SANs", default=())
    rid: tuple[str, ...] = says("registeredID SANs", default=())
    upn: tuple[str, ...] = says("otherName user principal names", default=())
    dirname: tuple[str, ...] = says("directoryName SANs, RFC 4514", default=())
    csr: CsrSpec | None = says("the key stays on the host, which hands in this request", default=None)
    key: KeySpec = says("algorithm and keystore", factory=KeySpec)
    validity: int = says("not_after - not_before + 1 s", form="duration", default=90 * 86400)
    backdate: int = says("how far not_before lies before issuance, 1s or more", form="duration", default=300)
    usage: tuple[str, ...] = says("keyUsage bits", default=("digitalSignature",))
    eku: tuple[str, ...] = says("extended key usages, names or OIDs", default=())
    policies: tuple[str, ...] = says("certificate policy OIDs", default=())
    allow: Allow | None = says("which names are let through (profile only)", default=None)
    must_staple: bool = says("RFC 7633 TLS feature", default=False)
    ocsp_nocheck: bool = says("RFC 6960 section 4.2.2.2.1", default=False)
    revocation: str = says("crl, or none (RFC 9608: noRevAvail and no CDP)", default="crl", choices=("crl", "none"))
    renew: Renew = says("when and how it is replaced", factory=Renew)
    on_remove: OnRemove = says("what deleting the block means; remembered in state", default=OnRemove.ORPHAN)
    reissue: bool = says("whether a revoked certificate is replaced", default=True)
    lint: tuple[str, ...] = says("rule sets; rfc5280 is always on", default=("rfc5280",), choices=("rfc5280",))
    copy: tuple[str, ...] = says(
        "SAN types taken over from a CSR", default=(), choices=tuple(str(one) for one in SanType)
    )
    output: Output | None = says("files to write", default=None)
    after: tuple[str, ...] = says("deploy hook: a command, run after its outputs changed", default=())
    endpoints: tuple[str, ...] = says(
        "where it is served, as in portal.example.org:443: `cert.NAME` as a target of a scan means them", default=()
    )
    protect: bool = says("refuse to plan its removal", default=False)
    note: str = says("for people", default="")
    for_each: ForEach | None = says("one certificate a row", default=None)
    base_urls: tuple[str, ...] = says(
        "derived: base URLs of the issuer's publish targets (CDP, AIA)", default=(), derived=True
    )
    crl_shards: int = says("derived: the shards of the issuer's CRL (CDP)", default=0, derived=True)
    ocsp_urls: tuple[str, ...] = says("derived: OCSP URL of the issuer (AIA)", default=(), derived=True)


@frozen
class Deny:
    rsa_bits_below: int | None = says("smallest RSA key let through, of CAs, leaves and CSRs", default=None)
    hashes: tuple[str, ...] = says(
        "hashes that no signature may use; the issuer's key decides which it is",
        default=(),
        choices=("md5", "sha1", "sha224", "sha256", "sha384", "sha512"),
    )
    key_algs: tuple[str, ...] = says("key algorithms refused, of CAs, leaves and CSRs", default=(), choices=_KEY_ALGS)
    validity_above: int | None = says("longest leaf validity let through", form="duration", default=None)
    wildcard: bool = says("refuse wildcard names, also those of CSRs", default=False)


@frozen
class PolicySpec:
    max_actions: dict[str, int] = says("blast-radius brake per action: { issue = 5000, revoke = 50 }", factory=dict)
    deny: Deny = says("what no certificate may have", factory=Deny)
    hooks: tuple[tuple[str, ...], ...] = says("commands that included files may name in `after`", default=())
    require_approval: tuple[str, ...] = says(
        "globs of addresses, as in ca.*: what changes there waits until an [approver.X] has approved the plan",
        default=(),
    )


@frozen
class ApproverSpec:
    """[approver.X], in the root file only."""

    name: str
    public_key: str = says("SubjectPublicKeyInfo, as PEM or its base64", form="public-key")


@frozen
class Moved:
    """[[moved]]"""

    from_: str = says("old address", form="address")
    to: str = says("new address", form="address")


@frozen
class Forget:
    """[[forget]]"""

    address: str = says("stop managing it and leave the certificate alone", form="address")


@frozen
class Revoke:
    """[[revoke]], an append-only list: taking an entry out un-revokes nothing."""

    id: str = says("names this decision for ever; each entry its own", form="entry-id")
    reason: str = says(
        f"{' '.join(REASONS)} (RFC 5280 section 5.3.1)",
        form="reason",
    )
    serial: str | None = says(
        "selects one certificate, in hex; with `ca` unless only one has it", default=None, form="serial"
    )
    cert: str | None = says(
        "selects certificates of an address, with `issued_before` or `generation`", default=None, form="cert-address"
    )
    ca: str | None = says("with `generation`, selects that CA itself; with `serial`, says who issued it", default=None)
    spki: str | None = says(
        "selects all certificates with a key: sha256 of its SPKI, in hex; block-listed for ever",
        default=None,
        form="spki",
    )
    csv: str | None = says(
        "selects the serials of a file: columns serial and, optionally, ca", default=None, form="path"
    )
    issued_before: int | None = says("with `cert`: those issued before this instant", default=None, form="instant")
    generation: int | None = says("with `cert` or `ca`: that generation", default=None)
    all_keys: bool = says("with `cert`: every row of the fan-out is meant", default=False)
    compromised_at: int | None = says("since when, for invalidityDate in the CRL", default=None, form="instant")
    wait: bool = says("whether a reason that is no compromise waits until the replacement is in place", default=True)
    note: str = says("for people", default="")


COMPROMISES = frozenset({"keyCompromise", "cACompromise", "aACompromise"})
"""Reasons that revoke first and replace afterwards; the keys are block-listed for ever."""


@frozen
class Settings:
    """Everything in pki.toml that is not a block."""

    project: ProjectSpec
    state: StateSpec
    keystores: tuple[KeystoreSpec, ...]
    publish: tuple[PublishSpec, ...]
    policy: PolicySpec
    approvers: tuple[ApproverSpec, ...] = ()
    moved: tuple[Moved, ...] = ()
    forget: tuple[Forget, ...] = ()
    revoke: tuple[Revoke, ...] = ()
    scans: tuple[ScanSpec, ...] = ()
