"""Instants as people write them."""

import pytest

from pkicode.model.instants import YEAR, parse_instant, rfc3339

NOW = 1_795_424_400  # 2026-11-23T09:00:00Z


@pytest.mark.parametrize(
    "text", ["+9999y", "9999-12-31T23:59:59Z", "9901-01-01", "1970-12-31T23:59:59Z", "0001-01-01T00:00:00Z"]
)
def test_an_instant_that_leaves_no_room_for_a_certificate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="lies outside"):
        parse_instant(text, now=NOW)


@pytest.mark.parametrize("text", ["1971-01-01", "9899-01-01T00:00:00Z", "+60d"])
def test_from_any_other_instant_a_hundred_years_can_be_counted(text: str) -> None:
    assert rfc3339(parse_instant(text, now=NOW) + 100 * YEAR).endswith("Z")
