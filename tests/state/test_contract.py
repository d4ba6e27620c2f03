"""What every ports.Store does; conftest.py lists the stores."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from pkicode.adapters import sql
from pkicode.model.problem import LeaseHeld, LeaseLost, StateError
from pkicode.ports import Archive, Blocked, Ends, Match, Published, Want
from tests.state.samples import ISSUER, NEW, NOW, certificate, crl, held, revocation, settled, sha, write


def test_a_new_state_says_whose_it_is_and_that_nothing_happened(store, run):
    about = run(store.about())
    assert (about.project, about.env, about.lineage) == (NEW.project, NEW.env, NEW.lineage)
    assert (about.sequence, about.newest, about.schema) == (0, 0, 3)
    assert run(store.held()) == []
    assert run(store.templates()) == {}
    assert run(store.audit()) == []


def test_each_commit_raises_the_sequence_and_moves_the_head(store, run, lease):
    assert run(store.commit(write(at=NOW + 1), lease)) == 1
    first = run(store.about())
    assert run(store.commit(write(at=NOW + 2), lease)) == 2
    second = run(store.about())
    assert (first.sequence, second.sequence, second.newest) == (1, 2, NOW + 2)
    assert first.head != second.head


def test_a_template_has_one_number_for_ever(store, run, lease):
    one = run(store.template("one", lease=lease))
    two = run(store.template("two", lease=lease))
    assert one != two
    assert run(store.template("one", lease=lease)) == one
    assert run(store.templates()) == {one: "one", two: "two"}
    assert run(store.about()).sequence == 0


def test_a_held_row_is_stored_with_the_next_version(store, run, lease, template):
    run(store.commit(write(held=[(held("a", template), '{"n":1}')]), lease))
    assert run(store.held()) == [held("a", template, version=1)]
    run(store.commit(write(held=[(held("a", template, version=1, due=7), '{"n":2}')]), lease))
    assert run(store.held()) == [held("a", template, version=2, due=7)]
    assert run(store.records("cert", "fleet")) == {("a", 1): '{"n":2}'}


@pytest.mark.parametrize("version", [0, 2])
def test_a_row_of_another_version_refuses_the_whole_commit(store, run, lease, template, version):
    run(store.commit(write(held=[(held("a", template), "{}")]), lease))
    rows = [(held("b", template), "{}"), (held("a", template, version=version), "{}")]
    with pytest.raises(StateError, match=r'cert\.fleet\["a"\]@1 .*nothing was written'):
        run(store.commit(write(held=rows, intents=[certificate(1)]), lease))
    assert [row.key for row in run(store.held())] == ["a"]
    assert run(store.intents()) == []
    assert run(store.about()).sequence == 1


def test_a_row_that_is_not_there_cannot_be_replaced_or_forgotten(store, run, lease, template):
    ghost = held("ghost", template, version=1)
    with pytest.raises(StateError, match="ghost"):
        run(store.commit(write(held=[(ghost, "{}")]), lease))
    with pytest.raises(StateError, match="ghost"):
        run(store.commit(write(forgotten=[ghost]), lease))
    assert run(store.held()) == []


def test_a_forgotten_row_is_gone_and_may_come_back(store, run, lease, template):
    run(store.commit(write(held=[(held("a", template), "{}")]), lease))
    run(store.commit(write(forgotten=[held("a", template, version=1)]), lease))
    assert run(store.held()) == []
    run(store.commit(write(held=[(held("a", template), "{}")]), lease))
    assert len(run(store.held())) == 1


def test_a_row_of_an_unknown_template_is_refused(store, run, lease):
    with pytest.raises(StateError, match="nothing was written"):
        run(store.commit(write(held=[(held("a", 99), "{}")]), lease))
    assert run(store.about()).sequence == 0


def test_records_of_some_keys_are_those_and_no_others(store, run, lease, template):
    rows = [(held(key, template, generation=g), f'"{key}{g}"') for key in "abc" for g in (1, 2)]
    run(store.commit(write(held=rows), lease))
    assert run(store.records("cert", "fleet", ["a", "none"])) == {("a", 1): '"a1"', ("a", 2): '"a2"'}
    assert len(run(store.records("cert", "fleet"))) == 6
    assert run(store.records("cert", "other")) == {}


def test_authorities_are_the_records_of_every_ca_generation(store, run, lease, template):
    rows = [(held("", template, kind="ca", name="root", generation=g), f"{g}") for g in (1, 2)]
    run(store.commit(write(held=[*rows, (held("a", template), "{}")]), lease))
    assert run(store.authorities()) == {("root", 1): "1", ("root", 2): "2"}


def test_the_living_are_counted_by_ca_generation(store, run, lease):
    rows = [
        certificate(1, status="issued"),
        certificate(2, status="unknown"),
        certificate(3, status="issued", ca_generation=2),
        certificate(4, status="issued", not_after=NOW - 1),
        certificate(5, status="revoked"),
        certificate(6),
        certificate(7, status="issued", ca=""),
    ]
    run(store.commit(write(adopted=rows), lease))
    assert run(store.living(NOW)) == {("issuing", 1): 2, ("issuing", 2): 1}
    assert run(store.living(NOW - 1)) == {("issuing", 1): 3, ("issuing", 2): 1}


def test_when_what_a_ca_signed_ends_is_told_by_its_generation(store, run, lease):
    rows = [
        certificate(1, status="issued", not_after=NOW + 5),
        certificate(2, status="revoked", not_after=NOW + 9),
        certificate(3, status="unknown", not_after=NOW + 7, ca_generation=2),
        certificate(4, status="issued", not_after=NOW + 20, address="ca.below"),
        certificate(5, status="issued", not_after=NOW + 30, address="ocsp.issuing"),
        certificate(6, status="issued", not_after=NOW + 40, address="ca.issuing", generation=1),
        certificate(7, status="issued", not_after=NOW + 50, address="ca.issuing", generation=2),
        certificate(8, status="aborted", not_after=NOW + 60),
    ]
    run(store.commit(write(adopted=rows), lease))
    assert run(store.ends()) == {("issuing", 1): Ends(NOW + 9, NOW + 50), ("issuing", 2): Ends(NOW + 7, NOW + 7)}


def test_what_a_ca_signed_is_counted_for_ever_and_an_open_intent_once_it_is_settled(store, run, lease):
    run(store.commit(write(adopted=[certificate(1, status="issued"), certificate(2, status="revoked")]), lease))
    run(store.commit(write(intents=[certificate(3), certificate(4, ca_generation=2)]), lease))
    assert run(store.signed()) == {("issuing", 1): 2, ("issuing", 2): 0}
    run(store.commit(write(settled=[settled(certificate(3)), settled(certificate(4), "unknown")]), lease))
    assert run(store.signed()) == {("issuing", 1): 3, ("issuing", 2): 1}


def test_answers_are_owed_about_everything_signed_that_has_not_expired(store, run, lease):
    rows = [
        certificate(0x200000, status="issued"),
        certificate(1, status="unknown"),
        certificate(2, status="revoked"),
        certificate(3, status="aborted"),
        certificate(4),
        certificate(5, status="issued", not_after=NOW - 1),
        certificate(6, status="issued", ca_generation=2),
        certificate(7, status="issued", issuer_key=sha(b"another")),
    ]
    run(store.commit(write(adopted=rows), lease))
    assert run(store.answerable(ISSUER, "issuing", 1, NOW)) == ["1001", "1002", "201000"]
    assert run(store.answerable(ISSUER, "issuing", 1, NOW - 1)) == ["1001", "1002", "1005", "201000"]


def test_bytes_are_asked_for_by_serial_in_any_order(store, run, lease):
    rows = [certificate(n) for n in range(3)]
    run(store.commit(write(intents=rows), lease))
    run(store.commit(write(settled=[settled(rows[0]), settled(rows[1])]), lease))
    ids = [(ISSUER, rows[number].serial) for number in (1, 2, 0)]
    assert run(store.ders([*ids, (ISSUER, "99")])) == [b"certificate tbs 1", None, b"certificate tbs 0", None]


def test_duties_are_those_of_the_unexpired_of_one_ca_generation_each_once(store, run, lease):
    rows = [
        certificate(1, duty='["u1"]', not_after=NOW),
        certificate(2, duty='["u1"]', not_after=NOW),
        certificate(3, duty='["u2"]', not_after=NOW - 1),
        certificate(4, duty='["u3"]', ca_generation=2),
        certificate(5, duty='["u4"]'),
    ]
    run(store.commit(write(intents=rows), lease))
    assert sorted(run(store.duties("issuing", 1, NOW))) == ['["u1"]', '["u4"]']
    run(store.commit(write(settled=[settled(rows[4], "aborted")]), lease))
    assert list(run(store.duties("issuing", 1, NOW))) == ['["u1"]']
    ids = [(ISSUER, rows[2].serial), (ISSUER, "99"), (ISSUER, rows[0].serial)]
    assert list(run(store.duty_of(ids))) == ['["u2"]', None, '["u1"]']


def test_intents_come_back_as_they_went_in_and_in_order(store, run, lease):
    rows = [certificate(n) for n in (3, 1, 2)]
    run(store.commit(write(intents=rows), lease))
    assert run(store.intents()) == rows


def test_a_settled_intent_holds_the_certificate(store, run, lease):
    rows = [certificate(n) for n in range(3)]
    run(store.commit(write(intents=rows), lease))
    run(store.commit(write(settled=[settled(rows[0]), settled(rows[1], "unknown")]), lease))
    assert run(store.intents()) == [rows[2]]
    issued, unknown, _ = run(store.certificates(Want()))
    assert (issued.status, issued.der, issued.sha256) == ("issued", b"certificate tbs 0", sha(b"certificate tbs 0"))
    assert (unknown.status, unknown.der, unknown.sha256) == ("unknown", b"tbs 1", "")


@pytest.mark.invariant(4)
@pytest.mark.parametrize("number", [0, 7], ids=["settled already", "never reserved"])
def test_only_an_open_intent_can_be_settled(store, run, lease, number):
    run(store.commit(write(intents=[certificate(0), certificate(1)]), lease))
    run(store.commit(write(settled=[settled(certificate(0), "unknown")]), lease))
    with pytest.raises(StateError, match=certificate(number).serial):
        run(store.commit(write(settled=[settled(certificate(1)), settled(certificate(number))]), lease))
    assert run(store.intents()) == [certificate(1)]


@pytest.mark.invariant(2)
@pytest.mark.parametrize(
    "changes",
    [{}, {"issuer_dn": b"another name"}, {"issuer_key": "ff"}],
    ids=["same issuer", "same key under another name", "same name with another key"],
)
def test_a_serial_is_given_once_per_issuer_key_and_per_issuer_name(store, run, lease, changes):
    run(store.commit(write(intents=[certificate(1)]), lease))
    with pytest.raises(StateError, match="taken"):
        run(store.commit(write(intents=[certificate(2), certificate(1, **changes)]), lease))
    with pytest.raises(StateError, match="taken"):
        run(store.commit(write(adopted=[certificate(1, status="issued", **changes)]), lease))
    assert run(store.intents()) == [certificate(1)]


def test_a_foreign_issuer_may_have_used_the_same_serial(store, run, lease):
    foreign = certificate(1, issuer_key="ff", issuer_dn=b"foreign", status="issued", ca="", reason="imported")
    run(store.commit(write(intents=[certificate(1)], adopted=[foreign]), lease))
    assert run(store.certificates(Want(serial=foreign.serial))) == [certificate(1), foreign]


def test_certificates_are_found_by_every_condition(store, run, lease):
    rows = [
        certificate(0, address="cert.fleet-b"),
        certificate(1, ca="other", ca_generation=2),
        certificate(2, spki="aa", not_before=NOW + 50),
        certificate(3, status="issued"),
        certificate(4, address="cert.fleet"),
        certificate(5, address='cert.fleet["Z"]', status="revoked"),
    ]
    run(store.commit(write(adopted=rows), lease))

    def found(**conditions):
        return [rows.index(row) for row in run(store.certificates(Want(**conditions)))]

    assert found() == [0, 1, 2, 3, 4, 5]
    assert found(ca="other") == [1]
    assert found(ca="issuing", ca_generation=2) == []
    assert found(ca_generation=2) == [1]
    assert found(statuses=("issued", "revoked")) == [3, 5]
    assert found(address='cert.fleet["2"]') == [2]
    assert found(block="cert.fleet") == [1, 2, 3, 4, 5]
    assert found(block="cert.fleet-b") == [0]
    assert found(serial=rows[4].serial) == [4]
    assert found(spki="aa") == [2]
    assert found(expiring_before=rows[2].not_after) == [0, 1]
    assert found(valid_at=NOW) == [0, 1, 3, 4, 5]
    assert found(valid_at=rows[3].not_after) == [3, 4, 5]
    assert found(block="cert.fleet", statuses=("intent",), valid_at=NOW) == [1, 4]


def test_what_relying_parties_see_is_found_as_they_see_it(store, run, lease):
    ended = {"not_after": NOW - 1}
    rows = [
        *[certificate(place, status=one) for place, one in enumerate(("issued", "revoked", "unknown", "aborted"))],
        *[certificate(4 + place, status=one, **ended) for place, one in enumerate(("issued", "revoked", "unknown"))],
        certificate(7),
    ]
    run(store.commit(write(adopted=rows), lease))

    def found(*words):
        want = Want(seen_as=words, seen_at=NOW)
        return [rows.index(row) for row in run(store.certificates(want))]

    assert found("good") == [0]
    assert found("revoked") == [1, 5]
    assert found("expired") == [4, 6]
    assert found("unknown") == [2, 7]
    assert found("good", "revoked") == [0, 1, 5]
    assert found("good", "revoked", "expired", "unknown") == [0, 1, 2, 4, 5, 6, 7]


def test_facts_are_the_fields_that_were_asked_for_as_they_are_read(store, run, lease):
    rows = [certificate(place) for place in range(3)]
    run(store.commit(write(intents=rows), lease))
    given = []

    def made(facts):
        given.append([*facts])
        return [len(given[-1])]

    assert sum(run(store.facts(Want(block="cert.fleet"), ("serial", "not_after", "der"), made))) == 3
    assert [one for some in given for one in some] == [(row.serial, row.not_after, row.der) for row in rows]
    assert sum(run(store.facts(Want(ca="nobody's"), ("serial",), lambda facts: [len([*facts])]))) == 0
    with pytest.raises(ValueError, match="not in tuple"):
        run(store.facts(Want(), ("1; DROP TABLE meta",), made))


def test_facts_without_bytes_differ_in_the_bytes_only(store, run, lease):
    run(store.commit(write(intents=[certificate(1)]), lease))
    assert run(store.certificates(Want(with_der=False))) == [evolve(certificate(1), der=b"")]


@pytest.mark.invariant(8)
def test_the_first_revocation_date_stays_for_ever(store, run, lease):
    run(store.commit(write(adopted=[certificate(1, status="issued")]), lease))
    first = revocation(certificate(1).serial)
    run(store.commit(write(revocations=[first]), lease))
    again = evolve(first, revoked_at=NOW + 99, reason="cessationOfOperation", entry="other")
    run(store.commit(write(revocations=[again]), lease))
    assert run(store.revocations(ISSUER)) == [first]


def test_a_reason_is_upgraded_to_key_compromise_and_to_nothing_else(store, run, lease):
    run(store.commit(write(adopted=[certificate(1, status="issued")]), lease))
    first = revocation(certificate(1).serial)
    worse = evolve(first, revoked_at=NOW + 99, reason="keyCompromise", entry="other", invalidity=NOW - 9)
    for one in (first, worse, evolve(first, reason="unspecified")):
        run(store.commit(write(revocations=[one]), lease))
    assert run(store.revocations(ISSUER)) == [evolve(first, reason="keyCompromise", invalidity=NOW - 9)]
    (row,) = run(store.certificates(Want()))
    assert (row.status, row.revoked_at, row.revocation_reason) == ("revoked", first.revoked_at, "keyCompromise")


def test_the_instant_of_a_compromise_is_said_once(store, run, lease):
    first = revocation("1", invalidity=NOW - 1)
    for one in (
        first,
        evolve(first, reason="keyCompromise", invalidity=None),
        evolve(first, reason="keyCompromise", invalidity=NOW - 99),
    ):
        run(store.commit(write(revocations=[one]), lease))
    assert run(store.revocations(ISSUER)) == [evolve(first, reason="keyCompromise")]


def test_revocations_are_sorted_by_serial_as_a_number_and_asked_for_by_issuer(store, run, lease):
    serials = ["10", "9", "ff", "a", "100"]
    foreign = revocation("1", issuer_key="ee")
    run(store.commit(write(revocations=[*map(revocation, serials), foreign]), lease))
    assert [one.serial for one in run(store.revocations(ISSUER))] == ["9", "a", "10", "ff", "100"]
    assert run(store.revocations("ee")) == [foreign]


def test_revocations_are_counted_by_issuer(store, run, lease):
    assert run(store.revoked()) == {}
    twice = [revocation("1"), revocation("2"), revocation("1"), revocation("1", issuer_key="ee")]
    run(store.commit(write(revocations=twice), lease))
    assert run(store.revoked()) == {ISSUER: 2, "ee": 1}


def test_an_open_intent_is_not_revoked_before_it_is_settled(store, run, lease):
    row = certificate(1)
    run(store.commit(write(intents=[row]), lease))
    with pytest.raises(StateError, match="open intent"):
        run(store.commit(write(revocations=[revocation(row.serial)]), lease))
    run(store.commit(write(settled=[settled(row, "unknown")], revocations=[revocation(row.serial)]), lease))
    assert [one.status for one in run(store.certificates(Want()))] == ["revoked"]


def test_what_is_adopted_after_its_revocation_enters_as_revoked(store, run, lease):
    row = certificate(1, status="issued")
    run(store.commit(write(revocations=[revocation(row.serial)]), lease))
    run(store.commit(write(adopted=[row]), lease))
    (found,) = run(store.certificates(Want()))
    assert (found.status, found.revoked_at) == ("revoked", NOW + 5)


def test_the_newest_artefact_of_each_scope_is_kept(store, run, lease):
    run(store.commit(write(artefacts=[crl("9"), crl("1", scope="0"), crl("1", name="root-g1")]), lease))
    run(store.commit(write(artefacts=[crl("10")]), lease))
    assert run(store.artefact("crl", "issuing-g1")) == crl("10")
    assert run(store.artefact("crl", "issuing-g1", "0")) == crl("1", scope="0")
    assert run(store.artefact("crl", "nobody")) is None
    facts = run(store.artefacts())
    assert sorted((one.name, one.scope, one.number, one.der) for one in facts) == [
        ("issuing-g1", "", "10", None),
        ("issuing-g1", "0", "1", None),
        ("root-g1", "", "1", None),
    ]


@pytest.mark.invariant(8)
@pytest.mark.parametrize("number", ["10", "f"])
def test_the_number_of_an_artefact_only_rises(store, run, lease, number):
    run(store.commit(write(artefacts=[crl("10")]), lease))
    with pytest.raises(StateError, match="or a higher one"):
        run(store.commit(write(artefacts=[crl(number, der=b"another")]), lease))
    assert run(store.artefact("crl", "issuing-g1")) == crl("10")


def test_what_was_published_last_is_remembered(store, run, lease):
    first, second = Published("web", "crl/a.crl", "aa", NOW), Published("web", "crl/a.crl", "bb", NOW + 1)
    other = Published("web", "crl/b.crl", "cc", NOW)
    run(store.commit(write(published=[first, other]), lease))
    run(store.commit(write(published=[second]), lease))
    assert sorted(run(store.published()), key=lambda one: one.path) == [second, other]


def test_what_a_target_is_to_hold_no_more_is_silent_until_it_is_published_again(store, run, lease):
    first, other = Published("web", "crl/a.crl", "aa", NOW), Published("web", "crl/b.crl", "cc", NOW)
    run(store.commit(write(published=[first, other]), lease))
    run(store.commit(write(published=[evolve(first, sha256="")]), lease))
    assert run(store.published()) == [other]
    run(store.commit(write(published=[first]), lease))
    assert sorted(run(store.published()), key=lambda one: one.path) == [first, other]


def test_a_lease_is_held_by_one(store, run, lease):
    with pytest.raises(LeaseHeld) as caught:
        run(store.acquire("project", holder="bob", now=NOW + 59, ttl=60))
    assert "alice" in caught.value.message
    assert str(lease.pid) in caught.value.message
    assert lease.host in caught.value.message
    assert "2026-11-23T" in caught.value.message
    assert run(store.leases()) == [lease]
    assert run(store.acquire("publish issuing", holder="bob", now=NOW, ttl=60)).epoch == 1


@pytest.mark.invariant(7)
def test_an_expired_lease_is_taken_over_and_its_old_holder_cannot_write(store, run, lease):
    newer = run(store.acquire("project", holder="bob", now=NOW + 60, ttl=60))
    assert newer.epoch > lease.epoch
    with pytest.raises(LeaseLost):
        run(store.commit(write(intents=[certificate(1)]), lease))
    with pytest.raises(LeaseLost):
        run(store.template("new", lease=lease))
    with pytest.raises(LeaseLost):
        run(store.renew(lease, now=NOW + 61, ttl=60))
    run(store.release(lease))
    assert run(store.leases()) == [newer]
    assert run(store.intents()) == []
    assert run(store.commit(write(), newer)) == 1


def test_a_renewed_lease_lasts_longer_with_the_same_epoch(store, run, lease):
    renewed = run(store.renew(lease, now=NOW + 50, ttl=60))
    assert (renewed.epoch, renewed.heartbeat, renewed.expires) == (lease.epoch, NOW + 50, NOW + 110)
    with pytest.raises(LeaseHeld):
        run(store.acquire("project", holder="bob", now=NOW + 100, ttl=60))


@pytest.mark.invariant(7)
def test_epochs_are_never_given_twice(store, run, lease):
    run(store.release(lease))
    assert run(store.leases()) == []
    with pytest.raises(LeaseLost):
        run(store.commit(write(), lease))
    with pytest.raises(LeaseLost):
        run(store.renew(lease, now=NOW, ttl=60))
    assert run(store.acquire("project", holder="bob", now=NOW, ttl=60)).epoch > lease.epoch


def test_a_lease_nobody_ever_took_cannot_commit(store, run, lease):
    with pytest.raises(LeaseLost):
        run(store.commit(write(), evolve(lease, name="other")))


def test_a_broken_lease_is_free_and_the_breaking_is_in_the_audit(store, run, lease):
    assert run(store.break_lease("project", now=NOW + 3, actor="bob")) == lease
    assert run(store.break_lease("project", now=NOW + 4, actor="bob")) is None
    assert run(store.break_lease("never", now=NOW + 4, actor="bob")) is None
    with pytest.raises(LeaseLost):
        run(store.commit(write(), lease))
    assert run(store.acquire("project", holder="bob", now=NOW + 4, ttl=60)).epoch > lease.epoch
    assert [(one.actor, one.action, one.subject) for one in run(store.audit())] == [("bob", "lock.break", "project")]


def test_the_audit_is_a_chain_from_the_lineage_on(store, run, lease):
    for number in range(5):
        run(store.commit(write(at=NOW + number, subject=f"ä {number}", detail='{"n":1}'), lease))
    events = run(store.audit())
    head = sql.genesis(NEW.project, NEW.env, NEW.lineage)
    for number, event in enumerate(events):
        assert (event.sequence, event.prev, event.at) == (number + 1, head, NOW + number)
        head = sql.link(head, event.sequence, event.at, event.actor, event.action, event.subject, event.detail)
        assert event.hash == head
    assert run(store.about()).head == head
    assert run(store.audit(after=2, limit=2)) == events[2:4]


@pytest.mark.invariant(13)
def test_a_refused_commit_leaves_no_audit(store, run, lease):
    with pytest.raises(StateError):
        run(store.commit(write(settled=[settled(certificate(1))]), lease))
    assert run(store.audit()) == []


def test_facts_of_the_store_itself_cannot_be_written(store, run, lease):
    with pytest.raises(StateError, match="lineage"):
        run(store.commit(write(meta={"approver": "x", "lineage": "y"}), lease))
    assert run(store.about()).lineage == NEW.lineage
    assert run(store.commit(write(meta={"approver": "x"}), lease)) == 1
    assert run(store.meta())["approver"] == "x"


_FIELDS = st.tuples(st.integers(0, 2**40), st.text(), st.text(), st.text(), st.text())


@given(_FIELDS, _FIELDS)
def test_two_events_with_one_hash_say_the_same(one, two):
    assert (sql.link("00", 1, *one) == sql.link("00", 1, *two)) == (one == two)


def test_a_key_is_blocked_once_and_for_ever(store, run, lease):
    first = Blocked("aa", NOW, "keyCompromise", "INC-1")
    run(store.commit(write(blocked=[first, Blocked("bb", NOW, "superseded", "INC-1")]), lease))
    run(store.commit(write(blocked=[evolve(first, at=NOW + 9, entry="INC-2")]), lease))
    assert run(store.blocked(["aa", "cc"])) == {"aa": first}
    assert sorted(run(store.blocked())) == ["aa", "bb"]
    assert run(store.blocked([])) == {}


def test_what_an_entry_was_about_is_asked_for_no_more(store, run, lease):
    rows = [certificate(number, status="issued", spki="aa") for number in range(3)]
    run(store.commit(write(adopted=rows), lease))
    match = Match("INC-1", ISSUER, rows[0].serial, "superseded", NOW)
    revoked = [revocation(rows[0].serial, entry="INC-1", not_after=NOW + 77)]
    run(store.commit(write(revocations=revoked, matches=[match], blocked=[Blocked("aa", NOW, "x", "INC-2")]), lease))

    def found(**conditions):
        return [one.serial for one in run(store.certificates(Want(**conditions)))]

    serials = [one.serial for one in rows]
    assert found(not_matched_by=("INC-1", "superseded")) == serials[1:]
    assert found(not_matched_by=("INC-1", "keyCompromise")) == serials
    assert found(not_matched_by=("INC-2", "superseded")) == serials
    assert found(matched_by="INC-1") == serials[:1]
    assert found(blocked_by="INC-2") == serials
    assert found(blocked_by="INC-1") == []
    assert found(serials=serials[1:], not_matched_by=("INC-1", "superseded")) == serials[1:]
    assert found(spkis=["aa", "bb"], serials=serials[:2]) == serials[:2]
    assert found(created_before=NOW) == []
    assert found(created_before=NOW + 1, generation=1, issuer_key=ISSUER) == serials
    assert found(unexpired_at=rows[1].not_after) == serials[1:]
    assert run(store.entries()) == {"INC-1": NOW + 77, "INC-2": 0}
    run(store.commit(write(matches=[evolve(match, reason="keyCompromise")]), lease))
    assert found(not_matched_by=("INC-1", "keyCompromise")) == serials[1:]


def test_an_upgraded_reason_counts_once_more(store, run, lease):
    run(store.commit(write(revocations=[revocation("1"), revocation("2")]), lease))
    before = run(store.revoked())[ISSUER]
    run(store.commit(write(revocations=[revocation("1", reason="keyCompromise")]), lease))
    assert run(store.revoked()) == {ISSUER: before + 1}
    run(store.commit(write(revocations=[revocation("1", reason="keyCompromise")]), lease))
    assert run(store.revoked()) == {ISSUER: before + 1}


def receipt(**changes):
    one = Archive("5f0c-000001.parquet", ISSUER, "issuing", 1, "ab" * 32, NOW, 2, 1, NOW + 1001, NOW + 1001)
    return evolve(one, **changes)


def filled(store, run, lease):
    """Two issued, one of them revoked and matched."""
    rows = [certificate(1), certificate(2)]
    run(store.commit(write(intents=rows), lease))
    match = Match("INC-1", ISSUER, rows[0].serial, "superseded", NOW)
    run(store.commit(write(settled=[settled(one) for one in rows]), lease))
    run(store.commit(write(revocations=[revocation(rows[0].serial)], matches=[match]), lease))
    return run(store.certificates(Want())), match


def test_what_is_archived_leaves_with_its_revocation_and_counts_go_on(store, run, lease):
    rows, match = filled(store, run, lease)
    ends, signed, revoked = run(store.ends()), run(store.signed()), run(store.revoked())
    left = write(at=NOW + 5000, archives=[receipt(ended=rows[1].not_after)], archived=rows, parted=[match])
    run(store.commit(left, lease))
    assert run(store.certificates(Want())) == []
    assert run(store.revocations(ISSUER)) == []
    assert run(store.matches()) == []
    assert run(store.archives()) == list(left.archives)
    assert (run(store.ends()), run(store.signed()), run(store.revoked())) == (ends, signed, revoked)


@pytest.mark.parametrize(
    "stale",
    [{"status": "unknown"}, {"sha256": "00" * 32}, {"address": "cert.other"}, {"serial": "7777"}],
    ids=lambda one: next(iter(one)),
)
def test_nothing_leaves_when_one_is_not_what_was_archived(store, run, lease, stale):
    rows, match = filled(store, run, lease)
    left = write(at=NOW + 5000, archives=[receipt()], archived=[rows[0], evolve(rows[1], **stale)])
    with pytest.raises(StateError, match="not what was archived; nothing was removed"):
        run(store.commit(left, lease))
    assert run(store.certificates(Want())) == rows
    assert run(store.matches()) == [match]
    assert run(store.archives()) == []


def test_neither_what_is_valid_nor_an_intent_leaves(store, run, lease):
    rows, _ = filled(store, run, lease)
    with pytest.raises(StateError, match="nothing was removed"):
        run(store.commit(write(at=NOW + 10, archived=rows[:1]), lease))
    run(store.commit(write(intents=[certificate(3)]), lease))
    with pytest.raises(StateError, match="nothing was removed"):
        run(store.commit(write(at=NOW + 50_000, archived=run(store.intents())), lease))
    assert len(run(store.certificates(Want()))) == 3


def test_revocations_of_some_serials(store, run, lease):
    rows, _ = filled(store, run, lease)
    (one,) = run(store.revocations(ISSUER))
    assert run(store.revocations(ISSUER, [row.serial for row in rows])) == [one]
    assert run(store.revocations(ISSUER, ["7777"])) == []
    assert run(store.revocations("00" * 32, [one.serial])) == []
