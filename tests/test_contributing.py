"""The worked examples of CONTRIBUTING.md are registered as written there, checked and run."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import distopt.algorithms
import distopt.compressors
import distopt.problems.costs
from distopt.config.build import make_config
from distopt.engine.run import run

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
BLOCKS = re.findall(r"```python\n# (?:registration: )?(\S+)\n(.*?)```", PAGE, re.DOTALL)
FILES = {path: text for path, text in BLOCKS if path.endswith(".py")}
REGISTRATIONS = {kind: text for kind, text in BLOCKS if not kind.endswith(".py")}
TABLES = {
    "compressors": distopt.compressors.REGISTRY,
    "costs": distopt.problems.costs.REGISTRY,
    "algorithms": distopt.algorithms.REGISTRY,
}


@pytest.fixture
def examples(tmp_path, monkeypatch):
    """Put the example files where the page puts them (beside the package), and register them."""
    for path, text in FILES.items():
        folder, name = Path(path).parent, Path(path).name
        package = importlib.import_module(".".join(folder.parts))
        place = tmp_path / folder
        place.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(place)])
        monkeypatch.delitem(sys.modules, ".".join(Path(path).with_suffix("").parts), raising=False)
    for kind, line in REGISTRATIONS.items():
        name, place = re.fullmatch(r'"(.+)": "(.+)",', line.strip()).groups()
        monkeypatch.setitem(TABLES[kind]._members, name, place)


def test_the_page_has_all_three_examples():
    assert sorted(REGISTRATIONS) == sorted(TABLES)
    assert len(FILES) == 3


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("check", [["check"], ["format", "--check"]], ids=" ".join)
def test_the_examples_are_as_the_checks_want_them(path, check):
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *check, "--no-cache", "--stdin-filename", path, "-"],
        cwd=ROOT, input=FILES[path], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_examples_keep_the_laws(examples):
    from distopt.testing import check_algorithm, check_compressor, check_cost

    for d in (1, 7, 8, 9, 100):
        check_compressor(distopt.compressors.REGISTRY.get("mean_sign")(), d)
    check_cost(distopt.problems.costs.REGISTRY.get("cauchy")().cost(0, 4, seed=1))
    check_algorithm(distopt.algorithms.REGISTRY.get("extra")(eta=0.01))


@pytest.mark.parametrize(
    ("algorithm", "compressor", "iterations"),
    [
        ({"name": "cgt1", "eta": 0.2, "gamma": 0.3, "alpha": 1.0}, {"name": "mean_sign"}, 400),
        ({"name": "extra", "eta": 0.3}, {"name": "identity"}, 200),
    ],
)
def test_examples_optimise_together(examples, algorithm, compressor, iterations):
    config = make_config(
        {
            "problem": {"name": "cauchy", "agents": 5, "seed": 3},
            "topology": {"graph": "ring"},
            "algorithm": algorithm,
            "compressor": compressor,
            "run": {"iterations": iterations, "record_every": iterations},
        },
        Path(),
    )
    result = run(config, engine="simulate")
    assert result.summary["stationarity"] < 1e-8
