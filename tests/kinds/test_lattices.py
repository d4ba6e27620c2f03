"""CAs and leaves with ML-DSA keys, and leaves with ML-KEM keys, from pki.toml to what is published (RFC 9881, 9935)."""

from itertools import pairwise

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pkicode.model.change import Readiness
from pkicode.model.instants import rfc3339
from pkicode.model.problem import ConfigError
from pkicode.ports import Want
from pkicode.revocation import crl
from pkicode.x509 import keys, pem
from pkicode.x509.tbs import facts_of
from tests.kinds.site import Site, certificates, told
from tests.kinds.test_ocsp import OCSP, newest, published, status
from tests.oracles import assert_verifies, needs_openssl_for

BASE = OCSP.replace("path_len = 1", 'path_len = 1\nkey = { alg = "ml-dsa-87" }').replace(
    "path_len = 0", 'path_len = 0\nkey = { alg = "ml-dsa-65" }'
)
PORTAL = """
[cert.portal]
profile = "server"
key = { alg = "ml-dsa-44" }
dns = ["portal.corp.example"]
output = { chain = "out/portal.pem", key = "out/portal.key" }
"""
SEALED = """
[profile.sealed]
issuer = "issuing"
usage = ["keyEncipherment"]
key = { alg = "ml-kem-768" }
[cert.sealed]
profile = "sealed"
dns = ["sealed.corp.example"]
output = { key = "out/sealed.key", p12 = "out/sealed.p12", p12_password = { file = ".pkicode/passphrase" } }
"""


@pytest.fixture
def corp(site: Site) -> Site:
    assert site.write(PORTAL + SEALED, base=BASE).apply().exit_code == 0
    return site


def chain(site: Site, address: str) -> list[x509.Certificate]:
    """A certificate with its chain, and the trusted root."""
    root = (site.root / "public/bundle/trust.pem").read_bytes()
    return x509.load_pem_x509_certificates(site.chain(address) + root)


def test_root_issuing_leaf_and_lists_verify_with_ml_dsa_alone(corp: Site) -> None:
    for address in ("cert.portal", "cert.sealed"):
        found = chain(corp, address)
        assert len(found) == 3
        for one, issuer in pairwise([*found, found[-1]]):
            one.verify_directly_issued_by(issuer)
    known = {one.address: one.key_alg for one in corp.open().inventory(Want())}
    assert known == {
        "ca.root": "ml-dsa-87",
        "ca.issuing": "ml-dsa-65",
        "cert.portal": "ml-dsa-44",
        "cert.sealed": "ml-kem-768",
        # As strong as what it vouches for, and of a kind its clients have.
        'ocsp.issuing["g1"]': "ml-dsa-65",
    }
    for name in ("root", "issuing"):
        facts = facts_of((corp.root / f"public/ca/{name}-g1.cer").read_bytes())
        crl.verify((corp.root / f"public/crl/{name}-g1.crl").read_bytes(), facts)
    assert corp.plan().changes == ()


def test_openssl_accepts_the_chain_and_the_lists(corp: Site) -> None:
    needs_openssl_for("ml-dsa-65")
    corp.verify("cert.portal")
    root = (corp.root / "public/bundle/trust.pem").read_bytes()
    sealed, issuing, _ = (one.public_bytes(Encoding.PEM) for one in chain(corp, "cert.sealed"))
    assert_verifies(sealed, chain=[issuing], root=root, crls=corp.crls(), at=corp.now)


def test_a_revoked_certificate_is_told_as_such_by_list_and_answer(corp: Site) -> None:
    portal = newest(corp, "cert.portal")
    assert status(corp, portal.serial) == "good"
    corp.later(1)
    entry = (
        f'[[revoke]]\nid = "R1"\ncert = "cert.portal"\nissued_before = {rfc3339(corp.now)}\nreason = "keyCompromise"\n'
    )
    assert corp.write(PORTAL + SEALED + entry, base=BASE).apply(allow={}).exit_code == 0
    facts = facts_of((corp.root / "public/ca/issuing-g1.cer").read_bytes())
    listed = (corp.root / "public/crl/issuing-g1.crl").read_bytes()
    crl.verify(listed, facts)
    assert [f"{one.serial:x}" for one in crl.read(listed, limit=1 << 20).entries] == [portal.serial]
    assert status(corp, portal.serial) == "revoked"
    assert status(corp, newest(corp, "cert.portal").serial) == "good"


