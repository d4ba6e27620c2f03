"""Leaf certificates: what [cert.X] says, when a row is issued, renewed, revoked or forgotten, and what state remembers.

Words of RFC 3647: renewal keeps the key, re-key makes a new one, modification changes what the certificate says.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from attrs import evolve

from pkicode.config.csr import CsrFiles
from pkicode.config.language import CertSpec, CsrSpec, OnRemove, Rekey
from pkicode.config.reader import Config
from pkicode.config.rows import rows as config_rows
from pkicode.kinds import authority as authorities
from pkicode.kinds import deny, names_check, preview
from pkicode.kinds.cert_apply import apply
from pkicode.kinds.leaf import drawn, due_of, filled, keeps_key, life_of, profile_of, seed_of
from pkicode.kinds.rows import forgotten
from pkicode.model.address import Address
from pkicode.model.change import Action, Change, Readiness, Reason, ReasonCode
from pkicode.model.instants import NO_EXPIRY, duration, renewal_window, rfc3339
from pkicode.model.names import Sans, SanType
from pkicode.model.problem import Problem
from pkicode.model.row import Block, Held, Row
from pkicode.plan.kind import Ahead, Difference, FieldClass, Kind, Outlook, covers
from pkicode.x509.names import san_text, subject_text
from pkicode.x509.request import csr

_NEW = Reason(ReasonCode.NEW)
_NOW, _NEXT, _META = FieldClass.NOW, FieldClass.NEXT, FieldClass.METADATA
CLASSES = {
    **dict.fromkeys(("cn", "subject", "dns", "ip", "email", "uri", "rid", "upn", "dirname"), _NOW),
    **dict.fromkeys(("usage", "eku", "issuer", "csr", "key.store", "must_staple", "ocsp_nocheck"), _NOW),
    **dict.fromkeys(
        ("validity", "backdate", "key", "key.alg", "policies", "revocation", "base_urls", "lint", "copy"), _NEXT
    ),
    **dict.fromkeys(("profile", "allow", "renew", "on_remove", "output", "after", "protect", "note"), _META),
    "for_each": FieldClass.NOTHING,
}
_CERTIFICATE_FIELDS = tuple(sorted(field for field, one in CLASSES.items() if one is _NOW and "." not in field))


def blocks(config: Config) -> list[Block]:
    # By name: the order of stanzas means nothing, not even to the bytes of a plan.
    return sorted((block for block in config.blocks if block.kind == "cert"), key=lambda block: block.name)


def rows(block: Block, outlook: Outlook) -> Iterator[Row]:
    return config_rows(outlook.config, block)


def needs(block: Block, row: Row, outlook: Outlook) -> str:
    # The CA, not its generation: a rotation reissues no leaf (decisions 6).
    return _stands_on(block.spec.issuer)[0]


@lru_cache(maxsize=256)
def _stands_on(issuer: str) -> tuple[str]:
    """The address of its CA, made once: the changes of 100,000 rows share it."""
    return (f"ca.{issuer}",)


def check(block: Block, outlook: Outlook) -> Iterator[Problem]:
    spec: CertSpec = block.spec
    place = block.source.place
    standing = authorities.standing(spec.issuer, outlook)
    if standing is None:
        return
    for reason in profile_of(spec, f"{standing.name}-g{standing.generation}").check(spec.key.alg):
        field = "eku" if reason.startswith("eku") else "usage"
        yield Problem("E0404", f"[cert.{block.name}]: {reason}", place=place(field), address=f"cert.{block.name}")
    if standing.authority and standing.not_after < outlook.now + spec.validity:
        yield Problem(
            "W0415",
            f"ca.{standing.name} ends {rfc3339(standing.not_after)}, before a cert.{block.name} issued now would",
            place=place("validity"),
            help="declare the CA that follows it and move the profile's issuer there",
            address=f"cert.{block.name}",
        )


def _outlives(block: Block, standing: authorities.Standing) -> Problem:
    return Problem(
        "E0415",
        f"cert.{block.name} would outlive its issuer",
        place=block.source.place("validity"),
        label=f"{duration(block.spec.validity)} from now is after ca.{standing.name}: {rfc3339(standing.not_after)}",
        help="set a shorter validity, or give the profile an issuer that lives longer",
        address=f"cert.{block.name}",
    )


def audit_rows(block: Block, row: Row, outlook: Outlook) -> Iterator[Problem]:
    """The names of one row: syntax, the profile's allow-list, the constraints of every CA above."""
    checked = names_check.check(block, row, filled(block, row, outlook.memo), outlook)
    yield from checked.problems
    standing = authorities.standing(block.spec.issuer, outlook)
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
    profile = profile_of(block.spec, f"{standing.name}-g{standing.generation}")
    return list(preview.problems(block, profile, checked.subject, checked.sans, standing, outlook))


