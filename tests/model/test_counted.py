"""How many of something, in words."""

import pytest

from pkicode.model.counted import counted


@pytest.mark.parametrize(("number", "said"), [(0, "0 lists"), (1, "1 list"), (2_000, "2,000 lists")])
def test_one_is_one_and_anything_else_is_many(number: int, said: str) -> None:
    assert counted(number, "list") == said
