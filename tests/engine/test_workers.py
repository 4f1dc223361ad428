"""Agents of one process that threads compute side by side give the bits of agents in turn."""

import threading

import numpy as np
import pytest
from run_table import PAIRS, SAMPLE, comparable, configure, play, states

import distopt
from distopt.core.errors import DataError, DivergedError
from distopt.core.workers import Workers
from distopt.engine.run import go_on, run
from distopt.record.metrics import read_metrics

PROBLEM = {"dimension": 3000, "agents": 5, "basis": "diagonal"}


def played(pair, workers, *settings):
    config = configure(
        *pair, problem=PROBLEM | ({"start": "zeros"} if pair[0].endswith("-x0") else {}),
        iterations=4, record_every=2, workers=workers,
    ).with_settings(settings)  # fmt: skip
    team, result = play(config)
    bits = {
        (agent, name): array.tobytes()
        for agent, arrays in states(team).items() for name, array in arrays.items()
    }  # fmt: skip
    return bits, comparable(result.rows), team


@pytest.mark.parametrize(
    "pairs", [SAMPLE, pytest.param(PAIRS, marks=pytest.mark.slow)], ids=["sample", "all"]
)
def test_workers_change_no_bit(pairs):
    for pair in pairs:
        alone, rows, _ = played(pair, 1)
        found, same, team = played(pair, 3)
        assert len({h.agent.work for h in team.hosted}) == 3
        assert found == alone, pair
        assert same == rows, pair


@pytest.mark.parametrize("algorithm", ["gt", "lead", "zed"])
def test_nor_on_a_graph_that_changes(algorithm):
    pair = (algorithm, {"gt": "identity", "lead": "quantize", "zed": "zoom"}[algorithm])
    alone, rows, _ = played(pair, 1, "topology.up=0.7")
    found, same, _ = played(pair, 2, "topology.up=0.7")
    assert found == alone
    assert same == rows


def test_a_run_goes_on_with_another_number(tmp_path):
    def out(name, **settings):
        config = configure(
            "cgt1", "quantize", problem=PROBLEM, iterations=8, checkpoint_every=4, **settings
        )
        run(config, engine="simulate", out=tmp_path / name)
        return config

    out("whole")
    config = out("half", workers=2)
    half = config.with_settings(["run.iterations=12", "run.workers=4"])
    go_on(half, tmp_path / "half", engine="simulate")
    whole = config.with_settings(["run.iterations=12", "run.workers=1"])
    go_on(whole, tmp_path / "whole", engine="simulate")
    one, other = (read_metrics(tmp_path / name / "metrics.h5").rows() for name in ("half", "whole"))
    assert comparable(one) == comparable(other)


class Faulty:
    """A cost of a user's, of which some agents' fail at the second gradient of the run."""

    dimension = 4

    def __init__(self, agent, fault):
        self.agent, self.fault, self.asked = agent, fault, 0
        self.start = np.ones(4)

    def value(self, x):
        return 0.5 * float(x @ x)

    def gradient(self, x, out):
        out[:] = x
        if np.abs(x - 1).max() > 1e-3 and self.agent >= 2:
            self.fault(out)


def not_finite(out):
    out[1] = np.nan


def raising(out):
    raise ValueError("no such sample")


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize(
    ("fault", "error", "sentence"),
    [
        (not_finite, DivergedError, r"Agent 2 diverged at iteration \d+: gradient\[1\]"),
        (raising, DataError, r"Agent 2.*no such sample"),
    ],
)
def test_the_first_agent_that_fails_is_named(workers, fault, error, sentence):
    costs, before = [Faulty(i, fault) for i in range(6)], set(threading.enumerate())
    with pytest.raises(error, match=sentence):
        distopt.simulate(
            costs,
            algorithm=distopt.GradientTracking(eta=0.1, gamma=0.3),
            iterations=5,
            workers=workers,
        )
    assert set(threading.enumerate()) <= before


def test_workers_take_their_own_rows_in_order():
    workers, seen = Workers(3), []
    names = workers.map(
        [0, 1, 0, 2, 1], lambda i: seen.append(i) or threading.current_thread().name, range(5)
    )
    workers.close()
    assert names[0] == names[2] == threading.current_thread().name
    assert seen.index(0) < seen.index(2)
    assert seen.index(1) < seen.index(4)


def test_errors_of_numbers_are_treated_as_by_the_caller():
    with np.errstate(over="raise"):
        workers = Workers(2)
    with pytest.raises(FloatingPointError):
        workers.map([1], lambda: np.float64(1e300) * np.float64(1e300))
    workers.close()
