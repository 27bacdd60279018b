"""One of each tiny model for all tests of exports."""

import pytest

from . import make


@pytest.fixture(scope="session")
def omni(tmp_path_factory):
    return make.omni(tmp_path_factory.mktemp("omni"))


@pytest.fixture(scope="session")
def mini(tmp_path_factory):
    return make.mini(tmp_path_factory.mktemp("mini"))
