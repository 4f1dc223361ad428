"""A service in a folder of its own."""

import pytest

from distopt.service.service import Service
from distopt.service.settings import Settings


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "files").mkdir()
    return Settings(data=tmp_path / "data", slots=4, files=tmp_path / "files")


@pytest.fixture
def service(settings):
    found = Service.open(settings)
    yield found
    found.close()
