"""What every rendering of a plan says, and what it must never let through."""

import json
import re
from html.parser import HTMLParser

import jsonschema
import pytest
from attrs import evolve

from pkicode.model.address import Address
from pkicode.model.change import Action, Change, Pending, Readiness, Reason, ReasonCode, Verdict
from pkicode.model.problem import PkicodeError, Problem, Span
from pkicode.model.served import Leaf, Seen
from pkicode.plan.planfile import counts, document, encode, load, plan_id
from pkicode.views.html import html
from pkicode.views.human import human
from pkicode.views.json import diagnostics_json, plan_schema
from pkicode.views.markdown import markdown
from pkicode.views.mimebundle import MOST_CHANGES, VENDOR, mimebundle
from pkicode.views.plan import SYMBOLS, lines
from pkicode.views.saved import plan_of as plan_of_document
from tests.views.plans import AT, FLEET, HOSTILE, MESH, PORTAL, change, crl, first_plan, leaf, plan_of

FIRST = """\
At 2026-11-23T09:00:00Z   env: default   state: empty (new lineage)   98,003 leaf certificates declared
  + ca.root@1             key ec-p384 in hsm  self-signed "CN=Corp Root R1"  20y  pathLen 1  protected
  + ca.issuing@1          key ec-p256  signed by ca.root "CN=Corp A"  5y  permit DNS corp.example
  + cert.portal           server  90d  DNS portal.corp.example, www.corp.example  IP 10.0.0.1
  + cert.mesh         x2  mtls  30d  api.eu billing.eu
  + cert.fleet   x98,000  server  90d  from fleet.csv  (--full lists all)
  * crl.issuing           number 1  because crl-content
Lint: 5 templates and the names of 98,005 certificates pass rfc5280 (the exact bytes are linted again at apply)
Plan: 98,005 to issue (irreversible), 1 CRL to sign, 0 to revoke, 0 to forget.   Next wake: 2026-11-24T09:00:00Z
"""


def _nowhere(change):
    return "pki.toml", 0


def test_a_first_plan_is_a_screen_whatever_the_size_of_the_fleet():
    assert human(first_plan(98_000)) == FIRST


def test_full_gives_every_change_its_own_line():
    text = human(first_plan(98), full=True)
    assert text.count("cert.fleet[") == 98
    assert '+ cert.fleet["h97"]' in text


def test_every_action_has_a_symbol_and_replacement_is_never_destroy_first():
    assert set(SYMBOLS) == set(Action)
    assert "-/+" not in SYMBOLS.values()


def test_an_empty_plan_says_so_and_when_to_come_back():
    text = human(plan_of([], lineage="c0ffee0123456789", sequence=41))
    assert text.splitlines() == [
        "At 2026-11-23T09:00:00Z   env: default   state: c0ffee01 #41   0 leaf certificates declared",
        "No changes.   Next wake: 2026-11-24T09:00:00Z",
    ]


def test_changes_of_a_fan_out_with_other_reasons_stand_on_other_lines():
    due = Reason(ReasonCode.DUE, "due 2027-01-11T09:00:00Z")
    later = Reason(ReasonCode.DUE, "due 2027-01-12T09:00:00Z")
    changed = Reason(ReasonCode.SPEC_CHANGED, "`dns` changed")
    found = lines(
        [
            change(MESH, Action.RENEW, "a", generation=2, reasons=(due,)),
            change(MESH, Action.RENEW, "b", generation=2, reasons=(changed,)),
            change(MESH, Action.RENEW, "c", generation=3, reasons=(later,)),
        ]
    )
    assert [(one.symbol, one.label, one.count, one.why) for one in found] == [
        ("+/-", "cert.mesh", 2, "due"),
        ("+/-", 'cert.mesh["b"]@2', 1, "`dns` changed"),
    ]


def test_a_reason_all_agree_on_is_told_in_full():
    due = Reason(ReasonCode.DUE, "due 2027-01-11T09:00:00Z")
    (line,) = lines([change(MESH, Action.RENEW, key, generation=2, reasons=(due,)) for key in "ab"])
    assert line.why == "due 2027-01-11T09:00:00Z"


