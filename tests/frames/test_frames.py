"""Frames have the same columns and dtypes whatever is in them, on pandas 2 and 3."""

import datetime
from operator import attrgetter

import pandas as pd
import pytest
from attrs import evolve

import pkicode
from pkicode.frames.forecast import forecast_frame
from pkicode.frames.inventory import FIELDS, batches
from pkicode.frames.inventory import inventory_frame as framed
from pkicode.frames.plan import plan_frame
from pkicode.model.address import Address
from pkicode.model.change import Action, Readiness, Reason, ReasonCode
from pkicode.model.instants import DAY, NO_EXPIRY
from pkicode.plan.forecast import Coming
from pkicode.ports import seen_as
from tests.views.plans import AT, HOSTILE, MESH, PORTAL, change, crl, first_plan, plan_of
from tests.views.test_tables import GOOD

PLAN_DTYPES = {
    "address": "string", "block": "string", "key": "string", "kind": "category", "action": "category",
    "reason": "category", "detail": "string", "generation": "Int64", "status": "category", "waits": "string",
    "irreversible": "bool",
}  # fmt: skip
FORECAST_DTYPES = {
    "at": "datetime64[s, UTC]", "address": "string", "kind": "category", "action": "category", "reason": "string",
    "detail": "string", "generation": "Int64", "count": "Int64", "status": "category",
}  # fmt: skip
INVENTORY_DTYPES = {
    "address": "string", "generation": "Int64", "ca": "string", "ca_generation": "Int64", "profile": "string",
    "serial_number": "string", "subject": "string", "sans": "object", "not_before": "datetime64[s, UTC]",
    "not_after": "datetime64[s, UTC]", "status": "category", "revoked_at": "datetime64[s, UTC]", "reason": "category",
    "key_alg": "string", "spki": "string", "sha256": "string", "created": "datetime64[s, UTC]",
}  # fmt: skip


def inventory_frame(certificates, *, now):
    return framed(batches(map(attrgetter(*FIELDS), certificates)), now=now)


def _dtypes(frame):
    return {name: str(dtype) for name, dtype in frame.dtypes.items()}


@pytest.mark.parametrize("plan", [plan_of([]), first_plan(3)], ids=["empty", "full"])
def test_a_plan_frame_has_its_columns_and_dtypes_even_when_empty(plan):
    frame = plan_frame(plan)
    assert _dtypes(frame) == PLAN_DTYPES
    assert len(frame) == len(plan.changes)


@pytest.mark.parametrize("certificates", [[], [GOOD]], ids=["empty", "one"])
def test_an_inventory_frame_has_its_columns_and_dtypes_even_when_empty(certificates):
    assert _dtypes(inventory_frame(certificates, now=AT)) == INVENTORY_DTYPES


COMING = [
    Coming(AT, "cert.fleet", "cert", "renew", (("due", ""),), None, 40),
    Coming(AT, "pki.toml", "", "error", (("E0301", "no such column"),), None),
]


@pytest.mark.parametrize("rows", [[], COMING], ids=["empty", "two"])
def test_a_forecast_frame_has_its_columns_and_dtypes_even_when_empty(rows):
    frame = forecast_frame(rows)
    assert _dtypes(frame) == FORECAST_DTYPES
    assert list(frame["count"]) == [one.count for one in rows]
    assert list(frame["detail"]) == [one.reasons[0][1] for one in rows]


def test_a_plan_groups_by_kind_and_reason_in_stage_order():
    frame = plan_frame(first_plan(98))
    sizes = frame.groupby(["kind", "reason"], observed=True).size()
    assert dict(sizes) == {("ca", "new"): 2, ("cert", "new"): 101, ("crl", "crl-content"): 1}
    assert list(frame["kind"].cat.categories) == ["ca", "cert", "revoke", "crl", "ocsp", "publish", "output"]
    assert frame["kind"].max() == "crl"


def test_a_plan_row_says_what_holds_it_back():
    due = Reason(ReasonCode.DUE, "due 2027-01-11T09:00:00Z")
    waiting = change(MESH, Action.RENEW, "a", generation=2, reasons=(due,), readiness=Readiness.WAITING, waits="a CSR")
    (row,) = plan_frame(plan_of([waiting])).to_dict("records")
    assert row == {
        "address": 'cert.mesh["a"]', "block": "cert.mesh", "key": "a", "kind": "cert", "action": "renew",
        "reason": "due", "detail": "due 2027-01-11T09:00:00Z", "generation": 2, "status": "waiting", "waits": "a CSR",
        "irreversible": False,
    }  # fmt: skip


