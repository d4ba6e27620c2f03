"""OCSP answers: when they are signed, who signs them, and what of earlier ones counts."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pkicode.adapters import loop
from pkicode.model.event import Event
from pkicode.model.instants import DAY, HOUR
from pkicode.model.problem import ConfigError
from pkicode.ports import Certificate, Want
from pkicode.revocation import pack
from pkicode.revocation.ocsp_request import cert_id
from pkicode.revocation.ocsp_response import GOOD, verified
from pkicode.x509.pem import encode
from tests.kinds.site import BASE, Site, told
from tests.oracles import certificate_text, openssl

URL = "http://ocsp.corp.example"
OCSP = BASE.replace(
    'base_url = "http://pki.corp.example"',
    'base_url = "http://pki.corp.example"\ncontent = ["ca", "crl", "ocsp", "bundle"]',
).replace("path_len = 0", f'path_len = 0\nocsp = {{ url = "{URL}", validity = "4d", refresh = "1d" }}')
PORTAL = """
[cert.portal]
profile = "server"
dns = ["portal.corp.example"]
on_remove = "revoke"
"""
OTHER = """
[cert.other]
profile = "server"
dns = ["other.corp.example"]
"""


@pytest.fixture
def corp(site: Site) -> Site:
    """The issuing CA has OCSP, and two certificates."""
    site.write(PORTAL + OTHER, base=OCSP)
    assert applied(site) == []
    return site


def applied(site: Site) -> list[str]:
    """Apply; what was told of answers as wrong."""
    events: list[Event] = []
    done = site.open().apply(emit=events.append)
    assert done.exit_code == 0, done.problems
    assert site.plan().changes == ()
    return [one.message for one in events if one.failed and one.address.startswith("ocsp.")]


def published(site: Site) -> pack.Pack:
    return pack.read((site.root / "public/ocsp/issuing-g1.pack").read_bytes())


def newest(site: Site, address: str) -> Certificate:
    return site.open().inventory(Want(address=address))[-1]


def answer(found: pack.Pack, serial: str, algorithm: str = "sha1") -> bytes:
    """The response about a certificate, as a responder gives it."""
    record = found.find(int(serial, 16))
    assert record is not None
    tbs = found.maker.form.tbs(
        algorithm, record.serial, record.standing, this_update=record.this_update, next_update=record.next_update
    )
    return found.maker.form.response(tbs, record.signatures[algorithm == "sha256"])


def status(site: Site, serial: str, found: pack.Pack | None = None, at: int | None = None) -> str:
    found = found or published(site)
    asked = cert_id(found.maker.issuer, int(serial, 16), "sha1")
    return verified(answer(found, serial), asked, found.maker.ca, now=at or site.now).status


def asks_openssl(site: Site, certificate: Certificate, der: bytes, folder: Path, at: int) -> str:
    """OpenSSL's own words about an answer at an instant; Refused where it does not accept it."""
    (folder / "answer").write_bytes(der)
    (folder / "leaf.pem").write_bytes(encode("CERTIFICATE", certificate.der))
    public = site.root / "public"
    args = ["-issuer", public / "ca/issuing-g1.pem", "-cert", folder / "leaf.pem", "-no_nonce", "-respin"]
    # -attime is for the delegate's chain; the answer's own dates OpenSSL compares with the machine's clock only.
    trust = ["-CAfile", public / "bundle/trust.pem", "-verify_other", public / "ca/issuing-g1.pem", "-attime", str(at)]
    return openssl("ocsp", *args, folder / "answer", *trust, "-validity_period", "999999999")


def test_a_new_certificate_names_the_responder_and_has_its_answer(corp: Site) -> None:
    portal = newest(corp, "cert.portal")
    assert f"OCSP - URI:{URL}" in certificate_text(portal.der)
    assert status(corp, portal.serial) == "good"
    record = published(corp).find(int(portal.serial, 16))
    assert record is not None
    assert (record.this_update, record.next_update) == (corp.now, corp.now + 4 * DAY)


