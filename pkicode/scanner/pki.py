"""The family PKI of a scan: what is to be thought of the chains a target sent.  Pure: the instant is a parameter.

Each check gives one finding, the worst of all chains; a hostile certificate is a finding, never an exception.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from attrs import frozen

from pkicode.model.counted import counted
from pkicode.model.instants import DAY, duration, rfc3339
from pkicode.scanner import grade, hostname, staple, transparency, trust
from pkicode.scanner.certificate import Facts, quietly
from pkicode.scanner.chain import Chain, Role, chains
from pkicode.scanner.finding import Endpoint, Finding, Grade, Judged, Target
from pkicode.scanner.strength import key_of, signature_of
from pkicode.scanner.target import is_address
from pkicode.scanner.told import Told, worst
from pkicode.scanner.trust import TrustStore

WARN_EXPIRY = 30 * DAY
"""How long before the end of a chain it is told of."""
THIRD_PARTIES = ("OCSP", "CRL")
"""Checks for which others than the target are asked (revocation.py), where a scan is told to."""


@frozen
class Means:
    """What judging needs besides the target's bytes."""

    now: int
    stores: tuple[TrustStore, ...] = ()
    """Roots that clients of these targets have; a chain is good if one of the stores trusts it."""
    warn_expiry: int = WARN_EXPIRY
    """Seconds; a short-lived certificate is told of when a third of its life is left."""
    log_keys: tuple[bytes, ...] = ()
    """DER SubjectPublicKeyInfo of the logs whose SCTs can be verified."""


_UNREAD = Finding(
    "PKI",
    "Certificates",
    Grade.UNKNOWN,
    "unread",
    "No certificate was read: none was sent, or more than a client takes.",
)


def judge(endpoint: Endpoint, means: Means) -> tuple[tuple[Finding, ...], tuple[Judged, ...]]:
    """The findings of the family PKI and the verdict of each store on each chain; none where no chain was sent."""
    with quietly():
        return _judge(endpoint, means)


def _judge(endpoint: Endpoint, means: Means) -> tuple[tuple[Finding, ...], tuple[Judged, ...]]:
    sent = tuple(chains(endpoint.chains))
    if not sent:
        return ((_UNREAD,) if endpoint.state == "tls" and grade.is_certified(endpoint) else ()), ()
    verdicts = tuple(trust.judged(chain, store, now=means.now) for chain in sent for store in means.stores)

    def each(check: str, judged: Callable[[Chain], Iterator[Told]]) -> Finding:
        return worst(check, [told for chain in sent for told in judged(chain)])

    findings = (
        each("Certificates", _encoding),
        each("ChainExpiration", lambda chain: _expiration(chain, means)),
        each("ChainValidation", lambda chain: _validation([one for one in verdicts if one.slot == chain.slot])),
        each("ChainOrder", lambda chain: _order(chain, means.stores)),
        each("HostName", lambda chain: _host(chain.leaf, endpoint.target)),
        each("Keys", lambda chain: _path(chain, key_of)),
        each("Signatures", _signatures),
        worst("MultipleCerts", [_multiple(sent)]),
        worst("Staple", [staple.judge(sent[0], endpoint.staple, means.stores, now=means.now)]),
        worst("SCTs", [transparency.judge(sent[0], endpoint, means.stores, means.log_keys, now=means.now)]),
    )
    return findings, verdicts


def _encoding(chain: Chain) -> Iterator[Told]:
    for position, one in enumerate(chain.certificates):
        grade = Grade.BAD if position == 0 else Grade.WARNING
        for trouble in one.trouble:
            yield Told(grade, "malformed", f"`{one.called}`: {trouble}")
        if any(not (name.isascii() and name.isprintable()) for name in one.sans):
            message = "has a name with a NUL, a control or a mark that turns text around: it deceives whoever reads it"
            yield Told(Grade.BAD, "deceptive", f"`{one.called}` {message}")
    yield Told(Grade.GOOD, "ok", f"{counted(len(chain.certificates), 'certificate')}, all of them readable")


def _expiration(chain: Chain, means: Means) -> Iterator[Told]:
    judged = [chain.certificates[at] for at in chain.path if chain.role(at) is not Role.ROOT]
    ends = []
    for one in judged:
        if one.not_before is None or one.not_after is None:
            yield Told(Grade.BAD, "malformed", f"`{one.called}` has no dates that can be read")
            continue
        ends.append(one.not_after)
        yield from _dates(one.called, one.not_before, one.not_after, means)
    if ends:
        yield Told(Grade.GOOD, "ok", f"the first certificate of the chain ends {rfc3339(min(ends))}")


