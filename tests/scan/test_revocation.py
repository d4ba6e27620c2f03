"""OCSP and CRL of what is served, against `openssl ocsp`, `openssl s_server` and an HTTP server that keeps count."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from attrs import evolve
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from pkicode.adapters.asked import Wanted, jobs
from pkicode.adapters.scanning import whole
from pkicode.model.instants import as_datetime
from pkicode.revocation.check import check, show
from pkicode.scanner.finding import Endpoint, Grade, Presented, Target
from pkicode.scanner.revocation import findings, subjects
from pkicode.scanner.told import Told
from pkicode.scanner.trust import trust_store
from pkicode.x509 import pem
from pkicode.x509.profile import Profile
from tests.scan import revoking, strange
from tests.scan.revoking import GOOD, REVOKED, answering, leaf, listed, responder, root, write
from tests.scan.scanning import found
from tests.scan.servers import HOST, openssl
from tests.x509.pki import CA, DAY, Made, make

NOW = revoking.NOW


def meant(*targets: str, checks: str = "quick", **more: bool):
    """Private addresses are allowed: there are no others here."""
    (made,) = jobs(Wanted(targets, checks, rate=100_000, **{"revocation": True, "allow_private": True, **more}))
    return evolve(made, terms=evolve(made.terms, stores=(("own", pem.encode("CERTIFICATE", root().der)),)))


def told(endpoint: Endpoint) -> dict[str, tuple[str, str]]:
    return {check: (str(one.grade), one.value) for check in ("OCSP", "CRL") if (one := found(endpoint, check))}


async def scan(folder: Path, made: Made, *options: str | Path, **more: bool) -> Endpoint:
    """What a scan of a server with this certificate finds."""
    with openssl(write(folder, made, "leaf"), *options) as port:
        (one,) = await whole(meant(f"{HOST}:{port}", **more), emit=lambda _: None)
        return one


def by_list(folder: Path, body: bytes | strange.Serve, *, serial: int = GOOD) -> Endpoint:
    async def both() -> Endpoint:
        async with answering({"list.crl": body}) as server:
            return await scan(folder, leaf(serial, crls=[server.url("list.crl")]))

    return asyncio.run(both())


@pytest.mark.parametrize(("serial", "grade", "value"), [(GOOD, "Good", "good"), (REVOKED, "Bad", "revoked")])
def test_a_list_says_who_is_revoked(tmp_path: Path, serial: int, grade: str, value: str):
    one = by_list(tmp_path, listed(REVOKED), serial=serial)
    assert told(one) == {"OCSP": ("Skipped", "none"), "CRL": (grade, value)}
    assert ("keyCompromise" in found(one, "CRL").detail) == (value == "revoked")


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: listed(REVOKED, by=revoking.delegate()), "signature is not by the key"),
        (lambda: listed(REVOKED, until=NOW - 60), "stale"),
        (lambda: listed(REVOKED, since=NOW + 3600), "not in force yet"),
        (lambda: listed(REVOKED)[:-9], "not a CRL"),
        (lambda: b"<html>", "not a CRL"),
        (lambda: b"", "not a CRL"),
    ],
)
def test_a_list_that_cannot_be_relied_on_says_nothing_of_anybody(tmp_path: Path, made, said: str):
    one = by_list(tmp_path, made(), serial=REVOKED)
    assert told(one)["CRL"] == ("Unknown", "invalid")
    assert said in found(one, "CRL").detail


@pytest.mark.parametrize(
    ("said", "value"),
    [
        (b"Content-Length: 99999999\r\n\r\n", "large"),
        (b"Content-Encoding: gzip\r\n\r\n", "refused"),
        (b"Content-Length: 9\r\n\r\n", "unreachable"),
    ],
)
def test_a_hostile_server_makes_nothing_known(tmp_path: Path, said: bytes, value: str):
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + said)
        await writer.drain()

    assert told(by_list(tmp_path, serve))["CRL"] == ("Unknown", value)


@pytest.mark.parametrize("answer", [b"", b"0\x03\x0a\x01\x06", b"<html>", bytes(70_000)])
def test_what_is_no_answer_makes_nothing_known(tmp_path: Path, answer: bytes):
    async def both() -> Endpoint:
        async with answering({"ocsp": answer}) as server:
            return await scan(tmp_path, leaf(ocsp=[server.url("ocsp")]))

    value = "large" if len(answer) > 65536 else "invalid"
    assert told(asyncio.run(both()))["OCSP"] == ("Unknown", value)


@pytest.mark.parametrize(("serial", "grade", "value"), [(GOOD, "Good", "good"), (REVOKED, "Bad", "revoked")])
def test_the_responder_of_openssl_says_who_is_revoked(tmp_path: Path, serial: int, grade: str, value: str):
    with responder(tmp_path, revoking.delegate(), "-nmin", "60") as url:
        one = asyncio.run(scan(tmp_path, leaf(serial, ocsp=[url])))
    assert told(one) == {"OCSP": (grade, value), "CRL": ("Skipped", "none")}


def test_an_answer_without_an_end_is_a_warning_and_one_of_whom_nobody_knows_is_bad(tmp_path: Path):
    with responder(tmp_path, revoking.delegate()) as url:
        assert told(asyncio.run(scan(tmp_path, leaf(ocsp=[url]))))["OCSP"] == ("Warning", "endless")
        assert told(asyncio.run(scan(tmp_path, leaf(99, ocsp=[url]))))["OCSP"] == ("Bad", "unknown")


def test_an_answer_by_who_may_not_answer_says_nothing(tmp_path: Path):
    with responder(tmp_path, revoking.delegate("serverAuth"), "-nmin", "60") as url:
        one = asyncio.run(scan(tmp_path, leaf(REVOKED, ocsp=[url])))
    assert told(one)["OCSP"] == ("Unknown", "invalid")
    assert "not for signing OCSP answers" in found(one, "OCSP").detail


def test_a_revoked_certificate_is_trusted_by_nobody(tmp_path: Path):
    async def both() -> Endpoint:
        async with answering({"list.crl": listed(REVOKED)}) as server:
            return await scan(tmp_path, leaf(REVOKED, crls=[server.url("list.crl")]), checks="deep")

    assert asyncio.run(both()).letter == "T"


def test_a_hundred_targets_of_one_ca_fetch_its_list_once_also_with_processes(tmp_path: Path):
    async def all_of_them() -> tuple[list[Endpoint], list[str]]:
        async with answering({"list.crl": listed(REVOKED)}) as server:
            made = leaf(crls=[server.url("list.crl")])
            with openssl(write(tmp_path, made, "leaf"), host="0.0.0.0") as port:
                targets = [f"127.0.10.{number}:{port}" for number in range(1, 101)]
                return await whole(meant(*targets), emit=lambda _: None, jobs=2), server.paths

    records, paths = asyncio.run(all_of_them())
    assert paths == ["list.crl"]
    assert Counter(found(one, "CRL").value for one in records) == {"good": 100}


def test_a_staple_that_a_client_may_rely_on_is_asked_of_nobody_else(tmp_path: Path):
    with responder(tmp_path, revoking.delegate(), "-nmin", "60") as url:
        # Served with a staple that openssl fetches itself, by the certificate's own URL.
        chain = write(tmp_path, root(), "root").chain

        async def both() -> tuple[Endpoint, list[str]]:
            async with answering({}) as nobody:
                made = leaf(ocsp=[url, nobody.url("second")])
                return await scan(tmp_path, made, "-status", "-CAfile", chain, "-cert_chain", chain), nobody.paths

        one, paths = asyncio.run(both())
    assert one.staple
    assert found(one, "OCSP").detail.endswith("Z.")
    assert "the staple says good" in found(one, "OCSP").detail
    assert not paths


def answer(made: Made, *, revoked: bool) -> bytes:
    """What the responder of the root says of it."""
    leaf, ca, by = map(x509.load_der_x509_certificate, (made.der, root().der, revoking.delegate().der))
    built = ocsp.OCSPResponseBuilder().responder_id(ocsp.OCSPResponderEncoding.NAME, by).certificates([by])
    return (
        built.add_response(
            leaf, ca, hashes.SHA1(), [ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED][revoked],
            as_datetime(NOW - 60), as_datetime(NOW + DAY), as_datetime(NOW - 3600) if revoked else None, None,
        )
        .sign(revoking.delegate().key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )  # fmt: skip


@pytest.mark.parametrize("stapled", [False, True])
def test_a_server_says_for_itself_alone_that_it_is_good_and_for_everybody_that_it_is_revoked(
    tmp_path: Path, *, stapled: bool
):
    """An answer of before its revocation, sent along with somebody's certificate, clears nobody."""

    async def both() -> tuple[list[Endpoint], list[str]]:
        files: dict[str, bytes] = {}
        async with answering(files) as server:
            made = leaf(ocsp=[server.url("ocsp")])
            files["ocsp"] = answer(made, revoked=not stapled)
            (tmp_path / "staple").write_bytes(answer(made, revoked=stapled))
            mine = write(tmp_path, made, "leaf")
            with openssl(mine, "-status_file", tmp_path / "staple") as first, openssl(mine) as second:
                made_of = meant(f"{HOST}:{first}", f"{HOST}:{second}")
                return await whole(made_of, emit=lambda _: None), server.paths

    records, paths = asyncio.run(both())
    assert [bool(one.staple) for one in records] == [True, False]
    assert [told(one)["OCSP"] for one in records] == [("Bad", "revoked")] * 2
    assert paths == ([] if stapled else ["ocsp"])


