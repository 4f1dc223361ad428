import numpy as np
import pytest

from distopt.core.errors import DataError
from distopt.problems.costs.data import Synthetic
from distopt.problems.costs.logistic import Logistic, LogisticCost, signs
from distopt.problems.minimum import MeanCost


def test_average_over_one_agent_is_scikit_learns_log_loss():
    from sklearn.datasets import load_breast_cancer
    from sklearn.metrics import log_loss

    table, labels = load_breast_cancer(return_X_y=True)
    table = (table - table.mean(axis=0)) / table.std(axis=0)
    x = np.random.default_rng(0).normal(size=31)
    score = table @ x[:-1] + x[-1]
    expected = log_loss(labels, 1 / (1 + np.exp(-score)))
    assert Logistic(lam=0.0).cost(0, 1, 0).value(x) == pytest.approx(expected, rel=1e-10)
    regularizer = 0.3 * (2 * x**2 / (1 + 2 * x**2)).sum()
    cost = Logistic(lam=0.3, alpha=2.0).cost(0, 1, 0)
    assert cost.value(x) == pytest.approx(expected + regularizer, rel=1e-10)


def test_parts_weighted_by_size_add_up_to_the_whole():
    family = Logistic(dataset="digits", split="dirichlet", lam=0.0)
    costs = [family.cost(i, 5, 0) for i in range(5)]
    x = np.random.default_rng(0).normal(size=65)
    whole = family.cost(0, 1, 0)
    assert sum(c.samples for c in costs) == whole.samples == 1797
    weighted = sum(c.samples * c.value(x) for c in costs) / 1797
    assert weighted == pytest.approx(whole.value(x), rel=1e-12)


def test_gradient_equals_a_plain_numpy_twin():
    rng = np.random.default_rng(1)
    A, b, x = (
        rng.normal(size=(30, 8)),
        np.where(rng.random(30) < 0.5, 1.0, -1.0),
        rng.normal(size=8),
    )
    cost = LogisticCost(A, b, lam=0.1, alpha=3.0)
    out = np.empty(8)
    cost.gradient(x, out)
    slope = -(A * (b / (1 + np.exp(b * (A @ x))))[:, None]).mean(axis=0)
    np.testing.assert_allclose(out, slope + 0.1 * 6 * x / (1 + 3 * x**2) ** 2, rtol=1e-12)
    assert cost.value(x) == pytest.approx(
        np.logaddexp(0, -b * (A @ x)).mean() + 0.1 * (3 * x**2 / (1 + 3 * x**2)).sum(), rel=1e-13
    )


def test_extreme_points_neither_overflow_nor_lose_the_loss():
    cost = LogisticCost(np.array([[1.0], [-1.0]]), np.array([1.0, 1.0]), lam=1.0, alpha=1.0)
    out = np.empty(1)
    for size in (1e3, 1e100, 1e200):
        x = np.array([size])
        assert cost.value(x) == pytest.approx(size / 2 + 1)
        cost.gradient(x, out)
        assert out[0] == pytest.approx(0.5)


def test_smoothness_is_the_curvature_at_zero():
    cost = Logistic(lam=0.05).cost(2, 5, 0)
    v = np.linalg.svd(cost.rows.B)[2][0]
    out = np.empty(cost.dimension)
    cost.hvp(np.zeros(cost.dimension), v, out)
    assert v @ out == pytest.approx(cost.smoothness, rel=1e-12)


def test_regulariser_is_nonconvex():
    cost = LogisticCost(np.zeros((1, 1)), np.ones(1), lam=1.0, alpha=1.0)
    out = np.empty(1)
    cost.hvp(np.array([1.0]), np.ones(1), out)
    assert out[0] == pytest.approx(-0.5)


def test_shipped_data_are_standardised_with_a_bias_column():
    costs = [Logistic(dataset="digits").cost(i, 3, 0) for i in range(3)]
    rows = np.concatenate([c.rows.B * c.rows.B[:, -1:] for c in costs])  # the bias column is b
    np.testing.assert_array_equal(rows[:, -1], 1)
    np.testing.assert_allclose(rows[:, :-1].mean(axis=0), 0, atol=1e-13)
    spread = rows[:, :-1].std(axis=0)
    assert set(np.round(spread, 12)) == {0.0, 1.0}  # some pixels are black in all images
    plain = Logistic(dataset="digits", standardize=False, bias=False).cost(0, 1, 0)
    assert plain.dimension == 64
    assert abs(plain.rows.B).max() == 16


def test_sorted_split_gives_agents_pure_labels():
    costs = [Logistic().cost(i, 4, 0) for i in range(4)]
    labels = [set(c.rows.B[:, -1]) for c in costs]
    assert labels == [{-1.0}, {-1.0, 1.0}, {1.0}, {1.0}]


def test_digits_are_even_against_odd_or_as_listed():
    from sklearn.datasets import load_digits

    labels = load_digits(return_X_y=True)[1].astype(float)
    np.testing.assert_array_equal(signs(labels, "auto") > 0, labels % 2 == 0)
    np.testing.assert_array_equal(signs(labels, (3.0, 8.0)) > 0, np.isin(labels, [3, 8]))
    family = Logistic(dataset="digits", positive=[3, 8], split="iid")
    assert (family.cost(0, 1, 0).rows.B[:, -1] > 0).sum() == np.isin(labels, [3, 8]).sum()


@pytest.mark.parametrize("pair", [(0, 1), (1, 2), (-1, 1), (-0.5, 7)])
def test_the_larger_of_two_labels_is_positive(pair):
    assert signs(np.array([pair[1], pair[0]], float), "auto").tolist() == [1, -1]


@pytest.mark.parametrize(
    ("labels", "positive", "sentence"),
    [
        ([1, 1], "auto", r"same sign; the labels are 1\. Set problem.positive"),
        ([1, 2], (3.0,), r"problem.positive lists the label 3, .* accepted: 1, 2\."),
        ([1, 2], (1.0, 2.0), r"same sign"),
        ([1, 2], (), r"same sign"),
        ([0.5, 1, 2], "auto", r"neither two nor whole numbers; set problem.positive"),
    ],
)
def test_labels_without_two_sides_are_refused(labels, positive, sentence):
    with pytest.raises(DataError, match=sentence):
        signs(np.array(labels, float), positive)


def test_synthetic_rows_do_not_depend_on_who_asks():
    source = Synthetic(blocks=3, samples=4, features=5, seed=1)
    whole = source.rows(np.arange(12))
    np.testing.assert_array_equal(source.rows(np.array([11, 0, 5])), whole[[11, 0, 5]])
    assert source.labels.size == 12


def test_synthetic_labels_follow_the_features():
    family = Logistic(dataset="synthetic", samples=200, sorted_fraction=0.8)
    costs = [family.cost(i, 20, 0) for i in range(20)]
    assert costs[0].dimension == 50
    assert all(cost.samples == 200 for cost in costs)
    zero = np.zeros(50)
    mean = MeanCost(costs)
    # One long step against the slope must gain much, or labels and features are unrelated.
    assert mean.value(zero - 4 * mean.slope(zero)) < 0.75 * mean.value(zero)
    assert abs(np.mean([np.sign(c.rows.B).mean() for c in costs])) < 0.2
