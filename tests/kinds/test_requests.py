"""CSRs that apply will refuse, as the plan before it tells of them: in the same words, and nothing else is stopped."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_der_private_key

from pkicode.model.change import Plan
from pkicode.x509 import keys
from tests.kinds.site import BASE, Site, certificates
from tests.x509.test_request import weak_key

HOSTS = """
[cert.host]
profile = "server"
for_each = { csv = "hosts.csv", key = "host" }
dns = ["${each.host}.corp.example"]
csr = { dir = "csr", file = "${each.host}.csr" }
"""
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def csr(by: Key, *names: str) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([*map(x509.DNSName, names)]), critical=False)
    return builder.sign(by, hashes.SHA256()).public_bytes(Encoding.DER)


def fleet(site: Site, requests: dict[str, bytes], *, base: str = BASE, more: str = "") -> Site:
    (site.root / "csr").mkdir(exist_ok=True)
    (site.root / "hosts.csv").write_text("host\n" + "".join(f"{one}\n" for one in requests))
    for name, made in requests.items():
        (site.root / f"csr/{name}.csr").write_bytes(made)
    return site.write(HOSTS + more, base=base)


def doubts(plan: Plan) -> list[str]:
    return [one.message for one in plan.problems if one.code == "W0422"]


def damaged(site: Site) -> bytes:
    return csr(new_key())[:-20]


def forged(site: Site) -> bytes:
    ours, theirs = keys.generate("ec-p256"), keys.generate("ec-p256")
    return csr(ours).replace(keys.spki(ours), keys.spki(theirs))


def weak(site: Site) -> bytes:
    return csr(weak_key("ROCA"))


def of_ca(name: str) -> Callable[[Site], bytes]:
    def made(site: Site) -> bytes:
        pkcs8 = site.open().export(name, with_key=True).key_pkcs8
        assert pkcs8
        key = load_der_private_key(pkcs8, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return csr(key)

    return made


def foreign_name(site: Site) -> bytes:
    return csr(new_key(), "www.evil.test")


def rsa_key(site: Site) -> bytes:
    return csr(rsa.generate_private_key(65537, 2048))


def known(site: Site) -> bytes:
    return (site.root / "csr/old.csr").read_bytes()


@pytest.mark.parametrize(
    ("made", "more", "code", "says"),
    [
        (damaged, "", "E0521", "the CSR is refused: "),
        (forged, "", "E0521", "no proof of possession"),
        (weak, "", "E0521", "ROCA factors"),
        (of_ca("ca.issuing"), "", "E0521", "it holds the CA's own key"),
        (of_ca("ca.root"), "", "E0526", "its key is also ca.root's"),
        (known, "", "E0526", 'its key is also cert.host["old"]\'s'),
        (foreign_name, 'copy = ["dns"]\n', "E0522", "`dns:www.evil.test`"),
        (rsa_key, 'usage = ["digitalSignature", "keyAgreement"]\n', "E0523", "keyAgreement"),
    ],
)
def test_what_apply_refuses_is_told_by_the_plan_in_the_same_words(
    site: Site, made: Callable[[Site], bytes], more: str, code: str, says: str
) -> None:
    base = BASE + more  # BASE ends in [profile.server]
    fleet(site, {"old": csr(new_key())}, base=base).apply()
    old = (site.root / "csr/old.csr").read_bytes()
    fleet(site, {"old": old, "bad": made(site), "good": csr(new_key())}, base=base)
    (told,) = [one for one in site.plan().problems if one.code.startswith("W04")]
    assert (told.code, told.address) == ("W0422", 'cert.host["bad"]')
    assert told.message.startswith(f'apply will refuse csr/bad.csr: [{code}] cert.host["bad"]: ')
    assert says in told.message
    assert told.span
    assert (told.span.path, told.span.line) == ("hosts.csv", 3)
    applied = site.apply()
    assert [(f"apply will refuse csr/bad.csr: [{one.code}] {one.message}", one.help) for one in applied.problems] == [
        (told.message, told.help)
    ]
    site.verify('cert.host["good"]')


@contextmanager
def too_large(path: Path) -> Iterator[None]:
    path.write_bytes(bytes(70_000))
    yield


@contextmanager
def link(path: Path) -> Iterator[None]:
    """To a request that would be good."""
    path.symlink_to("good.csr")
    yield


@contextmanager
def folder(path: Path) -> Iterator[None]:
    path.mkdir()
    yield


@contextmanager
def pipe(path: Path) -> Iterator[None]:
    """One that somebody holds open and writes nothing to."""
    os.mkfifo(path)
    held = os.open(path, os.O_RDWR)
    try:
        yield
    finally:
        os.close(held)


@pytest.mark.parametrize(
    ("lay", "says"),
    [
        (too_large, "is larger than 65,536 bytes"),
        (link, "is a link or cannot be read"),
        (folder, "cannot be read"),
        (pipe, "cannot be read"),
    ],
)
def test_what_lies_in_the_place_of_a_csr_holds_up_its_own_row_only(
    site: Site, lay: Callable[[Path], AbstractContextManager[None]], says: str
) -> None:
    bad = site.root / "csr/bad.csr"
    fleet(site, {"good": csr(new_key()), "bad": csr(new_key()), "more": csr(new_key())})
    bad.unlink()
    with lay(bad):
        (told,) = site.open().validate()
        assert (told.code, told.address) == ("W0424", 'cert.host["bad"]')
        assert told.message == f'cert.host["bad"]: the CSR `csr/bad.csr` {says}'
        assert told.span
        assert (told.span.path, told.span.line) == ("hosts.csv", 3)
        plan = site.plan()
        assert plan.problems == (told,)
        (waits,) = [one.waits for one in plan.changes if one.waits]
        assert waits == "no CSR yet: csr/bad.csr"
        site.apply()
        assert certificates(site.plan()) == ['issue cert.host["bad"]@1 new']
    for name in ("good", "more"):
        site.verify(f'cert.host["{name}"]')


def test_a_csr_that_was_good_once_holds_up_nobody_elses_renewal(site: Site) -> None:
    fleet(site, {"good": csr(new_key()), "bad": csr(new_key())}).apply()
    (site.root / "csr/bad.csr").write_bytes(bytes(70_000))
    site.later(61)
    plan = site.plan()
    assert {str(one.address): str(one.readiness) for one in plan.changes if one.address.kind == "cert"} == {
        'cert.host["good"]': "ready",
        'cert.host["bad"]': "waiting",
    }
    assert "W0424" in [one.code for one in plan.problems]
    site.apply()
    assert certificates(site.plan()) == ['renew cert.host["bad"]@2 due']


@pytest.mark.parametrize("also", ["", "note"])
def test_a_csr_that_is_away_for_a_while_and_comes_back_is_no_other_one(site: Site, also: str) -> None:
    fleet(site, {"a": csr(new_key()), "b": csr(new_key())}).apply()
    files = {path: path.read_bytes() for path in (site.root / "csr").iterdir()}
    for path in files:
        path.unlink()
    if also:
        site.text = site.text.replace("for_each", 'note = "moved house"\nfor_each')
        site.write(base=site.text)
        assert [str(one.action) for one in site.plan().changes] == ["update", "update"]
        assert site.apply().exit_code == 0
    assert site.plan().changes == ()
    for path, content in files.items():
        path.write_bytes(content)
    assert site.plan().changes == ()


def test_a_certificate_may_have_all_its_names_from_its_request(site: Site) -> None:
    (site.root / "csr").mkdir()
    (site.root / "csr/a.csr").write_bytes(csr(new_key(), "a.corp.example"))
    more = '[cert.a]\nprofile = "server"\ncsr = { dir = "csr", file = "a.csr" }\n'
    site.write(more, base=BASE + 'copy = ["dns"]\n')
    assert site.plan().problems == site.open().validate() == ()
    assert site.apply().problems == ()
    site.verify("cert.a")


def test_it_is_told_before_there_is_any_ca(site: Site) -> None:
    """And of two rows with one key, the second is refused."""
    both = csr(new_key())
    fleet(site, {"a": both, "b": both, "c": damaged(site)})
    first, second = doubts(site.plan())
    assert first == 'apply will refuse csr/b.csr: [E0526] cert.host["b"]: its key is also cert.host["a"]\'s'
    assert second.startswith('apply will refuse csr/c.csr: [E0521] cert.host["c"]: ')
    assert [one.address for one in site.apply().problems] == ['cert.host["b"]', 'cert.host["c"]']


def test_a_plan_that_is_saved_is_applied_with_what_it_warns_of(site: Site) -> None:
    fleet(site, {"a": csr(new_key()), "b": damaged(site)})
    project = site.open()
    project.save(project.plan(), site.root / "plan.json")
    saved = project.load(site.root / "plan.json")
    assert [one["code"] for one in saved.document["diagnostics"]] == ["W0422"]
    assert [one.address for one in site.apply(plan=saved).problems] == ['cert.host["b"]']


def test_what_is_left_out_or_has_nothing_to_do_is_not_looked_into(site: Site) -> None:
    asks_for_more = csr(new_key(), "www.evil.test")
    fleet(site, {"a": asks_for_more, "b": damaged(site)})
    assert doubts(site.plan(except_=['cert.host["b"]'])) == []
    site.apply()
    fleet(site, {"a": asks_for_more}, base=BASE + 'copy = ["dns"]\n')
    plan = site.plan()
    assert (certificates(plan), doubts(plan)) == ([], [])
    site.later(61)
    (told,) = doubts(site.plan())
    assert "`dns:www.evil.test`" in told, "at its renewal it is refused"


def test_a_row_that_moves_has_its_key_from_itself(site: Site) -> None:
    made = csr(new_key())
    fleet(site, {"a": made}).apply()
    site.later(61)
    more = '[[moved]]\nfrom = "cert.host"\nto = "cert.web"\n'
    site.write(HOSTS.replace("cert.host", "cert.web") + "renew = { rekey = false }\n" + more)
    plan = site.plan()
    assert (certificates(plan), plan.problems) == (
        ['move cert.web["a"]@1 new', 'renew cert.web["a"]@2 due'],
        (),
    )
    assert site.apply().problems == ()


def test_of_many_a_few_are_told_one_by_one_and_how_many_more(site: Site) -> None:
    fleet(site, {f"h{one}": damaged(site) for one in range(8)})
    *told, more = doubts(site.plan())
    assert [one.split()[3] for one in told] == [f"csr/h{one}.csr:" for one in range(5)]
    assert more == "apply will refuse 3 more CSRs"


def test_more_than_500_are_left_for_apply_and_that_is_said(site: Site) -> None:
    made = {f"h{one:03}": csr(new_key()) for one in range(501)}
    fleet(site, {**made, "h499": damaged(site), "h500": damaged(site)})
    problems = site.plan().problems
    assert [one.code for one in problems] == ["W0422", "W0423"]
    assert "csr/h499.csr" in problems[0].message
    assert problems[1].message == "500 of 501 CSRs were looked into"
    assert doubts(site.plan(only=['cert.host["h5*"]', "ca.*"]))[0].startswith("apply will refuse csr/h500.csr")
