"""How long a core of this machine computes for one agent in one iteration with all cores busy.

Usually longer than alone: cores share caches, memory and, as threads of one core, even more.
"""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from threading import Barrier, BrokenBarrierError
from time import thread_time
from typing import Any, TypeAlias

from threadpoolctl import threadpool_limits

from distopt.config.build import Config, make_config
from distopt.core.errors import TransportError
from distopt.engine.team import prepare
from distopt.mpirun.environment import usable_cores
from distopt.transport.opening import open_transport

CPU_SECONDS = 0.1  # of iterations, to see how long one takes
REPEATS = 20  # of short runs, at most
PATIENCE_SECONDS = 600.0  # for the other processes to be set up

# Returns the processor seconds of one agent in an iteration, from the first iterations of a configuration.
Core: TypeAlias = Callable[[Config, int], float]


@contextmanager
def busy_cores() -> Iterator[Core]:
    """Yield a function that measures a configuration while every core does the same."""
    count = usable_cores()
    context = multiprocessing.get_context("spawn")  # no fork: numba and BLAS have threads
    with context.Manager() as manager, ProcessPoolExecutor(count, context) as pool:
        barrier = manager.Barrier(count)

        def together(config: Config, iterations: int) -> float:
            what = config.tables, config.folder, iterations, barrier
            told = [pool.submit(beside_others, *what) for _ in range(count)]
            try:
                return median(each.result() for each in told)
            except (BrokenProcessPool, BrokenBarrierError):
                raise TransportError(
                    "One of the processes that measure together ended or hung (out of memory?); "
                    "without --per-core a single one measures."
                ) from None

        yield together


def beside_others(tables: dict[str, Any], folder: Path, iterations: int, barrier: Barrier) -> float:
    """Measure a configuration at the same time as the other processes behind the barrier."""
    try:
        config = make_config(tables, folder)
        return computing_seconds(config, iterations, lambda: barrier.wait(PATIENCE_SECONDS))
    except BaseException:
        barrier.abort()
        raise


def computing_seconds(
    config: Config, iterations: int, meet: Callable[[], object] = lambda: None
) -> float:
    """Return the processor seconds that a core needs for one agent in one iteration.

    Of the first `iterations`, which may take longer than those near the end (the sine of a small number
    is a quick one), and of the same again where they are soon over. `meet` is called once all is set up.
    """
    spent: list[float] = []
    total = 0.0
    with (
        open_transport("simulate", config) as transport,
        threadpool_limits(1),
    ):
        for repeat in range(REPEATS):
            team = prepare(config, transport, together=False)
            if repeat == 0:
                meet()
            for _ in range(max(iterations, 3)):
                began = thread_time()
                team.iterate()
                spent.append(thread_time() - began)
                total += spent[-1]
                if total > CPU_SECONDS:
                    break
            if total > CPU_SECONDS / 2:
                break
    return median(spent[1:]) / len(team.hosted)