def test_a_clock_behind_the_published_answers_signs_none_until_it_is_set(site: Site, tmp_path: Path) -> None:
    site.write(PORTAL, base=OCSP).apply()
    shutil.copytree(site.root / ".pkicode", tmp_path / "backup")
    site.later(30).apply()
    before = {path: path.read_bytes() for path in site.root.glob("public/ocsp/*")}
    shutil.rmtree(site.root / ".pkicode")
    shutil.copytree(tmp_path / "backup", site.root / ".pkicode")
    site.now -= 29 * DAY
    (problem,) = [one for one in site.open().apply().problems if one.address.startswith("ocsp")]
    assert (problem.code, "the pack of answers that is published was signed" in problem.message) == ("E0511", True)
    assert {path: path.read_bytes() for path in site.root.glob("public/ocsp/*")} == before


def test_the_first_plan_says_what_is_signed_and_the_next_is_empty_until_answers_are_due(site: Site) -> None:
    site.write(PORTAL, base=OCSP)
    change = next(one for one in site.plan().changes if one.address.kind == "ocsp")
    assert told([change]) == ["sign ocsp.issuing@1 new"]
    assert change.after == {"refresh": "1d", "validity": "4d"}
    site.apply()
    assert site.plan().changes == ()
    assert site.plan().next_due == site.now + DAY
    site.later(1)
    assert "sign ocsp.issuing@1 ocsp-due" in told(site.plan().changes)
    first = published(site).made
    assert applied(site) == []
    assert published(site).made == first + DAY


def test_a_removed_certificate_is_revoked_in_the_pack_that_the_same_apply_publishes(corp: Site) -> None:
    portal, other = newest(corp, "cert.portal"), newest(corp, "cert.other")
    kept = published(corp).find(int(other.serial, 16))
    corp.write(OTHER, base=OCSP).later(0.25)
    assert "sign ocsp.issuing@1 ocsp-missing" in told(corp.plan().changes)
    assert applied(corp) == []
    record = published(corp).find(int(portal.serial, 16))
    assert record is not None
    assert (record.standing.revoked_at, record.standing.reason) == (corp.now, "cessationOfOperation")
    assert status(corp, portal.serial) == "revoked"
    # What still holds is not signed again.
    assert published(corp).find(int(other.serial, 16)) == kept


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_openssl_accepts_the_published_answers(corp: Site, algorithm: str, tmp_path: Path) -> None:
    portal, other = newest(corp, "cert.portal"), newest(corp, "cert.other")
    corp.write(OTHER, base=OCSP).later(0.25)
    applied(corp)
    for one, word in ((portal, "revoked"), (other, "good")):
        (tmp_path / "leaf.pem").write_bytes(encode("CERTIFICATE", one.der))
        (tmp_path / "answer").write_bytes(answer(published(corp), one.serial, algorithm))
        public = corp.root / "public"
        said = openssl(
            *("ocsp", f"-{algorithm}", "-issuer", public / "ca/issuing-g1.pem", "-cert", tmp_path / "leaf.pem"),
            *("-no_nonce", "-respin", tmp_path / "answer", "-CAfile", public / "bundle/trust.pem"),
            *("-verify_other", public / "ca/issuing-g1.pem", "-attime", str(corp.now), "-validity_period", "999999999"),
        )
        assert f"leaf.pem: {word}" in said


def test_answers_of_one_day_are_refreshed_together(corp: Site) -> None:
    corp.write(PORTAL + OTHER + OTHER.replace("other", "late"), base=OCSP).later(0.5)
    applied(corp)
    corp.later(0.5)
    applied(corp)
    # Half a day old, and signed with the others: else they would be due all day long.
    assert {pack.unpack(one).this_update for one in published(corp).raw()} == {corp.now}
    assert corp.plan().next_due == corp.now + DAY


