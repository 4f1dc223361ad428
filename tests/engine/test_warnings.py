"""What a user is told of a run that ended by itself but went wrong."""

from pathlib import Path

import numpy as np
import pytest

import distopt
from distopt.config.build import make_config
from distopt.core.errors import DivergedError
from distopt.engine.run import run


@pytest.mark.parametrize(("eta", "warned"), [(1e4, True), (0.1, False)])
def test_growth_is_called_divergence(eta, warned):
    tables = {
        "problem": {"name": "logistic", "dataset": "breast_cancer", "agents": 4},
        "topology": {"graph": "ring"},
        "algorithm": {"name": "gt", "eta": eta, "gamma": 0.5},
        "run": {"iterations": 30},
    }
    result = run(make_config(tables, Path()), engine="simulate")
    assert any("P grew from" in w and "algorithm.eta" in w for w in result.warnings) is warned


def test_an_agent_that_diverges_names_the_steps_of_its_algorithm():
    tables = {
        "problem": {"name": "quadratic", "agents": 3},
        "algorithm": {"name": "gt", "eta": 1e9, "gamma": 0.5},
        "run": {"iterations": 200, "record_every": 200},
    }
    with pytest.raises(DivergedError, match=r"smaller algorithm\.eta or algorithm\.gamma may help"):
        run(make_config(tables, Path()), engine="simulate")


class Upward:
    """f(x) = -||x - 1||^2 / 2, which has no minimum."""

    dimension, smoothness = 3, 1.0

    def value(self, x):
        return -float((x - 1) @ (x - 1)) / 2

    def gradient(self, x, out):
        np.subtract(1, x, out=out)


@pytest.mark.parametrize(
    ("eta", "remedy"),
    [("auto", r"is the gradient that of the value\? `distopt\.testing\.check_cost`"),
     (0.5, r"a smaller algorithm\.eta")],
)  # fmt: skip
def test_a_run_that_ends_beyond_all_bounds_has_diverged(eta, remedy):
    algorithm = distopt.GradientTracking(eta=eta, gamma=0.5)
    with pytest.raises(DivergedError, match=rf"diverged: P grew from 3 to \d.*e\+\d.*; {remedy}"):
        distopt.simulate([Upward()] * 3, algorithm=algorithm, iterations=300)


class Unvalued(Upward):
    """||x - 1||^2 / 2, whose value is unknown."""

    def value(self, x):
        return float("nan")

    def gradient(self, x, out):
        np.subtract(x, 1, out=out)


class Valued(Unvalued):
    """The same with its value."""

    def value(self, x):
        return float((x - 1) @ (x - 1)) / 2


def test_a_value_that_is_nan_is_said_once_with_its_agents():
    def warned(*costs):
        algorithm = distopt.GradientTracking(eta=0.1, gamma=0.5)
        return distopt.simulate(costs, algorithm=algorithm, iterations=5).warnings

    assert warned(Valued(), Unvalued(), Valued(), Unvalued()) == [
        "value(x) of 2 agents is nan, first at iteration 0, so the objective is nan there: 1, 3."
    ]
    assert warned(Valued(), Valued()) == []


class Saddle:
    """f(x) = (||x - c||^2 - 1)^2 / 4, whose gradient is zero at c = 0."""

    dimension, smoothness = 3, 12.0

    def __init__(self, c=0.0):
        self.c = c

    def value(self, x):
        return (float((x - self.c) @ (x - self.c)) - 1) ** 2 / 4

    def gradient(self, x, out):
        np.multiply((x - self.c) @ (x - self.c) - 1, x - self.c, out=out)


def test_a_run_does_not_stay_at_a_saddle_at_zero():
    def start(*costs, **how):
        result = distopt.simulate(
            costs, algorithm=distopt.GradientTracking(eta=0.1, gamma=0.5), iterations=0, **how
        )
        moved = [w for w in result.warnings if w.startswith("All gradients are exactly zero at")]
        return result.x, len(moved)

    (one, other), moved = start(Saddle(), Saddle(), seed=1)
    assert moved == 1
    np.testing.assert_array_equal(one, other)
    assert np.linalg.norm(one) == pytest.approx(1)
    assert not np.array_equal(one, start(Saddle(), Saddle(), seed=2)[0][0])
    for held in (start(Saddle(), Saddle(0.5)), start(Saddle(), Saddle(), x0=np.zeros(3))):
        assert not np.any(held[0])
        assert held[1] == 0


def test_a_step_that_a_changing_graph_keeps_from_being_searched_is_told():
    def told(up, **eta):
        topology = {"graph": "ring", "up": up} if up < 1 else "ring"
        costs = [Valued() for _ in range(4)]
        result = distopt.simulate(
            costs, algorithm=distopt.Zed(**eta), topology=topology, iterations=2, seed=1
        )
        return [w for w in result.warnings if "is not searched" in w]

    [sentence] = told(0.7)
    assert "algorithm.eta = " in sentence
    assert not told(1.0)
    assert not told(0.7, eta=0.1)