def test_progress_is_told_of_each_who_was_asked(tmp_path: Path):
    events = []

    async def both() -> None:
        async with answering({"list.crl": listed()}) as server:
            made = leaf(crls=[server.url("list.crl")])
            with openssl(write(tmp_path, made, "leaf")) as port:
                await whole(meant(f"{HOST}:{port}"), emit=events.append)

    asyncio.run(both())
    assert [(one.stage, one.done, one.total) for one in events] == [("scan", 1, 1), ("revocation", 1, 1)]
    assert events[1].address.endswith("/list.crl")


def test_the_second_url_is_asked_where_the_first_gives_no_answer_and_a_third_is_not(tmp_path: Path):
    async def both() -> tuple[Endpoint, Endpoint, list[str]]:
        async with answering({"good": listed()}) as server:
            two = await scan(tmp_path, leaf(crls=[server.url("none"), server.url("good")]))
            three = [server.url("a"), server.url("b"), server.url("good")]
            return two, await scan(tmp_path, leaf(crls=["ldap://127.0.0.1/x", *three])), server.paths

    two, three, paths = asyncio.run(both())
    assert (told(two)["CRL"], told(three)["CRL"]) == (("Good", "good"), ("Unknown", "invalid"))
    assert paths == ["none", "good", "a", "b"]


