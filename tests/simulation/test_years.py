"""Years of a PKI, every day of them checked, and some days shown to OpenSSL, GnuTLS and Java."""

from pathlib import Path

import pytest

from pkicode.model.instants import DAY, YEAR
from pkicode.ports import CertificateStatus, Want
from tests.kinds.rollover import generations
from tests.kinds.site import NOW, Site
from tests.oracles.java import Ask, path_builder
from tests.oracles.judges import assert_agreed
from tests.quick import quick_keystore
from tests.simulation.years import Years, answer, chain

LISTS = 'crl = { validity = "30d", refresh = "10d" }'
TWO_TIER = f"""
version = 1
[project]
name = "years"
[keystore.main]
type = "file"
passphrase = {{ file = ".pkicode/passphrase", create = true }}
[publish.web]
url = "public"
base_url = "http://pki.corp.example"
[ca.root]
subject = {{ cn = "Years Root", o = "Site" }}
validity = "25y"
path_len = 1
publish = ["web"]
{LISTS}
[ca.issuing]
issuer = "root"
subject = {{ cn = "Years Issuing", o = "Site" }}
validity = "20y"
path_len = 0
publish = ["web"]
{LISTS}
[profile.server]
issuer = "issuing"
eku = ["serverAuth"]
on_remove = "revoke"
validity = "397d"
"""
LEAVES = """
[cert.web]
profile = "server"
dns = ["web.corp.example"]
validity = "90d"
[cert.yearly]
profile = "server"
dns = ["yearly.corp.example"]
validity = "397d"
renew = { at = "30d", rekey = false }
"""
FLEET = """
[cert.fleet]
profile = "server"
for_each = { values = [HOSTS] }
dns = ["${each.value}.corp.example"]
validity = "47d"
renew = { at = "1/2", jitter = "30%" }
"""
ROTATING = (
    TWO_TIER.replace('"Years Issuing"', '"Years Issuing A${generation}"')
    .replace('validity = "20y"', 'validity = "700d"\nrotate = { every = "250d", prepublish = "14d" }\nOCSP')
    .replace("OCSP", 'ocsp = { url = "http://ocsp.corp.example", validity = "15d", refresh = "10d" }')
    .replace('base_url = "http', 'content = ["ca", "crl", "ocsp", "bundle"]\nbase_url = "http')
)
CROSS_SIGNED = (
    ROTATING.replace('"Years Root"', '"Years Root R${generation}"')
    .replace("path_len = 1", 'path_len = 2\noverlap = "30d"\nrotate = { every = "300d", prepublish = "14d" }')
    .replace('validity = "25y"', 'validity = "5y"')
)
"""A root that another follows: it is out for 14 days before it issues, while clients have bundles of 30 days ago."""
PKIS = {"two-tier": TWO_TIER, "rotating": ROTATING, "cross-signed": CROSS_SIGNED}
"""What is lived through."""
MADE = {"two-tier": (1, 1), "rotating": (1, 15), "cross-signed": (13, 13)}
"""Key generations of root and issuing CA in ten years, at least."""


def hosts(*names: str) -> str:
    return FLEET.replace("HOSTS", ", ".join(f'"{one}"' for one in names))


def lived(folder: Path, text: str, span: int, *, shown_every: int, ask: Ask | None = None) -> Years:
    """The years; a host leaves the fleet on day 60 and comes back on day 100, which revokes what it had.

    The oracles are shown a day now and then, and with `ask` each on which clients meet other CAs or bundles too.
    """
    quick_keystore(folder)
    site = Site(folder).write(LEAVES + hosts("a", "b"), base=text)
    years = Years(site, {"root-change": "root"})
    met: object = None
    for number, day in enumerate(years.live(NOW + span)):
        if number == 60:
            site.write(LEAVES + hosts("b"), base=text)
        if number == 100:
            site.write(LEAVES + hosts("a", "b"), base=text)
        meeting = years.at(day).authorities, years.bundles(day)
        if number % shown_every == 0 or (ask and meeting != met):
            show(years, day, ask)
        met = meeting
    return years


def show(years: Years, day: int, ask: Ask | None) -> None:
    """Every leaf that is valid on a day, with each bundle that may be in use and all CRLs loaded together."""
    seen = years.at(day)
    ever = years.site.open().inventory(
        Want(valid_at=day, statuses=(CertificateStatus.ISSUED, CertificateStatus.REVOKED))
    )
    for leaf in (one for one in ever if one.address.startswith("cert.") and one.not_before <= day):
        is_good = not answer(leaf.der, seen, day)
        for bundle in years.bundles(day):
            above = chain(leaf.der, seen.authorities, bundle, day)[1:]
            assert_agreed(is_good, leaf.der, chain=above, roots=bundle, crls=seen.crls, at=day, ask=ask)


@pytest.mark.parametrize(
    ("name", "made"), [("rotating", (1, 3)), pytest.param("cross-signed", (3, 3), marks=pytest.mark.heavy)]
)
def test_on_every_day_of_fast_rollovers_each_good_leaf_is_accepted_and_each_revoked_one_refused(
    name: str, made: tuple[int, int], quick_path: Path
) -> None:
    text = PKIS[name].replace('every = "250d"', 'every = "60d"').replace('every = "300d"', 'every = "70d"')
    years = lived(quick_path, text, 160 * DAY, shown_every=53)
    found = generations(years.site)
    assert (len(found["ca.root"]), len(found["ca.issuing"])) >= made
    revoked = years.site.open().inventory(Want(statuses=(CertificateStatus.REVOKED,)))
    assert {one.address for one in revoked} == {'cert.fleet["a"]'}
    assert years.site.open().inventory(Want(address='cert.fleet["a"]'))[-1].not_after > years.site.now


@pytest.mark.heavy
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", PKIS)
def test_on_every_day_of_ten_years(name: str, quick_path: Path) -> None:
    with path_builder() as ask:
        years = lived(quick_path, PKIS[name], 10 * YEAR, shown_every=200, ask=ask)
    web = years.site.open().inventory(Want(address="cert.web"))
    assert len(web) > 10 * YEAR // (90 * DAY)
    made = generations(years.site)
    root, issuing = MADE[name]
    assert len(made["ca.root"]) >= root
    assert len(made["ca.issuing"]) >= issuing


def test_a_day_on_which_nobody_applies_in_time_is_found(quick_path: Path) -> None:
    """The check itself can fail: a CRL that nobody refreshed."""
    quick_keystore(quick_path)
    years = Years(Site(quick_path).write(LEAVES, base=TWO_TIER))
    next(years.live(NOW))
    leaves = years.site.open().inventory(Want(address="cert.web"))
    years.site.now = NOW + 31 * DAY
    with pytest.raises(AssertionError):
        answer(leaves[0].der, years.at(NOW), NOW + 31 * DAY)
