"""The planner with a toy of a kind: what is compared, passed over, held back and counted."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from attrs import define, evolve, field

from pkicode.config.language import Forget, Moved
from pkicode.config.reader import Config, read
from pkicode.model.address import Address
from pkicode.model.change import Action, Change, Plan, Reason, ReasonCode
from pkicode.model.instants import NO_EXPIRY
from pkicode.model.problem import ConfigError, Problem
from pkicode.model.row import FORGOTTEN, Block, Held, Row, Source
from pkicode.plan import planner
from pkicode.plan.kind import Difference, FieldClass, Kind, Outlook, Snapshot
from pkicode.ports import About

NOW = 1_795_424_400
ABOUT = About("toy", "lineage", "default", 1, 7, "", 0)


def template(**spec: object) -> str:
    return json.dumps({"kind": "cert", "spec": {"dns": "a", **spec}, "defaulted": []})


OLD, NEW = template(), template(note="x", validity=1)


def block(name: str = "x", text: str = OLD, kind: str = "cert") -> Block:
    return Block(kind, name, None, text, "", Source("pki.toml", (kind, name)))


def held(key: str = "", **changes: object) -> Held:
    row = Held("cert", "x", key, 1, 1, "[]", NOW + 100, "ca.a", "ok", 3)
    return evolve(row, **changes)


@define
class Toy:
    """A kind that renews whatever reaches it, and remembers what did."""

    rows: dict[str, list[str]] = field(factory=lambda: {"x": [""]})
    text: str = OLD
    answers: bool = True
    name: str = "cert"
    problems: list[Problem] = field(factory=list)
    due: int = NOW + 50
    reached: list[tuple[str, str | None, Difference]] = field(factory=list)

    def kind(self) -> Kind:
        return Kind(
            name=self.name,
            classes={"note": FieldClass.METADATA, "validity": FieldClass.NEXT},
            blocks=lambda config: [block(name, self.text, self.name) for name in self.rows],
            rows=self._rows,
            needs=lambda block, row, outlook: "ca.a",
            diff=self._diff,
            apply=self._apply,
            check=lambda block, outlook: [one for one in self.problems if one.address == f"{block.kind}.{block.name}"],
            foresee=lambda change, outlook: self.due,
            audit_rows=lambda block, row, outlook: [Problem("E0401", f"{block.name} {row.key}", help="mend")],
        )

    def _rows(self, block: Block, outlook: Outlook) -> Iterator[Row]:
        for key in self.rows[block.name]:
            if key == "broken":
                raise ConfigError((Problem("E0302", "the source is broken", help="mend it"),))
            yield Row(key, "[]")

    def _diff(
        self, block: Block | None, row: Row | None, held: Held | None, outlook: Outlook, how: Difference
    ) -> Change | None:
        self.reached.append((row.key if row else "-", held.key if held else None, how))
        if not self.answers:
            return None
        address = held.address if held else Address(self.name, block.name if block else "", row.key if row else "")
        action = (Action.RENEW if held else Action.ISSUE) if row else Action.FORGET
        return Change(address, action, 1, (Reason(ReasonCode.NEW),), block, row, held)

    async def _apply(self, changes: Sequence[Change], run: object) -> Sequence[None]:
        return [None for _ in changes]


def config(root: Path, **settings: object) -> Config:
    (root / "pki.toml").write_text('version = 1\n[project]\nname = "toy"\n')
    found = read(root / "pki.toml", environ={})
    return evolve(found, settings=evolve(found.settings, **settings))


def snapshot(*rows: Held, **templates: str) -> Snapshot:
    return Snapshot(ABOUT, rows, {1: OLD, **{int(key[1:]): text for key, text in templates.items()}}, {}, (), {})


@pytest.fixture
def plan(tmp_path: Path):
    def planned(
        toy: Toy,
        *rows: Held,
        settings: dict[str, object] | None = None,
        templates: dict[str, str] | None = None,
        **options,
    ) -> Plan:
        found = snapshot(*rows, **(templates or {}))
        return planner.plan(config(tmp_path, **(settings or {})), found, now=NOW, kinds=[toy.kind()], **options)

    return planned


def moves(source: str, target: str) -> dict[str, object]:
    return {"moved": (Moved(source, target),)}


def told(plan: Plan) -> list[str]:
    return [f"{one.action} {one.address}" for one in plan.changes]


def test_a_row_that_agrees_is_passed_over_and_its_due_date_is_the_next(plan) -> None:
    toy = Toy(rows={"x": ["a", "b"]})
    found = plan(toy, held("a", due=NOW + 100), held("b", due=NOW + 60))
    assert (toy.reached, found.changes) == ([], ())
    assert (found.next_due, found.declared, found.complete) == (NOW + 60, 2, True)
    assert (found.at, found.sequence, found.lineage, found.project) == (NOW, 7, "lineage", "toy")


@pytest.mark.parametrize(
    "changes",
    [{"values": "[1]"}, {"due": NOW}, {"due": NOW - 1}, {"status": "hook-failed"}, {"needs": "ca.b"}, {"template": 2}],
    ids=str,
)
def test_a_row_that_disagrees_in_one_thing_reaches_its_kind(plan, changes) -> None:
    toy = Toy()
    found = plan(toy, held(**changes), templates={"_2": template(note="then")})
    assert told(found) == ["renew cert.x"]
    assert [(key, of) for key, of, _ in toy.reached] == [("", "")]


def test_a_row_that_is_due_a_second_later_is_not_due(plan) -> None:
    assert plan(Toy(), held(due=NOW + 1)).changes == ()


def test_what_a_kind_leaves_alone_waits_and_is_counted_by_its_fields(plan) -> None:
    toy = Toy(rows={"x": ["a", "b"], "y": ["c"]}, text=NEW, answers=False)
    found = plan(toy, held("a"), held("b", due=NOW + 40), held("c", name="y", due=NOW + 45))
    assert [(one.block, one.count, one.fields) for one in found.pending] == [
        ("cert.x", 2, ("validity", "note")),
        ("cert.y", 1, ("validity", "note")),
    ]
    assert found.next_due == NOW + 40


def test_a_template_that_is_lost_differs_in_nothing(plan) -> None:
    toy = Toy(text=NEW)
    assert plan(toy, held(template=9)).changes == ()
    assert toy.reached == []


def test_a_new_rows_due_date_is_foreseen(plan) -> None:
    found = plan(Toy(rows={"x": ["a", "b"]}), held("a", due=NOW + 70))
    assert told(found) == ['issue cert.x["b"]']
    assert found.next_due == NOW + 50


@pytest.mark.parametrize("due", [NOW, NO_EXPIRY])
def test_what_is_due_at_once_or_never_is_not_next(plan, due) -> None:
    assert plan(Toy(due=due)).next_due is None


def test_of_several_generations_the_newest_is_compared(plan) -> None:
    toy = Toy()
    old, new = held(generation=1, due=NOW), held(generation=2)
    for rows in ((old, new), (new, old)):
        assert plan(toy, *rows).changes == ()


def test_what_is_gone_reaches_its_kind_without_a_row_in_the_order_of_keys(plan) -> None:
    toy = Toy(rows={"x": ["k"]})
    gone = [held("c"), held("a"), held("b", status=FORGOTTEN)]
    found = plan(toy, held("k"), *gone, held(name="other"), held(kind="ca", name="root"))
    assert told(found) == ['forget cert.x["a"]', 'forget cert.x["c"]', "forget cert.other"]
    assert found.declared == 1


def test_what_is_forgotten_by_name_never_reaches_its_kind(plan) -> None:
    toy = Toy(rows={"x": [str(number) for number in range(3)]})
    forget = {"forget": (Forget("cert.y"), Forget('cert.z["a"]'))}
    kept = [held(str(number)) for number in range(3)]
    found = plan(
        toy,
        *kept,
        held("k", name="y"),
        held("a", name="z"),
        held("b", name="z"),
        settings=forget,
        allow={"remove": "2"},
    )
    assert told(found) == ['forget cert.y["k"]', 'forget cert.z["a"]', 'forget cert.z["b"]']
    assert [one.reasons[0].detail for one in found.changes] == ["by [[forget]]", "by [[forget]]", ""]
    assert [held for _, held, _ in toy.reached] == ["b"]


@pytest.mark.parametrize(("size", "most"), [(1, 0), (2, 1), (20, 10), (200, 10), (219, 10), (220, 11), (400, 20)])
def test_more_than_a_twentieth_and_more_than_ten_keys_do_not_go_at_once(plan, size, most) -> None:
    rows = [held(str(number)) for number in range(size)]

    def gone(number: int, **options) -> Plan:
        return plan(Toy(rows={"x": [one.key for one in rows[number:]]}), *rows, **options)

    assert len(gone(most).changes) == most
    with pytest.raises(ConfigError) as caught:
        gone(most + 1)
    (problem,) = caught.value.problems
    assert (problem.code, problem.address) == ("E0370", "cert.x")
    assert f"allow remove={most + 1}" in problem.help
    assert len(gone(most + 1, allow={"remove": str(most + 1)}).changes) == most + 1
    with pytest.raises(ConfigError):
        gone(most + 1, allow={"remove": str(most)})


def test_the_brake_counts_what_was_there_and_not_what_was_forgotten_before(plan) -> None:
    rows = [held(str(number)) for number in range(11)]
    before = [held(f"f{number}", status=FORGOTTEN) for number in range(100)]
    with pytest.raises(ConfigError) as caught:
        plan(Toy(rows={}), *rows, *before)
    assert "11 of 11 keys are gone" in caught.value.problems[0].message


def test_a_single_certificate_may_go(plan) -> None:
    assert told(plan(Toy(rows={}), held())) == ["forget cert.x"]


def test_what_the_kind_keeps_when_its_row_is_gone_sets_off_no_brake(plan) -> None:
    assert plan(Toy(rows={}, answers=False), held("a"), held("b")).changes == ()


def test_a_move_keeps_the_row_and_its_generation_and_says_where_it_was(plan) -> None:
    moved = moves("cert.x", "cert.y")
    for key in ("", "a"):
        found = plan(Toy(rows={"y": [key]}), held(key, generation=4), settings=moved)
        (change,) = found.changes
        assert (change.action, change.address, change.generation) == (Action.MOVE, Address("cert", "y", key), 4)
        assert change.before == {"address": str(Address("cert", "x", key)), "replaces": 0}
        assert change.held == held(key, generation=4)


def test_one_row_moves_to_another_key_and_the_others_stay(plan) -> None:
    moved = moves('cert.x["a"]', 'cert.x["c"]')
    found = plan(Toy(rows={"x": ["b", "c"]}), held("a"), held("b"), settings=moved)
    assert told(found) == ['move cert.x["c"]']


def test_a_move_that_is_done_or_was_never_there_is_nothing(plan) -> None:
    moved = moves("cert.z", "cert.x")
    assert plan(Toy(), held(), settings=moved).changes == ()
    assert plan(Toy(), held(), held(name="z", status=FORGOTTEN), settings=moved).changes == ()


def test_after_a_move_the_row_has_its_first_version_and_is_compared(plan) -> None:
    moved = moves("cert.x", "cert.y")
    first, second = plan(Toy(rows={"y": [""]}), held(due=NOW), settings=moved).changes
    assert (first.action, second.action) == (Action.MOVE, Action.RENEW)
    assert second.held == held(name="y", version=1, due=NOW)


@pytest.mark.parametrize(("kind", "to"), [("cert", "y"), ("ca", "z")])
def test_nothing_moves_to_a_taken_address_and_no_ca_moves_at_all(plan, kind, to) -> None:
    moved = moves(f"{kind}.x", f"{kind}.{to}")
    with pytest.raises(ConfigError) as caught:
        plan(Toy(rows={}, name=kind), held(kind=kind), held(kind=kind, name="y"), settings=moved)
    assert [(one.code, one.address) for one in caught.value.problems] == [("E0371", f"{kind}.{to}")]


@pytest.mark.parametrize("second", ['cert.x["b"]', "cert.z"])
def test_two_rows_do_not_move_to_one_address(plan, second) -> None:
    moved = {
        "moved": (Moved('cert.x["a"]', 'cert.y["b"]'), Moved(second, 'cert.y["b"]' if "[" in second else "cert.y"))
    }
    with pytest.raises(ConfigError) as caught:
        plan(Toy(rows={"y": ["b"]}), held("a"), held("b"), held("b", name="z"), settings=moved)
    assert [one.address for one in caught.value.problems if one.code == "E0371"] == ['cert.y["b"]']


def test_only_and_except_leave_out_and_the_plan_says_so(plan) -> None:
    toy = Toy(rows={"x": ["a"], "y": ["b"]})
    assert (told(plan(toy, only=["cert.x"])), plan(toy, only=["cert.x"]).complete) == (['issue cert.x["a"]'], False)
    assert told(plan(toy, except_=["cert.x"])) == ['issue cert.y["b"]']
    assert plan(toy, only=["cert.x"], except_=["cert.x"]).changes == ()
    assert plan(toy, only=["cert.*"]).complete
    assert plan(toy, only=["cert.x"]).scope == (("cert.x",), ())


def test_a_scope_that_names_nothing_is_told(plan) -> None:
    toy = Toy(rows={"x": ["a"]})

    def wrong(*only: str, except_: Sequence[str] = ()) -> list[str]:
        there = (held("b"), held(name="z"), held("c", name="z"))
        found = plan(toy, *there, only=only, except_=except_, allow={"remove": "3"}).problems
        assert {one.code for one in found} <= {"W0303"}
        return [one.message.split("`")[1] for one in found]

    # A block, a row that is to come, one that is there, one that is to go, and all of a kind.
    assert wrong("cert.x", 'cert.x["a"]', '*["c"]', "*.z", "cert.*", except_=['cert.x["b"]']) == []
    assert wrong("cert.y", "cert.x", 'cert.x["nope"]', except_=["ca.*"]) == ["ca.*", 'cert.x["nope"]', "cert.y"]


def test_warnings_are_told_and_errors_stop_the_plan(plan) -> None:
    warning = Problem("W0415", "soon", help="look", address="cert.x")
    assert [one.code for one in plan(Toy(problems=[warning])).problems] == ["W0415"]
    with pytest.raises(ConfigError) as caught:
        plan(Toy(problems=[warning, Problem("E0404", "wrong", help="mend", address="cert.x")]))
    assert [one.message for one in caught.value.problems] == ["wrong"]


def test_only_certificates_are_counted_as_declared(plan) -> None:
    assert plan(Toy(name="ca")).declared == 0


def test_validate_looks_at_every_block_and_row_even_after_a_broken_source(tmp_path: Path) -> None:
    toy = Toy(
        rows={"x": ["a", "broken"], "y": ["b"]}, problems=[Problem("W0415", "soon", help="look", address="cert.y")]
    )
    found = planner.validate(config(tmp_path), now=NOW, kinds=[toy.kind()], empty=snapshot())
    assert {one.message for one in found} == {"x a", "the source is broken", "soon", "y b"}


def test_validate_asks_only_what_a_kind_can_answer(tmp_path: Path) -> None:
    silent = evolve(Toy().kind(), check=None, audit_rows=None)
    assert planner.validate(config(tmp_path), now=NOW, kinds=[silent], empty=snapshot()) == ()
