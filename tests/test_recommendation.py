"""One recommendation, the same in every place that gives one."""

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from distopt.algorithms import REGISTRY
from distopt.cli.app import app
from distopt.config.build import load_config
from distopt.engine.arguments import make_parts
from distopt.problems.costs.quadratic import QuadraticCost
from distopt.problems.topology import Topology
from distopt.studies.measure import plan

ROOT = Path(__file__).parents[1]
QUICKSTART = ROOT / "launch" / "experiments" / "quickstart.toml"
NAME = REGISTRY.default


def test_the_default_is_the_recommendation():
    assert NAME == "zed"
    config = load_config(QUICKSTART)
    assert config.resolved()["algorithm"]["name"] == NAME
    assert "algorithm" not in tomllib.loads(QUICKSTART.read_text())
    cost = QuadraticCost(np.ones(2), np.zeros(2))
    parts = make_parts({0: cost}, None, Topology(1, []), None, None, {})
    assert REGISTRY.name_of(type(parts.algorithm)) == NAME


def test_list_and_plan_say_it():
    said = CliRunner().invoke(app, ["list", "algorithms"]).stdout
    assert len(re.findall(r"the default, to be taken where nothing speaks", said)) == 1
    assert re.search(rf"^{NAME}  \(the default", said, re.MULTILINE)
    told = json.loads(CliRunner().invoke(app, ["list", "algorithms", "--json"]).stdout)
    assert [m["name"] for m in told["algorithms"] if m["default"]] == [NAME]
    assert f"take the default, {NAME}," in plan.RECOMMENDED


@pytest.mark.parametrize(
    "page", ["README.md", "docs/choose.md", "docs/measured.md", "docs/algorithms/README.md"]
)
def test_pages_say_it(page):
    text = (ROOT / page).read_text()
    if page == "docs/choose.md":
        assert text.splitlines()[2].startswith(
            f"**Where nothing speaks for another, take the default: [{NAME}](algorithms/{NAME}.md)"
        )
    else:
        assert re.search(rf"\[{NAME}\]\([\w/]*{NAME}\.md\)", text)
        assert "choose.md" in text
    for other in ("We recommend", "we recommend cgt1", "What we recommend"):
        assert other not in text


def test_readme_shows_the_quickstart():
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    shown, whole = tomllib.loads(blocks[0]), tomllib.loads(QUICKSTART.read_text())
    assert shown["problem"] == whole["problem"]
    assert set(shown) == set(whole)
