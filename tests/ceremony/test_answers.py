"""OCSP answers for an offline CA: the key that signs them is at hand, and a ceremony signs its certificate."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pkicode.ceremony.bundle import LIFE
from pkicode.model.change import Action, Readiness
from pkicode.model.event import Event
from pkicode.model.faults import FaultPoint
from pkicode.model.instants import DAY, rfc3339
from pkicode.model.problem import StateError
from pkicode.ports import Certificate, Want
from pkicode.project import open_project
from pkicode.project.offline import transcript
from pkicode.revocation import pack
from pkicode.x509.pem import encode
from tests.ceremony.two import PORTAL, TEXT, Two, inventory, waiting
from tests.kinds.site import told
from tests.oracles import certificate_text, openssl
from tests.server.running import clients_clock, serving

URL = "http://ocsp.corp.example"
BASE = (
    TEXT.replace(
        'base_url = "http://pki.corp.example"',
        'base_url = "http://pki.corp.example"\ncontent = ["ca", "crl", "ocsp", "bundle"]',
    )
    .replace('refresh = "180d" }', f'refresh = "180d" }}\nocsp = {{ url = "{URL}", store = "main" }}')
    .replace('crl = { validity = "1y", refresh = "180d" }', 'crl = { validity = "548d", refresh = "1y" }')
)
DELEGATE = 'ocsp.root["g1"]'


def begun(two: Two, base: str = BASE) -> Two:
    two.site.write(PORTAL, base=base)
    two.card()
    while two.apply().exit_code == 7:
        two.round()
    return two


def newest(two: Two, address: str) -> Certificate:
    return [one for one in two.site.open().inventory(Want(address=address)) if one.status == "issued"][-1]


def published(two: Two) -> pack.Pack:
    return pack.read((two.site.root / "public/ocsp/root-g1.pack").read_bytes())


def asked(two: Two, folder: Path) -> str:
    """OpenSSL's own words about the answer for the issuing CA, at the site's clock."""
    found, issuing = published(two), newest(two, "ca.issuing")
    record = found.find(int(issuing.serial, 16))
    assert record is not None
    dates = {"this_update": record.this_update, "next_update": record.next_update}
    response = found.maker.form.tbs("sha1", record.serial, record.standing, **dates)
    (folder / "answer").write_bytes(found.maker.form.response(response, record.signatures[0]))
    (folder / "issuing.pem").write_bytes(encode("CERTIFICATE", issuing.der))
    root = two.site.root / "public/ca/root-g1.pem"
    args = ["-issuer", root, "-cert", folder / "issuing.pem", "-no_nonce", "-respin", folder / "answer"]
    # -attime is for the delegate's chain; the answer's own dates OpenSSL compares with the machine's clock only.
    return openssl("ocsp", *args, "-CAfile", root, "-attime", str(two.site.now), "-validity_period", "999999999")


def test_the_delegate_is_signed_with_the_first_list_and_answers_for_what_the_root_signed(
    two: Two, tmp_path: Path
) -> None:
    two.site.write(PORTAL, base=BASE)
    two.card()
    two.apply()
    two.round()
    applied = two.apply()
    assert applied.counts["reserve"] == 2
    assert waiting(two)["ocsp.root"].startswith("first a ceremony signs for who answers")
    request = two.export()
    assert {str(one.address) for one in request.items} == {"ca.issuing", "crl.root", DELEGATE}
    shown = "\n".join(transcript(request))
    assert "extendedKeyUsage       OCSPSigning" in shown
    assert "nobody asks whether it is revoked" in shown
    assert set(two.receive(two.sign(request)).certificates) == {"ca.issuing@1", f"{DELEGATE}@1"}
    assert two.apply().exit_code == 0
    assert two.site.plan().changes == ()
    assert f"OCSP - URI:{URL}" in certificate_text(newest(two, "ca.issuing").der)
    assert ": good" in asked(two, tmp_path)
    two.site.verify("cert.portal")
    assert two.site.open().upkeep.verify() == []
    labels = {one.label for one in two.site.open().upkeep.keys("main")}
    assert f"{DELEGATE}@1" in labels
    explained = two.site.open().explain(DELEGATE)
    assert (explained.generation, explained.status) == (1, "ok")
    assert explained.source == two.site.open().explain("ca.root").source, "its CA's table declares it"


def test_a_responder_serves_them_and_openssl_accepts_what_it_says(two: Two, tmp_path: Path) -> None:
    begun(two)
    (tmp_path / "issuing.pem").write_bytes(encode("CERTIFICATE", newest(two, "ca.issuing").der))
    root = two.site.root / "public/ca/root-g1.pem"
    with serving(two.site.root) as server:
        certificate = ["-issuer", root, "-cert", tmp_path / "issuing.pem", "-no_nonce", "-url", server.url]
        said = openssl(*clients_clock([*map(str, certificate), "-CAfile", str(root)])[1:])
    assert "issuing.pem: good" in said


def test_a_ceremony_a_year_is_enough_and_everybody_says_when(two: Two, tmp_path: Path) -> None:
    site = begun(two).site
    first = newest(two, DELEGATE)
    assert first.not_after + 1 - first.not_before == 548 * DAY
    due = first.not_before + 548 * DAY * 2 // 3
    rows = site.open().foresight.forecast(site.now + 3 * 365 * DAY, full=True).rows
    days = [[one.at for one in rows if one.address == address] for address in (DELEGATE, "crl.root")]
    assert days[0] == days[1] == [site.now + year * 365 * DAY for year in (1, 2, 3)], "one ceremony for both"
    checks = {one.name: one.message for one in site.open().vitals.status().checks}
    ceremony = min(due, site.now + 365 * DAY)
    assert checks["ceremony"].startswith(f"the next is due {rfc3339(ceremony)}")
    for year in (1, 2, 3):
        # Each day of the year in between needs nothing of the offline machine.
        site.later(180)
        assert two.apply().exit_code == 0, year
        site.later(186)
        assert two.apply().exit_code == 7
        assert "reserved" in waiting(two)[DELEGATE]
        assert two.round().certificates == (f"{DELEGATE}@{year + 1}",)
        assert two.apply().exit_code == 0
        assert ": good" in asked(two, tmp_path)
        assert published(two).maker.delegate == newest(two, DELEGATE).der


def test_what_is_due_soon_goes_along_with_a_list(two: Two, tmp_path: Path) -> None:
    often = BASE.replace('crl = { validity = "548d", refresh = "1y" }', 'crl = { validity = "1y", refresh = "180d" }')
    site = begun(two, often).site
    site.later(181)
    assert two.apply().exit_code == 7
    assert DELEGATE not in waiting(two), "not half of its life is over"
    two.round()
    two.apply()
    site.later(181)
    assert two.apply().exit_code == 7
    assert {"crl.root", DELEGATE} <= set(waiting(two))
    response = two.sign(two.export())
    assert two.receive(response).certificates == (f"{DELEGATE}@2",)
    assert two.apply().exit_code == 0
    assert site.plan().changes == ()
    assert published(two).maker.delegate == newest(two, DELEGATE).der
    assert ": good" in asked(two, tmp_path)


def test_answers_go_on_while_the_ceremony_is_put_off_and_end_with_the_delegate(two: Two, tmp_path: Path) -> None:
    site = begun(two).site
    first = newest(two, DELEGATE)
    site.now = first.not_after - 2 * DAY
    assert two.apply().exit_code == 7
    assert ": good" in asked(two, tmp_path)
    assert {record.next_update for record in map(pack.unpack, published(two).raw())} == {first.not_after}
    site.now = first.not_after + DAY
    [problem] = [one for one in two.apply().problems if one.address == "ocsp.root"]
    assert problem.code == "E0529"
    while two.apply().exit_code:
        two.round()
    assert ": good" in asked(two, tmp_path)


def test_a_delegate_that_was_not_brought_back_is_burnt_and_the_next_has_a_key_of_its_own(two: Two) -> None:
    two.site.write(PORTAL, base=BASE)
    two.card()
    two.apply()
    two.round()
    two.apply()
    two.site.now += LIFE + 1
    two.apply()
    two.round()
    while two.apply().exit_code == 7:
        two.round()
    delegates = [key.split()[0] + " " + status for key, status in inventory(two).items() if key.startswith("ocsp")]
    assert sorted(delegates) == [f"{DELEGATE}@1 revoked", f"{DELEGATE}@2 issued"]
    assert published(two).maker.delegate == newest(two, DELEGATE).der


def test_a_delegate_that_was_revoked_is_followed_by_another(two: Two) -> None:
    site = begun(two).site
    first = newest(two, DELEGATE)
    entry = f'[[revoke]]\nid = "R"\nserial = "{first.serial}"\nreason = "superseded"\n'
    site.write(PORTAL + entry, base=BASE)
    two.apply()
    assert f"reserve {DELEGATE}@2 revoked" in told(site.plan().changes) or DELEGATE in waiting(two)
    while two.apply().exit_code:
        two.round()
    assert published(two).maker.delegate == newest(two, DELEGATE).der != first.der


def test_each_key_generation_has_a_delegate_of_its_own(two: Two, tmp_path: Path) -> None:
    site = begun(two).site
    site.later(500)
    two.card("ca.root@2")
    site.write(PORTAL, base=BASE.replace('validity = "10y"', 'validity = "10y"\npolicies = ["1.3.6.1.4.1.99999.1"]', 1))
    while two.apply(allow={"root-change": "root"}).exit_code == 7:
        two.round()
    assert site.plan().changes == ()
    assert newest(two, 'ocsp.root["g2"]').ca_generation == 2
    assert ": good" in asked(two, tmp_path)
    assert (site.root / "public/ocsp/root-g2.pack").exists()


@pytest.mark.invariant(2)
@pytest.mark.invariant(4)
@pytest.mark.parametrize(
    "point", [FaultPoint.KEYS_MADE, FaultPoint.INTENTS_STORED, FaultPoint.JOURNALLED, FaultPoint.ISSUED]
)
def test_whoever_dies_over_a_delegate_leaves_one_and_no_more(two: Two, point: FaultPoint, tmp_path: Path) -> None:
    class Died(BaseException):
        pass

    def reach(here: FaultPoint) -> None:
        if here is point:
            raise Died

    site = begun(two).site
    site.later(366)
    only = {"only": ["ocsp.*"]}
    project = open_project(site.root / "pki.toml", environ={}, now=site.now, reach=reach)
    if point in (FaultPoint.KEYS_MADE, FaultPoint.INTENTS_STORED):
        with pytest.raises(Died):
            project.apply(**only)
    else:
        two.apply()
        response = two.sign(two.export())
        with pytest.raises(Died):
            project.ceremonies.receive(response, lambda _: None)
        two.receive(response)
    while two.apply().exit_code:
        two.round()
    assert [one.generation for one in site.open().inventory(Want(address=DELEGATE))] == [1, 2]
    assert ": good" in asked(two, tmp_path)
    assert site.open().upkeep.verify() == []


def test_another_keystore_or_another_life_is_the_next_delegates_and_the_old_one_goes_on(
    two: Two, tmp_path: Path
) -> None:
    site = begun(two).site
    second = (
        '[keystore.second]\ntype = "file"\npath = "second/keys.db"\npassphrase = { file = ".pkicode/passphrase" }\n'
    )
    moved = BASE.replace(f'"{URL}", store = "main" }}', f'"{URL}", store = "second", delegate = "200d" }}')
    assert moved != BASE
    site.write(PORTAL + second, base=moved)
    planned = told(site.plan().changes)
    assert "sign ocsp.root@1 spec-changed" in planned
    assert not [one for one in planned if DELEGATE in one]
    assert two.apply().exit_code == 0
    [pending] = site.plan().pending
    assert (pending.block, pending.fields) == ("ocsp.root", ("delegate", "store"))
    site.later(10)
    assert two.apply().exit_code == 0
    assert ": good" in asked(two, tmp_path)
    site.later(360)
    while two.apply().exit_code:
        two.round()
    second_one = newest(two, DELEGATE)
    assert second_one.not_after + 1 - second_one.not_before == 200 * DAY
    assert [one.label for one in site.open().upkeep.keys("second")] == [f"{DELEGATE}@2"]
    assert ": good" in asked(two, tmp_path)
    assert site.plan().pending == ()


def test_removing_ocsp_takes_its_rows_along_and_coming_back_counts_on(two: Two) -> None:
    site = begun(two).site
    site.write(PORTAL, base=BASE.replace(f'ocsp = {{ url = "{URL}", store = "main" }}', ""))
    assert two.apply().exit_code == 0
    assert site.plan().changes == ()
    site.write(PORTAL, base=BASE)
    while two.apply().exit_code:
        two.round()
    assert newest(two, DELEGATE).generation == 2


def test_only_the_row_of_answers_waits_and_nothing_of_it_alarms(two: Two) -> None:
    site = begun(two).site
    events: list[Event] = []
    site.later(1)
    site.open().apply(emit=events.append)
    assert [one.message for one in events if one.failed] == []
    assert not [one for one in site.plan().changes if one.readiness is Readiness.WAITING]


@pytest.mark.parametrize("values", ["x", '"a"', "[5]", "[[]]", "9" * 5000])
def test_a_row_of_answers_that_somebody_altered_is_written_anew(two: Two, values: str) -> None:
    begun(two)
    assert not two.site.plan().has_changes
    _alter(two, "UPDATE resources SET vals = ? WHERE kind = 'ocsp' AND key = ''", values)
    assert two.apply().exit_code == 0
    assert not two.site.plan().has_changes


@pytest.mark.parametrize("key", ["gx", "g", "g-1", "\u202eg1"])
def test_a_delegate_under_a_name_that_is_none_is_let_go_and_another_one_asked_for(two: Two, key: str) -> None:
    begun(two)
    _alter(two, "UPDATE resources SET key = ? WHERE kind = 'ocsp' AND key = 'g1'", key)
    assert [one.action for one in two.site.plan().changes if one.address.key == key] == [Action.FORGET]


@pytest.mark.parametrize("record", ["x", "[]", "null", '{"sha256": "00"}'])
def test_a_record_of_a_delegate_that_cannot_be_read_is_an_error_of_the_state(two: Two, record: str) -> None:
    begun(two)
    _alter(two, "UPDATE resources SET record = ? WHERE kind = 'ocsp' AND key = 'g1'", record)
    _alter(two, "UPDATE resources SET due = ? WHERE kind = 'ocsp' AND key = ''", 0)
    with pytest.raises(StateError, match="cannot be read"):
        two.apply()


def _alter(two: Two, statement: str, value: object) -> None:
    with closing(sqlite3.connect(two.site.root / ".pkicode/state.db")) as state, state:
        state.execute(statement, (value,))
