"""Leaf certificates: what [cert.X] says, when a row is issued, renewed, revoked or forgotten, and what state remembers.

Words of RFC 3647: renewal keeps the key, re-key makes a new one, modification changes what the certificate says.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import sha256

from attrs import evolve

from pkicode.config.csr import CsrError, CsrFiles
from pkicode.config.language import CertSpec, CsrSpec, Deny, OnRemove, Rekey
from pkicode.config.reader import Config
from pkicode.config.rows import filler
from pkicode.config.rows import rows as config_rows
from pkicode.kinds import authority as authorities
from pkicode.kinds import cert_ahead as ahead
from pkicode.kinds import deny, names_check, preview
from pkicode.kinds.doomed import REASONS as DOOMED
from pkicode.kinds.doomed import Doomed, barred, doomed, lists_of
from pkicode.kinds.leaf import due_elsewhere, filled, keeps_key, key_again, profile_of
from pkicode.kinds.rows import columns, forgotten
from pkicode.model.address import Address
from pkicode.model.change import Action, Change, Layered, Readiness, Reason, ReasonCode
from pkicode.model.instants import duration, rfc3339
from pkicode.model.names import Sans, SanType
from pkicode.model.problem import Problem
from pkicode.model.row import Block, Held, Row
from pkicode.plan.kind import Difference, FieldClass, Kind, Outlook, Run, covers
from pkicode.x509.names import san_text, subject_text
from pkicode.x509.request import csr

_NEW_ALONE = (Reason(ReasonCode.NEW),)
_NOTHING_DENIED = Deny()
_OWN = ("key", "sans", "subject")
_WITH_REQUEST = (*_OWN, "csr")
_NOW, _NEXT, _META = FieldClass.NOW, FieldClass.NEXT, FieldClass.METADATA
CLASSES = {
    **dict.fromkeys(("cn", "subject", "dns", "ip", "email", "uri", "rid", "upn", "dirname"), _NOW),
    **dict.fromkeys(("usage", "eku", "issuer", "csr", "key.store", "must_staple", "ocsp_nocheck"), _NOW),
    **dict.fromkeys(("validity", "backdate", "key", "key.alg", "policies", "revocation"), _NEXT),
    **dict.fromkeys(("base_urls", "crl_shards", "ocsp_urls", "lint", "copy"), _NEXT),
    **dict.fromkeys(("profile", "allow", "renew", "on_remove", "reissue", "output", "after"), _META),
    **dict.fromkeys(("endpoints", "protect", "note"), _META),
    "for_each": FieldClass.NOTHING,
}
_CERTIFICATE_FIELDS = tuple(sorted(field for field, one in CLASSES.items() if one is _NOW and "." not in field))


def blocks(config: Config) -> list[Block]:
    # By name: the order of stanzas means nothing, not even to the bytes of a plan.
    return sorted((block for block in config.blocks if block.kind == "cert"), key=lambda block: block.name)


def rows(block: Block, outlook: Outlook) -> Iterator[Row]:
    return config_rows(outlook.config, block, outlook.problems)


def needs(block: Block, row: Row, outlook: Outlook) -> str:
    taken = doomed(outlook)
    if taken and (block.name, row.key) in taken:
        return "what this plan takes away"  # no row stands on that: diff looks closer
    # The CA, not its generation: a rotation reissues no leaf.
    return _stands_on(block.spec.issuer)[0]


@lru_cache(maxsize=256)
def _stands_on(issuer: str) -> tuple[str]:
    """The address of its CA, made once: the changes of 100,000 rows share it."""
    return (f"ca.{issuer}",)


def check(block: Block, outlook: Outlook) -> Iterator[Problem]:
    spec: CertSpec = block.spec
    place, at = block.source.place, f"cert.{block.name}"
    standing = authorities.issuing(spec.issuer, outlook)
    if standing is None:
        return
    for reason in profile_of(spec, standing.stem).check(spec.key.alg):
        field = "eku" if reason.startswith("eku") else "usage"
        mend = "`pkicode explain E0404` says what goes with what"
        yield Problem("E0404", f"[{at}]: {reason}", help=mend, place=place(field), address=at)
    if outlook.config.ca(spec.issuer).retired:
        message = f"ca.{spec.issuer} is retired: it will not renew what {at} has"
        mend = "name another CA as the issuer of its profile"
        yield Problem("W0419", message, help=mend, place=place("issuer"), address=at)
    elif standing.authority and standing.not_after < outlook.now + spec.validity:
        message = f"ca.{standing.name} ends {rfc3339(standing.not_after)}, before a {at} issued now would"
        mend = "declare the CA that follows it and move the profile's issuer there"
        if outlook.config.ca(spec.issuer).rotate:
            mend = "apply makes its next generation, which is due by `rotate`; that issues once it was published"
        yield Problem("W0415", message, help=mend, place=place("validity"), address=at)


def audit_rows(block: Block, row: Row, outlook: Outlook) -> Iterator[Problem]:
    """The names of one row: syntax, the profile's allow-list, the constraints of every CA above."""
    checked = names_check.check(block, row, filled(block, row, outlook.memo), outlook)
    yield from checked.problems
    standing = authorities.issuing(block.spec.issuer, outlook)
    if standing and not checked.problems:
        yield from _linted(block, checked, standing, outlook)


