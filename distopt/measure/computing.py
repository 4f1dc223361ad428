"""What a core of this machine computes for one agent in one iteration: alone, or while all cores work.

The second is mostly longer: cores share caches, memory and, as threads of one core, even more.
"""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from threading import BrokenBarrierError
from time import thread_time
from typing import Any, TypeAlias

from threadpoolctl import threadpool_limits

from distopt.config import Config, make_config
from distopt.engine.driver import iterate
from distopt.engine.launcher import usable_cores
from distopt.engine.run import open_transport, set_up
from distopt.errors import TransportError

CPU_SECONDS = 1.0  # of iterations, to see how long one takes
PATIENCE_SECONDS = 600.0  # for the other processes to be set up


# Tells the processor seconds of one agent in one iteration of a configuration.
Core: TypeAlias = Callable[[Config], float]


@contextmanager
def core(busy: bool) -> Iterator[Core]:
    """Give what measures a configuration; `busy`: a process on every core does the same meanwhile."""
    if not busy:
        yield computing_seconds
        return
    count = usable_cores()
    context = multiprocessing.get_context("spawn")  # no fork: numba and BLAS have threads
    barrier = context.Barrier(count)
    with ProcessPoolExecutor(count, context, initializer=join, initargs=(barrier,)) as pool:

        def together(config: Config) -> float:
            told = [pool.submit(beside_others, config.tables, config.folder) for _ in range(count)]
            try:
                return median(each.result() for each in told)
            except (BrokenProcessPool, BrokenBarrierError):
                raise TransportError(
                    "A process of those that measure together ended or hung (out of memory?); "
                    "without --per-core one measures alone."
                ) from None

        yield together


def computing_seconds(config: Config) -> float:
    """Return what a core computes for one agent in one iteration, in s of processor time."""
    with (
        open_transport(
            "simulate", config.problem, config.algorithm, config.compressor, config.run
        ) as transport,
        threadpool_limits(1),
    ):
        session = set_up(config, transport)
        if _others is not None:
            _others.wait(PATIENCE_SECONDS)
        spent: list[float] = []
        while len(spent) < 3 or (sum(spent) < CPU_SECONDS and len(spent) < config.run.iterations):
            began = thread_time()
            iterate(session.algorithm, session.hosted, transport, len(spent))
            spent.append(thread_time() - began)
    return median(spent[1:]) / len(session.hosted)


# In a process of its own

_others: Any = None  # a barrier, where this is one of several that measure at once


def join(barrier: Any) -> None:
    """Begin each measurement together with the others behind a barrier."""
    global _others
    _others = barrier


def beside_others(tables: dict[str, Any], folder: Path) -> float:
    """Measure a configuration at the same time as the other processes."""
    try:
        return computing_seconds(make_config(tables, folder))
    except BaseException:
        _others.abort()
        raise
