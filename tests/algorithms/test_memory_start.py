"""Memories that begin at the agents' common start instead of at zero."""

import warnings
from pathlib import Path

import numpy as np
import pytest

import distopt
from distopt.config.build import make_config
from distopt.core.errors import ConfigError
from distopt.engine.run import run
from distopt.transport.base import SharedError

AGENTS, D = 4, 7
X0 = np.array([3.0, -1.5, 0.25, 4.0, -2.0, 0.5, 1.0])  # few bits: adding them rounds little


class Bowl:
    """f(x) = 1/2 ||B (x + shift - a)||^2, with B and a of agent i."""

    dimension = D

    def __init__(self, i, shift):
        rng = np.random.default_rng(i)
        B = rng.normal(size=(D, D)) + 3 * np.eye(D)
        self.H, self.a = B.T @ B / 10, rng.normal(size=D) - shift
        self.smoothness = float(np.linalg.norm(self.H, 2))

    def value(self, x):
        return float((x - self.a) @ self.H @ (x - self.a)) / 2

    def gradient(self, x, out):
        np.matmul(self.H, x - self.a, out=out)


STEPS = {"eta": 0.02, "gamma": 0.3}
TOP = distopt.TopK(k=3)
METHODS = [
    (distopt.CompressedTracking1, STEPS | {"alpha": 0.7}, TOP),
    (distopt.Beer, STEPS, TOP),
    (distopt.Lead, {"eta": 0.02, "gamma": 0.1, "alpha": 0.5}, distopt.Quantize(bits=6)),
    (distopt.Choco, STEPS, TOP),
    (distopt.PrimalDual, STEPS | {"beta": 0.05, "alpha": 0.7}, TOP),
    (distopt.Zed, {"eta": 0.02}, None),
    (distopt.Zed, {}, None),
]


@pytest.mark.parametrize("memory", ["replicas", "sum"])
@pytest.mark.parametrize(("method", "keys", "compressor"), METHODS)
def test_it_is_the_method_from_zero_on_shifted_costs(method, keys, compressor, memory):
    """What is sent is a difference, so f(x0 + .) from 0 with h = 0 sends the same."""

    def models(x0, start, shift, iterations):
        algorithm = method(**keys, memory=memory, memory_start=start)
        result = distopt.simulate(
            [Bowl(i, shift) for i in range(AGENTS)], x0,
            algorithm=algorithm, compressor=compressor, iterations=iterations,
        )  # fmt: skip
        return np.array(result.x), result

    shifted, _ = models(np.zeros(D), "zeros", X0, 40)
    found, result = models(X0, "x0", 0.0, 40)
    assert np.abs(found - (X0 + shifted)).max() <= 1e-10
    assert np.abs(found - models(X0, "zeros", 0.0, 40)[0]).max() > 1e-4  # else nothing is tested
    if "eta" not in keys:
        assert result.rows[-1]["step_decisions"] > 0


def lista(**algorithm):
    tables = {
        "problem": {"name": "lista", "m": 12, "n": 4, "layers": 3, "samples": 8, "agents": 4},
        "topology": {"graph": "ring"},
        "algorithm": {"name": "lead", "eta": 0.1, "gamma": 0.5, "alpha": 1.0} | algorithm,
        "compressor": {"name": "blockwise", "values": {"name": "quantize", "bits": 4}},
        "run": {"iterations": 1},
    }
    return make_config(tables, Path())


def test_first_message_of_a_network_does_not_carry_the_weights():
    """W2[1] has no gradient: 144 numbers of 4 bits and their scale become one bit, at once."""
    told = [
        run(lista(memory_start=start), engine="simulate").summary["bytes_per_agent"]
        for start in ("zeros", "x0")
    ]
    assert told[0] - told[1] >= 144 * 4 / 8


def test_own_costs_that_memories_pull_away_from_their_start_are_told_the_remedy():
    def told(x0, algorithm="zed", **keys):
        costs = [Bowl(i, 0.0) for i in range(AGENTS)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = distopt.simulate(costs, x0, algorithm=algorithm, iterations=1, **keys).warnings
        return 'algorithm.memory_start = "x0"' in " ".join(found)

    assert told(X0)
    assert told(X0, "lead", compressor="norm_sign")
    assert not told(np.zeros(D))
    assert not told(np.arange(AGENTS * D).reshape(AGENTS, D) + 1.0)  # no point in common
    assert not told(X0, {"name": "zed", "memory_start": "x0"})
    assert not told(X0, "exact_diffusion")
    assert not told(
        X0, {"name": "lead", "eta": 0.1, "gamma": 0.5, "alpha": 0.5}, compressor="identity"
    )


def test_different_starts_are_refused():
    costs = [Bowl(i, 0.0) for i in range(AGENTS)]
    starts = np.tile(X0, (AGENTS, 1))
    starts[2, 5] = np.nextafter(starts[2, 5], 9.0)
    algorithm = distopt.Lead(eta=0.02, gamma=0.1, alpha=0.5, memory_start="x0")
    with pytest.raises(
        (SharedError, ConfigError), match="agents 0 and 2 start from different points"
    ):
        distopt.simulate(costs, starts, algorithm=algorithm, iterations=1)


def test_fixed_point_has_memories_from_zero_only():
    arithmetic = {name: {"format": "Q6.10", "mode": "SR"} for name in ("x", "y", "gradient")}
    with pytest.raises(ConfigError, match=r'memory_start = .*accepted there: "zeros"'):
        distopt.CompressedTracking1(
            eta=0.1, gamma=0.5, alpha=1.0, memory_start="x0", arithmetic=arithmetic
        )
