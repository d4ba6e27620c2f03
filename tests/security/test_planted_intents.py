"""Who can write to the database plants an intent: nothing it asks for is ever signed (decisions 16, threat 1)."""

import base64
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pkicode.ports import Want
from tests.kinds.site import Site
from tests.oracles import revoked_serials

SERIAL = 0x7BADC0DE << 100
HOURS = timedelta(hours=1)


def evil(issuer: x509.Certificate, now: int) -> bytes:
    """The bytes of a CA certificate for the attacker's key, ready to be signed by `issuer`."""
    key = ec.generate_private_key(ec.SECP256R1())
    at = datetime.fromtimestamp(now, UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Evil CA")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(SERIAL)
        .not_valid_before(at - HOURS)
        .not_valid_after(at + 1000 * HOURS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    return builder.sign(key, hashes.SHA256()).tbs_certificate_bytes


def plant(site: Site, tbs: bytes, **columns: object) -> None:
    """A copy of the row of [cert.portal] as an intent, with `columns` as the attacker likes them."""
    with closing(sqlite3.connect(site.root / ".pkicode/state.db")) as database, database:
        cursor = database.execute("SELECT * FROM certificates WHERE address = 'cert.portal'")
        names = [one[0] for one in cursor.description]
        row = dict(zip(names, cursor.fetchone(), strict=True))
        row |= {"id": None, "status": "intent", "serial": f"{SERIAL:x}", "sha256": "", "der": tbs, **columns}
        marks = ", ".join("?" * len(names))
        database.execute(f"INSERT INTO certificates VALUES ({marks})", [row[name] for name in names])


def journal(site: Site) -> list[bytes]:
    return [base64.b64decode(line) for line in (site.root / ".pkicode/journal.log").read_bytes().split()]


@pytest.fixture
def issuing(site: Site) -> x509.Certificate:
    assert site.apply().exit_code == 0
    return x509.load_der_x509_certificate((site.root / "public/ca/issuing-g1.cer").read_bytes())


CLAIMS = {
    "for an address nobody declared": {"address": "cert.evil", "generation": 1},
    "for the next generation of one that is": {"generation": 2},
    "for one that is there already": {},
    "for a row of a fan-out": {"address": 'cert.app["api"]', "generation": 2},
    "for a CA": {"address": "ca.issuing", "generation": 2},
    "for a kind that has no certificates": {"address": "output.portal", "generation": 2},
}


@pytest.mark.invariant(5)
@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
@pytest.mark.parametrize("due", [False, True], ids=["nothing else to do", "while everything is renewed"])
def test_a_planted_intent_is_never_signed(
    claim: dict[str, object], due: bool, site: Site, issuing: x509.Certificate
) -> None:
    plant(site, evil(issuing, site.now), **claim)
    site.later(61 if due else 0.01)
    assert site.apply().exit_code == 0
    signed = [x509.load_der_x509_certificate(one) for one in journal(site)]
    assert SERIAL not in {one.serial_number for one in signed}
    assert not [one for one in signed if "Evil" in one.subject.rfc4514_string()]
    # Nobody can know that it was not signed elsewhere: it counts as issued, and is revoked where all can see it.
    (row,) = site.open().inventory(Want(serial=f"{SERIAL:x}"))
    assert row.status == "revoked"
    assert f"{SERIAL:x}" in [one for crl in site.crls() for one in revoked_serials(crl)]
    assert not site.plan().changes
    site.verify("cert.portal")


def test_a_true_intent_with_one_octet_changed_is_not_signed(site: Site, issuing: x509.Certificate) -> None:
    """What apply itself would have reserved next, but for another name: only equality to the byte is finished."""
    portal = next(one for one in site.open().inventory(Want(address="cert.portal")))
    tbs = x509.load_der_x509_certificate(portal.der).tbs_certificate_bytes
    plant(site, tbs.replace(b"portal.corp.example", b"p0rtal.corp.example"), generation=2)
    site.later(0.01).apply()
    assert not [one for one in journal(site) if b"p0rtal" in one]
