"""A root and an issuing CA for the tests of this room."""

import pytest

from pkicode.x509.profile import Profile
from tests.x509.pki import CA, DAY, NOW, Made, make


@pytest.fixture(scope="session")
def root() -> Made:
    return make(Profile(is_ca=True, usage=CA), cn="Test Root", ends=NOW + 3650 * DAY)


@pytest.fixture(scope="session")
def issuing(root: Made) -> Made:
    profile = Profile(is_ca=True, usage=CA, path_len=0)
    return make(profile, cn="Test Issuing", issuer=root, ends=NOW + 365 * DAY)
