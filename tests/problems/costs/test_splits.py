import numpy as np
import pytest

from distopt.core.errors import DataError
from distopt.core.randomness import make_key, uniform
from distopt.problems.costs.data import deal, dirichlet

SPLITS = ["sorted", "iid", "dirichlet"]


def parts_of(labels, agents, split, seed=0, sorted_fraction=1.0, concentration=1.0):
    return deal(np.asarray(labels, float), agents, split, seed, sorted_fraction, concentration)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize(("count", "agents"), [(60, 1), (61, 7), (200, 6), (569, 20)])
def test_every_sample_goes_to_exactly_one_agent(split, fraction, count, agents):
    labels = np.arange(count) % 3
    parts = parts_of(labels, agents, split, sorted_fraction=fraction, concentration=10.0)
    assert len(parts) == agents
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(count))
    if split != "dirichlet":
        sizes = [part.size for part in parts]
        assert max(sizes) - min(sizes) <= 1


def test_sizes_of_mixed_parts_differ_by_one_at_most():
    for count in range(5, 40):
        for fraction in np.linspace(0, 1, 7):
            sizes = [p.size for p in parts_of(np.zeros(count), 5, "sorted", 0, fraction)]
            assert max(sizes) - min(sizes) <= 1


def test_sorted_follows_the_labels_and_needs_no_seed():
    labels = np.array([3, 1, 2, 1, 3, 2])
    parts = parts_of(labels, 3, "sorted", seed=0)
    assert [part.tolist() for part in parts] == [[1, 3], [2, 5], [0, 4]]
    again = parts_of(labels, 3, "sorted", seed=9)
    assert [part.tolist() for part in again] == [part.tolist() for part in parts]


def test_sorted_fraction_is_the_share_of_one_class():
    labels = np.repeat([0, 1], 5000)
    first = labels[parts_of(labels, 2, "sorted", sorted_fraction=0.8)[0]]
    # 0.8 pure and 0.2 mixed half and half; the seed is fixed, so this never fails by chance.
    assert np.mean(first == 0) == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("split", ["iid", "dirichlet"])
def test_seed_decides(split):
    labels = np.arange(100) % 2
    one, same, other = (parts_of(labels, 4, split, seed)[0].tolist() for seed in (1, 1, 2))
    assert one == same != other


@pytest.mark.parametrize("concentration", [0.1, 1.0, 20.0])
def test_dirichlet_has_its_mean_and_variance(concentration):
    n, draws = 4, 4000
    p = np.array(
        [dirichlet(uniform(make_key(7, i, 0), 2 * n), concentration) for i in range(draws)]
    )
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-14)
    variance = (1 / n) * (1 - 1 / n) / (n * concentration + 1)
    # Six standard errors; the variance of an empirical variance of numbers in [0, 1] is below
    # variance / draws. Seed fixed.
    assert abs(p.mean(axis=0) - 1 / n).max() < 6 * np.sqrt(variance / draws)
    assert abs(p.var(axis=0) - variance).max() < 6 * np.sqrt(variance / draws)


def test_tiny_concentration_does_not_underflow():
    p = dirichlet(uniform(make_key(0, 0, 0), 10), 1e-4)
    assert p.sum() == pytest.approx(1)
    assert p.max() > 0.99


@pytest.mark.parametrize(
    ("agents", "split", "sentence"),
    [
        (11, "sorted", r"Agent 10 of 11 gets none of the 10 samples .*problem.agents <= 10"),
        (11, "iid", r"gets none of the 10 samples .*\"iid\"; accepted here: problem.agents <= 10"),
        (9, "dirichlet", r"\"dirichlet\"; raise problem.concentration, lower problem.agents"),
    ],
)
def test_an_agent_without_samples_is_an_error(agents, split, sentence):
    with pytest.raises(DataError, match=sentence):
        parts_of(np.arange(10) % 2, agents, split, concentration=0.01)
