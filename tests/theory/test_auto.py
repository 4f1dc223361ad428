"""The rules of ``"auto"``: they converge, keep what the user gave, and say what they cannot do."""

import re
from pathlib import Path

import numpy as np
import pytest

import distopt
from distopt.algorithms import REGISTRY
from distopt.compressors.identity import Identity
from distopt.compressors.norm_sign import NormSign
from distopt.compressors.rand_k import RandK
from distopt.compressors.unbiased_rand_k import UnbiasedRandK
from distopt.config.build import make_config
from distopt.core.errors import ConfigError, DataError
from distopt.core.parameters import defaults
from distopt.engine.run import run
from distopt.theory.rules import estimate_flattest, estimate_smoothness, following

PL = {"name": "pl", "agents": 8, "dimension": 20}
QUADRATIC = {"name": "quadratic", "agents": 8, "dimension": 20}
SYNTHETIC = {"name": "logistic", "dataset": "synthetic", "agents": 8}
IDENTITY = {"name": "identity"}
NORM_SIGN = {"name": "norm_sign"}
TWO_BITS = {"name": "quantize", "bits": 2, "dithered": True}
TOP_10 = {"name": "top_k", "fraction": 0.1}
UNBIASED = {"name": "unbiased_rand_k", "fraction": 0.2}


def build(algorithm, compressor=None, problem=PL, graph="ring", **settings):
    return make_config(
        {
            "problem": problem,
            "topology": {"graph": graph},
            "algorithm": algorithm,
            "compressor": compressor or {},
            "run": settings,
        },
        Path(),
    )


# Iterations are about 1.5 times what was measured (docs: auto).
CONVERGES = [
    ("gt", IDENTITY, PL, "ring", 500),
    ("gt", IDENTITY, QUADRATIC, "star", 700),
    ("exact_diffusion", IDENTITY, PL, "path", 250),
    ("exact_diffusion", IDENTITY, SYNTHETIC, "star", 400),
    ("cgt1", TWO_BITS, PL, "star", 800),
    ("cgt1", NORM_SIGN, SYNTHETIC, "complete", 2000),
    ("cgt1", TOP_10, PL, "star", 2000),
    ("cgt1", UNBIASED, PL, "complete", 1500),
    ("beer", NORM_SIGN, PL, "ring", 900),
    ("cgt2", {"name": "uniform"}, PL, "path", 2000),
    ("cgt2", {"name": "uniform", "dithered": True}, QUADRATIC, "star", 900),
    ("cgt3", {"name": "saturating", "bits": 2}, PL, "ring", 2000),
    ("cgt3", {"name": "one_bit"}, QUADRATIC, "complete", 700),
    ("lead", IDENTITY, PL, "ring", 400),
    ("lead", NORM_SIGN, SYNTHETIC, "star", 1500),
    ("lead", TOP_10, QUADRATIC, "complete", 4000),
    ("led", NORM_SIGN, PL, "ring", 400),
    ("led", IDENTITY, SYNTHETIC, "complete", 400),
    ("k_gt", TWO_BITS, PL, "complete", 400),
    ("zed", None, PL, "path", 250),
    ("zed", None, SYNTHETIC, "star", 250),
    ("zed1", None, QUADRATIC, "complete", 200),
    ("zed1", None, SYNTHETIC, "ring", 250),
    ("primal_dual", NORM_SIGN, PL, "star", 500),
    ("primal_dual", TOP_10, SYNTHETIC, "ring", 1500),
]


@pytest.mark.parametrize(("name", "compressor", "problem", "graph", "iterations"), CONVERGES)
def test_auto_converges(name, compressor, problem, graph, iterations):
    config = build(
        {"name": name}, compressor, problem, graph,
        iterations=iterations, stop={"stationarity": 1e-8},
    )  # fmt: skip
    summary = run(config, engine="simulate").summary
    assert summary["stop_reason"] == "stop.stationarity"
    assert summary["ball_violations"] == 0
    searched = {"eta"} if summary["step"] else set()
    assert {key for key, value in summary["parameters"].items() if value == "auto"} == searched


@pytest.mark.parametrize("name", ["dgd", "choco"])
def test_methods_without_tracking_reach_a_neighbourhood_proportional_to_eta(name):
    def error(**numbers):
        config = build(
            {"name": name} | numbers, problem=QUADRATIC, iterations=3000, record_every=1000
        )
        result = run(config, engine="simulate")
        return result.summary["stationarity"], result.summary["parameters"]["eta"]

    first, eta = error()
    second, _ = error(eta=eta / 2)
    assert 1e-8 < second < first / 3  # P is a square: half the step leaves about 1/4 of it