def _linted(
    block: Block, checked: names_check.Checked, standing: authorities.Standing, outlook: Outlook
) -> list[Problem]:
    """What lint says of the first row of a template; the others differ in names, which are checked row by row."""
    memo_key = ("linted", block.template_id)
    if memo_key in outlook.memo:
        return []
    outlook.memo[memo_key] = True
    profile = profile_of(block.spec, standing.stem)
    return list(preview.problems(block, profile, checked.subject, checked.sans, standing, outlook))


def diff(
    block: Block | None, row: Row | None, held: Held | None, outlook: Outlook, difference: Difference
) -> Change | None:
    if block is None or row is None:
        return _removed(held, outlook) if held else None
    spec = filled(block, row, outlook.memo)
    if held is None or held.is_forgotten:
        return _issued(block, row, held, spec, outlook, _NEW_ALONE)
    taken = _taken(held, outlook)
    if taken and spec.reissue:
        is_due = () if taken.first or held.due > outlook.now else (Reason(ReasonCode.DUE, f"due {rfc3339(held.due)}"),)
        return _issued(block, row, held, spec, outlook, taken.reasons + is_due)
    reason = None if taken else _reason(block, row, held, spec, outlook, difference)
    if reason is not None:
        return _issued(block, row, held, spec, outlook, (reason,))
    metadata = difference.of(FieldClass.METADATA)
    if spec.csr and not _handed_in(row.values) and columns(held.values)[:-1] == columns(row.values)[:-1]:
        # A request that is away for a while is remembered: back again, it is no other one.
        row = evolve(row, values=held.values)
    if metadata or held.values != row.values or held.needs != _stands_on(spec.issuer)[0]:
        fields = _ticked(metadata)
        said = Reason(ReasonCode.SPEC_CHANGED, f"{fields} changed, no signature" if fields else "no signature")
        return Change(
            held.address,
            Action.UPDATE,
            held.generation,
            (said,),
            block,
            row,
            held,
            after={"on_remove": str(spec.on_remove), "protect": spec.protect},
        )
    return None


def _taken(held: Held, outlook: Outlook) -> Doomed | None:
    """Why the current certificate is good no more, or will not be after this plan; None where it is."""
    if held.status in DOOMED:
        return Doomed((Reason(DOOMED[held.status]),), first=True)
    return doomed(outlook).get((held.name, held.key), {}).get(held.generation)


def _reason(
    block: Block, row: Row, held: Held, spec: CertSpec, outlook: Outlook, difference: Difference
) -> Reason | None:
    """Why this row needs a new certificate, None where it does not."""
    if fields := difference.of(FieldClass.NOW):
        return Reason(ReasonCode.SPEC_CHANGED, f"{_ticked(fields)} changed")
    if held.values != row.values:
        if spec.csr and columns(held.values)[:-1] == columns(row.values)[:-1]:
            if _handed_in(row.values):
                return Reason(ReasonCode.KEY_CHANGED, "another CSR")
        elif changed := _changed_columns(block, row, held, spec, outlook):
            return Reason(ReasonCode.SPEC_CHANGED, f"{_ticked(changed)} changed")
    waiting = difference.of(FieldClass.NEXT)
    if waiting and covers((outlook.allow.get("reissue", ""),), held.address):
        return Reason(ReasonCode.SPEC_CHANGED, " ".join(f"`{one}`" for one in waiting) + " changed, not awaited")
    if held.due <= outlook.now:
        return Reason(ReasonCode.DUE, f"due {rfc3339(held.due)}")
    return None


def _ticked(fields: Iterable[str]) -> str:
    return " ".join(f"`{one}`" for one in fields)


def _changed_columns(block: Block, row: Row, held: Held, spec: CertSpec, outlook: Outlook) -> tuple[str, ...]:
    """Which fields of the certificate the row's other values change; all, when the columns cannot be compared."""
    expected = len(block.columns) + (1 if spec.csr else 0)
    if len(columns(held.values)) != expected:
        return ("for_each",)
    before = filled(block, Row(row.key, held.values), outlook.memo)
    return tuple(one for one in _CERTIFICATE_FIELDS if getattr(before, one) != getattr(spec, one))