def _dates(called: str, begins: int, ends: int, means: Means) -> Iterator[Told]:
    warned = min(means.warn_expiry, (ends - begins) // 3)
    if ends < means.now:
        yield Told(Grade.BAD, "expired", f"`{called}` ended {rfc3339(ends)}; renew it")
    elif begins > means.now:
        yield Told(Grade.BAD, "not-yet-valid", f"`{called}` begins {rfc3339(begins)}; look at the clocks")
    elif ends - means.now < warned:
        left = duration((ends - means.now) // DAY * DAY) if ends - means.now >= DAY else "less than a day"
        yield Told(Grade.WARNING, "soon", f"`{called}` ends {rfc3339(ends)}, in {left}; renew it")


_STRANGE = ("self-signed", "untrusted-root", "unknown-issuer")
"""Of a store that does not have the root."""


def _validation(verdicts: Sequence[Judged]) -> Iterator[Told]:
    trusting = [one.store for one in verdicts if one.ok]
    reasons = [f"{one.store}: {one.reason}" for one in verdicts if not one.ok]
    words = {one.reason.partition(":")[0] for one in verdicts}
    if not verdicts:
        yield Told(Grade.SKIPPED, "no-store", "no trust store was given to judge by")
    elif trusting:
        yield Told(Grade.GOOD, "ok", f"trusted by {', '.join(trusting)}")
    elif "unjudged" in words:
        yield Told(Grade.UNKNOWN, "unjudged", "; ".join(reasons))
    else:
        # A store that knows the root says what is wrong; the others only that they do not know it.
        told = next((one for one in verdicts if one.reason.partition(":")[0] not in _STRANGE), verdicts[0])
        yield Told(Grade.BAD, told.reason.partition(":")[0], "; ".join(reasons))


def _order(chain: Chain, stores: Sequence[TrustStore]) -> Iterator[Told]:
    roles = [chain.role(position) for position in range(len(chain.certificates))]
    if chain.unread:
        more = counted(chain.unread, "certificate")
        message = f"{more} beyond what anybody needs came with it; send the leaf and its issuers"
        yield Told(Grade.WARNING, "extra", message)
    if stores and not chain.top.self_signed and not trust.is_anchored(chain, stores):
        message = f"the issuer of `{chain.top.called}` was not sent; add it, or clients have to guess where it is"
        yield Told(Grade.BAD, "missing", message)
    if not chain.is_in_order:
        yield Told(Grade.WARNING, "misordered", "each certificate should certify the one before it; sort the file")
    for position, role in enumerate(roles):
        if role is Role.EXTRA:
            message = f"`{chain.certificates[position].called}` does not belong to this chain; leave it out"
            yield Told(Grade.WARNING, "extra", message)
    root = " and the root, which clients have themselves" if Role.ROOT in roles else ""
    yield Told(Grade.GOOD, "ok", f"the leaf, {roles.count(Role.INTERMEDIATE)} intermediates{root}, in order")


def _host(leaf: Facts, target: Target) -> Iterator[Told]:
    asked = target.server_name or target.host
    if hostname.names(leaf, asked):
        yield Told(Grade.GOOD, "ok", "the certificate names the host")
    elif is_address(asked):
        message = "scanned by its address, which the certificate does not name; scan it by its name to have it judged"
        yield Told(Grade.SKIPPED, "address", message)
    else:
        named = ", ".join(leaf.sans[:5]) or "nobody"
        message = f"the certificate is not for `{asked}`; it names {named}{' ...' if len(leaf.sans) > 5 else ''}"
        yield Told(Grade.BAD, "mismatch", message)


def _path(chain: Chain, judged: Callable[[Facts], Told]) -> Iterator[Told]:
    return (judged(chain.certificates[position]) for position in chain.path)


def _signatures(chain: Chain) -> Iterator[Told]:
    # A root's signature of itself proves nothing, and nobody looks at it.
    return (signature_of(chain.certificates[at]) for at in chain.path if chain.role(at) is not Role.ROOT)


def _multiple(sent: Sequence[Chain]) -> Told:
    leaves = {chain.leaf.sha256: chain.leaf for chain in sent}
    algorithms = ", ".join(sorted({one.key_alg or "unknown" for one in leaves.values()}))
    return Told(Grade.GOOD, str(len(leaves)), f"leaf certificates with keys of {algorithms}")


def same_everywhere(endpoints: Sequence[Endpoint]) -> Finding:
    """MultipleCerts of one host at several addresses: whether each serves the same leaf certificates."""
    served = {
        str(one.target): frozenset(chain.leaf.sha256 for chain in chains(one.chains)) for one in endpoints if one.chains
    }
    return worst("MultipleCerts", [_same(served)])


def _same(served: Mapping[str, frozenset[str]]) -> Told:
    if len(served) < 2:
        return Told(Grade.SKIPPED, "one-address", "TLS is spoken at fewer than two addresses")
    if len(set(served.values())) == 1:
        return Told(Grade.GOOD, "same", f"{len(served)} addresses serve the same certificates")
    usual = max(served.values(), key=list(served.values()).count)
    others = ", ".join(name for name, leaves in served.items() if leaves != usual)
    return Told(Grade.WARNING, "different", f"other certificates than most are at {others}")


def unasked() -> tuple[Finding, ...]:
    """Of a scan that asks no third parties; no letter hangs on it."""
    message = "nobody was asked: --revocation, or revocation = true in a [scan.X], asks whom the certificates name"
    return tuple(worst(check, [Told(Grade.SKIPPED, "unasked", message)]) for check in THIRD_PARTIES)
