"""Templates compared field by field: what counts as changed, what it means, and what a new release must not change."""

import json

import pytest

from pkicode.plan.kind import FieldClass
from pkicode.plan.template import difference

CLASSES = {
    "dns": FieldClass.NOW,
    "issuer": FieldClass.NOW,
    "key": FieldClass.NEXT,
    "key.store": FieldClass.NOW,
    "validity": FieldClass.NEXT,
    "note": FieldClass.METADATA,
    "for_each": FieldClass.NOTHING,
}


def template(spec: dict[str, object], *defaulted: str) -> str:
    return json.dumps({"kind": "cert", "spec": {"profile": "server", **spec}, "defaulted": defaulted})


def changed(
    old: object, new: object, before: tuple[str, ...] = (), after: tuple[str, ...] = ()
) -> dict[str, list[str]]:
    found = difference(template(old, *before), template(new, *after), CLASSES).fields
    return {str(one): list(names) for one, names in found.items()}


def test_the_same_template_in_another_order_differs_in_nothing() -> None:
    assert changed({"dns": ["a"], "note": "x"}, {"note": "x", "dns": ["a"]}) == {}
    assert not difference(template({"dns": ["a"]}), template({"dns": ["a"]}), CLASSES)


def test_changed_fields_stand_sorted_below_their_class() -> None:
    assert changed(
        {"issuer": "a", "dns": ["a"], "note": "x", "validity": 1},
        {"issuer": "b", "dns": ["b"], "note": "y", "validity": 2},
    ) == {"now": ["dns", "issuer"], "next": ["validity"], "metadata": ["note"]}


def test_a_derived_field_is_called_what_somebody_wrote() -> None:
    derived = ["base_urls", "own_base_urls", "ocsp_urls", "crl_shards"]
    assert changed(dict.fromkeys(derived, "a"), dict.fromkeys(derived, "b")) == {
        "metadata": ["base_url", "base_url of its issuer", "crl.shards of its issuer", "ocsp.url of its issuer"]
    }


def test_a_field_that_came_or_went_has_changed_even_where_its_value_is_null() -> None:
    assert changed({}, {"dns": None}) == {"now": ["dns"]}
    assert changed({"dns": None}, {}) == {"now": ["dns"]}


def test_the_longest_name_that_is_classed_counts() -> None:
    assert changed({"key": {"alg": "a", "store": "x"}}, {"key": {"alg": "b", "store": "x"}}) == {"next": ["key"]}
    assert changed({"key": {"alg": "a", "store": "x"}}, {"key": {"alg": "a", "store": "y"}}) == {"now": ["key"]}


def test_a_table_that_was_emptied_is_a_change() -> None:
    assert changed({"key": {"alg": "a"}}, {"key": {}}) == {"next": ["key"]}


def test_which_rows_there_are_is_no_change_of_any_row() -> None:
    assert changed({"for_each": {"values": ["a"]}}, {"for_each": {"values": ["a", "b"]}}) == {}


def test_a_field_that_no_kind_knows_never_signs() -> None:
    assert changed({}, {"novelty": {"depth": 1}}) == {"metadata": ["novelty"]}


@pytest.mark.parametrize(
    ("old", "new", "before", "after"),
    [
        ({"validity": 1}, {"validity": 2}, ("validity",), ("validity",)),
        ({}, {"validity": 2}, (), ("validity",)),
        ({"validity": 2}, {}, ("validity",), ()),
        ({"key": {"alg": "a"}}, {"key": {"alg": "b"}}, ("key",), ("key",)),
        ({"key": {"alg": "a"}}, {"key": {"alg": "b"}}, ("key.alg",), ("key",)),
    ],
    ids=["another default", "a new field", "a field dropped", "a table", "a table and its field"],
)
def test_a_release_with_other_defaults_changes_nothing(old, new, before, after) -> None:
    assert changed(old, new, before, after) == {}


@pytest.mark.parametrize(("before", "after"), [(("validity",), ()), ((), ("validity",))])
def test_what_somebody_wrote_counts_on_either_side(before, after) -> None:
    assert changed({"validity": 1}, {"validity": 2}, before, after) == {"next": ["validity"]}


def test_a_default_is_known_by_its_whole_name() -> None:
    assert changed({"keys": 1}, {"keys": 2}, ("key",), ("key",)) == {"metadata": ["keys"]}


def test_templates_of_before_there_were_defaults_are_read() -> None:
    old, new = json.dumps({"spec": {"dns": ["a"]}}), template({"dns": ["b"]})
    assert difference(old, new, CLASSES).of(FieldClass.NOW) == ("dns",)