@pytest.mark.parametrize(
    ("readiness", "mark"), [(Readiness.WAITING, "?"), (Readiness.DENIED, "x"), (Readiness.READY, "!")]
)
def test_what_is_held_back_shows_that_before_what_it_would_do(readiness, mark):
    held = change(PORTAL, Action.REVOKE, readiness=readiness, waits="approval" if readiness != "ready" else "")
    (line,) = lines([held])
    assert line.symbol == mark


def test_counts_add_up_to_the_number_of_changes():
    plan = plan_of(
        [
            *(change(PORTAL, action) for action in Action),
            change(PORTAL, readiness=Readiness.WAITING, waits="a new CSR"),
            change(PORTAL, readiness=Readiness.DENIED, waits="max_actions"),
        ]
    )
    found = counts(plan)
    assert sum(found.values()) == len(plan.changes)
    assert found["blocked"] == 2
    assert min(found.values()) == 1


def test_policy_and_problems_and_pending_fields_are_told():
    plan = plan_of(
        [crl()],
        verdicts=(
            Verdict("max_actions.issue", False, "98,010 issue exceed issue = 5,000", "run with --allow issue=98010"),
        ),
        problems=(Problem("W0412", "an odd name", help="rename it"),),
        pending=(Pending("cert.fleet", 98_000, ("validity",)),),
    )
    for text in (human(plan), markdown(plan), html(plan)):
        assert "98,010 issue exceed issue = 5,000" in text
        assert "run with --allow issue=98010" in text
        assert "warning[W0412]: an odd name" in text
        assert "`validity`" in text


def test_colour_only_adds_escapes():
    plan = first_plan()
    coloured = human(plan, color=True)
    assert coloured != human(plan)
    assert re.sub(r"\x1b\[[0-9]*m", "", coloured) == human(plan)


def test_markdown_tells_counts_first_and_folds_the_groups():
    text = markdown(first_plan())
    assert text.startswith("<!-- pkicode plan corp-pki default -->\n### Plan: 103 to issue")
    assert text.index("| issue | 103 |") < text.index("<details>")
    assert "+ cert.fleet" in text.split("<details>")[1]


def test_markdown_shows_each_revocation_and_each_waiting_change_unfolded():
    revoked = [change(FLEET, Action.REVOKE, f"h{number}", irreversible=True) for number in range(40)]
    waiting = change(PORTAL, readiness=Readiness.WAITING, waits="approval")
    text = markdown(plan_of([*revoked, waiting, crl()]))
    attention = text[text.index("<details open>") : text.index("</details>")]
    assert "Needs attention (41)" in attention
    assert all(f'! cert.fleet["h{number}"]' in attention for number in range(40))
    assert "? cert.portal" in attention
    assert "approval" in attention


def test_each_revocation_is_a_line_for_people_until_there_are_too_many_to_read():
    def shown(number):
        changes = [change(FLEET, Action.REVOKE, f"h{one}", irreversible=True) for one in range(number)]
        return [line for line in human(plan_of(changes)).splitlines() if line.startswith("  !")]

    assert len(shown(500)) == 500
    assert len(shown(501)) == 1


def test_taking_a_root_out_of_the_bundle_is_said_and_counted():
    text = human(plan_of([change(FLEET, Action.DISTRUST, "ca.root@1", irreversible=True)]))
    assert "distrust, out of the bundle" in text
    assert "1 to distrust (irreversible)" in text


def test_markdown_stays_below_its_limit_and_says_how_much_it_left_out():
    plan = plan_of([change(FLEET, Action.REVOKE, f"h{number}" + "ä" * 150) for number in range(500)])
    text = markdown(plan, max_bytes=20_000)
    assert len(text.encode()) <= 20_000
    left_out = int(re.search(r"(\d+) more lines: `pkicode plan --full`", text)[1])
    assert left_out + text.count("! cert.fleet[") == 500
    assert text.endswith("</details>\n")


