"""Examples in the documentation run, and links lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_python_page_runs(capsys):
    first = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)
    exec(compile(first.group(1), "docs/python.md", "exec"), {})
    iterations, nbytes = capsys.readouterr().out.split()
    assert int(iterations) > 0
    assert float(nbytes) > 0


@pytest.mark.parametrize("kind", ["algorithms", "compressors"])
def test_every_member_has_a_page(kind):
    import importlib

    names = importlib.import_module(f"distopt.{kind}").REGISTRY.names()
    pages = {page.stem for page in (ROOT / "docs" / kind).glob("*.md")}
    assert set(names) <= pages


def test_pages_of_algorithms_have_the_same_headings():
    wanted = [
        "Equations",
        "What is sent",
        "Constants",
        "Guarantee",
        "State",
        "When to use it",
        "When not",
        "Reference",
    ]
    for page in (ROOT / "docs" / "algorithms").glob("*.md"):
        if page.stem != "README":
            lines = page.read_text().splitlines()
            assert lines[0].startswith(f"# {page.stem}: ")
            assert [line[3:] for line in lines if line.startswith("## ")] == wanted, page.name
