"""dyna_cold with anq: linear on strongly convex costs, with finitely many bits and from any first scale."""

from pathlib import Path

import numpy as np
import pytest

import distopt
from distopt.config.build import make_config
from distopt.engine.run import run
from distopt.problems.costs.quadratic import QuadraticCost

PROBLEM = {"name": "quadratic", "agents": 6, "dimension": 9, "condition": 5.0, "start": "normal"}
STEPS = {"name": "dyna_cold", "eta": 0.02, "gamma": 0.3, "mu": 0.97}


def play(compressor, s0, iterations=600):
    tables = {
        "problem": PROBLEM, "topology": {"graph": "ring"}, "algorithm": STEPS | {"s0": s0},
        "compressor": compressor, "run": {"iterations": iterations, "record_every": 50},
    }  # fmt: skip
    return run(make_config(tables, Path()), engine="simulate")


def stationarity(result):
    return np.array([row["stationarity"] for row in result.rows])


@pytest.mark.parametrize("s0", [1e-3, 1.0, 30.0])
def test_anq_converges_linearly_from_any_first_scale(s0):
    P = stationarity(play({"name": "anq", "absolute": 0.3, "relative": 0.4}, s0))
    # P = O(mu^(2 k)) of the page: from iteration 150 on by mu^100 in 50 iterations, to within 4 each time,
    # and over 300 iterations by mu^600 to within 10.
    falls = P[4:] / P[3:-1]
    assert (falls < 4 * STEPS["mu"] ** 100).all(), falls
    assert P[9] / P[3] < 10 * STEPS["mu"] ** 600


def test_a_ball_that_is_left_at_the_start_stops_saturating_but_not_anq():
    far = {
        name: play({"name": name} | more, 1e-3).summary
        for name, more in {"saturating": {"bits": 3}, "anq": {}}.items()
    }
    assert far["saturating"]["ball_violations"] > 0
    assert far["anq"]["stationarity"] < 1e-8
    assert far["saturating"]["stationarity"] > 1e4 * far["anq"]["stationarity"]


def test_a_scale_that_falls_fast_slows_down_before_codes_saturate():
    """Far and flat: agents move by hundreds for a thousand iterations, and codes are at most 2^40 s."""
    curvatures, centres = (2e-3, 5e-4, 5e-4), (1e7, -1e7, -1e7)
    costs = [
        QuadraticCost(np.diag([1.0, c]), np.full(2, b))
        for c, b in zip(curvatures, centres, strict=True)
    ]

    def last(**more):
        method = distopt.DynaCold(eta=0.5, gamma=0.5, mu=0.9, **more)
        return distopt.simulate(
            costs, algorithm=method, compressor=distopt.Anq(), iterations=600
        ).summary

    assert last(mu_late=0.9995)["consensus_error"] < 1e4
    assert last()["consensus_error"] > 1e9


@pytest.mark.parametrize("problem", ["pl", "quadratic"])
def test_its_own_numbers_arrive_on_a_path(problem):
    """A scale that falls faster than the graph mixes costs bits there, not the convergence."""
    tables = {
        "problem": {"name": problem, "agents": 6, "dimension": 9, "start": "normal"},
        "topology": {"graph": "path"}, "algorithm": {"name": "dyna_cold"}, "compressor": {"name": "anq"},
        "run": {"iterations": 400, "record_every": 10, "stop": {"stationarity": 1e-8}},
    }  # fmt: skip
    result = run(make_config(tables, Path()), engine="simulate")
    assert result.summary["stop_reason"] == "stop.stationarity"
    found = result.summary["parameters"]
    assert found["mu"] <= 0.98
    assert found["mu"] < found["mu_late"] < 1


def test_bits_of_a_coordinate_stay_bounded():
    """Codes do not grow while the error shrinks by many orders of magnitude."""
    result = play({"name": "anq"}, 1.0)
    assert stationarity(result)[-1] < 1e-12
    sent = np.diff([row["bytes_per_agent"] for row in result.rows])
    assert sent[-1] <= 50 * 9 * 3 / 8  # below 3 bits a coordinate
