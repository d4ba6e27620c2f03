"""Guard 2: there is one issuance cycle; whoever else touches a signing method is named here, with the reason."""

import ast

from tests.guards.tree import Source, package

MAY_SIGN = {
    "pkicode.x509.keys": "assigns each key its signature algorithm; the only place that calls a private key",
    "pkicode.issuing.batch": "THE issuance cycle: its pure half, with keys that travel to a worker",
    "pkicode.issuing.steps": "THE issuance cycle: keys that cannot leave their token",
    "pkicode.adapters.token_keys": "calls the token; the port under all of the others",
    "pkicode.adapters.keyrules": "lets a key outside prove that it is there, on a text that no TBS can be",
    "pkicode.revocation.presign": "OCSP answers: the pure half of pre-signing, with keys that travel to a worker",
    "pkicode.kinds.ocsp_apply": "OCSP answers: packs, and keys that cannot leave their token; under the apply's lease",
    "pkicode.project.offline": "the machine of a ceremony: bytes that people looked at, for intents that it knows not",
    "pkicode.plan.approval": "an approver's own key, over the name of a plan: JSON, which no TBS can be",
    "pkicode.kinds.crl": "signs the TBSCertList of revocation.crl, under the lease of the apply",
}


def test_every_listed_module_still_signs() -> None:
    signing = {source.module for source in package() if _touches(source)}
    idle = {source.module for source in package()} & MAY_SIGN.keys() - signing
    assert not idle, f"take them out of MAY_SIGN: {idle}"


def _touches(source: Source) -> list[ast.Attribute]:
    return [node for node in ast.walk(source.tree) if isinstance(node, ast.Attribute) and node.attr == "sign"]


def test_only_the_listed_modules_touch_a_sign_method() -> None:
    uses = [
        f"{source.at(node)}: a second way to sign; use issuing.issue, or say in MAY_SIGN why not"
        for source in package()
        if source.module not in MAY_SIGN
        for node in _touches(source)
    ]
    assert not uses, "\n".join(uses)


def test_no_signing_method_is_fetched_by_its_name() -> None:
    uses = [
        source.at(node)
        for source in package()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and any(isinstance(argument, ast.Constant) and argument.value == "sign" for argument in node.args)
        and isinstance(node.func, ast.Name | ast.Attribute)
        and (node.func.id if isinstance(node.func, ast.Name) else node.func.attr)
        in {"getattr", "methodcaller", "attrgetter"}
    ]
    assert not uses, "\n".join(uses)
