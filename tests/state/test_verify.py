"""`state verify` finds what was altered, and says nothing of a sound state."""

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from attrs import frozen
from cryptography import x509

from pkicode.adapters.journal import Journal, to_be_signed
from pkicode.adapters.store import open_sqlite
from pkicode.adapters.verify import audit, verify
from pkicode.model.problem import StateError
from pkicode.ports import Certificate, Settlement
from pkicode.x509 import der
from tests.oracles import openssl, openssl_bytes
from tests.state.samples import NEW, NOW, certificate, crl, revocation, write


@frozen
class State:
    path: Path
    journal: Path
    rows: list[Certificate]
    """Intents; 0 and 1 were issued, 1 revoked, 2 unknown and revoked, 3 aborted, 4 is still open."""

    def found(self) -> list[str]:
        return verify(self.path, self.journal)

    def tamper(self, *statements: str) -> list[str]:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            for statement in statements:
                connection.execute(statement)
        return self.found()


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Six certificates that OpenSSL made."""
    folder = tmp_path_factory.mktemp("signed")
    made = []
    for number in range(6):
        openssl("req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", folder / "k", "-out", folder / "c",
                "-subj", "/CN=issuing", "-set_serial", str(4096 + number))  # fmt: skip
        made.append(openssl_bytes("x509", "-in", folder / "c", "-outform", "DER"))
    return made


def row(number: int, whole: bytes) -> Certificate:
    tbs, said = to_be_signed(whole), x509.load_der_x509_certificate(whole)
    parts, content = [], der.only(tbs, der.SEQUENCE)
    while content:
        _, _, end = der.read(content)
        parts.append(content[:end])
        content = content[end:]
    return certificate(
        number,
        issuer_dn=parts[3],
        subject="CN=issuing",
        sans="[]",
        key_alg="ed25519",
        not_before=int(said.not_valid_before_utc.timestamp()),
        not_after=int(said.not_valid_after_utc.timestamp()),
        spki=hashlib.sha256(parts[6]).hexdigest(),
        der=tbs,
        ca="",
        ca_generation=0,
    )


@pytest.fixture
def state(tmp_path, run, signed) -> State:
    path, journal = tmp_path / "state.db", tmp_path / "journal.log"
    rows = [row(number, whole) for number, whole in enumerate(signed)]

    async def fill():
        store = await open_sqlite(path, create=NEW)
        lease = await store.acquire("project", holder="alice", now=NOW, ttl=60)
        await store.commit(write(intents=rows[:5]), lease)
        await Journal(journal).append(signed[:2])
        settled = [
            *(Settlement(r.issuer_key, r.serial, "issued", hashlib.sha256(c).hexdigest(), c)
              for r, c in zip(rows[:2], signed[:2], strict=True)),
            Settlement(rows[2].issuer_key, rows[2].serial, "unknown"),
            Settlement(rows[3].issuer_key, rows[3].serial, "aborted"),
        ]  # fmt: skip
        await store.commit(write(settled=settled, artefacts=[crl("1")]), lease)
        await store.commit(write(revocations=[revocation(rows[n].serial) for n in (1, 2)]), lease)
        await store.release(lease)
        await store.close()

    run(fill())
    return State(path, journal, rows)


def test_a_sound_state_has_nothing_to_tell(state):
    assert state.found() == []
    assert verify(state.path, None) == []


def test_a_state_that_is_written_to_meanwhile_is_sound(state, run):
    store = run(open_sqlite(state.path, create=NEW))
    lease = run(store.acquire("project", holder="alice", now=NOW, ttl=60))
    run(store.commit(write(), lease))
    assert state.found() == []
    run(store.close())


def test_verify_writes_nothing(state):
    before = state.path.read_bytes()
    state.found()
    assert state.path.read_bytes() == before


@pytest.mark.parametrize(
    "column", ["at = at + 1", "actor = 'mallory'", "action = 'x'", "subject = 'x'", "detail = '{}x'"]
)
def test_an_altered_event_breaks_the_chain_there(state, column):
    assert state.tamper(f"UPDATE events SET {column} WHERE sequence = 2") == ["audit: event 2 was altered"]


def test_the_audit_alone_can_be_asked_for(state):
    assert audit(state.path) == []
    state.tamper("UPDATE events SET actor = 'x' WHERE sequence = 3", "DELETE FROM revocations")
    assert audit(state.path) == ["audit: event 3 was altered"]
    with pytest.raises(StateError, match="not a pkicode state"):
        state.tamper("DELETE FROM meta WHERE key = 'head'")
    with pytest.raises(StateError, match="not a pkicode state"):
        audit(state.path)


def test_a_deleted_event_breaks_the_chain(state):
    assert state.tamper("DELETE FROM events WHERE sequence = 2") == ["audit: event 2 is missing"]


def test_a_chain_that_was_cut_at_its_end_is_seen(state):
    assert state.tamper("DELETE FROM events WHERE sequence = 3") == ["audit: it ends with event 2, but 3 were written"]


def test_a_chain_of_another_lineage_is_seen(state):
    assert state.tamper("UPDATE meta SET value = 'x' WHERE key = 'lineage'") == ["audit: event 1 was altered"]


def test_a_swapped_certificate_is_seen(state, signed):
    (wrong,) = state.tamper(f"UPDATE certificates SET der = x'{signed[0][:-1].hex()}ff' WHERE id = 1")
    assert wrong.endswith("its bytes are not those that were stored")


def test_a_certificate_of_another_serial_is_seen_even_with_its_own_digest(state, signed):
    digest = hashlib.sha256(signed[5]).hexdigest()
    found = state.tamper(f"UPDATE certificates SET der = x'{signed[5].hex()}', sha256 = '{digest}' WHERE id = 1")
    assert {one.split(": ", 1)[1] for one in found} >= {
        "its serial is not the one in its bytes",
        "its public key is not the one in its bytes",
    }
    assert any("the journal does not know it" in one for one in found)
    assert any("not in the inventory" in one for one in found)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("issuer_dn = x'3000'", "issuer"),
        ("spki = 'aa'", "public key"),
        ("serial = 'ff'", "serial"),
        ("not_after = not_after + 1", "validity"),
        ("not_before = -62135596801", "validity"),
        ("subject = 'CN=other'", "subject"),
        ("subject = ''", "subject"),
        ("sans = '[\"dns:a.example\"]'", "alternative names"),
        ("sans = '[1]'", "alternative names"),
        ("sans = '{'", "alternative names"),
        ("sans = '" + "[" * 100_000 + "'", "alternative names"),
        ("sans = ' []'", "alternative names"),
        ("key_alg = 'ed448'", "key algorithm"),
        ("duty = '[\"http://a.example/crl\"]'", "CRL duty"),
        ("duty = '[\"\\u00e4\"]'", "CRL duty"),
        ("duty = '[1]'", "CRL duty"),
        ("duty = '1'", "CRL duty"),
    ],
)
def test_facts_that_differ_from_the_bytes_are_seen(state, change, what):
    found = state.tamper(f"UPDATE certificates SET {change} WHERE id = 5")
    assert [one.split(": ", 1)[1] for one in found] == [f"its {what} is not the one in its bytes"]


@pytest.mark.parametrize("content", ["", "30", "3003020101", "30820000"])
def test_bytes_that_are_no_certificate_are_a_finding_and_not_a_crash(state, content):
    found = state.tamper(f"UPDATE certificates SET der = x'{content}' WHERE id IN (1, 5)")
    assert sum("its bytes are no certificate" in one for one in found) == 2


def test_a_draft_that_claims_to_be_issued_is_seen(state):
    found = state.tamper("UPDATE certificates SET status = 'issued' WHERE id = 5")
    assert any("only its draft is stored" in one for one in found)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("certificates SET der = 'text' WHERE id = 1", "certificates: 1 values of der are not blob"),
        ("events SET action = x'00ff'", "events: 3 values of action are not text"),
        ("artefacts SET der = 'text'", "artefacts: 1 values of der are not blob"),
        ("revocations SET invalidity = 'text'", "revocations: 2 values of invalidity are not integer"),
    ],
)
def test_a_value_of_another_type_is_a_finding_and_not_a_crash(state, change, found):
    assert state.tamper(f"UPDATE {change}") == [found]


def test_a_table_with_a_hostile_name_is_a_finding_and_no_statement(state):
    (wrong,) = state.tamper("""CREATE TABLE "meta; DROP TABLE ""x" ("a"" FROM meta --" text)""")
    assert wrong.endswith("does not belong here")


def test_an_altered_template_is_seen(state):
    statement = "INSERT INTO templates (digest, body) VALUES ('aa', '{}')"
    assert state.tamper(statement) == ["template 1: it is not the one that was stored"]


def test_an_undone_revocation_is_seen(state):
    (gone,) = state.tamper("DELETE FROM revocations WHERE serial = '1001'")
    assert gone == 'certificate 1001 (cert.fleet["1"]): its revocation is gone'


def test_a_revoked_certificate_that_is_listed_as_good_is_seen(state):
    (undone,) = state.tamper("UPDATE certificates SET status = 'issued' WHERE id = 2")
    assert "revoked, but listed as good" in undone


def test_an_altered_list_is_seen(state):
    assert state.tamper("UPDATE artefacts SET der = x'00'") == [
        "crl issuing-g1: its bytes are not those that were stored"
    ]


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        (
            "CREATE TRIGGER t AFTER INSERT ON meta BEGIN DELETE FROM revocations; END",
            "trigger t does not belong",
        ),
        ("DROP INDEX certificates_serial", "index certificates_serial is missing"),
        ("ALTER TABLE meta ADD COLUMN more text", "table meta is missing or altered"),
    ],
)
def test_an_altered_schema_is_seen(state, statement, found):
    assert any(found in one for one in state.tamper(statement))


def test_a_certificate_the_journal_never_saw_is_seen(state):
    state.journal.unlink()
    assert [one.split(": ", 1)[1] for one in state.found()] == ["the journal does not know it"] * 2
    assert verify(state.path, None) == []


def test_an_import_is_not_in_the_journal(state):
    state.journal.unlink()
    assert state.tamper("UPDATE certificates SET reason = 'imported' WHERE id IN (1, 2)") == []


def test_a_certificate_deleted_from_the_inventory_is_seen(state):
    (lost,) = state.tamper("DELETE FROM certificates WHERE id = 1")
    assert lost.startswith("the journal holds a certificate that is not in the inventory")


def test_a_crash_between_journal_and_commit_is_told_with_its_mend(state, run, signed):
    run(Journal(state.journal).append([signed[4]]))
    (open_one,) = state.found()
    assert "still an intent; `pkicode apply` finishes it" in open_one


def test_a_signed_certificate_that_is_listed_as_never_signed_is_seen(state, run, signed):
    run(Journal(state.journal).append([signed[3]]))
    (aborted,) = state.found()
    assert "the journal holds it, but it is listed as aborted" in aborted


def test_broken_pages_are_told_as_such(state):
    content = bytearray(state.path.read_bytes())
    # The last page in use is a leaf of some table or index.
    content[-8192:-8180] = b"\xff" * 12
    state.path.write_bytes(content)
    assert any("page structure" in one for one in state.found())


def test_there_is_nothing_to_verify_where_there_is_no_state(tmp_path):
    with pytest.raises(FileNotFoundError):
        verify(tmp_path / "state.db", None)
