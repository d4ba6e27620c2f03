"""When a CA gets its next generation, who has to say so, which one issues, and what a retired one still does."""

import json
import sqlite3
from contextlib import closing

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from pkicode.model.change import Readiness
from pkicode.model.instants import DAY
from pkicode.model.problem import ConfigError
from pkicode.ports import Want
from tests.kinds.rollover import ALLOW, CROSS_SIGNED, TWO_TIER, serial_of, split
from tests.kinds.site import BASE, NOW, Site, certificates, told
from tests.oracles import assert_verifies, openssl

OLD_AND_NEW = """
[ca.old]
subject = { cn = "Old Root", o = "Site" }
path_len = 2
publish = ["web"]
"""


def published(site: Site) -> list[str]:
    return sorted(one.name for one in (site.root / "public/ca").glob("*.cer"))


def trusted(site: Site) -> list[str]:
    roots = split((site.root / "public/bundle/trust.pem").read_bytes())
    subjects = [x509.load_pem_x509_certificate(one).subject for one in roots]
    return [str(one.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value) for one in subjects]


def issuers(site: Site, address: str) -> list[int]:
    return [one.ca_generation for one in site.open().inventory(Want(address=address))]


def lived(site: Site, days: int, step: int = 40, text: str = TWO_TIER) -> Site:
    """Applied every `step` days up to a day."""
    site.write(base=text)
    while site.now < NOW + days * DAY:
        site.apply(allow=ALLOW)
        site.now = min(site.now + step * DAY, NOW + days * DAY)
    return site


def test_an_intermediate_is_followed_when_its_time_has_come(site: Site) -> None:
    lived(site, 180)
    assert "issue ca.issuing@2 ca-rotate" not in certificates(site.plan(at=site.now - 1))
    assert "issue ca.issuing@2 ca-rotate" in certificates(site.plan())


def test_the_next_generation_issues_once_it_has_been_out_long_enough_and_reissues_no_leaf(site: Site) -> None:
    lived(site, 181, 20)
    site.apply()
    assert "issuing-g2.cer" in published(site)
    before = issuers(site, "cert.portal")
    site.write(TWO_TIER.replace("portal.", "www."), base="")
    plan = site.plan(at=site.now + 14 * DAY)
    assert [one for one in told(plan.changes) if " ca." in one] == []
    site.apply()
    assert issuers(site, "cert.portal") == [*before, 1]
    site.later(14).apply()
    site.write(TWO_TIER, base="")
    site.apply()
    assert issuers(site, "cert.portal")[-1] == 2


def test_plan_at_shows_every_stage_before_it_comes(site: Site) -> None:
    lived(site, 1)
    shown = told(site.plan(at=NOW + 200 * DAY).changes)
    assert "issue ca.issuing@2 ca-rotate" in shown
    assert "sign crl.issuing@2 new" in shown
    assert 'sign crl.issuing["g1"]@1 new' in shown


def test_an_old_generation_signs_its_list_until_its_last_certificate_has_ended(site: Site) -> None:
    lived(site, 181)
    site.apply()
    assert {"issuing-g1.crl", "issuing-g2.crl"} <= {one.name for one in (site.root / "public/crl").iterdir()}
    last = 0
    while any("crl.issuing" in one and "@1" in one for one in told(site.plan(at=site.now + 40 * DAY).changes)):
        last = max(one.not_after for one in site.open().inventory(Want(ca="issuing", ca_generation=1)))
        site.later(40).apply()
    assert site.now + 40 * DAY > last
    assert last > NOW + 181 * DAY


def test_a_root_that_is_due_waits_for_leave_and_everything_else_goes_on(site: Site) -> None:
    lived(site, 399).later(2)
    (change,) = [one for one in site.plan().changes if str(one.address) == "ca.root"]
    assert (change.readiness, change.waits) == (
        Readiness.WAITING,
        "a root changes only with --allow root-change=root",
    )
    assert site.apply().exit_code == 7
    assert told(site.plan().changes) == ["issue ca.root@2 ca-rotate"]
    assert published(site)[-1] == "root-g1.cer"
    assert site.apply(allow={"root-change": "ca.*"}).exit_code == 0
    assert published(site)[-1] == "root-g2.cer"
    assert trusted(site) == ["Site Root R1", "Site Root R2"]


def test_leave_for_another_ca_is_none_for_this_one(site: Site) -> None:
    lived(site, 399).later(2)
    for allow in ({"root-change": "other"}, {"ca-rotate": "root"}):
        (change,) = [one for one in site.plan(allow=allow).changes if str(one.address) == "ca.root"]
        assert change.readiness is Readiness.WAITING