def test_an_expired_certificate_leaves_the_pack(corp: Site) -> None:
    portal = newest(corp, "cert.portal")
    corp.later(91)
    applied(corp)
    assert published(corp).find(int(portal.serial, 16)) is None
    assert status(corp, newest(corp, "cert.portal").serial) == "good"


def test_the_delegate_is_signed_by_the_key_it_answers_for_and_by_nobody_checked(corp: Site) -> None:
    delegate = newest(corp, 'ocsp.issuing["g1"]')
    text = certificate_text(delegate.der)
    assert "OCSP Signing" in text
    assert "OCSP No Check" in text
    assert "CA:TRUE" not in text
    assert (delegate.ca, delegate.ca_generation, delegate.status) == ("issuing", 1, "issued")
    assert delegate.not_after - delegate.not_before + 1 == 30 * DAY
    assert published(corp).maker.delegate == delegate.der


def test_at_no_instant_of_two_rotations_does_an_answer_fail(corp: Site, tmp_path: Path) -> None:
    """Decisions, test 5.  Clients hold answers for as long as these say: each is tried on its first and last second."""
    portal = newest(corp, "cert.portal")
    delegates, steps = set(), 0
    end = corp.now + 40 * DAY
    while corp.now < end:
        found = published(corp)
        delegates.add(found.maker.delegate)
        der = answer(found, portal.serial)
        record = found.find(int(portal.serial, 16))
        assert record is not None
        asked = cert_id(found.maker.issuer, record.serial, "sha1")
        # As soon as it is published, when the next one is due, and at the very end of what it promises.
        due = corp.plan().next_due
        assert due is not None
        for at in (corp.now, min(due, record.next_update), record.next_update):
            assert verified(der, asked, found.maker.ca, now=at).status == "good"
            assert "leaf.pem: good" in asks_openssl(corp, portal, der, tmp_path, at)
        corp.now = due
        assert corp.now < record.next_update
        applied(corp)
        steps += 1
    assert len(delegates) == 3
    assert steps >= 40


def test_a_delegate_is_rotated_before_its_half_life_where_an_answer_would_outlive_it(site: Site) -> None:
    site.write(PORTAL, base=OCSP.replace('validity = "4d"', 'validity = "15d"'))
    applied(site)
    delegate = published(site).maker.delegate
    site.later(15.1)
    applied(site)
    record = published(site).find(int(newest(site, "cert.portal").serial, 16))
    assert record is not None
    assert published(site).maker.delegate != delegate
    assert newest(site, 'ocsp.issuing["g1"]').not_after >= record.next_update


def test_a_delegate_that_was_revoked_signs_nothing_more(corp: Site) -> None:
    from pkicode.ports import Revocation, Write

    delegate = newest(corp, 'ocsp.issuing["g1"]')
    revoked = Revocation(delegate.issuer_key, delegate.serial, corp.now, "keyCompromise", delegate.not_after, "test")

    async def revoke() -> None:
        async with corp.open().state.writing(corp.now) as (store, lease):
            await store.commit(Write(corp.now, "test", "revoke", delegate.address, revocations=[revoked]), lease)

    loop.run(revoke())
    assert "sign ocsp.issuing@1 ocsp-missing" in told(corp.plan().changes)
    applied(corp)
    assert published(corp).maker.delegate == newest(corp, 'ocsp.issuing["g1"]').der != delegate.der
    assert status(corp, delegate.serial) == "revoked"


def test_the_last_delegate_of_a_ca_ends_with_it_and_answers_until_then(site: Site) -> None:
    base = OCSP.replace('validity = "5y"', 'validity = "40d"')
    site.write(PORTAL.replace("on_remove", 'validity = "20d"\non_remove'), base=base)
    applied(site)
    end = newest(site, "ca.issuing").not_after
    site.write("", base=base)
    for _ in range(39):
        site.later(1)
        applied(site)
    record = next(map(pack.unpack, published(site).raw()))
    assert newest(site, 'ocsp.issuing["g1"]').not_after == end == record.next_update


def edit(site: Site, statement: str) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(site.root / ".pkicode/state.db")) as database, database:
        database.execute(statement)