def test_html_stays_below_64_kib_with_every_tag_closed():
    plan = plan_of([change(FLEET, Action.REVOKE, f'<h{number}>"&' + "x" * 150) for number in range(500)])
    text = html(plan)
    assert len(text.encode()) <= 64 * 1024
    assert _Tags.balanced(text)
    assert "more lines" in text


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.seen, self.text = [], set(), ""

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    @classmethod
    def balanced(cls, text):
        page = cls()
        page.feed(text)
        page.close()
        return not page.open


def _hostile_plan():
    return plan_of(
        [
            change(FLEET, Action.REVOKE, HOSTILE, reasons=(Reason(ReasonCode.REVOKED, HOSTILE),), waits=HOSTILE),
            crl(name=HOSTILE, after={"number": HOSTILE}),
            change(PORTAL, after=leaf(HOSTILE, "90d", f"dns:{HOSTILE}")),
        ],
        env=HOSTILE,
        project=HOSTILE,
        scope=((HOSTILE,), ()),
        verdicts=(Verdict(HOSTILE, False, HOSTILE, HOSTILE),),
        problems=(Problem("E0203", HOSTILE, help=HOSTILE),),
        pending=(Pending(HOSTILE, 2, (HOSTILE,)),),
        seen=(Seen(HOSTILE, 1, HOSTILE, HOSTILE, "tls", "unknown", (Leaf(HOSTILE, HOSTILE, HOSTILE, HOSTILE, None),)),),
    )


@pytest.mark.parametrize("render", [human, markdown, html])
def test_a_hostile_name_moves_no_cursor_and_starts_no_line(render):
    text = render(_hostile_plan())
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\x00" not in text
    assert not any(line.lstrip().startswith("::") for line in text.splitlines())


def test_a_hostile_name_is_only_text_in_html():
    page = _Tags()
    page.feed(html(_hostile_plan()))
    page.close()
    assert page.seen == {"div", "p", "strong", "details", "summary", "pre"}
    assert "<script>alert(1)</script>" in page.text


def test_a_hostile_name_cannot_leave_a_code_block_of_markdown():
    text = markdown(_hostile_plan())
    outside, fence = [], ""
    for line in text.splitlines():
        run = re.match(r"`{3,}", line)
        if not fence and run:
            fence = run[0]
        elif fence and re.fullmatch(r"`+\s*", line) and len(line.strip()) >= len(fence):
            fence = ""
        elif not fence:
            outside.append(line)
    assert fence == ""
    assert "script" not in "".join(outside[1:])
    assert "-->" not in outside[0][:-3]


def test_the_json_document_follows_its_schema_and_survives_a_round_trip():
    told = document(_hostile_plan(), lambda one: ("pki.toml", 3))
    jsonschema.validate(json.loads(json.dumps(told)), plan_schema())
    assert told["actions"][0]["reasons"] == [{"code": "revoked", "detail": HOSTILE}]


def test_what_endpoints_serve_is_printed_and_no_part_of_what_is_applied():
    plan = _hostile_plan()
    told, bare = document(plan), document(evolve(plan, seen=None))
    assert (told["endpoints"][0]["drift"], "endpoints" in bare) == ("unknown", False)
    assert told["plan_id"] == bare["plan_id"] == encode(plan)[0]
    assert b"endpoints" not in encode(plan)[1]
    assert load(json.dumps(told).encode()).plan_id == told["plan_id"]


def test_of_many_endpoints_some_are_listed_and_all_are_counted():
    one = Seen("cert.portal", 1, "a.example:443", "a.example (10.0.0.1):443", "closed", "", ())
    plan = evolve(first_plan(), seen=(one,) * 60)
    assert (human(plan).count("a.example"), human(plan, full=True).count("a.example")) == (50, 60)
    assert "Endpoints: 0 of 60 as issued, 60 closed\n" in human(plan)
    assert "... and 10 more (--full lists all)" in human(plan)