def diff(
    block: Block | None, row: Row | None, held: Held | None, outlook: Outlook, difference: Difference
) -> Change | None:
    if block is None or row is None:
        return _removed(held, outlook) if held else None
    spec = filled(block, row, outlook.memo)
    if held is None or held.status == "forgotten":
        return _issued(block, row, held, spec, outlook, _NEW)
    reason = _reason(block, row, held, spec, outlook, difference)
    if reason is not None:
        return _issued(block, row, held, spec, outlook, reason)
    if difference.of(FieldClass.METADATA) or held.values != row.values or held.needs != needs(block, row, outlook):
        fields = _ticked(difference.of(FieldClass.METADATA))
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


def _reason(
    block: Block, row: Row, held: Held, spec: CertSpec, outlook: Outlook, difference: Difference
) -> Reason | None:
    """Why this row needs a new certificate, None where it does not."""
    if held.status == "revoked":
        return Reason(ReasonCode.REVOKED)
    if fields := difference.of(FieldClass.NOW):
        return Reason(ReasonCode.SPEC_CHANGED, f"{_ticked(fields)} changed")
    if held.values != row.values:
        if spec.csr and json.loads(held.values)[:-1] == json.loads(row.values)[:-1]:
            if json.loads(row.values)[-1]:
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
    if len(json.loads(held.values)) != expected:
        return ("for_each",)
    before = filled(block, Row(row.key, held.values), outlook.memo)
    return tuple(one for one in _CERTIFICATE_FIELDS if getattr(before, one) != getattr(spec, one))


def _issued(
    block: Block, row: Row, held: Held | None, spec: CertSpec, outlook: Outlook, reason: Reason
) -> Change | None:
    """The change that gives this row a new certificate; None, with a problem told, where its names cannot stand."""
    checked = names_check.check(block, row, spec, outlook)
    outlook.problems.extend(checked.problems)
    standing = authorities.standing(spec.issuer, outlook)
    if standing is None or checked.problems:
        return None
    outlook.problems.extend(_linted(block, checked, standing, outlook))
    if outlook.now > _last_issuance(spec, standing) and ("outlives", block.name) not in outlook.memo:
        outlook.memo["outlives", block.name] = True
        outlook.problems.append(_outlives(block, standing))
    address = Address("cert", block.name, row.key)
    # A number is never reused, not even that of a certificate nobody knows the signature of.
    generation = max(held.generation if held else 0, outlook.snapshot.lost.get(str(address), 0)) + 1
    depends_on = _stands_on(spec.issuer)
    change = Change(
        address,
        Action.RENEW if held and held.status != "forgotten" else Action.ISSUE,
        generation,
        (reason,),
        block,
        row,
        held,
        before={"due": rfc3339(held.due), "generation": held.generation} if held else None,
        after={
            **_request(row, spec),
            "issuer": depends_on[0],
            "key": "csr" if spec.csr else "same" if keeps_key(spec, held, reason) else "new",
            "key_alg": spec.key.alg,
            "profile": spec.profile,
            "sans": [san_text(one) for one in checked.sans],
            "subject": subject_text(checked.subject),
            "validity": duration(spec.validity),
        },
        irreversible=True,
        depends_on=depends_on,
    )
    return _held_back(change, spec, checked.sans, standing, outlook)


def _request(row: Row, spec: CertSpec) -> dict[str, object]:
    """Which CSR was looked at: another one under the same name is another key, and so another plan."""
    digest = json.loads(row.values)[-1] if spec.csr else ""
    return {"csr": f"sha256:{digest}"} if digest else {}