def test_every_algorithm_with_auto_fields_has_a_rule():
    for name in REGISTRY:
        auto = [key for key, value in defaults(REGISTRY.get(name)).items() if value == "auto"]
        if not auto:
            continue
        compressor = {"cgt2": {"name": "uniform"}, "cgt3": {"name": "one_bit"}}
        compressor = compressor.get(name, {"name": REGISTRY.get(name).compressor})
        numbers = run(build({"name": name}, compressor, iterations=0), engine="simulate")
        step = numbers.summary["step"]
        found = numbers.summary["parameters"] | ({"eta": step["first"]} if step else {})
        for field in auto:
            assert found[field] > 0, (name, field)


def test_given_numbers_are_kept():
    given = {"eta": 0.0123, "s0y": 77.0}
    result = run(
        build({"name": "cgt2"} | given, {"name": "uniform"}, iterations=3), engine="simulate"
    )
    found = result.summary["parameters"]
    assert {key: found[key] for key in given} == given


def test_memory_steps_that_run_away_are_refused_with_a_way_out():
    with pytest.raises(ConfigError, match=r"algorithm\.gamma = \"auto\" finds no step.*cgt1"):
        run(build({"name": "beer"}, UNBIASED, iterations=1), engine="simulate")


def test_following_orders_compressors_by_what_they_lose():
    d = 50
    assert following(Identity(), d).lag == 0
    assert following(NormSign(), d).lag < following(RandK(fraction=0.2), d).lag
    random = following(UnbiasedRandK(fraction=0.2), d)
    assert random.alpha <= 0.36  # 1 / r = 0.2, and sqrt(1/8) is the next larger candidate
    assert random.delay < 0.3 * following(RandK(fraction=0.2), d).delay


def test_estimates_bracket_the_curvature_of_a_quadratic():
    problem = build({"name": "gt"}, problem=QUADRATIC).problem
    cost = problem.cost(0)  # eigenvalues from 1 to 10
    x0 = np.zeros(20)
    assert 10 <= estimate_smoothness(cost, x0) <= 20.001
    assert 0.9 <= estimate_flattest(cost, x0, 10.0) <= 1.2


class Untold:
    """A parabola that does not tell its smoothness."""

    dimension = 3

    def __init__(self, target):
        self.target = target

    def value(self, x):
        return 0.5 * float(np.sum((x - self.target) ** 2))

    def gradient(self, x, out):
        np.subtract(x, self.target, out=out)


class Told(Untold):
    """The same, with a smoothness."""

    def __init__(self, i, smoothness):
        super().__init__(i)
        self.smoothness = smoothness


class Linear:
    """f(x) = x_0 and says so, or not."""

    dimension = 2

    def __init__(self, smoothness):
        self.smoothness = smoothness

    def value(self, x):
        return float(x[0])

    def gradient(self, x, out):
        out[:] = (1.0, 0.0)


@pytest.mark.parametrize("smoothness", [-1.0, float("nan"), float("inf"), "large", "3"])
def test_a_smoothness_that_cannot_be_one_is_refused(smoothness):
    costs = [Told(0, 1.0), Told(1, smoothness)]
    told = re.escape(f"agent 1 has smoothness = {smoothness!r}; accepted: a positive finite number")
    with pytest.raises(DataError, match=told):
        distopt.simulate(costs, algorithm=distopt.GradientTracking(), iterations=1)


STEPS = [
    distopt.GradientTracking(),
    distopt.GradientTracking(eta=0.1),
    distopt.CompressedTracking2(),
]


@pytest.mark.parametrize("algorithm", STEPS, ids=lambda a: type(a).__name__)
def test_a_smoothness_of_zero_is_estimated(algorithm):
    for costs in ([Told(i, 0) for i in range(2)], [Linear(0), Linear(0)], [Linear(None)] * 2):
        result = distopt.simulate(costs, algorithm=algorithm, iterations=3)
        assert np.isfinite(result.x).all()
        assert np.any(result.x)


def test_a_searched_step_needs_no_smoothness_and_warns_of_none():
    result = distopt.simulate(
        [Untold(i) for i in range(4)],
        algorithm=distopt.CompressedTracking1(),
        compressor=distopt.Quantize(bits=4),
        iterations=300,
    )
    assert result.warnings == []
    assert not result.summary["certified"]
    np.testing.assert_allclose(result.x[0], 1.5, atol=1e-6)