def _issued(
    block: Block, row: Row, held: Held | None, spec: CertSpec, outlook: Outlook, reasons: tuple[Reason, ...]
) -> Change | None:
    """The change that gives this row a new certificate; None, with a problem told, where its names cannot stand."""
    checked = names_check.check(block, row, spec, outlook)
    outlook.problems.extend(checked.problems)
    standing = authorities.issuing(spec.issuer, outlook)
    if standing is None or checked.problems:
        return None
    outlook.problems.extend(_linted(block, checked, standing, outlook))
    late = outlook.once(("outlives", block.template_id), lambda: ahead.outlives(block, standing, outlook))
    address = Address("cert", block.name, row.key)
    # A number is never reused, not even that of a certificate nobody knows the signature of.
    generation = max(held.generation if held else 0, outlook.snapshot.taken(str(address))) + 1
    taken = _taken(held, outlook) if held else None
    depends_on = _stands_on(spec.issuer) + authorities.taken_by(spec.issuer, outlook)
    if held and taken and taken.first:
        # A compromise is published before there is a new key.
        lists = lists_of(held.needs.removeprefix("ca."), outlook.config)
        depends_on = tuple(dict.fromkeys(depends_on + taken.by + lists))
    change = Change(
        address,
        Action.RENEW if held and not held.is_forgotten else Action.ISSUE,
        generation,
        reasons,
        block,
        row,
        held,
        before={"due": rfc3339(held.due), "generation": held.generation} if held else None,
        after=_after(block, row, spec, outlook, keeps=keeps_key(spec, held, reasons[0])),
        irreversible=True,
        depends_on=depends_on,
    )
    if late:
        return evolve(change, readiness=Readiness.WAITING, waits=late)
    return _held_back(change, spec, checked.sans, standing, outlook)


def _handed_in(values: str) -> str:
    """The digest of the CSR, which is the last of a row's values; "" where there is no file.  Hex needs no escapes."""
    return values.rsplit('"', 2)[1]


def _common(block: Block, outlook: Outlook) -> dict[str, object]:
    """What a change says of every row of a block, worked out once."""
    spec: CertSpec = block.spec
    return outlook.once(
        ("common", block.template_id),
        lambda: {
            "issuer": _stands_on(spec.issuer)[0],
            "key_alg": spec.key.alg,
            "profile": spec.profile,
            "validity": duration(spec.validity),
        },
    )


def _after(block: Block, row: Row, spec: CertSpec, outlook: Outlook, *, keeps: bool) -> Layered:
    key = "csr" if spec.csr else "same" if keeps else "new"
    # Which CSR was looked at: another one under the same name is another key, and so another plan.
    handed_in = bool(spec.csr) and bool(_handed_in(row.values))
    own_of = outlook.once(("own", block.template_id, key, handed_in), lambda: _own_of(block, key, handed_in=handed_in))
    return Layered(_common(block, outlook), _WITH_REQUEST if handed_in else _OWN, row, own_of)


def _own_of(block: Block, key: str, *, handed_in: bool) -> Callable[[Row], tuple[object, ...]]:
    fill = filler(block)

    def own(row: Row) -> tuple[object, ...]:
        spec = fill(row)
        names = (tuple(map(san_text, names_check.names_of(spec))), subject_text(names_check.subject_of(spec)))
        return (key, *names, f"sha256:{_handed_in(row.values)}") if handed_in else (key, *names)

    return own


def _held_back(change: Change, spec: CertSpec, sans: Sans, standing: authorities.Standing, outlook: Outlook) -> Change:
    """The change as it may be done now: waiting for a CSR, or denied by policy."""
    held = change.held
    if outlook.config.ca(standing.name).retired:
        return evolve(change, readiness=Readiness.WAITING, waits=f"ca.{standing.name} is retired and issues nothing")
    if spec.csr and change.row:
        digest = _handed_in(change.row.values)
        where = f"{spec.csr.dir}/{spec.csr.file}"
        if not digest:
            return evolve(change, readiness=Readiness.WAITING, waits=f"no CSR yet: {where}")
        same = held is not None and not held.is_forgotten and _handed_in(held.values) == digest
        if same and spec.renew.rekey is Rekey.REQUIRE:
            return evolve(change, readiness=Readiness.WAITING, waits=f"rekey is required: hand in a new CSR as {where}")
        if same and spec.renew.rekey is Rekey.YES and change.block:
            again = change.block
            outlook.once(("key again", again.name), lambda: outlook.problems.append(key_again(again)))
        if barred(outlook) and _brought_key(spec.csr, outlook) in barred(outlook):
            reasons = tuple({one.code: one for one in (*change.reasons, Reason(ReasonCode.KEY_BLOCKED))}.values())
            waits = f"its key is block-listed: hand in a CSR with a new key as {where}"
            return evolve(change, reasons=reasons, readiness=Readiness.WAITING, waits=waits)
    taken = _taken(held, outlook) if held else None
    # What falls due before its CA is replaced is renewed by that once more: nobody is in danger.
    goes_on = held is not None and taken is not None and not taken.first and held.due <= outlook.now
    if not goes_on and (ca := authorities.stopped(standing.name, outlook)):
        return evolve(change, readiness=Readiness.WAITING, waits=f"{ca} is revoked: name another issuer, or rotate it")
    if rule := _broken(spec, sans, standing, outlook):
        return evolve(change, readiness=Readiness.DENIED, waits=rule)
    return change