def test_a_changed_key_makes_the_next_generation_only_with_leave(site: Site) -> None:
    text = BASE.replace('"Site Issuing"', '"Site Issuing A${generation}"')
    site.write(base=text).apply()
    site.write(base=text.replace("path_len = 0", 'path_len = 0\nkey = { alg = "ec-p384" }'))
    with pytest.raises(ConfigError) as caught:
        site.plan()
    assert [one.code for one in caught.value.problems] == ["E0410"]
    assert "--allow ca-rotate=issuing" in str(caught.value.problems[0].help)
    allow = {"ca-rotate": "issuing"}
    assert certificates(site.plan(allow=allow)) == ["issue ca.issuing@2 ca-rotate"]
    site.apply(allow=allow)
    assert site.plan().changes == ()
    assert "384" in openssl("x509", "-inform", "DER", "-in", site.root / "public/ca/issuing-g2.cer", "-noout", "-text")


def test_a_second_generation_of_the_same_name_is_refused(site: Site) -> None:
    site.apply()
    site.write(base=BASE.replace("path_len = 0", 'path_len = 0\nkey = { alg = "ec-p384" }'))
    with pytest.raises(ConfigError) as caught:
        site.plan(allow={"ca-rotate": "issuing"})
    assert [one.code for one in caught.value.problems] == ["E0340"]


def test_a_subject_that_names_the_generation_it_had_all_along_is_no_other_subject(site: Site) -> None:
    site.write(base=BASE.replace('"Site Root"', '"Site Root R1"')).apply()
    site.write(base=BASE.replace('"Site Root"', '"Site Root R${generation}"'))
    assert told(site.plan().changes) == ["update ca.root@1 spec-changed"]
    site.apply()
    assert site.plan().changes == ()


def test_wider_constraints_count_for_leaves_only_when_the_generation_that_has_them_issues(site: Site) -> None:
    text = BASE.replace('"Site Issuing"', '"Site Issuing A${generation}"')
    site.write(base=text).apply()
    wide = text.replace('["corp.example"]', '["corp.example", "new.example"]')
    leaf = '[cert.new]\nprofile = "server"\ndns = ["www.new.example"]\n'
    site.write(base=wide).apply(allow={"ca-rotate": "issuing"})
    site.write(leaf, base=wide)
    with pytest.raises(ConfigError) as caught:
        site.plan()
    assert [one.code for one in caught.value.problems] == ["E0408"]
    site.later(14).apply()
    site.verify("cert.new")


def test_a_revoked_generation_is_followed_at_once_and_the_next_one_waits_for_nobody(site: Site) -> None:
    lived(site, 20, 10)
    with closing(sqlite3.connect(site.root / ".pkicode/state.db")) as database, database:
        database.execute("UPDATE resources SET status = 'revoked' WHERE kind = 'ca' AND name = 'issuing'")
    assert "issue ca.issuing@2 ca-rotate" in certificates(site.plan())
    site.apply()
    assert site.plan().changes == ()
    site.write(TWO_TIER.replace("portal.", "www."), base="").apply()
    assert issuers(site, "cert.portal") == [1, 2]


def test_a_ca_cannot_be_deleted_for_what_an_older_generation_signed(site: Site) -> None:
    lived(site, 181, 20)
    site.apply()
    head, _ = site.text.split("[ca.issuing]")
    site.write(base=head)
    with pytest.raises(ConfigError) as caught:
        site.plan()
    assert "E0409" in [one.code for one in caught.value.problems]


PORTAL = '[cert.portal]\nprofile = "server"\ndns = ["portal.corp.example"]\n'


def retired(site: Site) -> Site:
    site.write(PORTAL).apply()
    text = BASE.replace("path_len = 0", "path_len = 0\nretired = true")
    return site.write(PORTAL, base=text)


def test_a_retired_ca_signs_its_list_and_nothing_else(site: Site) -> None:
    retired(site)
    plan = site.plan()
    assert told(plan.changes) == ["update ca.issuing@1 spec-changed"]
    assert [one.code for one in plan.problems] == ["W0419"]
    site.apply()
    site.later(61)
    (change,) = [one for one in site.plan().changes if str(one.address) == "cert.portal"]
    assert (change.readiness, change.waits) == (Readiness.WAITING, "ca.issuing is retired and issues nothing")
    assert site.apply().exit_code == 7
    assert issuers(site, "cert.portal") == [1]
    site.verify("cert.portal")


def test_a_retired_root_leaves_the_bundle_after_its_last_leaf_and_the_overlap(site: Site) -> None:
    text = BASE.replace('issuer = "issuing"', 'issuer = "next"')
    other = '[ca.next]\nsubject = { cn = "Next Root", o = "Site" }\npublish = ["web"]\n'
    site.write(PORTAL, base=BASE).apply()
    text = text.replace("path_len = 1", "path_len = 1\nretired = true").replace(
        "path_len = 0", "path_len = 0\nretired = true"
    )
    site.write(other + PORTAL, base=text).apply()
    site.verify("cert.portal")
    assert trusted(site) == ["Next Root", "Site Root"]
    site.later(119).apply()
    assert len(trusted(site)) == 2
    plan = site.plan()
    site.later(1.1)
    assert plan.next_due is not None
    assert plan.next_due <= site.now
    site.apply()
    assert trusted(site) == ["Next Root"]