def test_they_renew_with_new_keys_of_the_same_kind(corp: Site) -> None:
    before = (corp.root / "out/portal.key").read_bytes()
    corp.later(61)
    assert certificates(corp.plan()) == ["renew cert.portal@2 due", "renew cert.sealed@2 due"]
    assert corp.apply().exit_code == 0
    after = (corp.root / "out/portal.key").read_bytes()
    key = keys.load_pkcs8(pem.decode(after, "PRIVATE KEY", limit=10_000)[0])
    assert before != after
    assert keys.spki(key) == keys.spki(_public(corp, "cert.portal"))
    assert published(corp).count == 5, "four leaves and the delegate"


def test_keys_leave_as_seeds_in_pkcs8_and_in_pkcs12(corp: Site) -> None:
    text = (corp.root / "out/sealed.key").read_bytes()
    [private] = pem.decode(text, "PRIVATE KEY", limit=10_000)
    assert len(private) == 86  # RFC 9935 section 6: the seed has 64 octets
    assert keys.spki(keys.load_pkcs8(private)) == keys.spki(_public(corp, "cert.sealed"))
    assert (corp.root / "out/sealed.p12").stat().st_mode & 0o777 == 0o600


def test_a_host_with_an_ml_dsa_key_of_its_own_hands_in_its_request(corp: Site) -> None:
    key = keys.generate("ml-dsa-65")
    name = x509.Name.from_rfc4514_string("CN=own.corp.example")
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, None)  # type: ignore[arg-type]
    (corp.root / "csr").mkdir()
    (corp.root / "csr/own.csr").write_bytes(made.public_bytes(Encoding.PEM))
    own = '[cert.own]\nprofile = "server"\ndns = ["own.corp.example"]\ncsr = { dir = "csr", file = "own.csr" }\n'
    assert corp.write(PORTAL + SEALED + own, base=BASE).apply().exit_code == 0
    assert keys.spki(_public(corp, "cert.own")) == keys.spki(key)
    rule = '[policy.deny]\nkey_algs = ["ml-dsa-65"]\n'
    plan = corp.write(PORTAL + SEALED + own.replace("own", "other").replace("other.csr", "own.csr") + rule, base=BASE)
    waits = {str(one.address): one.readiness for one in plan.plan().changes}
    assert waits["cert.other"] is Readiness.DENIED


@pytest.mark.parametrize(
    ("text", "code", "reason", "line"),
    [
        (BASE.replace("ml-dsa-87", "ml-kem-768"), "E0204", "key.alg` in [ca.root] is none", "ml-kem-768"),
        (BASE + SEALED.replace("keyEnc", "dataEnc"), "E0404", "ml-kem-768 cannot do `dataEncipherment`", "usage"),
        (BASE + SEALED.replace("kem-768", "dsa-44"), "E0404", "ml-dsa-44 cannot do `keyEncipherment`", "usage"),
    ],
)
def test_what_a_key_cannot_do_is_told_at_its_line(site: Site, text: str, code: str, reason: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        site.write(base=text).plan()
    [problem] = [one for one in caught.value.problems if reason in one.message]
    assert problem.code == code
    assert problem.span
    assert line in site.text.splitlines()[problem.span.line - 1]


def test_a_ca_goes_over_to_ml_dsa_with_its_next_generation(site: Site) -> None:
    """The classical root signs it: what a client that knows ML-DSA, and trusts no other root yet, already verifies."""
    base = OCSP.replace("Site Issuing", "Site Issuing G${generation}")
    site.write(PORTAL.replace("ml-dsa-44", "ec-p256"), base=base)
    assert site.apply().exit_code == 0
    site.write(
        PORTAL.replace("ml-dsa-44", "ec-p256"),
        base=base.replace("path_len = 0", 'path_len = 0\nkey = { alg = "ml-dsa-65" }'),
    )
    with pytest.raises(ConfigError) as caught:
        site.plan()
    assert [one.code for one in caught.value.problems] == ["E0410"]
    allow = {"ca-rotate": "issuing"}
    assert "issue ca.issuing@2 ca-rotate" in told(site.plan(allow=allow).changes)
    assert site.apply(allow=allow).exit_code == 0
    site.later(62)
    assert site.apply().exit_code == 0
    leaf, issuing, root = chain(site, "cert.portal")
    leaf.verify_directly_issued_by(issuing)
    issuing.verify_directly_issued_by(root)
    assert leaf.signature_algorithm_oid.dotted_string == "2.16.840.1.101.3.4.3.18"
    delegates = {one.address: one.key_alg for one in site.open().inventory(Want()) if one.address.startswith("ocsp.")}
    assert delegates == {'ocsp.issuing["g1"]': "ec-p256", 'ocsp.issuing["g2"]': "ml-dsa-65"}


def _public(site: Site, address: str) -> keys.VerifyingKey:
    key = x509.load_pem_x509_certificates(site.chain(address))[0].public_key()
    return key  # type: ignore[return-value]
