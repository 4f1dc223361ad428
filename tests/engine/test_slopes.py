"""A gradient that is not the value's is named before the first iteration, and only then."""

import numpy as np
import pytest

import distopt
from distopt.core.errors import DataError
from distopt.problems.costs.guarded import guard
from distopt.problems.costs.slope import slope_ratio


class Own:
    """mean log(1 + exp(-A x)) + |x|^2 / 2 + |x|_1 / 10 in float64 or float32; its gradient may be wrong."""

    dimension = 6

    def __init__(self, i=0, times=1.0, ridge=1.0, kind=np.float64):
        self.A = np.random.default_rng(i).normal(size=(9, 6)).astype(kind)
        self.times, self.ridge, self.kind, self.values = times, ridge, kind, 0

    def value(self, x):
        self.values += 1
        x = x.astype(self.kind)
        return float(np.logaddexp(0, -self.A @ x).mean() + x @ x / 2 + np.abs(x).sum() / 10)

    def gradient(self, x, out):
        x = x.astype(self.kind)
        p = (np.tanh(self.A @ x / 2) - 1) / 2
        out[:] = self.times * (self.A.T @ p / 9 + self.ridge * x + np.sign(x) / 10)


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("start", [0.0, 1.0, 100.0])
def test_right_gradients_pass_with_kinks_and_in_float32(kind, start):
    x = np.full(6, start)
    assert slope_ratio(guard(Own(kind=kind), "it", x=x), x) == 1.0


def run(**wrong):
    costs = [Own(i) for i in range(3)] + [Own(3, **wrong)]
    return distopt.simulate(costs, np.ones(6), iterations=20), costs


def test_a_missing_term_is_a_warning_that_names_the_agent_and_changes_nothing():
    with pytest.warns(
        distopt.DistoptWarning, match=r"gradient of agent 3 does not fit .* a term miss"
    ):
        found, _ = run(ridge=0.0)
    assert found.summary["iterations"] == 20


def test_a_wrong_sign_ends_the_run_before_it_starts():
    with pytest.raises(DataError, match=r"gradient of agent 3 points the wrong way.* -1 times"):
        run(times=-1.0)


def test_right_costs_take_two_values_more_and_no_gradient_is_counted():
    found, costs = run()
    assert "gradient" not in " ".join(found.warnings)
    assert costs[3].values <= 1 + 1 + 2 + len(found.rows)  # of the guard, of the identity, here
    assert found.rows[0]["gradients"] == 1
