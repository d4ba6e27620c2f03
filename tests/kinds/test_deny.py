"""[policy] deny: each rule holds for CAs, for leaves, and for what a CSR brings."""

import pytest

from pkicode.model.change import Plan, Readiness
from pkicode.model.problem import ConfigError, Denied, PkicodeError
from pkicode.ports import Want
from tests.kinds.site import BASE, Site
from tests.oracles import openssl

PORTAL = '[cert.portal]\nprofile = "server"\ndns = ["portal.corp.example"]\n'
ASKED = PORTAL + 'csr = { dir = "csr", file = "portal.csr" }\n'


def denied(plan: Plan) -> dict[str, str]:
    """Address -> the rule it breaks."""
    return {str(one.address): one.waits for one in plan.changes if one.readiness is Readiness.DENIED}


@pytest.mark.parametrize(
    ("portal", "rule", "waits"),
    [
        ('key = { alg = "rsa-2048" }\n', "rsa_bits_below = 3072", "deny.rsa_bits_below = 3072"),
        ('key = { alg = "ed448" }\n', 'key_algs = ["ed448"]', "deny.key_algs has ed448"),
        ('validity = "60d"\n', 'validity_above = "47d"', "deny.validity_above = 47d"),
    ],
)
def test_a_leaf_that_breaks_a_rule_is_denied_and_nothing_is_begun(
    site: Site, portal: str, rule: str, waits: str
) -> None:
    site.write(PORTAL + portal + f"[policy.deny]\n{rule}\n")
    plan = site.plan()
    assert denied(plan) == {"cert.portal": waits}
    assert [(one.rule, one.passed) for one in plan.verdicts] == [(waits.split(maxsplit=1)[0], False)]
    with pytest.raises(Denied, match="1 certificate denied by deny"):
        site.apply()
    assert not site.open().inventory(Want())


def test_a_rule_that_nothing_breaks_says_nothing(site: Site) -> None:
    rules = 'rsa_bits_below = 3072\nhashes = ["sha1"]\nkey_algs = ["ed448"]\nvalidity_above = "90d"\nwildcard = true\n'
    plan = site.write(PORTAL + "[policy.deny]\n" + rules).plan()
    assert (denied(plan), plan.verdicts) == ({}, ())


def test_keys_of_cas_are_under_the_same_rules(site: Site) -> None:
    base = BASE.replace("[ca.issuing]\n", '[ca.issuing]\nkey = { alg = "rsa-2048" }\n')
    site.write("[policy.deny]\nrsa_bits_below = 3072\n", base=base)
    assert denied(site.plan()) == {"ca.issuing": "deny.rsa_bits_below = 3072"}


def test_a_denied_hash_denies_what_the_issuers_key_would_sign_with_it(site: Site) -> None:
    base = BASE.replace("[ca.root]\n", '[ca.root]\nkey = { alg = "ec-p384" }\n')
    site.write(PORTAL + '[policy.deny]\nhashes = ["sha384"]\n', base=base)
    rule = "deny.hashes has sha384"
    assert denied(site.plan()) == {"ca.root": rule, "ca.issuing": rule}
    site.write(PORTAL, base=base)
    site.apply()
    site.write(PORTAL + 'cn = "portal.corp.example"\n[policy.deny]\nhashes = ["sha256"]\n', base=base)
    assert denied(site.plan()) == {"cert.portal": "deny.hashes has sha256"}


@pytest.mark.parametrize("rule", ["rsa_bits_below = 3072", 'key_algs = ["rsa-2048"]'])
def test_the_key_of_a_csr_is_under_the_same_rules(site: Site, rule: str) -> None:
    _request(site, "rsa:2048", "portal.corp.example")
    site.write(ASKED)
    assert denied(site.plan()) == {}
    site.write(ASKED + f"[policy.deny]\n{rule}\n")
    assert set(denied(site.plan())) == {"cert.portal"}


def test_wildcards_are_denied_also_where_a_csr_brings_them(site: Site) -> None:
    wildcard = "[policy.deny]\nwildcard = true\n"
    site.write(PORTAL.replace("portal.corp", "*.corp") + wildcard)
    assert denied(site.plan()) == {"cert.portal": "deny.wildcard"}
    _request(site, "rsa:3072", "*.corp.example")
    site.write(ASKED + wildcard)
    assert denied(site.plan()) == {}
    site.write(ASKED + wildcard, base=BASE + 'copy = ["dns"]\n')
    assert denied(site.plan()) == {"cert.portal": "deny.wildcard"}


def _request(site: Site, key: str, name: str) -> None:
    (site.root / "csr").mkdir()
    out = site.root / "csr/portal.csr"
    openssl(
        *("req", "-new", "-newkey", key, "-nodes", "-keyout", str(site.root / "portal.key"), "-out", str(out)),
        *("-subj", "/CN=portal", "-addext", f"subjectAltName=DNS:{name}"),
    )


@pytest.mark.parametrize("rule", ['hashes = ["sha-1"]', 'key_algs = ["rsa2048"]'])
def test_a_rule_about_nothing_is_a_mistake(site: Site, rule: str) -> None:
    with pytest.raises(ConfigError) as refused:
        site.write(f"[policy.deny]\n{rule}\n").plan()
    assert [one.code for one in refused.value.problems] == ["E0204"]


@pytest.mark.parametrize("word", ["sign", "publish", "issue"])
def test_every_action_has_its_brake(site: Site, word: str) -> None:
    site.write(f"[policy]\nmax_actions = {{ {word} = 0 }}\n")
    assert {one.passed for one in site.plan().verdicts} == {False}
    assert {one.passed for one in site.plan(allow={word: "2"}).verdicts} == {True}


def test_a_renewal_counts_as_itself_and_as_an_issuance(site: Site) -> None:
    site.write(PORTAL).apply()
    site.later(61).write(PORTAL + "[policy]\nmax_actions = { issue = 0, renew = 1 }\n")
    verdicts = {one.rule: one.passed for one in site.plan().verdicts}
    assert verdicts == {"max_actions.issue": False, "max_actions.renew": True}


@pytest.mark.parametrize("allow", [{"isue": "5"}, {"issue": "many"}])
def test_what_allows_nothing_is_refused(site: Site, allow: dict[str, str]) -> None:
    with pytest.raises(PkicodeError, match="allowed"):
        site.plan(allow=allow)