def test_a_root_is_cross_signed_by_the_one_that_pki_toml_names(site: Site) -> None:
    new = BASE.replace("path_len = 1", 'path_len = 1\ncross_sign = ["ca.old"]')
    site.write(OLD_AND_NEW + PORTAL + 'output = { chain = "out/portal.pem" }\n', base=new).apply()
    assert site.plan().changes == ()
    assert "root-g1-by-old-g1.cer" in published(site)
    cross = x509.load_der_x509_certificate((site.root / "public/ca/root-g1-by-old-g1.cer").read_bytes())
    own = x509.load_der_x509_certificate((site.root / "public/ca/root-g1.cer").read_bytes())
    old = (site.root / "public/ca/old-g1.pem").read_bytes()
    assert (cross.subject, cross.public_key()) == (own.subject, own.public_key())
    assert cross.serial_number != own.serial_number
    ski = x509.SubjectKeyIdentifier
    assert cross.extensions.get_extension_for_class(ski) == own.extensions.get_extension_for_class(ski)
    assert cross.not_valid_after_utc == min(
        own.not_valid_after_utc, x509.load_pem_x509_certificate(old).not_valid_after_utc
    )
    assert cross.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 1
    leaf, *above = split((site.root / "out/portal.pem").read_bytes())
    assert len(above) == 2
    for root in (old, (site.root / "public/ca/root-g1.pem").read_bytes()):
        assert_verifies(leaf, chain=above, root=root, crls=site.crls(), at=site.now)


def test_a_cross_certificate_asked_for_later_reaches_the_chains_in_the_same_apply(site: Site) -> None:
    output = PORTAL + 'output = { chain = "out/portal.pem" }\n'
    site.write(OLD_AND_NEW + output).apply()
    assert len(split((site.root / "out/portal.pem").read_bytes())) == 2
    site.write(OLD_AND_NEW + output, base=BASE.replace("path_len = 1", 'path_len = 1\ncross_sign = ["old"]'))
    assert "issue ca.root@1 ca-rotate" in told(site.plan().changes)
    site.apply()
    assert site.plan().changes == ()
    assert len(split((site.root / "out/portal.pem").read_bytes())) == 3
    # Whoever no longer asks for it no longer sends it; the certificate itself cannot be unmade.
    site.write(OLD_AND_NEW + output).apply()
    assert site.plan().changes == ()
    assert len(split((site.root / "out/portal.pem").read_bytes())) == 2


def test_a_root_without_room_below_it_cannot_cross_sign(site: Site) -> None:
    site.write(OLD_AND_NEW.replace("path_len = 2", "path_len = 1")).apply()
    new = BASE.replace("path_len = 1", 'path_len = 1\ncross_sign = ["old"]')
    site.write(OLD_AND_NEW.replace("path_len = 2", "path_len = 1"), base=new)
    with pytest.raises(ConfigError) as caught:
        site.plan()
    assert [one.code for one in caught.value.problems] == ["E0420"]


def test_the_next_root_is_signed_by_the_one_before_and_bundles_hold_both(site: Site) -> None:
    lived(site, 400, text=CROSS_SIGNED)
    site.apply(allow=ALLOW)
    assert "root-g2-by-root-g1.cer" in published(site)
    assert trusted(site) == ["Site Root R1", "Site Root R2"]
    assert site.plan(allow=ALLOW).changes == ()


def test_the_record_of_a_ca_without_cross_certificates_is_as_it_was(site: Site) -> None:
    site.apply()
    with closing(sqlite3.connect(site.root / ".pkicode/state.db")) as database:
        rows = database.execute("SELECT record, vals, due, needs FROM resources WHERE kind = 'ca' AND name = 'issuing'")
        ((record, values, due, needs),) = rows.fetchall()
    assert json.loads(record).keys() == {"der", "issuer"}
    assert (values, due, needs) == ("[]", 253402300799, "ca.root")


def test_a_name_that_comes_back_begins_anew_under_another_subject(site: Site) -> None:
    spare = '[ca.spare]\nsubject = { cn = "Spare S${generation}" }\npublish = ["web"]\n'
    site.write(spare).apply()
    site.write("").apply()
    site.write(spare + '[profile.spare]\nissuer = "spare"\n[cert.one]\nprofile = "spare"\ndns = ["one.example"]\n')
    assert "issue ca.spare@2 new" in certificates(site.plan())
    site.apply()
    assert issuers(site, "cert.one") == [2]
    assert serial_of(site.chain("cert.one"))
    assert site.plan().changes == ()
