"""Inventory records, aligned tables and CSV."""

import csv
import io

from attrs import evolve

from pkicode.model.change import ReasonCode
from pkicode.ports import Certificate, seen_as
from pkicode.views.explain import REASONS, explanation, reason
from pkicode.views.inventory import COLUMNS, cells, facts_of, records
from pkicode.views.table import csv_text, table
from tests.views.plans import AT, HOSTILE

GOOD = Certificate(
    issuer_key="aa", serial="1f", issuer_dn=b"", status="issued", address="cert.portal", generation=2, ca="issuing",
    ca_generation=1, profile="server", subject="CN=portal", sans='["dns:portal.corp.example", "dns:www.corp.example"]',
    not_before=AT - 300, not_after=AT + 86400, key_alg="ec-p256", key_label="cert.portal@2", spki="bb", sha256="cc",
    der=b"", plan_id="p", reason="new", session="s", created=AT, duty="[]",
)  # fmt: skip


def told(*certificates):
    return [*records(map(facts_of, certificates), now=AT)]


def test_a_record_has_the_documented_fields_in_their_order():
    (record,) = told(GOOD)
    assert tuple(record) == COLUMNS
    assert record["serial_number"] == "1f"
    assert record["ca"] == "issuing@1"
    assert record["sans"] == ["dns:portal.corp.example", "dns:www.corp.example"]
    assert record["not_after"] == "2026-11-24T09:00:00Z"
    assert record["revoked_at"] is None


def test_the_status_is_the_one_relying_parties_see():
    assert seen_as("issued", AT, AT) == "good"
    assert seen_as("issued", AT, AT + 1) == "expired"
    assert seen_as("revoked", AT, AT + 1) == "revoked"
    assert seen_as("unknown", AT, AT) == "unknown"
    assert seen_as("intent", AT, AT) == "unknown"


def test_what_was_never_signed_is_not_in_the_inventory():
    assert told(evolve(GOOD, status="aborted")) == []


def test_a_record_of_what_was_revoked_says_when_and_why():
    (_, record) = told(GOOD, evolve(GOOD, status="revoked", revoked_at=AT, revocation_reason="keyCompromise"))
    assert (record["revoked_at"], record["reason"]) == ("2026-11-23T09:00:00Z", "keyCompromise")


def test_a_table_is_aligned_and_lets_no_control_character_through():
    text = table(["a", "name"], [["1", "x"], ["1000", HOSTILE]])
    assert text.splitlines()[:2] == ["a     name", "1     x"]
    assert len(text.splitlines()) == 3
    assert "\x1b" not in text


def test_csv_reads_back_and_no_cell_starts_a_formula():
    rows = [["=1+1", "+1", "-1", "@x", "\t=1", 'fine, "quoted"'], [HOSTILE] * 6]
    (header, first, second) = csv.reader(io.StringIO(csv_text(list("abcdef"), rows)))
    assert header == list("abcdef")
    assert first == ["'=1+1", "'+1", "'-1", "'@x", "'\t=1", 'fine, "quoted"']
    assert second == [HOSTILE] * 6


def test_cells_of_records_are_text():
    ((row),) = cells(told(GOOD))
    assert row[:7] == [
        "cert.portal", "2", "issuing@1", "server", "1f", "CN=portal", "dns:portal.corp.example dns:www.corp.example",
    ]  # fmt: skip
    assert row[10] == ""


def test_every_reason_of_a_plan_has_a_sentence():
    assert set(REASONS) == set(ReasonCode)
    assert reason(ReasonCode.DUE).startswith("due: Its renewal instant")


def test_an_explanation_names_generation_rule_and_line():
    text = explanation(
        address="cert.portal", generation=2, status="ok", lines=["due at \x1b[1m noon"], source=("pki.toml", 70)
    )
    assert text == "cert.portal: generation 2, ok   declared at pki.toml:70\n  due at \\u{1b}[1m noon\n"
    gone = explanation(address="cert.x", generation=1, status="ok", lines=[], source=None)
    assert gone == "cert.x: generation 1, ok   not declared any more\n"
    never = explanation(address="cert.x", generation=0, status="not there", lines=[], source=None)
    assert never == "cert.x: not there   not declared\n"
