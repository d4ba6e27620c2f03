"""One apply does all that a compromise asks for: invariant 13, whatever key is lost, on whatever day."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from cryptography import x509

from pkicode.model.change import Readiness
from tests.kinds.rollover import CROSS_SIGNED, TWO_TIER, split
from tests.kinds.site import Site, told
from tests.kinds.test_revocation import revoke
from tests.kinds.test_revoked_generation import BOTH
from tests.oracles import Refused, assert_verifies

ALLOW = {"ca-revoke": "issuing", "root-change": "root"}
ROOT, ISSUING = 'ca = "root"\ngeneration = 1', 'ca = "issuing"\ngeneration = 1'
LEAF = 'cert = "cert.portal"\ngeneration = 1'
LOST = {
    "leaf": revoke("R", LEAF, "keyCompromise"),
    "issuing": revoke("R", ISSUING, "cACompromise"),
    "root": revoke("R", ROOT, "cACompromise"),
    "root and issuing": revoke("R", ROOT, "cACompromise") + revoke("Q", ISSUING, "cACompromise"),
    "issuing replaced": revoke("R", ISSUING, "superseded"),
    "root replaced": revoke("R", ROOT, "superseded"),
}
STILL = BOTH.replace('rotate = { every = "180d", prepublish = "14d" }', "").replace(
    'rotate = { every = "400d", prepublish = "14d" }', ""
)
BASES = {"with OCSP": BOTH, "without rotate": STILL, "two tiers": TWO_TIER, "cross-signed": CROSS_SIGNED}


def lose(site: Site, base: str, days: int, what: str) -> Site:
    assert site.write(base=BASES[base]).apply().exit_code == 0
    site.later(days).apply()
    return site.write(LOST[what], base=BASES[base])


@pytest.mark.parametrize("what", LOST)
@pytest.mark.parametrize("days", [0, 20, *(pytest.param(one, marks=pytest.mark.heavy) for one in (1, 150))])
@pytest.mark.parametrize("base", BASES)
def test_after_one_apply_nothing_is_left_that_could_be_done(site: Site, base: str, days: int, what: str) -> None:
    lose(site, base, days, what)
    before = site.plan(allow=ALLOW)
    applied = site.apply(allow=ALLOW)
    assert applied.problems == ()
    after = site.plan(allow=ALLOW)
    assert [one for one in after.changes if one.readiness is Readiness.READY] == []
    # What waits now was said to wait, and what was said to be done is done.
    assert {*told(after.changes)} <= {*told(one for one in before.changes if one.readiness is Readiness.WAITING)}


def chains(site: Site) -> Sequence[bytes]:
    return [(site.root / f"out/{name}.pem").read_bytes() for name in ("portal", "api")]


@pytest.mark.parametrize("base", ["with OCSP", "cross-signed"])
@pytest.mark.parametrize("what", ["root", "root and issuing"])
def test_a_lost_root_is_followed_from_the_root_down_to_the_leaves(site: Site, base: str, what: str) -> None:
    lose(site, base, 20, what)
    old = chains(site)
    assert site.apply(allow=ALLOW).exit_code == 0
    bundle = (site.root / "public/bundle/trust.pem").read_bytes()
    for chain, is_good in [*((one, False) for one in old), *((one, True) for one in chains(site))]:
        leaf, *above = split(chain)
        checked = {"chain": above, "root": bundle, "crls": site.crls(), "at": site.now}
        if is_good:
            assert_verifies(leaf, **checked)
        else:
            with pytest.raises(Refused):
                assert_verifies(leaf, **checked)


def test_under_a_lost_root_that_is_not_followed_nothing_is_signed(site: Site) -> None:
    half = BOTH.replace('rotate = { every = "400d", prepublish = "14d" }', "")
    assert site.write(base=half).apply().exit_code == 0
    assert site.later(1).write(LOST["root"], base=half).apply(allow=ALLOW).exit_code == 7
    left = site.plan(allow=ALLOW).changes
    assert {one.readiness for one in left} == {Readiness.WAITING}
    assert {str(one.address) for one in left} == {'cert.app["api"]', "cert.portal"}
    assert {one.waits for one in left} == {"ca.root@1 is revoked: name another issuer, or rotate it"}
    # Once it may be followed, one apply does the rest.
    assert site.later(1).write(LOST["root"], base=BOTH).apply(allow=ALLOW).exit_code == 0
    assert site.plan(allow=ALLOW).changes == ()
    site.verify("cert.portal")


SCOPES = {
    "but the CAs": {"except_": ["ca.*"]},
    "but the issuing CA": {"except_": ["ca.issuing"]},
    "but the lists": {"except_": ["crl.*"]},
    "but the answers": {"except_": ["ocsp.*"]},
    "but the targets": {"except_": ["publish.*"]},
    "but the files": {"except_": ["output.*"]},
    "but the revocation": {"except_": ["revoke.*"]},
    "the revocation": {"only": ["revoke.*"]},
    "the CAs": {"only": ["ca.*"]},
    "the root": {"only": ["ca.root"]},
    "the leaves": {"only": ["cert.*"]},
    "the lists": {"only": ["crl.*", "publish.*"]},
}


@pytest.mark.parametrize("what", LOST)
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("base", ["with OCSP", *(pytest.param(one, marks=pytest.mark.heavy) for one in [*BASES][1:])])
def test_part_of_what_is_to_be_done_leaves_nothing_undone_for_ever(
    site: Site, base: str, scope: str, what: str
) -> None:
    """An apply of a part ends, too, and one of everything after it does the rest."""
    lose(site, base, 20, what)
    part: Mapping[str, Sequence[str]] = SCOPES[scope]
    had = lists(site)
    first = site.apply(allow=ALLOW, **part)
    assert first.problems == ()
    # Nothing is signed by a key that is about to be taken away, not even where that is left out.
    assert "renew" not in first.counts or "revoke" in first.counts or "distrust" in first.counts
    assert [one for one in site.plan(allow=ALLOW, **part).changes if one.readiness is Readiness.READY] == []
    assert_goes_on(had, between := lists(site))
    assert site.apply(allow=ALLOW).problems == ()
    assert [one for one in site.plan(allow=ALLOW).changes if one.readiness is Readiness.READY] == []
    assert_goes_on(between, lists(site))


Lists = Mapping[Path, tuple[int, set[int]]]
"""File -> its number, and the serials on it."""


def lists(site: Site) -> Lists:
    found = {path: x509.load_der_x509_crl(path.read_bytes()) for path in (site.root / "public/crl").glob("*.crl")}
    return {
        path: (
            crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number,
            {one.serial_number for one in crl},
        )
        for path, crl in found.items()
    }


def assert_goes_on(before: Lists, after: Lists) -> None:
    for path, (number, serials) in before.items():
        assert after[path][0] >= number
        assert after[path][1] >= serials
