"""Runs in several threads of one process give the bits that each gives alone."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from run_table import PAIRS, SAMPLE, configure, play, states
from threadpoolctl import threadpool_info

import distopt
from distopt.core.blas import BLAS
from distopt.core.errors import ConfigError
from distopt.problems.costs.logistic import Logistic
from distopt.problems.costs.networks.family import LISTA
from distopt.problems.costs.pl import PL
from distopt.problems.costs.quadratic import Quadratic

THREADS, DIMENSION, ITERATIONS = 8, 3000, 4
PROBLEM = {"dimension": DIMENSION, "agents": 3, "basis": "diagonal"}


def fingerprint(pair):
    """Run a pair of the table; hash its final states and its records."""
    config = configure(
        *pair, problem=PROBLEM | ({"start": "zeros"} if pair[0].endswith("-x0") else {}),
        iterations=ITERATIONS, record_every=2,
    )  # fmt: skip
    job, result = play(config)
    digest = hashlib.sha256()
    for agent, arrays in states(job).items():
        for name, array in arrays.items():
            digest.update(f"{agent} {name}".encode() + array.tobytes())
    return digest.hexdigest(), [row["stationarity"] for row in result.rows]


@pytest.mark.parametrize(
    "pairs", [SAMPLE, pytest.param(PAIRS, marks=pytest.mark.slow)], ids=["sample", "all"]
)
def test_eight_runs_at_once_give_what_each_gives_alone(pairs):
    alone = {pair: fingerprint(pair) for pair in pairs}
    with ThreadPoolExecutor(THREADS) as pool:
        together = dict(zip(pairs, pool.map(fingerprint, pairs), strict=True))
    wrong = [pair for pair in pairs if together[pair] != alone[pair]]
    assert not wrong, f"{len(wrong)} of {len(pairs)} runs differ: {wrong[:5]}"


FAMILIES = {
    "quadratic": Quadratic(dimension=40),
    "pl": PL(dimension=40),
    "logistic": Logistic(dataset="breast_cancer"),
    "lista": LISTA(m=12, n=5, layers=4, samples=30),
}


@pytest.mark.parametrize(
    ("name", "batch"),
    [("quadratic", 0), ("pl", 0), ("logistic", 0), ("logistic", 7), ("lista", 0), ("lista", 7)],
)
def test_runs_may_share_their_costs(name, batch):
    costs = [FAMILIES[name].cost(i, 3, 0) for i in range(3)]
    d = costs[0].dimension
    starts = [np.linspace(-1.0, 1.0, d) * (1 + k) / 4 for k in range(THREADS)]

    def solve(x0):
        found = distopt.simulate(
            costs, x0, algorithm=distopt.GradientTracking(eta=1e-3, gamma=0.3), iterations=60,
            batch=batch,
        )  # fmt: skip
        return np.concatenate(found.x).tobytes()

    alone = [solve(x0) for x0 in starts]
    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(solve, starts)) == alone


def blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_a_run_that_ends_leaves_the_blas_threads_of_another():
    before = blas_threads()
    begun, done = threading.Event(), threading.Event()

    def long_run():
        with BLAS.held(1):
            begun.set()
            done.wait(900)
            return blas_threads()

    with ThreadPoolExecutor(1) as pool:
        seen = pool.submit(long_run)
        begun.wait(900)
        with BLAS.held(1):
            pass
        sentence = r"run\.threads = 2, but .* has run\.threads = 1"
        with pytest.raises(ConfigError, match=sentence), BLAS.held(2):
            pass
        done.set()
        assert seen.result() == {1}
    assert blas_threads() == before