def _held_back(change: Change, spec: CertSpec, sans: Sans, standing: authorities.Standing, outlook: Outlook) -> Change:
    """The change as it may be done now: waiting for a CSR, or denied by policy."""
    held = change.held
    if spec.csr and change.row:
        digest = json.loads(change.row.values)[-1]
        where = f"{spec.csr.dir}/{spec.csr.file}"
        if not digest:
            return evolve(change, readiness=Readiness.WAITING, waits=f"no CSR yet: {where}")
        same = held is not None and held.status != "forgotten" and json.loads(held.values)[-1] == digest
        if same and spec.renew.rekey is Rekey.REQUIRE:
            return evolve(change, readiness=Readiness.WAITING, waits=f"rekey is required: hand in a new CSR as {where}")
    if rule := _broken(spec, sans, standing, outlook):
        return evolve(change, readiness=Readiness.DENIED, waits=rule)
    return change


def _broken(spec: CertSpec, sans: Sans, standing: authorities.Standing, outlook: Outlook) -> str:
    """The [policy] deny rule this certificate breaks, empty for none."""
    policy = outlook.config.settings.policy.deny
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
    except ValueError:
        return "", sans  # issuance refuses it, and says why


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
            before={"generation": held.generation},
            after={"reason": "cessationOfOperation"},
        )
    return forgotten(held)


def foresee(change: Change, outlook: Outlook) -> int:
    block, held = change.block, change.held
    if block is None:
        return NO_EXPIRY
    spec: CertSpec = block.spec
    seed = seed_of(outlook.config.settings.project.name, change.address, change.generation)
    if change.action in (Action.ISSUE, Action.RENEW):
        not_before = _not_before(spec, outlook)
        return due_of(spec.renew, not_before=not_before, not_after=not_before + spec.validity - 1, seed=seed)
    if held is None:
        return NO_EXPIRY
    life = life_of(held, outlook.snapshot.templates[held.template], outlook.config.settings.project.name)
    due = due_of(spec.renew, not_before=life.not_before, not_after=life.not_after, seed=seed)
    return max(due, outlook.now + 1)


def _not_before(spec: CertSpec, outlook: Outlook) -> int:
    """Of a certificate issued now: never before its issuer's (decisions 3)."""
    issuer = authorities.standing(spec.issuer, outlook)
    return max(outlook.now - spec.backdate, issuer.not_before if issuer else 0)


def again(block: Block, outlook: Outlook) -> Callable[[str, int], int] | None:
    spec: CertSpec = block.spec
    issuer = authorities.standing(spec.issuer, outlook)
    deny = outlook.config.settings.policy.deny
    differs = deny.wildcard or (
        spec.csr and (spec.renew.rekey is Rekey.REQUIRE or deny.rsa_bits_below or deny.key_algs)
    )
    if issuer is None or differs or _last_issuance(spec, issuer) < outlook.now:
        return None
    project, not_before = outlook.config.settings.project.name, _not_before(spec, outlook)
    declared, width = renewal_window(spec.renew.at, spec.renew.jitter, spec.validity)

    def due_after(key: str, generation: int) -> int:
        seed = seed_of(project, Address("cert", block.name, key), generation)
        return not_before + declared - drawn(width, seed)

    return due_after


def _last_issuance(spec: CertSpec, issuer: authorities.Standing) -> int:
    """The last instant at which a certificate can be issued that does not outlive its issuer."""
    return issuer.not_after + 1 + spec.backdate - spec.validity


def ends(held: Held, outlook: Outlook) -> int:
    template = outlook.snapshot.templates[held.template]
    return life_of(held, template, outlook.config.settings.project.name).not_after


def ahead(block: Block, outlook: Outlook) -> Iterator[Ahead]:
    issuer = authorities.standing(block.spec.issuer, outlook)
    if issuer:
        at = _last_issuance(block.spec, issuer) + 1
        detail = f"ca.{issuer.name}@{issuer.generation} ends {rfc3339(issuer.not_after)}"
        yield Ahead(at, "outlive", detail)


KIND = Kind(
    name="cert",
    classes=CLASSES,
    blocks=blocks,
    rows=rows,
    check=check,
    needs=needs,
    diff=diff,
    foresee=foresee,
    apply=apply,
    audit_rows=audit_rows,
    again=again,
    ends=ends,
    ahead=ahead,
    parallel=True,
    fans_out=True,
)
