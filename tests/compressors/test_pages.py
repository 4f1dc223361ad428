"""The pages of the compressors: complete, with the same headings, and their examples are right."""

import doctest
from pathlib import Path

import pytest

from distopt.compressors import REGISTRY

FOLDER = Path(__file__).parents[2] / "docs" / "compressors"
HEADINGS = [
    "Formula",
    "Class and constants",
    "Wire format",
    "When to use it",
    "When not",
    "Reference",
]


def test_every_compressor_has_a_page_and_a_row_in_the_index():
    assert {page.stem for page in FOLDER.glob("*.md")} == {"README", "entropy", *REGISTRY}
    index = (FOLDER / "README.md").read_text()
    assert [name for name in REGISTRY if f"]({name}.md)" not in index] == []


@pytest.mark.parametrize("name", list(REGISTRY))
def test_page(name):
    page = FOLDER / f"{name}.md"
    lines = page.read_text().splitlines()
    assert lines[0] == f"# {name}"
    assert [line[3:] for line in lines if line.startswith("## ")] == HEADINGS
    failed, attempted = doctest.testfile(str(page), module_relative=False)
    assert failed == 0
    assert attempted > 0


def test_the_page_of_the_entropy_coders():
    failed, attempted = doctest.testfile(str(FOLDER / "entropy.md"), module_relative=False)
    assert failed == 0
    assert attempted > 0
