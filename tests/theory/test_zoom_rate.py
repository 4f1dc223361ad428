"""The rate of zed with a slow zoom (docs: zooming): its lemmas, its limits, and runs that obey it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distopt.compressors.zooming import OCTAVE, add_codes, power_of_two, quantise, zoom
from distopt.config.build import make_config
from distopt.core.errors import ConfigError
from distopt.engine.team import prepare
from distopt.theory.zoom_rate import slow_zoom
from distopt.transport.local import LocalTransport

HIGHEST, CAP, TALL = 32767, 6, 511
AGENTS = 4


class Grid:
    """The kernels of zoom for one block of d coordinates."""

    def __init__(self, d, level=0):
        self.bounds, self.levels = np.array([0, d]), np.array([level])
        self.codes = np.zeros(d, np.int16)

    def code(self, e, rounding=0.55, offset=0.05):
        """Return v = C(e) as decoded."""
        quantise(e, self.bounds, self.levels, rounding, HIGHEST, self.codes)
        v = np.zeros(e.size)
        add_codes(self.codes, self.bounds, self.levels, offset, 1.0, v)
        return v

    def move(self, activity=0.44, gain=1.0):
        zoom(
            self.codes,
            self.bounds,
            self.levels,
            round(activity * OCTAVE),
            CAP,
            round(gain * OCTAVE),
            TALL,
        )


@given(
    e=st.lists(st.floats(-30, 30), min_size=1, max_size=20),
    level=st.integers(-3 * OCTAVE, 3 * OCTAVE),
    rounding=st.floats(0.5, 0.7),
    offset=st.floats(0, 0.2),
    alpha=st.floats(0.01, 1),
)
def test_codes_pay_for_themselves(e, level, rounding, offset, alpha):
    """|C(e) - e| <= nu s, and |e| - |e - alpha C(e)| >= progress s |q|."""
    e, grid = np.array(e), Grid(len(e), level)
    v, s = grid.code(e, rounding, offset), power_of_two(level)
    assert (np.abs(v - e) <= s * (max(rounding + offset, 1 - rounding) + 1e-9)).all()
    progress = min(alpha, 2 * (1 - rounding) - alpha * (1 + offset))
    q = np.abs(grid.codes.astype(float))
    assert (np.abs(e) - np.abs(e - alpha * v) >= s * (progress - 1e-9) * q - 1e-12).all()


@pytest.mark.parametrize(
    ("alpha", "stalls"), [(1.0, True), (0.87, True), (0.85, False), (0.8, False)]
)
def test_a_long_memory_step_stalls_the_zoom(alpha, stalls):
    """A vector at rest, 7 of 16 coordinates of which have the code +-1 for ever; the limit is 0.857."""
    target, h, grid = np.zeros(16), np.zeros(16), Grid(16)
    target[:7] = (1 + 0.05) * alpha / 2  # of both signs of the cycle, just above the rounding
    for _ in range(1000):
        v = grid.code(target - h)
        h += alpha * v
        grid.move(activity=7 / 16)
    if stalls:
        assert grid.levels[0] == 0
        assert (np.abs(target - h)[:7] > 0.45).all()
    else:
        assert grid.levels[0] < -20 * OCTAVE
        assert np.abs(target - h).max() < 2.0**-20
    settings = {"smoothness": 1, "convexity": 1, "gap": 1, "kappa": 1, "agents": 4, "dimension": 1}
    if stalls:
        with pytest.raises(ConfigError, match=r"algorithm\.alpha .* must be below 0\.857"):
            slow_zoom(**settings, alpha=alpha, rounding=0.55, offset=0.05)


def test_a_proof_that_asks_for_too_small_a_gain_is_a_sentence():
    with pytest.raises(ConfigError, match=r"a gain of zoom below 2\^-12 .* 50 "):
        slow_zoom(smoothness=50, convexity=1, gap=0.1, kappa=1.3, agents=10, dimension=50)


class Errors:
    """What the proof bounds, of a run on quadratics with matrices A and centres b."""

    def __init__(self, config):
        costs = [config.problem.family.cost(i, AGENTS, config.problem.seed) for i in range(AGENTS)]
        self.A, self.b = np.array([c.A for c in costs]), np.array([c.b for c in costs])
        right = np.einsum("ijk,ik->j", self.A, self.b)
        self.minimum = np.linalg.solve(self.A.sum(0), right)
        self.goal = -np.einsum("ijk,ik->ij", self.A, self.minimum - self.b)
        size, V = np.linalg.eigh(np.eye(AGENTS) - config.problem.topology.matrix())
        self.halves = V[:, 1:] / np.sqrt(size[1:]) @ V[:, 1:].T  # D = (I - W)^(1/2) u

    def of(self, team, eta):
        """Return |x - x(D)|, |u - u*|, the largest step, max |z - h| and |x - x*|."""
        states = [hosted.state for hosted in team.hosted]
        x, D, g = (np.array([getattr(s, name) for s in states]) for name in ("x", "D", "g"))
        h = np.array([s.hx.own for s in states])
        best = self.b - np.linalg.solve(self.A, D[..., None])[..., 0]
        levels = [int(hosted.agent.codecs.encoders[0]["level"][0]) for hosted in team.hosted]
        return (
            np.linalg.norm(x - best), np.linalg.norm(self.halves @ (D - self.goal)),
            power_of_two(max(levels)),
            np.abs(x - eta * (g + D) - h).max(), np.linalg.norm(x - self.minimum),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("graph", "condition", "iterations"),
    [("complete", 1, 6000), pytest.param("ring", 1.1, 60_000, marks=pytest.mark.slow)],
)
def test_a_slow_zoom_obeys_its_bounds_in_every_iteration(graph, condition, iterations):
    tables = {
        "problem": {"name": "quadratic", "dimension": 3, "condition": condition, "agents": AGENTS},
        "topology": {"graph": graph},
        "compressor": {"name": "zoom", "rounding": 0.5, "offset": 0.0},
    }
    topology = make_config(tables, Path()).problem.topology
    proven = slow_zoom(
        smoothness=condition, convexity=1, gap=topology.gap, kappa=topology.kappa, agents=AGENTS,
        dimension=3,
    )  # fmt: skip
    tables["algorithm"] = {
        "name": "zed", "beta": 0, "omega": 0, "alpha": 0.5, "eta": proven.eta, "c0": proven.c,
        "c1": proven.c,
    }  # fmt: skip
    tables["compressor"]["gain"] = proven.gain
    config = make_config(tables, Path())
    team = prepare(config, LocalTransport(config.problem.topology))
    team.iterate()  # any state may be the first; this one has a step
    errors = Errors(config)
    X, U, step, e, _ = errors.of(team, proven.eta)
    m = first = max(step, X / proven.X, U / proven.U, e / proven.gamma)
    for k in range(1, iterations + 1):
        team.iterate()
        X, U, step, e, distance = errors.of(team, proven.eta)
        m = max(step, proven.fall * m)
        assert proven.X * m >= X
        assert proven.U * m >= U
        assert e <= proven.gamma * m
        assert distance <= (proven.X + topology.kappa**0.5 * proven.U) * m
        assert m <= 2 * first * 2 ** (-proven.rate * k)
    assert m < first / 8  # so there was something to prove