def test_who_is_not_told_to_ask_third_parties_asks_nobody_and_says_how(tmp_path: Path):
    async def both() -> tuple[Endpoint, list[str]]:
        async with answering({"list.crl": listed(GOOD)}) as server:
            made = leaf(crls=[server.url("list.crl")], ocsp=[server.url("ocsp")])
            return await scan(tmp_path, made, revocation=False), server.paths

    one, paths = asyncio.run(both())
    assert told(one) == {"OCSP": ("Skipped", "unasked"), "CRL": ("Skipped", "unasked")}
    assert "--revocation" in found(one, "CRL").detail
    assert not paths


def test_a_private_address_is_met_only_by_who_allows_it(tmp_path: Path):
    async def both() -> tuple[Endpoint, list[str]]:
        async with answering({"list.crl": listed(GOOD)}) as server:
            here, named = server.url("list.crl"), server.url("ocsp").replace(HOST, "localhost")
            return await scan(tmp_path, leaf(crls=[here], ocsp=[named]), allow_private=False), server.paths

    one, paths = asyncio.run(both())
    assert told(one) == {"OCSP": ("Unknown", "private"), "CRL": ("Unknown", "private")}
    assert "--allow-private" in found(one, "CRL").detail
    assert not paths


def test_only_what_is_kept_is_asked(tmp_path: Path):
    async def both() -> tuple[Endpoint, list[str]]:
        async with answering({"list.crl": listed()}) as server:
            made = leaf(crls=[server.url("list.crl")], ocsp=[server.url("ocsp")])
            return await scan(tmp_path, made, checks="CRL"), server.paths

    one, paths = asyncio.run(both())
    assert [(finding.check, finding.grade) for finding in one.findings] == [("CRL", Grade.GOOD)]
    assert paths == ["list.crl"]


