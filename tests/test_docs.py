"""Examples in the documentation run, and links lead somewhere."""

import doctest
import pkgutil
import re
import shlex
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from handmade import write_run
from typer.testing import CliRunner

from distopt.cli.app import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
ENTRY_POINTS = {"distopt.costs", "distopt.topologies"}  # groups, not modules


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


def test_figures_page_runs(tmp_path, monkeypatch):
    text = (ROOT / "docs" / "figures.md").read_text()
    for label, compressor in (("gt", "identity"), ("zed", "zoom")):
        for seed in (1, 2):
            write_run(tmp_path / "runs" / "demo" / label / f"seed-{seed}", compressor=compressor)
    monkeypatch.chdir(tmp_path)
    (style,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    Path("paper.mplstyle").write_text(style)
    commands = re.findall(r"^\$ distopt (.*)$", text, re.MULTILINE)
    assert len(commands) == 7
    for command in commands:
        done = CliRunner().invoke(app, shlex.split(command))
        assert done.exit_code == 0, f"{command}: {done.output}"
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(program, "docs/figures.md", "exec"), {})
    wanted = (
        "table.tex figure.pdf wide.pdf objective.svg serif.pdf records.parquet bytes.pdf both.png"
    )
    assert {name for name in wanted.split() if not Path(name).is_file()} == set()


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


def test_the_street_is_the_contract():
    page = (ROOT / "docs" / "architecture.md").read_text()
    rooms = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (contract,) = project["tool"]["importlinter"]["contracts"]
    assert [f"distopt.{room}" for room in rooms] == contract["layers"]


def test_the_value_travels_as_the_architecture_page_says(tmp_path, monkeypatch):
    page = ROOT / "docs" / "architecture.md"
    for kind, name in (("text", "x0.txt"), ("toml", "tiny.toml")):
        (block,) = re.findall(rf"```{kind}\n(.*?)```", page.read_text(), re.DOTALL)
        (tmp_path / name).write_text(block)
    monkeypatch.chdir(tmp_path)
    failed, attempted = doctest.testfile(str(page), module_relative=False)
    assert failed == 0
    assert attempted > 0


def test_files_named_on_the_architecture_page_exist():
    page = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"[\s`(]((?:\w+/)+\w+\.(?:py|toml))", page)
    assert named
    folders = (ROOT, ROOT / "distopt")
    missing = [n for n in named if "NAME" not in n and not any((f / n).is_file() for f in folders)]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_names_and_files_of_the_package_exist(page):
    text = page.read_text()
    absent = tuple(f"distopt.{name}" for name in ("torch", "jax") if find_spec(name) is None)
    for name in set(re.findall(r"\bdistopt(?:\.\w+)+", text)) - ENTRY_POINTS:
        if absent and name.startswith(absent):
            continue
        if not any(example in name for example in ("mean_sign", "cauchy", "extra", "Mean")):
            pkgutil.resolve_name(name)
    named = re.findall(r"\b(?:distopt|tests|benchmarks|launch)/[\w./-]+\.\w+", text)
    examples = re.compile(r"mean_sign|cauchy|extra")
    assert [n for n in named if not examples.search(n) and not (ROOT / n).exists()] == []
