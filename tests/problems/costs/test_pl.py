import numpy as np
import pytest

from distopt.core.errors import ConfigError
from distopt.problems.costs.pl import PL, share
from distopt.problems.minimum import MeanCost

SEEDS = [0, 1, 2**40]


def average(z):
    return float((z**2 + 3 * np.sin(z) ** 2).sum())


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("agents", [1, 2, 5, 10])
@pytest.mark.parametrize("basis", ["dense", "diagonal"])
def test_average_is_the_closed_form(agents, seed, basis):
    family = PL(dimension=20, basis=basis)
    costs = [family.cost(i, agents, seed) for i in range(agents)]
    # Whole multiples of 2^-40 below 2^4 in size: their sums are exact in float64.
    assert not sum(cost.coefficients for cost in costs).any()
    for x in np.random.default_rng(seed).normal(scale=2, size=(5, 20)):
        U = costs[0].U
        z = U @ x if basis == "dense" else U * x
        # The terms of one agent are at most some hundred times the average's; 1e-12 leaves room.
        assert np.mean([cost.value(x) for cost in costs]) == pytest.approx(average(z), rel=1e-12)
    zero = np.zeros(20)
    assert sum(cost.value(zero) for cost in costs) == 0.0 == family.minimum(agents, seed)
    assert np.linalg.norm(MeanCost(costs).slope(zero)) < 1e-13


def test_value_and_gradient_equal_a_plain_numpy_twin():
    cost = PL(dimension=50).cost(3, 6, 1)
    a, b, c, e = cost.coefficients
    x = np.random.default_rng(0).normal(size=50)
    z = cost.U @ x
    value = (1 + a) * z**2 + 3 * (1 + b) * np.sin(z) ** 2 + c * np.sin(z) + e * z
    slope = 2 * (1 + a) * z + 3 * (1 + b) * np.sin(2 * z) + c * np.cos(z) + e
    out = np.empty(50)
    cost.gradient(x, out)
    assert cost.value(x) == pytest.approx(value.sum(), rel=1e-12)
    np.testing.assert_allclose(out, cost.U.T @ slope, rtol=1e-11, atol=1e-12)


def test_a_million_unknowns_need_no_matrix():
    family = PL(dimension=1_000_000, basis="diagonal")
    cost = family.cost(1, 2, 0)
    a, b, c, e = cost.coefficients
    x = np.ones(cost.dimension)
    out = np.empty(cost.dimension)
    cost.gradient(x, out)
    z = cost.U
    slope = 2 * (1 + a) * z + 3 * (1 + b) * np.sin(2 * z) + c * np.cos(z) + e
    np.testing.assert_allclose(out, cost.U * slope, rtol=1e-12, atol=1e-13)
    assert cost.U[0] == 1
    assert cost.U[-1] == 2


@pytest.mark.parametrize("scale", [0.1, 1, 3, 30])
def test_average_satisfies_the_pl_inequality(scale):
    family = PL(dimension=6, condition=3)
    mean = MeanCost([family.cost(i, 4, 0) for i in range(4)])
    for x in np.random.default_rng(1).normal(scale=scale, size=(100, 6)):
        slope = mean.slope(x)
        assert slope @ slope / 2 >= mean.value(x) / 32


def test_every_agents_cost_and_the_average_have_negative_curvature():
    family = PL(dimension=5)
    costs = [family.cost(i, 10, 0) for i in range(10)]
    U = costs[0].U
    out = np.empty(5)
    for cost in [*costs, None]:
        curvatures = []
        for l in range(5):
            x, v = (np.linalg.solve(U, t * np.eye(5)[l]) for t in (np.pi / 2, 1.0))
            if cost is None:
                out[:] = MeanCost(costs).hvp(x, v)
            else:
                cost.hvp(x, v, out)
            curvatures.append(v @ out)
        assert min(curvatures) < -1


def test_agents_disagree():
    costs = [PL().cost(i, 10, 0) for i in range(10)]
    slopes = np.empty((10, 20))
    for cost, out in zip(costs, slopes, strict=True):
        cost.gradient(np.zeros(20), out)
    assert np.linalg.norm(slopes, axis=1).min() > 5  # while the average of them is 0


@pytest.mark.parametrize("condition", [1.0, 2.0, 50.0])
def test_condition_of_the_map(condition):
    U = PL(dimension=30, condition=condition).cost(0, 2, 0).U
    values = np.linalg.svd(U, compute_uv=False)
    assert values.max() == pytest.approx(condition, rel=1e-12)
    assert values.min() == pytest.approx(1, rel=1e-12)


def test_smoothness_is_reached_where_it_is_tight():
    # With b = c = e = 0 the bound is max (2 + 2 a) + 6, the curvature at 0 along a coordinate.
    cost = PL(dimension=4, condition=1, basis="diagonal", b=0, c=0, e=0).cost(0, 3, 0)
    at = int(np.argmax(cost.coefficients[0]))
    out = np.empty(4)
    cost.hvp(np.zeros(4), np.eye(4)[at], out)
    assert out[at] == pytest.approx(cost.smoothness, rel=1e-14)


def test_share_splits_whole_numbers_exactly():
    total = np.array([0, 7, -7, 2**50 + 1, -3])
    parts = np.array([share(total, i, 5) for i in range(5)])
    np.testing.assert_array_equal(parts.sum(axis=0), total)
    assert (np.ptp(parts, axis=0) <= 1).all()


def test_dense_basis_of_a_large_dimension_is_refused():
    with pytest.raises(ConfigError, match=r'problem.dimension <= 4096, not 100000; .*"diagonal"'):
        PL(dimension=100_000).cost(0, 2, 0)


@pytest.mark.parametrize("sizes", [{}, {"e": 0}, {"c": 0}, {"b": 1.5, "c": 0, "e": 0}])
def test_lower_bound_holds_on_a_fine_grid(sizes):
    grid = np.linspace(-10, 10, 4001)[:, None]
    for i in range(8):
        cost = PL(dimension=1, **sizes).cost(i, 8, 0)
        assert min(cost.value(z) for z in grid) >= cost.lower_bound


def test_lower_bound_is_absent_where_a_cost_may_fall_for_ever():
    costs = [PL(a=3).cost(i, 4, 0) for i in range(4)]
    assert any((cost.coefficients[0] <= -1).any() for cost in costs)
    for cost in costs:
        assert hasattr(cost, "lower_bound") == (cost.coefficients[0] > -1).all()