def test_a_certificate_whose_issuer_is_not_at_hand_is_looked_up_nowhere(tmp_path: Path):
    async def both() -> tuple[Endpoint, list[str]]:
        async with answering({"list.crl": listed()}) as server:
            with openssl(write(tmp_path, leaf(crls=[server.url("list.crl")]), "leaf")) as port:
                terms = meant(f"{HOST}:{port}")
                alone = evolve(terms, terms=evolve(terms.terms, stores=()))
                (one,) = await whole(alone, emit=lambda _: None)
                return one, server.paths

    one, paths = asyncio.run(both())
    assert told(one)["CRL"] == ("Unknown", "unverified")
    assert not paths


def test_a_scan_that_asks_third_parties_is_another_scan():
    ids = {meant("a.example", revocation=revocation).scan_id for revocation in (True, False)}
    assert len(ids) == 2
    assert len({meant("a.example", allow_private=allowed).scan_id for allowed in (True, False)}) == 2


def test_a_list_of_users_alone_is_for_a_user_and_not_for_a_ca():
    made = leaf()
    point = x509.IssuingDistributionPoint(
        None, None, only_contains_user_certs=True, only_contains_ca_certs=False, only_some_reasons=None,
        indirect_crl=False, only_contains_attribute_certs=False,
    )  # fmt: skip
    issuer = x509.load_der_x509_certificate(root().der)
    built = (
        x509.CertificateRevocationListBuilder(issuer.subject, as_datetime(NOW - 60), as_datetime(NOW + DAY))
        .add_extension(point, critical=True)
        .sign(root().key, hashes.SHA256())
    )
    shown = show(built.public_bytes(Encoding.DER))
    assert check(shown, root().der, now=NOW, certificate=made.der).status == "good"
    assert check(shown, root().der, now=NOW, certificate=root().der).status == "unknown"
    assert check(shown, root().der, now=NOW, serial=5).status == "unknown"


def test_of_more_certificates_than_are_asked_about_the_rest_is_not_taken_for_good():
    """Sixteen CAs above one leaf would hide that another leaf, or a CA, is revoked."""
    url = ("http://pki.example/x.crl",)
    above, chain = root(), []
    for number in range(20):
        profile = Profile(is_ca=True, usage=CA, crl_urls=url)
        above = make(profile, cn=f"CA {number}", issuer=above, serial=100 + number, begins=NOW - DAY, ends=NOW + DAY)
        chain.append(above.der)
    first = make(Profile(crl_urls=url), cn="first", issuer=above, serial=7, begins=NOW - DAY, ends=NOW + DAY).der
    second = leaf(REVOKED, crls=url).der
    sent = [*(Presented(0, at, one) for at, one in enumerate([first, *chain[::-1]])), Presented(1, 0, second)]
    store = trust_store("own", pem.encode("CERTIFICATE", root().der))
    about = subjects(Endpoint(Target("a.example", HOST, 443), NOW, "tls", chains=tuple(sent)), (store,))
    assert [one.facts.called for one in about[:3]] == ["CN=first", "CN=leaf", "CN=CA 19"]
    good = {("CRL", one.sha256, one.issuer): Told(Grade.GOOD, "good", "") for one in about[:16]}
    (_, told_of) = findings(about, good)
    assert len(about) > 16
    assert (told_of.grade, told_of.value) == (Grade.UNKNOWN, "unasked")
    assert "more than 16 certificates" in told_of.detail
