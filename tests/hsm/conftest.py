"""Tokens for the tests of one process: a PKCS #11 module reads its configuration once."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.softhsm import SoftHsm, softhsm


@pytest.fixture(scope="session")
def hsm(quick_folder: Path) -> Iterator[SoftHsm]:
    """SoftHSM2 with no token yet; each test makes its own."""
    made = softhsm(quick_folder / "softhsm")
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ.update(made.environ)
    yield made
    del os.environ["SOFTHSM2_CONF"]
    if before is not None:
        os.environ["SOFTHSM2_CONF"] = before


@pytest.fixture
def token(hsm: SoftHsm, request: pytest.FixtureRequest) -> str:
    """The label of a new token."""
    label = f"t{abs(hash(request.node.nodeid)) % 10**12}"
    hsm.token(label)
    return label
