"""Samples: what they are distributed like, how they are dealt out, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from distopt.core.errors import ConfigError, DataError
from distopt.problems.costs.networks import data
from distopt.problems.costs.networks.family import LISTA
from distopt.problems.problem import build_problem

INDEX = np.arange(2000)


def test_signals_are_bernoulli_gaussian():
    X = data.bernoulli_gaussian(50, INDEX, 0, 0.1)
    # 100000 entries, deviation of the share 0.001, of the mean square of the others 0.014.
    assert np.mean(X != 0) == pytest.approx(0.1, abs=0.005)
    assert np.mean(X[X != 0] ** 2) == pytest.approx(1, abs=0.07)


def test_no_signal_is_zero():
    X = data.bernoulli_gaussian(5, INDEX, 0, 1e-6)
    assert (np.count_nonzero(X, axis=1) == 1).all()
    assert (data.bernoulli_gaussian(5, INDEX, 0, 1.0) != 0).all()


def test_a_sample_is_a_function_of_seed_and_number():
    some = np.array([7, 3])
    for make in (
        lambda index: data.bernoulli_gaussian(16, index, 4, 0.2),
        lambda index: data.patches(16, index, 4),
    ):
        np.testing.assert_array_equal(make(some), make(INDEX[:10])[some])
    A = data.sensing(16, 4, 4)
    X = data.bernoulli_gaussian(16, INDEX[:10], 4, 0.2)
    alone = data.measure(X[some], A, some, 4, 0.2, 10.0)
    np.testing.assert_allclose(
        alone, data.measure(X, A, INDEX[:10], 4, 0.2, 10.0)[some], rtol=1e-12
    )


def test_noise_has_the_asked_ratio():
    A = data.sensing(50, 10, 1)
    assert np.linalg.norm(A) == pytest.approx(np.sqrt(50))
    X = data.bernoulli_gaussian(50, INDEX, 1, 0.1)
    noise = data.measure(X, A, INDEX, 1, 0.1, 10.0) - X @ A.T
    # 20000 entries of noise; those of A x are heavy-tailed and correlated, hence 10 %.
    assert np.mean((X @ A.T) ** 2) / np.mean(noise**2) == pytest.approx(10, rel=0.1)
    np.testing.assert_array_equal(data.measure(X, A, INDEX, 1, 0.1, np.inf), X @ A.T)


@pytest.mark.parametrize("kind", ["dct", "random"])
def test_dictionaries_are_orthogonal(kind):
    B = data.dictionary(kind, 49, 0)
    np.testing.assert_allclose(B.T @ B, np.eye(49), atol=1e-13)


def test_patches_come_back_from_their_targets():
    X = data.patch_targets(64, INDEX[:20], 0, 0.1, "dct")
    pixels = X @ data.dictionary("dct", 64, 0).T * data.patch_unit(64, 0.1)
    np.testing.assert_allclose(pixels, data.patches(64, INDEX[:20], 0), atol=1e-10)
    np.testing.assert_allclose(X[:, 0], 0, atol=1e-12)  # a patch has no mean
    many = data.patch_targets(64, INDEX, 0, 0.1, "dct")
    assert np.mean(many**2) == pytest.approx(0.1, rel=0.3)  # a few patches hold most energy
    # The coefficients are compressible: a tenth of them holds most of the energy.
    energy = np.sort(many**2, axis=1)[:, ::-1]
    assert energy[:, :6].sum() / energy.sum() > 0.7


@pytest.mark.parametrize(("samples", "agents"), [(7, 3), (3, 3), (40, 1)])
def test_shares_are_a_partition(samples, agents):
    parts = [data.share(samples, agents, agent) for agent in range(agents)]
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(samples))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_held_out_samples_are_others_of_the_same_problem():
    family = LISTA(m=9, n=4, samples=20)
    train, test = family.cost(0, 1, 0), family.held_out(20, 0)
    assert not set(train.X.ravel()) & set(test.X[test.X != 0].ravel())
    np.testing.assert_array_equal(train.start, test.start)


@pytest.mark.parametrize(
    ("keys", "error", "sentence"),
    [
        ({"samples": 2}, DataError, r"problem.samples = 2 are too few for 3 agents; accepted: at"),
        ({"data": "patches", "m": 50}, ConfigError, r"m = 50 is not a square.* 49 and 64"),
        ({"data": "patches", "m": 250_000, "layers": 1}, ConfigError, r"at most 182329"),
        ({"data": "patch"}, ConfigError, r"problem.data = \"patch\" is not acceptable"),
        ({"threshold": -1.0}, ConfigError, r"problem.threshold = -1.0 .* >= 0"),
        ({"multiplier_step": 1.0}, ConfigError, r"problem.multiplier_step is not known"),
        ({"layers": 0}, ConfigError, r"problem.layers = 0"),
        ({"output_scale": "atuo"}, ConfigError, r"problem.output_scale = \"atuo\""),
    ],
)
def test_what_is_refused(keys, error, sentence):
    def make():
        problem = build_problem({"name": "lista", "agents": 3} | keys, {}, Path())
        return problem.dimension, problem.cost(0)

    with pytest.raises(error, match=sentence):
        make()


def test_configuration_reaches_the_network():
    keys = {"name": "admm_csnet", "m": 16, "n": 4, "data": "patches", "dictionary": "random"}
    problem = build_problem(keys | {"agents": 2, "multiplier_step": 0.5}, {}, Path())
    cost = problem.cost(1)
    assert (cost.shape.gamma, cost.shape.scale, cost.samples) == (0.5, 0.25, 20)
    np.testing.assert_array_equal(problem.start_point(0, problem.cost(0)), cost.start)
    assert problem.table()["output_scale"] == "auto"
