"""Guard 2: there is one issuance cycle; whoever else touches a signing method is named here, with the reason."""

import ast

from tests.guards.tree import package

MAY_SIGN = {
    "pkicode.x509.keys": "assigns each key its signature algorithm; the only place that calls a private key",
    "pkicode.issuing.batch": "THE issuance cycle: its pure half, with keys that travel to a worker",
    "pkicode.issuing.steps": "THE issuance cycle: keys that cannot leave their token",
    "pkicode.revocation.crl": "signs the TBSCertList it made",
    "pkicode.adapters.sealed": "its Signer hands the bytes to x509.keys",
    "pkicode.adapters.workers": "runs the pure signing half of the issuance cycle in another process",
    "pkicode.kinds.crl": "hands the CA's signer to revocation.crl",
}


def test_only_the_listed_modules_touch_a_sign_method() -> None:
    uses = [
        f"{source.at(node)}: a second way to sign; use issuing.issue, or say in MAY_SIGN why not"
        for source in package()
        if source.module not in MAY_SIGN
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and node.attr == "sign"
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
