"""What a plan says of a certificate, what each of its fields means when it changes, and which row is to blame."""

import attrs
import pytest

from pkicode.config.language import CertSpec
from pkicode.kinds.cert import KIND
from pkicode.model.change import Change, ReasonCode
from pkicode.model.instants import rfc3339
from pkicode.model.problem import ConfigError
from pkicode.plan.kind import FieldClass
from tests.kinds.site import BASE, Site

PORTAL = """
[cert.portal]
profile = "server"
dns = ["portal.corp.example", "www.corp.example"]
cn = "portal.corp.example"
"""
MEANS = {
    "cn subject dns ip email uri rid upn dirname usage eku issuer csr must_staple ocsp_nocheck": FieldClass.NOW,
    "validity backdate key policies revocation base_urls crl_shards ocsp_urls lint copy": FieldClass.NEXT,
    "profile allow renew on_remove reissue output after protect note endpoints": FieldClass.METADATA,
    "for_each": FieldClass.NOTHING,
}
"""A change here reissues a fleet, or stops doing so: it needs a decision, and a line in the changelog."""


def portal(site: Site) -> Change:
    """The one change of cert.portal."""
    (change,) = [one for one in site.plan().changes if str(one.address) == "cert.portal"]
    return change


def test_every_field_of_a_certificate_means_what_was_decided() -> None:
    decided = {name: meaning for names, meaning in MEANS.items() for name in names.split()}
    assert decided.keys() == {one.name for one in attrs.fields(CertSpec)}
    assert KIND.classes == {**decided, "key.alg": FieldClass.NEXT, "key.store": FieldClass.NOW}


def test_a_plan_says_what_the_certificate_will_be(site: Site) -> None:
    change = portal(site.write(PORTAL))
    assert change.after.plain() == {
        "issuer": "ca.issuing",
        "key": "new",
        "key_alg": "ec-p256",
        "profile": "server",
        "sans": ["dns:portal.corp.example", "dns:www.corp.example"],
        "subject": "CN=portal.corp.example",
        "validity": "90d",
    }
    assert (change.before, change.irreversible, change.depends_on) == (None, True, ("ca.issuing",))


def test_a_plan_of_a_renewal_says_what_there_was(site: Site) -> None:
    site.write(PORTAL + "renew = { rekey = false }\n")
    site.apply()
    change = portal(site.later(61))
    assert change.before == {"due": "2027-01-14T20:34:37Z", "generation": 1}
    assert change.after is not None
    assert change.after["key"] == "same"