FORGOTTEN = {
    "the revocation": ["DELETE FROM revocations", "UPDATE certificates SET status = 'issued' WHERE status = 'revoked'"],
    "the revocation and the pack": [
        "DELETE FROM revocations",
        "UPDATE certificates SET status = 'issued' WHERE status = 'revoked'",
        "DELETE FROM artefacts",
    ],
    "the certificate": ["DELETE FROM revocations", "DELETE FROM certificates WHERE status = 'revoked'"],
}


@pytest.mark.parametrize("statements", FORGOTTEN.values(), ids=FORGOTTEN.keys())
def test_what_the_database_forgets_stays_revoked(corp: Site, statements: list[str]) -> None:
    """Decisions 11, for answers: the lists of before are believed, the database is not."""
    portal = newest(corp, "cert.portal")
    corp.write(OTHER, base=OCSP).later(0.25)
    applied(corp)
    for one in statements:
        edit(corp, one)
    corp.later(1)
    (alarm,) = applied(corp)
    assert "not in the state: 1 serial that ca.issuing@1 revoked; revoked they stay" in alarm
    assert status(corp, portal.serial) == "revoked"


def test_nothing_good_is_said_of_a_serial_that_the_ca_never_signed(corp: Site) -> None:
    other = newest(corp, "cert.other")
    columns = "issuer_key, issuer_dn, status, address, generation, ca, ca_generation, profile, subject, sans, not_before, not_after, key_alg, key_label, spki, sha256, plan_id, reason, session, created, duty, der"  # noqa: E501 - SQL
    planted = f"INSERT INTO certificates (serial, {columns}) SELECT 'abcdef', {columns} FROM certificates WHERE serial = '{other.serial}'"  # noqa: E501 - SQL
    edit(corp, planted)
    (alarm,) = applied(corp)
    assert "1 serial in the state, of no certificate that ca.issuing@1 signed" in alarm
    assert published(corp).find(0xABCDEF) is None
    assert status(corp, other.serial) == "good"


def _truncated(data: bytes) -> bytes:
    return data[:-1]


def _altered(data: bytes) -> bytes:
    return data[:-200] + bytes(100) + data[-100:]


@pytest.mark.parametrize("spoilt", [_truncated, _altered, lambda _data: b"", lambda _data: b"x" * 3000])
def test_a_published_pack_that_is_not_ours_is_told_and_replaced(corp: Site, spoilt: Callable[[bytes], bytes]) -> None:
    path = corp.root / "public/ocsp/issuing-g1.pack"
    path.write_bytes(spoilt(path.read_bytes()))
    (alarm,) = applied(corp.later(1))
    assert "publish.web: ocsp/issuing-g1.pack is not a pack of ca.issuing@1" in alarm
    assert published(corp).made == corp.now


def test_nothing_is_signed_while_the_published_pack_cannot_be_seen(corp: Site) -> None:
    public = corp.root / "public"
    public.rename(corp.root / "away")
    public.write_text("a file where the folder was")
    done = corp.later(1).open().apply()
    assert any(one.code == "E0510" and one.address == "ocsp.issuing" for one in done.problems)
    public.unlink()
    (corp.root / "away").rename(public)
    made = published(corp).made
    applied(corp)
    assert published(corp).made == made + DAY


def test_answers_never_go_back_when_the_clock_does(corp: Site) -> None:
    made = published(corp).made
    corp.write(OTHER, base=OCSP)
    corp.now -= 200
    applied(corp)
    assert {pack.unpack(one).this_update for one in published(corp).raw()} == {made}
    assert published(corp).made == made


