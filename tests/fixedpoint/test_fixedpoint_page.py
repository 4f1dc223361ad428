"""The examples of docs/fixed-point.md are right."""

import doctest
from pathlib import Path


def test_page():
    page = Path(__file__).parents[2] / "docs" / "fixed-point.md"
    failed, attempted = doctest.testfile(str(page), module_relative=False)
    assert failed == 0
    assert attempted > 0