def test_the_schema_refuses_a_document_without_reasons():
    told = document(first_plan(), _nowhere)
    del told["actions"][0]["reasons"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(told, plan_schema())


def test_the_json_document_has_every_field_scripts_rely_on():
    plan = first_plan(2)
    told = document(plan, lambda one: ("fleet.csv", one.row.line if one.row else 0))
    assert told["format"] == "pkicode.plan"
    assert told["version"] == "1.1"
    assert told["plan_id"] == plan_id(plan)
    assert told["at"] == "2026-11-23T09:00:00Z"
    assert told["next_due"] == "2026-11-24T09:00:00Z"
    assert told["has_changes"] is True
    assert told["counts"]["issue"] == 7
    action = told["actions"][5]
    assert action["address"] == 'cert.fleet["h0"]'
    assert (action["kind"], action["action"], action["generation"], action["status"]) == ("cert", "issue", 1, "ready")
    assert action["reasons"] == [{"code": "new", "detail": ""}]
    assert action["source"] == {"path": "fleet.csv", "line": 2}
    assert told["actions"][-1]["source"]["line"] == 0


def test_diagnostics_carry_where_the_mistake_starts_and_ends():
    problem = Problem("E0203", "unknown key", help="rename", span=Span("pki.toml", 35, 1, 35, 8, "validty = 1"))
    told = diagnostics_json([problem])
    assert told["valid"] is False
    assert told["diagnostics"][0]["span"] == {
        "path": "pki.toml",
        "start": {"line": 35, "column": 1},
        "end": {"line": 35, "column": 8},
    }
    assert diagnostics_json([Problem("W0412", "odd")])["valid"] is True


PROBLEMS = (
    Problem("W0412", "odd", help="rename"),
    Problem("W0415", "early", rows=tuple((f'cert.fleet["h{number}"]', number + 2) for number in range(12))),
)


@pytest.mark.parametrize("changes", [[], [crl()]], ids=["empty", "one"])
def test_a_saved_plan_reads_back_as_what_was_planned(changes):
    plan = plan_of(changes, scope=(("crl.*",), ("ca.*",)), problems=PROBLEMS)
    told = json.loads(json.dumps(document(plan)))
    jsonschema.validate(told, plan_schema())
    again = plan_of_document(told)
    assert human(again) == human(plan)
    assert plan_id(again) == plan_id(plan)


@pytest.mark.parametrize("broken", [{}, {"actions": 3}, {"at": "soon"}])
def test_a_saved_plan_with_broken_fields_is_one_clear_error(broken):
    with pytest.raises(PkicodeError, match="this plan file cannot be read"):
        plan_of_document({**document(plan_of([])), **broken} if broken else {})


def test_a_saved_plan_says_what_the_plan_said_but_where_the_keys_came_from():
    plan = first_plan(98)
    again = human(plan_of_document(document(plan)))
    assert again == human(plan).replace("from fleet.csv", "h0 .. h97").replace("  permit DNS corp.example", "")


def test_a_notebook_gets_four_forms_of_the_same_plan():
    plan = first_plan(MOST_CHANGES - 6)
    assert len(plan.changes) == MOST_CHANGES
    bundle = mimebundle(plan, _nowhere)
    assert bundle["text/plain"] == human(plan)
    assert bundle["text/html"] == html(plan)
    assert bundle["text/markdown"] == markdown(plan)
    assert bundle[VENDOR]["counts"] == counts(plan)


def test_a_notebook_is_not_filled_with_the_json_of_a_large_plan():
    bundle = mimebundle(first_plan(10_000), _nowhere)
    assert set(bundle) == {"text/plain", "text/html", "text/markdown"}
    assert sum(len(one) for one in bundle.values()) < 200_000


def test_rendering_twice_gives_the_same_bytes():
    assert human(first_plan()) == human(first_plan())
    assert plan_of([], at=AT) == plan_of([])


def test_what_is_taken_away_is_said_in_a_word_and_that_files_stay():
    gone = Change(Address("output", "portal"), Action.FORGET, 1, (Reason(ReasonCode.REMOVED),))
    revoked = change(PORTAL, Action.REVOKE, reasons=(Reason(ReasonCode.REMOVED),), after={"reason": "superseded"})
    told = human(plan_of([revoked, gone])).splitlines()
    assert "revoke  reason superseded  because removed" in told[1]
    assert "forget, files stay  because removed" in told[2]


def test_one_certificate_is_not_certificates():
    assert "1 template and the names of 1 certificate pass" in human(plan_of([change(PORTAL)]))