def test_without_ocsp_nothing_is_signed_and_nothing_is_named(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    assert not (site.root / "public/ocsp").exists()
    assert "OCSP" not in certificate_text(newest(site, "cert.portal").der)


def test_ocsp_that_is_declared_later_reaches_certificates_at_their_next_renewal(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    site.write(PORTAL, base=OCSP)
    plan = site.plan()
    assert [one for one in told(plan.changes) if " cert." in one] == []
    assert [(one.block, one.fields) for one in plan.pending] == [("cert.portal", ("ocsp.url of its issuer",))]
    site.apply()
    assert status(site, newest(site, "cert.portal").serial) == "good"


def test_ocsp_that_is_taken_away_again_lets_its_row_go(corp: Site) -> None:
    corp.write(PORTAL + OTHER, base=BASE)
    assert "forget ocsp.issuing@1 removed" in told(corp.plan().changes)
    assert applied(corp) == []
    corp.write(PORTAL + OTHER, base=OCSP).later(2)
    assert "sign ocsp.issuing@1 new" in told(corp.plan().changes)
    applied(corp)
    assert published(corp).made == corp.now


def test_a_certificate_without_revocation_names_no_responder(site: Site) -> None:
    site.write(PORTAL, base=OCSP.replace('eku = ["serverAuth"]', 'eku = ["serverAuth"]\nrevocation = "none"'))
    site.apply()
    assert "OCSP" not in certificate_text(newest(site, "cert.portal").der)


@pytest.mark.parametrize(
    ("dates", "message"),
    [
        ('validity = "1d", refresh = "1d"', "would expire before they are refreshed"),
        ('validity = "16d", refresh = "1d"', "would outlive the certificate of who signs them"),
    ],
)
def test_dates_that_leave_a_day_without_answers_are_refused(site: Site, dates: str, message: str) -> None:
    site.write(PORTAL, base=OCSP.replace('validity = "4d", refresh = "1d"', dates))
    with pytest.raises(ConfigError) as caught:
        site.plan()
    assert [one.code for one in caught.value.problems] == ["E0421"]
    assert message in caught.value.problems[0].message


def test_a_root_answers_for_the_cas_below_it(site: Site) -> None:
    site.write(PORTAL, base=OCSP.replace("path_len = 1", f'path_len = 1\nocsp = {{ url = "{URL}/root" }}'))
    applied(site)
    below = newest(site, "ca.issuing")
    assert f"OCSP - URI:{URL}/root" in certificate_text(below.der)
    found = pack.read((site.root / "public/ocsp/root-g1.pack").read_bytes())
    assert status(site, below.serial, found) == "good"


def test_other_dates_in_pki_toml_reach_the_next_answers(corp: Site) -> None:
    corp.write(PORTAL + OTHER, base=OCSP.replace('refresh = "1d"', 'refresh = "6h"'))
    assert "sign ocsp.issuing@1 spec-changed" in told(corp.plan().changes)
    applied(corp)
    assert corp.plan().next_due == corp.now + 6 * HOUR


def test_good_is_the_only_word_without_a_date() -> None:
    assert GOOD.revoked_at is None


@pytest.mark.invariant(8)
def test_a_restored_state_puts_no_older_pack_over_a_newer_one(corp: Site, tmp_path: Path) -> None:
    serial = newest(corp, "cert.portal").serial
    shutil.copy(corp.root / ".pkicode/state.db", tmp_path / "backup")
    corp.write(OTHER, base=OCSP).later(0.1).apply()
    assert status(corp, serial) == "revoked"
    for name in ("state.db", "state.db-wal", "state.db-shm"):
        (corp.root / ".pkicode" / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup", corp.root / ".pkicode/state.db")
    corp.write(PORTAL + OTHER, base=OCSP).later(0.1)
    [change] = corp.plan(published=True).changes
    assert "ocsp/issuing-g1.pack is of 2026-11-23T11:24:00Z, which the state does not know, and stays" in str(change)
    events: list[Event] = []
    assert corp.open().apply(published=True, emit=events.append).counts == {"publish": 1}
    assert any("ocsp/issuing-g1.pack is of 2026-11-23T11:24:00Z where it is published" in one.message for one in events)
    assert status(corp, serial) == "revoked"
    corp.later(1).apply()
    assert status(corp, serial) == "revoked"
    assert corp.plan(published=True).changes == ()
