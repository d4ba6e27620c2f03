"""The next root of an offline root: its key is signed by the one before too, in the ceremony that goes with it."""

import pytest

from pkicode.ceremony.bundle import LIFE
from pkicode.model.change import Action, Readiness
from pkicode.model.faults import FaultPoint
from pkicode.model.instants import DAY
from pkicode.model.problem import PkicodeError
from pkicode.ports import Want
from pkicode.project import open_project
from pkicode.project.offline import transcript
from pkicode.x509.pem import decode
from tests.ceremony.two import PORTAL, TEXT, Two
from tests.oracles import assert_gnutls_verifies, assert_verifies

BASE = TEXT.replace("path_len = 1", 'path_len = 2\noverlap = "90d"').replace(
    "path_len = 0", 'path_len = 0\nrotate = { every = "1640d", prepublish = "14d" }'
)
"""With room for a cross-certificate."""
CHANGED = BASE.replace('validity = "10y"', 'validity = "10y"\npolicies = ["1.3.6.1.4.1.99999.1"]', 1)
ALLOW = {"root-change": "root"}
BRIDGE = "public/ca/root-g2-by-root-g1.cer"


def begun(two: Two) -> Two:
    """The first ceremony, and four years."""
    two.site.write(PORTAL, base=BASE)
    two.card()
    while two.apply().exit_code == 7:
        two.round()
    two.site.later(4 * 365)
    two.card("ca.root@2")
    two.site.write(PORTAL, base=CHANGED)
    assert two.apply(allow=ALLOW).exit_code == 7
    return two


def authorities(two: Two) -> set[str]:
    return {
        f"{one.address}@{one.generation} by {one.ca}@{one.ca_generation} {one.status}"
        for one in two.site.open().inventory(Want())
        if one.address.startswith("ca.root")
    }


def test_five_years_later_the_old_root_signs_the_new_one_and_both_bundles_verify(two: Two) -> None:
    site = begun(two).site
    since = site.now
    old = (site.root / "public/bundle/trust.pem").read_bytes()
    assert "ca.root@2" in two.round().certificates
    # The second round of the day: what stands on the new root, and the bridge to it.
    assert two.apply().exit_code == 7
    request = two.export()
    assert [(one.address, one.generation, one.issuer) for one in request.items if one.kind == "certificate"] == [
        ("ca.root", 2, "ca.root@1")
    ]
    shown = "\n".join(transcript(request))
    assert "certificate  ca.root@2  signed by ca.root@1" in shown
    assert "CN=Site Root R2" in shown
    assert "ca.root@2 by ca.root@1" in two.receive(two.sign(request)).certificates
    assert two.apply().exit_code == 0
    assert site.plan().changes == ()
    assert authorities(two) == {
        "ca.root@1 by root@1 issued",
        "ca.root@2 by root@2 issued",
        "ca.root@2 by root@1 issued",
    }
    root1 = (site.root / "public/ca/root-g1.cer").read_bytes()
    assert_verifies((site.root / BRIDGE).read_bytes(), root=root1, at=site.now)
    # After `prepublish`, and not after `overlap`, the new root issues; its chains hold the bridge.
    site.later(15)
    assert two.apply().exit_code == 7
    assert two.round().certificates == ("ca.issuing@2",)
    assert two.apply().exit_code == 0
    site.later(15)
    while site.open().inventory(Want(address="cert.portal"))[-1].ca_generation == 1:
        site.later(10)
        two.apply()
    assert site.now < since + 90 * DAY
    leaf, *above = decode((site.root / "out/portal.pem").read_bytes(), "CERTIFICATE")
    assert above[-1] == (site.root / BRIDGE).read_bytes()
    new = (site.root / "public/bundle/trust.pem").read_bytes()
    assert (len(decode(old, "CERTIFICATE")), len(decode(new, "CERTIFICATE"))) == (1, 2)
    for bundle in (old, new):
        assert_verifies(leaf, chain=above, root=bundle, crls=site.crls(), at=site.now)
        assert_gnutls_verifies(leaf, chain=above, root=decode(bundle, "CERTIFICATE"), crls=site.crls(), at=site.now)


def test_a_bridge_that_was_not_signed_in_time_is_burnt_and_reserved_anew_while_it_is_wanted(two: Two) -> None:
    begun(two)
    two.round()
    two.apply()
    assert "ca.root@2 by root@1 intent" in authorities(two)
    late = two.sign(two.export())
    two.site.now += LIFE + 1
    two.apply()
    assert {"ca.root@2 by root@1 intent", "ca.root@2 by root@1 revoked"} <= authorities(two)
    with pytest.raises(PkicodeError, match="ended"):
        two.receive(late)
    two.round()
    assert "ca.root@2 by root@1 issued" in authorities(two)


def test_nothing_waits_for_a_bridge_and_a_bridge_holds_nothing_back(two: Two) -> None:
    begun(two)
    two.round()
    two.apply()
    [root] = [one for one in two.site.plan().changes if str(one.address) == "ca.root"]
    assert (root.action, root.readiness) == (Action.RESERVE, Readiness.WAITING)
    two.site.write(PORTAL.replace("portal", "other"), base=CHANGED.replace("[ca.root]", '[ca.root]\nnote = "n"'))
    counts = two.apply().counts
    assert counts["issue"] == 1
    assert two.site.open().inventory(Want(address="cert.other"))[0].status == "issued"


def test_an_online_root_is_cross_signed_by_an_offline_one(two: Two) -> None:
    other = (
        '[ca.other]\nsubject = { cn = "Other Root R${generation}" }\nkey = { store = "main" }\npath_len = 1\n'
        'cross_sign = ["root"]\nvalidity = "5y"\n'
    )
    two.site.write(PORTAL, base=BASE)
    two.card()
    while two.apply().exit_code == 7:
        two.round()
    two.site.write(PORTAL + other, base=BASE)
    two.apply()
    two.apply()
    [waiting] = two.export().items
    assert (waiting.address, waiting.issuer) == ("ca.other", "ca.root@1")
    assert two.round().certificates == ("ca.other@1",)
    assert two.apply().exit_code == 0
    assert two.site.plan().changes == ()


@pytest.mark.invariant(2)
@pytest.mark.invariant(4)
@pytest.mark.parametrize("point", [FaultPoint.INTENTS_STORED, FaultPoint.JOURNALLED, FaultPoint.ISSUED])
def test_whoever_dies_over_a_bridge_leaves_one_and_no_more(two: Two, point: FaultPoint) -> None:
    class Died(BaseException):
        pass

    def reach(here: FaultPoint) -> None:
        if here is point:
            raise Died

    begun(two)
    two.round()
    project = open_project(two.site.root / "pki.toml", environ={}, now=two.site.now, reach=reach)
    if point is FaultPoint.INTENTS_STORED:
        with pytest.raises(Died):
            project.apply()
        assert two.apply().exit_code == 7
        two.round()
    else:
        two.apply()
        response = two.sign(two.export())
        with pytest.raises(Died):
            project.ceremonies.receive(response, lambda _: None)
        two.receive(response)
    assert two.apply().exit_code == 0
    assert sorted(authorities(two)) == [
        "ca.root@1 by root@1 issued",
        "ca.root@2 by root@1 issued",
        "ca.root@2 by root@2 issued",
    ]
    assert (two.site.root / BRIDGE).exists()
    assert two.site.open().upkeep.verify() == []