def _broken(spec: CertSpec, sans: Sans, standing: authorities.Standing, outlook: Outlook) -> str:
    """The [policy] deny rule this certificate breaks, empty for none."""
    policy = outlook.config.settings.policy.deny
    if policy == _NOTHING_DENIED:
        return ""
    alg, names = spec.key.alg, sans
    if spec.csr and (policy.rsa_bits_below or policy.key_algs or policy.wildcard):
        alg, names = _brought(spec.csr, spec, sans, outlook)
    signing = deny.signing_alg(standing, outlook.config)
    if rule := deny.broken_by_key(alg, policy) or deny.broken_by_signature(signing, policy):
        return rule
    if policy.validity_above is not None and spec.validity > policy.validity_above:
        return f"deny.validity_above = {duration(policy.validity_above)}"
    if policy.wildcard and any(kind is SanType.DNS and name.startswith("*.") for kind, name in names):
        return "deny.wildcard"
    return ""


def _brought(asked: CsrSpec, spec: CertSpec, sans: Sans, outlook: Outlook) -> tuple[str, Sans]:
    """The algorithm of a CSR's key, and the names with those it may add; apply goes by the same bytes or not at all."""
    files: CsrFiles = outlook.memo.setdefault("csr-files", CsrFiles(outlook.config.root))
    try:
        request = csr(files.read(asked.dir, asked.file) or b"")
        return request.alg, sans + (request.sans if spec.copy else ())
    except (ValueError, CsrError):
        return "", sans  # issuance refuses it, and says why


def _brought_key(asked: CsrSpec, outlook: Outlook) -> str:
    """sha256 of the public key in a CSR, empty where it cannot be read."""
    files: CsrFiles = outlook.memo.setdefault("csr-files", CsrFiles(outlook.config.root))
    try:
        return sha256(csr(files.read(asked.dir, asked.file) or b"").spki).hexdigest()
    except (ValueError, CsrError):
        return ""  # issuance refuses it, and says why


def _removed(held: Held, outlook: Outlook) -> Change | None:
    """What deleting the block or the row means is what state remembers, not what the file no longer says."""
    template = json.loads(outlook.snapshot.templates.get(held.template, '{"spec":{}}'))["spec"]
    if template.get("protect") or template.get("on_remove") == OnRemove.FORBID:
        why = "it is protected" if template.get("protect") else 'it was declared with on_remove = "forbid"'
        outlook.problems.append(
            Problem(
                "E0411",
                f"{held.address} is gone from pki.toml, but {why}",
                help=f'put it back, or let go of it with [[forget]] address = "{held.address}"',
                address=str(held.address),
            )
        )
        return None
    if template.get("on_remove") == OnRemove.REVOKE:
        return Change(
            held.address,
            Action.REVOKE,
            held.generation,
            (Reason(ReasonCode.REMOVED),),
            held=held,
            irreversible=True,
            depends_on=(held.needs,),
            before={"generation": held.generation},
            after={"reason": "cessationOfOperation"},
        )
    return forgotten(held)


async def apply(changes: Sequence[Change], run: Run) -> Sequence[Problem | None]:
    # As in ca.py: a plan signs nothing.
    from pkicode.kinds import cert_apply

    return await cert_apply.apply(changes, run)


KIND = Kind(
    name="cert",
    classes=CLASSES,
    blocks=blocks,
    rows=rows,
    check=check,
    needs=needs,
    diff=diff,
    foresee=ahead.foresee,
    apply=apply,
    audit_rows=audit_rows,
    again=ahead.again,
    ends=ahead.ends,
    arrives=due_elsewhere,
    ahead=ahead.ahead,
    signs=ahead.signs,
    parallel=True,
    fans_out=True,
)
