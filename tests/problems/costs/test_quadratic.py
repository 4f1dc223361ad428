import numpy as np
import pytest

from distopt.problems.costs.quadratic import Quadratic, QuadraticCost


@pytest.mark.parametrize("basis", ["dense", "diagonal"])
def test_minimum_is_below_every_point_and_reached(basis):
    family = Quadratic(dimension=6, condition=20, basis=basis)
    costs = [family.cost(i, 4, 3) for i in range(4)]
    A = [c.A if basis == "dense" else np.diag(c.A) for c in costs]
    x = np.linalg.solve(sum(A), sum(a @ c.b for a, c in zip(A, costs, strict=True)))
    f = family.minimum(4, 3)
    assert np.mean([c.value(x) for c in costs]) == pytest.approx(f, rel=1e-12)
    for shift in np.random.default_rng(0).normal(size=(20, 6)):
        assert np.mean([c.value(x + shift) for c in costs]) > f


@pytest.mark.parametrize("basis", ["dense", "diagonal"])
def test_eigenvalues_run_from_one_to_the_condition_number(basis):
    cost = Quadratic(dimension=9, condition=7, basis=basis).cost(1, 2, 0)
    A = cost.A if basis == "dense" else np.diag(cost.A)
    np.testing.assert_array_equal(A, A.T)
    values = np.linalg.eigvalsh(A)
    assert values[0] == pytest.approx(1, rel=1e-12)
    assert values[-1] == pytest.approx(7, rel=1e-12)
    assert cost.smoothness == 7


def test_no_spread_means_a_common_minimiser():
    family = Quadratic(spread=0)
    assert not family.cost(0, 3, 0).b.any()
    assert family.minimum(3, 0) == 0


def test_smoothness_is_computed_where_it_is_not_given():
    assert QuadraticCost(np.diag([1.0, 5.0]), np.zeros(2)).smoothness == pytest.approx(5)
    assert QuadraticCost(np.array([1.0, 5.0]), np.zeros(2)).smoothness == 5