def test_what_is_replaced_after_a_revocation_and_was_due_anyway_says_both(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    pinned = f'cert = "cert.portal"\nissued_before = {rfc3339(site.now + 1)}\nreason = "superseded"\n'
    change = portal(site.write(PORTAL + f'[[revoke]]\nid = "r1"\n{pinned}').later(61))
    assert [one.code for one in change.reasons][-1] is ReasonCode.DUE
    assert change.reasons[-1].detail == "due 2027-01-14T20:34:37Z"
    assert len(change.reasons) == 2


def test_the_fields_that_changed_are_named_one_by_one(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    site.write(PORTAL.replace("www.", "shop."), base=BASE.replace('["serverAuth"]', '["serverAuth", "clientAuth"]'))
    assert [one.detail for one in portal(site).reasons] == ["`dns` `eku` changed"]


def test_the_columns_that_changed_are_named_by_their_fields(site: Site) -> None:
    text = '[cert.fleet]\nprofile = "server"\nfor_each = { csv = "fleet.csv", key = "host" }\ndns = ["${each.fqdn}"]\n'
    site.write(text)
    (site.root / "fleet.csv").write_text("host,fqdn\na,a.corp.example\n")
    site.apply()
    (site.root / "fleet.csv").write_text("host,fqdn\na,b.corp.example\n")
    (change,) = site.plan().changes
    assert [one.detail for one in change.reasons] == ["`dns` changed"]


def test_metadata_says_what_holds_from_now_on(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    site.write(PORTAL + 'on_remove = "revoke"\nprotect = true\n')
    change = portal(site)
    assert [one.detail for one in change.reasons] == ["`on_remove` `protect` changed, no signature"]
    assert change.after == {"on_remove": "revoke", "protect": True}


def test_a_removal_that_revokes_cannot_be_taken_back_and_says_why(site: Site) -> None:
    site.write(PORTAL + 'on_remove = "revoke"\n')
    site.apply()
    change = portal(site.write(""))
    assert (change.before, change.after) == ({"generation": 1}, {"reason": "cessationOfOperation"})
    assert change.irreversible


@pytest.mark.parametrize("saying", ["protect = true", 'on_remove = "forbid"'])
def test_what_may_not_go_is_named_with_the_way_out(site: Site, saying: str) -> None:
    site.write(PORTAL + saying + "\n")
    site.apply()
    site.write("")
    with pytest.raises(ConfigError) as caught:
        site.plan()
    (problem,) = caught.value.problems
    assert (problem.code, problem.address) == ("E0411", "cert.portal")
    assert '[[forget]] address = "cert.portal"' in problem.help


def test_one_that_would_outlive_its_issuer_is_one_error_for_all_rows_at_its_validity(site: Site) -> None:
    site.apply()
    many = 'for_each = { values = ["a", "b"] }\nvalidity = "80d"\ndns ='
    site.write(PORTAL.replace("dns =", many).replace('"www.', '"${each.value}.')).later(5 * 365 - 70)
    with pytest.raises(ConfigError) as caught:
        site.plan()
    errors = [one for one in caught.value.problems if one.code == "E0415"]
    assert [one.address for one in errors] == ["cert.portal"]
    assert errors[0].span is not None
    assert 'validity = "80d"' in site.text.splitlines()[errors[0].span.line - 1]


def test_one_that_would_outlive_its_issuer_soon_is_a_warning(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    warned = site.later(5 * 365 - 100).plan().problems
    assert [one.code for one in warned] == []
    site.apply()
    (warning,) = site.later(20).plan().problems
    assert (warning.code, warning.address) == ("W0415", "cert.portal")
    assert "ca.issuing ends 2031-11-2" in warning.message
    assert warning.help.startswith("declare the CA that follows it")


def test_a_ca_that_rotates_makes_what_follows_it(site: Site) -> None:
    rotating = '[ca.issuing]\nrotate = { every = "1500d", prepublish = "14d" }'
    base = BASE.replace("[ca.issuing]", rotating).replace("Site Issuing", "Site Issuing ${generation}")
    site.write(PORTAL, base=base).apply()
    site.later(5 * 365 - 100).apply(except_=["ca.*"])
    (warning,) = site.later(20).plan().problems
    assert warning.code == "W0415"
    assert warning.help.startswith("apply makes its next generation, which is due by `rotate`")


def test_an_address_that_names_no_host_is_refused_in_every_row(site: Site) -> None:
    """By lint it would be in the middle of an apply."""
    site.write(
        '[cert.fleet]\nprofile = "server"\nfor_each = { values = ["10.0.0.1", "0.0.0.0", "0::0"] }\n'
        'ip = ["${each.value}"]\n',
        base=BASE.replace('name_constraints = { permit_dns = ["corp.example"] }\n', ""),
    )
    with pytest.raises(ConfigError) as caught:
        site.plan()
    assert [(one.code, one.message) for one in caught.value.problems] == [
        (
            "E0401",
            'cert.fleet["0.0.0.0"]: `0.0.0.0` is the unspecified address, which names no host '
            "(and 1 more row of cert.fleet: 0::0)",
        )
    ]


def test_a_profile_that_lint_refuses_is_one_error_however_many_rows(site: Site) -> None:
    rows = (
        '[cert.fleet]\nprofile = "bad"\nfor_each = { values = ["a", "b", "c"] }\ndns = ["${each.value}.corp.example"]\n'
    )
    site.write(rows + '[profile.bad]\nissuer = "issuing"\nusage = ["keyCertSign"]\n')
    for found in (site.open().validate(), _refused(site)):
        assert len(found) == 1
        assert found[0].address == "cert.fleet"


def test_validate_tells_of_each_bad_row_before_there_is_any_state(site: Site) -> None:
    fleet = '[cert.fleet]\nprofile = "server"\nfor_each = { values = ["a", "b b", "c_c!"] }\n'
    site.write(fleet + 'dns = ["${each.value}.corp.example"]\n')
    assert [(one.code, one.address) for one in site.open().validate()] == [
        ("E0401", 'cert.fleet["b b"]'),
        ("E0401", 'cert.fleet["c_c!"]'),
    ]


def _refused(site: Site):
    with pytest.raises(ConfigError) as caught:
        site.plan()
    return caught.value.problems
