"""From the second iteration on nothing is compiled and no vector is allocated, for every algorithm."""

import gc
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numba.core import event
from run_table import configure, mark_rest

import distopt
from distopt.compressors.coders.entropy import RangeCoder
from distopt.config.build import make_config
from distopt.engine import team, warm_up
from distopt.engine.journal import Journal
from distopt.engine.team import prepare
from distopt.transport.local import BLOCK, LocalTransport

DIMENSION = 5000
VECTOR = 8 * DIMENSION  # bytes


def begun(algorithm, message, dimension=DIMENSION):
    problem = {"dimension": dimension, "basis": "diagonal"}
    if algorithm.endswith("-x0"):
        problem["start"] = "zeros"  # the same for all; the file's point is shorter
    config = configure(algorithm, message, problem=problem)
    return prepare(config, LocalTransport(config.problem.topology))


def compiled(work):
    """Count the compilations that happen during `work`."""
    with event.install_recorder("numba:compile") as recorder:
        work()
    return len(recorder.buffer)


def allocated(work):
    """Return how far the memory went above where it began, in bytes."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        work()
        _, peak = tracemalloc.get_traced_memory()
        gc.collect()  # Python keeps tuples of calls with many arguments, up to 2000 of a length
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return after - before, peak - before


@pytest.mark.parametrize(("algorithm", "message"), mark_rest(pytest.mark.slow))
def test_second_iteration_compiles_and_allocates_nothing(algorithm, message):
    assert_iterations_are_hot(begun(algorithm, message))


def assert_iterations_are_hot(team):
    def iterations(first, last):
        for _ in range(first, last):
            team.iterate()

    iterations(0, 2)
    assert compiled(lambda: iterations(2, 5)) == 0
    # What else the process has to do, now and then, is not in all of three tries.
    tries = [allocated(lambda: iterations(5, 12)) for _ in range(3)]
    kept, most = map(min, zip(*tries, strict=True))
    assert most < VECTOR / 2  # views, lists, generators, tuples: some KB whatever the dimension
    assert kept < VECTOR / 8


@pytest.mark.parametrize(
    "problem",
    [
        {"name": "lista", "m": 50, "n": 10, "samples": 40},
        {"name": "logistic", "dataset": "synthetic", "features": DIMENSION, "samples": 9},
    ],
)
def test_mini_batches_and_blocks_allocate_and_compile_nothing(problem):
    tables = {
        "problem": problem | {"agents": 4},
        "algorithm": {"name": "cgt1", "eta": 1e-3, "gamma": 0.3, "alpha": 1.0},
        "compressor": {"name": "blockwise"}
        | ({} if problem["name"] == "lista" else {"block": 900}),
        "run": {"batch": 4},
    }
    config = make_config(tables, Path())
    assert_iterations_are_hot(prepare(config, LocalTransport(config.problem.topology)))


def test_records_allocate_and_compile_nothing_that_stays():
    vector = 8 * 100_000
    journal = Journal(begun("cgt1", "quantize", dimension=vector // 8))
    journal.record()
    assert compiled(journal.record) == 0
    kept, most = allocated(journal.record)
    assert kept < VECTOR / 8
    assert most < 2 * vector + 8 * BLOCK  # a mean is held in slices, one of each agent


def test_the_guards_notice():
    from numba import njit

    assert allocated(lambda: np.ones(DIMENSION))[1] >= VECTOR
    assert compiled(lambda: njit(lambda x: x + 1)(1)) > 0


def test_the_first_iteration_finds_every_kernel_loaded():
    """In a process of its own, where nothing has loaded them before."""
    program = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from numba.core.dispatcher import Dispatcher
from run_table import configure
from distopt.engine.team import prepare
from distopt.transport.local import LocalTransport

config = configure("zed", "zoom")
team = prepare(config, LocalTransport(config.problem.topology))
late, load = [], Dispatcher.compile
Dispatcher.compile = lambda self, types: late.append(self) or load(self, types)
team.iterate()
team.iterate()
print(late)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_loading_kernels_costs_one_gradient(monkeypatch):
    """It plays two iterations of two agents, of a cost that may be dear."""
    calls = []

    class Dear:
        dimension, smoothness = 3, 1.0

        def value(self, x):
            return 0.5 * float(x @ x)

        def gradient(self, x, out):
            calls.append(1)
            out[:] = x

    def count():
        calls.clear()
        distopt.simulate([Dear()] * 2, np.ones(3), iterations=1, algorithm="zed", record_every=1)
        return len(calls)

    whole = count()
    monkeypatch.setattr(team, "warm_up", lambda *arguments: None)
    assert whole == count() + 1


@pytest.mark.parametrize("bound", [0.0, 1e-6])
def test_what_glances_need_is_compiled_before_they_begin(bound, monkeypatch):
    filled = []
    monkeypatch.setattr(warm_up, "fill_sketch", lambda x, signs, out: filled.append(x.size))
    config = configure("lead", "quantize", stop={"stationarity": bound}, record_every="auto")
    prepare(config, LocalTransport(config.problem.topology))
    assert filled == [config.problem.dimension] * (bound > 0)


class Travelling(LocalTransport):
    """A transport whose messages travel, as between ranks."""

    travels = True


def test_where_messages_travel_decoding_is_compiled_before_the_run(monkeypatch):
    decoded, decode = [], RangeCoder.decode
    monkeypatch.setattr(RangeCoder, "decode", lambda *all: decoded.append(1) or decode(*all))
    tables = {"problem": {"name": "pl", "agents": 3, "dimension": 9}, "algorithm": {"name": "zed"}}
    config = make_config(tables, Path())
    prepare(config, LocalTransport(config.problem.topology))
    assert not decoded  # nobody does in one process
    prepare(config, Travelling(config.problem.topology))
    assert decoded
