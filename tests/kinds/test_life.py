"""A certificate's life: issued, left alone, renewed, changed, removed, and back again."""

import pytest

from pkicode.model.change import Action, Readiness
from pkicode.model.problem import ConfigError, Denied
from pkicode.ports import Want
from tests.kinds.site import Site, certificates, told
from tests.oracles import Refused, assert_verifies, openssl, revoked_serials

PORTAL = """
[cert.portal]
profile = "server"
dns = ["portal.corp.example"]
"""


def test_an_empty_folder_becomes_a_pki_that_openssl_accepts(site: Site) -> None:
    site.write(PORTAL)
    assert told(site.plan().changes) == [
        "issue ca.root@1 new",
        "issue ca.issuing@1 new",
        "issue cert.portal@1 new",
        "sign crl.root@1 new",
        "sign crl.issuing@1 new",
        "publish publish.web@1 new",
    ]
    applied = site.apply()
    assert (applied.exit_code, dict(applied.counts)) == (0, {"issue": 3, "sign": 2, "publish": 1})
    site.verify("cert.portal")


def test_apply_then_plan_at_the_same_instant_is_empty(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    assert site.plan().changes == ()
    assert site.apply().counts == {}


def test_a_certificate_is_renewed_when_it_is_due_and_not_before(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    (row,) = [one for one in site.open().explain("cert.portal").lines if one.startswith("due ")]
    due = site.open().explain("cert.portal")
    assert due.generation == 1
    assert row
    site.later(40)
    assert certificates(site.plan()) == []
    site.later(21)
    assert certificates(site.plan()) == ["renew cert.portal@2 due"]
    site.apply()
    site.verify("cert.portal")
    first, second = site.open().inventory(Want(address="cert.portal"))
    assert first.spki != second.spki
    assert first.serial != second.serial


def test_rekey_false_keeps_the_key(site: Site) -> None:
    site.write(PORTAL + "renew = { rekey = false }\n")
    site.apply()
    site.later(61).apply()
    first, second = site.open().inventory(Want(address="cert.portal"))
    assert (first.generation, second.generation) == (1, 2)
    assert first.spki == second.spki


def test_a_changed_name_reissues_now(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    site.write(PORTAL.replace("portal.corp.example", "www.corp.example"))
    plan = site.plan()
    assert certificates(plan) == ["renew cert.portal@2 spec-changed"]
    assert plan.changes[0].reasons[0].detail == "`dns` changed"
    site.apply()
    assert "www.corp.example" in openssl("x509", "-noout", "-ext", "subjectAltName", stdin=site.chain("cert.portal"))


def test_a_changed_validity_waits_for_the_next_renewal_and_is_told(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    site.write(PORTAL + 'validity = "30d"\n')
    plan = site.plan()
    assert plan.changes == ()
    assert [(one.block, one.count, one.fields) for one in plan.pending] == [("cert.portal", 1, ("validity",))]


def test_allow_reissue_does_not_await_the_renewal(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    site.write(PORTAL + 'validity = "30d"\n')
    assert certificates(site.plan(allow={"reissue": "cert.other"})) == []
    assert certificates(site.plan(allow={"reissue": "cert.*"})) == ["renew cert.portal@2 spec-changed"]
    site.apply(allow={"reissue": "cert.portal"})
    plan = site.plan()
    assert (plan.changes, plan.pending) == ((), ())


def test_a_changed_note_is_metadata_and_signs_nothing(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    site.write(PORTAL + 'note = "the front door"\non_remove = "revoke"\n')
    assert told(site.plan().changes) == ["update cert.portal@1 spec-changed"]
    site.apply()
    assert site.plan().changes == ()
    assert len(site.open().inventory(Want(address="cert.portal"))) == 1


def test_an_earlier_renewal_that_is_past_already_is_the_next_plans(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    site.later(40).write(PORTAL + 'renew = { at = "1/3", jitter = "0%" }\n')
    assert told(site.plan().changes)[0] == "update cert.portal@1 spec-changed"
    site.apply()
    assert site.plan().changes == ()
    site.now += 1
    assert certificates(site.plan()) == ["renew cert.portal@2 due"]


def test_a_removed_certificate_is_forgotten_and_stays_good(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    chain = site.chain("cert.portal")
    site.write("")
    assert told(site.plan().changes) == ["forget cert.portal@1 removed"]
    site.apply()
    assert site.plan().changes == ()
    (row,) = site.open().inventory(Want(address="cert.portal"))
    assert row.status == "issued"
    assert chain


def test_on_remove_revoke_is_remembered_and_the_next_crl_says_so(site: Site) -> None:
    site.write(PORTAL + 'on_remove = "revoke"\n')
    site.apply()
    chain = site.chain("cert.portal")
    (row,) = site.open().inventory(Want(address="cert.portal"))
    site.write("")
    plan = site.plan()
    assert told(plan.changes)[0] == "revoke cert.portal@1 removed"
    assert plan.changes[0].irreversible
    site.later(0.1).apply()
    assert revoked_serials(site.crls()[0]) == [row.serial]
    root = (site.root / "public/bundle/trust.pem").read_bytes()
    leaf, issuing = [b"-----BEGIN" + one for one in chain.split(b"-----BEGIN")[1:]]
    with pytest.raises(Refused, match="certificate revoked"):
        assert_verifies(leaf, chain=[issuing], root=root, crls=site.crls(), at=site.now)
    assert site.plan().changes == ()


def test_on_remove_forbid_refuses_the_plan(site: Site) -> None:
    site.write(PORTAL + 'on_remove = "forbid"\n')
    site.apply()
    site.write("")
    with pytest.raises(ConfigError) as caught:
        site.plan()
    assert [one.code for one in caught.value.problems] == ["E0411"]


def test_forget_lets_go_even_of_what_would_be_revoked(site: Site) -> None:
    site.write(PORTAL + 'on_remove = "revoke"\n')
    site.apply()
    site.write('[[forget]]\naddress = "cert.portal"\n')
    assert told(site.plan().changes) == ["forget cert.portal@1 removed"]
    site.apply()
    (row,) = site.open().inventory(Want(address="cert.portal"))
    assert row.status == "issued"


def test_a_name_that_comes_back_goes_on_counting(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    site.write("")
    site.apply()
    site.write(PORTAL)
    assert certificates(site.plan()) == ["issue cert.portal@2 new"]
    site.apply()
    assert [one.generation for one in site.open().inventory(Want(address="cert.portal"))] == [1, 2]


def test_moved_renames_without_a_signature(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    site.write(PORTAL.replace("cert.portal", "cert.door") + '[[moved]]\nfrom = "cert.portal"\nto = "cert.door"\n')
    assert told(site.plan().changes) == ["move cert.door@1 new"]
    site.apply()
    assert site.plan().changes == ()
    site.verify("cert.door")


def test_a_row_moves_out_of_its_fan_out_and_back(site: Site) -> None:
    rows = PORTAL.replace("dns =", 'for_each = { values = ["portal", "other"] }\ndns =')
    apart = PORTAL.replace("cert.portal", "cert.door") + rows.replace('"portal", ', "")
    site.write(rows)
    site.apply()
    site.write(apart + '[[moved]]\nfrom = \'cert.portal["portal"]\'\nto = "cert.door"\n')
    assert told(site.plan().changes) == ["move cert.door@1 new"]
    site.apply()
    assert site.plan().changes == ()
    site.verify("cert.door")
    site.write(rows + '[[moved]]\nfrom = "cert.door"\nto = \'cert.portal["portal"]\'\n')
    assert told(site.plan().changes) == ['move cert.portal["portal"]@1 new']
    site.apply()
    assert site.plan().changes == ()


def test_what_was_moved_is_revoked_under_its_new_name(site: Site) -> None:
    site.write(PORTAL + 'on_remove = "revoke"\n')
    site.apply()
    door = PORTAL.replace("cert.portal", "cert.door") + 'on_remove = "revoke"\n'
    site.write(door + '[[moved]]\nfrom = "cert.portal"\nto = "cert.door"\n')
    site.apply()
    site.write("")
    site.apply()
    (row,) = site.open().inventory(Want())[2:]
    assert (row.address, row.status) == ("cert.door", "revoked")


def test_a_name_that_was_moved_away_never_gets_the_key_again(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    moved = '[[moved]]\nfrom = "cert.portal"\nto = "cert.door"\n'
    site.write(PORTAL.replace("cert.portal", "cert.door") + moved)
    site.apply()
    site.write(PORTAL.replace("cert.portal", "cert.door") + PORTAL)
    assert certificates(site.plan()) == ["issue cert.portal@2 new"]
    site.apply()
    one, other = site.open().inventory(Want())[2:]
    assert one.spki != other.spki


def test_a_move_can_be_taken_back(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    door = PORTAL.replace("cert.portal", "cert.door")
    site.write(door + '[[moved]]\nfrom = "cert.portal"\nto = "cert.door"\n')
    site.apply()
    site.write(PORTAL + '[[moved]]\nfrom = "cert.door"\nto = "cert.portal"\n')
    site.apply()
    assert site.plan().changes == ()
    site.verify("cert.portal")


def test_a_move_onto_a_name_that_had_its_own_certificates_is_refused(site: Site) -> None:
    site.write(PORTAL.replace("portal", "door"))
    site.apply()
    site.write(PORTAL)
    site.apply()
    moved = '[[moved]]\nfrom = "cert.portal"\nto = "cert.door"\n'
    site.write(PORTAL.replace("cert.portal", "cert.door") + moved)
    with pytest.raises(ConfigError) as caught:
        site.plan()
    assert [one.code for one in caught.value.problems] == ["E0371"]


def test_a_cas_subject_cannot_be_changed_in_place(site: Site) -> None:
    site.apply()
    site.write(base=site.text.replace("Site Issuing", "Other Issuing"))
    with pytest.raises(ConfigError) as caught:
        site.plan()
    assert [one.code for one in caught.value.problems] == ["E0410"]
    assert caught.value.problems[0].span is not None


def test_a_ca_with_living_leaves_cannot_be_deleted(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    other = "[ca.other]\nsubject = { cn = 'Other' }\npublish = ['web']\n"
    head, tail = site.text.split("[ca.issuing]")
    site.write(base=head + other + '[profile.server]\nissuer = "other"\neku = ["serverAuth"]\n' + PORTAL)
    assert tail
    with pytest.raises(ConfigError) as caught:
        site.plan()
    assert [one.code for one in caught.value.problems] == ["E0409"]


def test_another_issuer_reissues_the_leaf(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    other = "[ca.other]\nsubject = { cn = 'Other' }\npublish = ['web']\n"
    site.write(other + PORTAL, base=site.text.replace(PORTAL, "").replace('issuer = "issuing"', 'issuer = "other"'))
    assert "renew cert.portal@2 spec-changed" in certificates(site.plan())
    site.apply()
    site.verify("cert.portal")


def test_a_leaf_that_would_outlive_its_issuer_is_an_error_when_it_must_be_issued(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    site.later(5 * 365 - 30)
    with pytest.raises(ConfigError) as caught:
        site.plan()
    assert "E0415" in [one.code for one in caught.value.problems]


def test_a_crl_is_signed_again_when_due_and_its_number_rises(site: Site) -> None:
    site.apply()
    site.later(1)
    assert told(site.plan().changes) == [
        "sign crl.root@1 crl-due",
        "sign crl.issuing@1 crl-due",
        "publish publish.web@1 publish-missing",
    ]
    site.apply()
    for crl in site.crls():
        assert "0x02" in openssl("crl", "-inform", "DER", "-noout", "-crlnumber", stdin=crl)


def test_a_published_number_is_the_floor_after_a_restore(site: Site) -> None:
    site.apply()
    project = site.open()
    project.upkeep.backup(site.root / "early.db")
    site.later(1).apply()
    (site.root / ".pkicode/state.db").unlink()
    for extra in (site.root / ".pkicode").glob("state.db-*"):
        extra.unlink()
    site.open().upkeep.restore(site.root / "early.db")
    site.later(0.01).apply()
    for crl in site.crls():
        assert "0x03" in openssl("crl", "-inform", "DER", "-noout", "-crlnumber", stdin=crl)


def test_what_the_published_crl_says_revoked_stays_revoked_after_a_restore(site: Site) -> None:
    site.write(PORTAL + 'on_remove = "revoke"\n')
    site.apply()
    (row,) = site.open().inventory(Want(address="cert.portal"))
    site.open().upkeep.backup(site.root / "early.db")
    site.write("")
    site.later(0.1).apply()
    for path in (site.root / ".pkicode").glob("state.db*"):
        path.unlink()
    site.open().upkeep.restore(site.root / "early.db")
    site.later(1).apply()
    assert revoked_serials(site.crls()[0]) == [row.serial]


@pytest.mark.invariant(12)
def test_max_actions_denies_and_allow_lifts_it_for_one_run(site: Site) -> None:
    site.write(PORTAL + "[policy]\nmax_actions = { issue = 2 }\n")
    plan = site.plan()
    assert [(one.rule, one.passed) for one in plan.verdicts] == [("max_actions.issue", False)]
    assert {one.readiness for one in plan.changes if one.action is Action.ISSUE} == {Readiness.DENIED}
    with pytest.raises(Denied, match="3 issue exceed issue = 2"):
        site.apply()
    assert site.plan().sequence == 0 or not site.open().inventory(Want())
    assert site.apply(allow={"issue": "3"}).exit_code == 0


@pytest.mark.parametrize(
    ("only", "leaving", "waiting"),
    [
        (["cert.portal"], [], {"cert.portal": "ca.issuing"}),
        (["cert.portal", "ca.issuing"], [], {"ca.issuing": "ca.root", "cert.portal": "ca.root"}),
        (["crl.*"], [], {"crl.root": "ca.root", "crl.issuing": "ca.issuing"}),
        ([], ["ca.issuing"], {"cert.portal": "ca.issuing", "crl.issuing": "ca.issuing"}),
        ([], ["cert.*"], {}),
    ],
)
def test_what_stands_on_a_ca_that_is_left_out_and_not_there_waits(
    site: Site, only: list[str], leaving: list[str], waiting: dict[str, str]
) -> None:
    site.write('[cert.portal]\nprofile = "server"\ndns = ["portal.corp.example"]\n')
    expected = {address: f"{ca} comes before it, and is left out" for address, ca in waiting.items()}
    plan = site.plan(only=only, except_=leaving)
    assert {str(one.address): one.waits for one in plan.changes if one.waits} == expected
    applied = site.open().apply(only=only, except_=leaving)
    assert (applied.exit_code, applied.problems) == (7 if waiting else 0, ())
    site.apply()
    assert not any(one.waits for one in site.plan(only=only, except_=leaving).changes)


def test_only_leaves_the_rest_and_says_it_is_not_complete(site: Site) -> None:
    site.write(PORTAL + '[cert.other]\nprofile = "server"\ndns = ["other.corp.example"]\n')
    plan = site.plan(only=["ca.*", "cert.portal"])
    assert certificates(plan) == ["issue ca.root@1 new", "issue ca.issuing@1 new", "issue cert.portal@1 new"]
    assert not plan.complete
    assert site.apply(only=["ca.*", "cert.portal"]).exit_code == 0
    assert certificates(site.plan()) == ["issue cert.other@1 new"]


def test_a_plan_at_a_later_day_shows_what_falls_due_and_needs_no_key(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    (site.root / ".pkicode/keys.db").unlink()
    assert certificates(site.plan(at=site.now + 61 * 86400)) == ["renew cert.portal@2 due"]


def test_nothing_falls_due_before_next_due(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    plan = site.plan()
    assert plan.next_due is not None
    assert site.plan(at=plan.next_due - 1).changes == ()
    assert site.plan(at=plan.next_due).changes != ()
