"""The NMSE of networks: a series, a stopping test, and what variants are compared by."""

from pathlib import Path

import numpy as np
import pytest
from run_table import configure, play

from distopt.config.build import make_config
from distopt.core.errors import ConfigError
from distopt.engine.run import run
from distopt.show.console import ProgressView
from distopt.studies.batch import run_in_turn
from distopt.studies.compare import compare_suite
from distopt.studies.suite import load_suite

NETWORK = {"name": "lista", "m": 10, "n": 4, "layers": 3, "samples": 8, "agents": 4}
ALGORITHM = {"name": "gt", "eta": 1.0, "gamma": 0.5}
SUITE = """
[suite]
measure = "nmse"
accuracies = [0.5, 0.3]

[problem]
name = "lista"
m = 10
n = 4
layers = 3
samples = 8
agents = 4

[run]
iterations = 2000
record_every = 5
stop.nmse = 0.3

[[variant]]
label = "gt"
algorithm = { name = "gt", eta = 1.0, gamma = 0.5 }

[[variant]]
label = "cgt1"
algorithm = { name = "cgt1", eta = 1.0, gamma = 0.5, alpha = 1.0 }
compressor = { name = "blockwise", values = { name = "quantize", bits = 4 } }
"""


def test_the_nmse_is_that_of_all_samples_and_can_end_a_run():
    settings = {"iterations": 2000, "record_every": 5, "stop": {"nmse": 0.3}}
    tables = {"problem": NETWORK, "algorithm": ALGORITHM, "run": settings}
    config = make_config(tables, Path())
    team, result = play(config)
    assert result.summary["stop_reason"] == "stop.nmse"
    assert result.rows[-1]["nmse"] <= 0.3 < result.rows[-2]["nmse"]
    mean = np.mean([h.state.x for h in team.hosted], axis=0)
    whole = config.problem.family.cost(0, 1, 0)  # equal parts: the mean of means is the mean
    assert result.summary["nmse"] == pytest.approx(whole.nmse(mean), rel=1e-12)


def test_costs_without_an_nmse_have_no_such_series_and_no_such_end():
    assert "nmse" not in play(configure(iterations=1))[1].rows[0]
    with pytest.raises(ConfigError, match=r"run\.stop\.nmse = 0\.1 needs costs that have an NMSE"):
        run(configure(iterations=1, stop={"nmse": 0.1}), engine="simulate")


def test_a_suite_may_compare_by_nmse(tmp_path):
    (tmp_path / "suite.toml").write_text(SUITE)
    suite = load_suite(tmp_path / "suite.toml", [], tmp_path / "out")
    assert run_in_turn(suite.cases, "simulate", ProgressView(quiet=True)) == {}
    found = compare_suite(suite, {})
    assert found.measure == "nmse"
    for variant in found.variants:
        assert variant.converged == "1/1"
        (history,) = variant.histories
        first = int(np.argmax(history["nmse"] <= 0.5))
        assert variant.efforts[0].iterations == history["iteration"][first]
    assert found.variants[1].efforts[1].to_baseline < 0.1