def test_a_change_without_reason_has_a_missing_one():
    assert plan_frame(plan_of([change(PORTAL, reasons=()), crl()]))["reason"].isna().tolist() == [True, False]


def test_instants_reach_the_end_of_time_and_absent_ones_are_missing():
    frame = inventory_frame([evolve(GOOD, not_after=NO_EXPIRY), evolve(GOOD, status="revoked", revoked_at=AT)], now=AT)
    assert frame["not_after"][0].isoformat() == "9999-12-31T23:59:59+00:00"
    assert frame["revoked_at"].isna().tolist() == [True, False]
    assert frame["revoked_at"][1] == pd.Timestamp("2026-11-23T09:00:00Z")


@pytest.mark.parametrize("stored", ["issued", "revoked", "unknown", "intent"])
@pytest.mark.parametrize("now", [AT, GOOD.not_after, GOOD.not_after + 1])
def test_the_frame_and_the_table_tell_the_same_status(stored, now):
    certificate = evolve(GOOD, status=stored)
    assert inventory_frame([certificate], now=now)["status"].tolist() == [seen_as(stored, certificate.not_after, now)]


def test_what_was_never_signed_is_not_in_the_frame():
    assert inventory_frame([evolve(GOOD, status="aborted")], now=AT).empty


def test_sans_explode_into_one_row_each():
    frame = inventory_frame([GOOD, evolve(GOOD, sans="[]")], now=AT)
    assert frame["sans"][0] == ("dns:portal.corp.example", "dns:www.corp.example")
    assert frame["sans"][1] == ()
    assert len(frame.explode("sans")) == 3


@pytest.mark.parametrize(
    "frame",
    [
        plan_frame(first_plan(3)),
        forecast_frame(COMING),
        inventory_frame([GOOD, evolve(GOOD, sans="[]", not_after=NO_EXPIRY)], now=AT),
    ],
    ids=["plan", "forecast", "inventory"],
)
def test_a_frame_survives_parquet_with_its_dtypes(frame, tmp_path):
    frame.to_parquet(tmp_path / "frame.parquet")
    back = pkicode.read_frame(tmp_path / "frame.parquet")
    assert _dtypes(back) == _dtypes(frame)
    # A string of pandas 2 may be held in two ways.
    pd.testing.assert_frame_equal(back.astype(frame.dtypes), frame)
    frame[:0].to_parquet(tmp_path / "empty.parquet")
    # Parquet stores those categories that a row group has.
    assert _dtypes(pkicode.read_frame(tmp_path / "empty.parquet")) == _dtypes(frame)


def test_an_address_comes_apart_into_its_block_and_its_key():
    hosts = [evolve(GOOD, address=str(Address("cert", "fleet", key))) for key in ("web-1", 'a "b" [c]', HOSTILE)]
    frame = inventory_frame([GOOD, *hosts], now=AT)[::-1].pki.split_address()
    assert frame["block"].tolist() == ["cert.fleet"] * 3 + ["cert.portal"]
    assert frame["key"].tolist() == [HOSTILE, 'a "b" [c]', "web-1", ""]
    assert {str(frame.dtypes[name]) for name in ("block", "key")} == {"string"}
    assert frame[:0].pki.split_address().dtypes.equals(frame.dtypes)
    missing = frame.assign(address=pd.Series([pd.NA] * 4, frame.index, "string")).pki.split_address()
    assert missing["block"].isna().all()


@pytest.mark.parametrize("within", ["30d", datetime.timedelta(days=30), pd.Timedelta(days=30)])
def test_expiring_takes_a_duration_in_words_or_a_timedelta(within):
    frame = inventory_frame([evolve(GOOD, not_after=AT + days * DAY) for days in (29, 30, 31)], now=AT)
    now = pd.Timestamp(AT, unit="s", tz="UTC")
    assert len(frame.pki.expiring(within, now=now)) == 2
    with pytest.raises(ValueError, match="a local time"):
        frame.pki.expiring(within, now=now.tz_localize(None))


def test_hostile_names_stay_data():
    assert plan_frame(plan_of([change(MESH, key=HOSTILE)]))["key"].tolist() == [HOSTILE]
