"""Do the jobs of a sweep side by side: in processes of this machine, or in the ranks of an MPI job."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import cast

from threadpoolctl import threadpool_limits

from distopt.core import units as q
from distopt.core.errors import TransportError
from distopt.mpirun.process import end_with_parent
from distopt.mpirun.relay import View
from distopt.studies.batch import KILLED, Screen
from distopt.studies.sweep import Sweep
from distopt.studies.threshold import Trial, trial
from distopt.studies.trials import Start, Trials
from distopt.theory.pl_star import diagnose

TRIES = 3  # to go on after processes were killed


def work(sweep: Sweep, label: str, m: int, seed: int, samples: int | None) -> Trial | Start:
    """Do one job: a trial, or without `samples` the start point."""
    family, s = sweep.family(label, m), sweep.section
    with threadpool_limits(1):
        if samples is None:
            smallest = replace(family, samples=s.samples[0])
            cost = smallest.cost(0, 1, seed)
            return Start(label, m, seed, s.samples[0], diagnose(cost, cost.start))
        return trial(family, samples, seed, s.target, s.epochs, s.first, s.halvings, label)


def farm(
    trials: Trials, pool: Executor, tell: Callable[[Trial | Start], None] = lambda done: None
) -> None:
    """Do all jobs of a sweep that are not done, side by side; save after each.

    A network's next T is submitted when the one before has passed, so no needless job is done.
    """
    sweep = trials.sweep
    s = sweep.section
    waiting: set[Future[Trial | Start]] = set()

    def climb(label: str, m: int, seed: int) -> None:
        samples = trials.next_samples(label, m, seed)
        if samples is not None:
            waiting.add(pool.submit(work, sweep, label, m, seed, samples))

    for seed in s.seeds:
        for label in sweep.networks:
            for m in sorted(s.widths, reverse=True):  # the long ones first
                climb(label, m, seed)
            for m in sweep.measured:
                if (label, m, seed) not in trials.starts:
                    waiting.add(pool.submit(work, sweep, label, m, seed, None))
    try:
        while waiting:
            finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in finished:
                done = future.result()
                trials.add(done)
                trials.save()
                tell(done)
                if isinstance(done, Trial):
                    climb(done.network, done.m, done.seed)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def describe(done: Trial | Start) -> tuple[str, str]:
    """Name a finished job and its result, for progress."""
    name = f"{done.network}, m = {done.m}, seed {done.seed}"
    if isinstance(done, Start):
        return f"{name}, at the start", str(done.report.kernel)
    d = done.descent
    what = "passed" if done.passed else "failed"
    return f"{name}, T = {done.samples}", f"{what}: NMSE {q.small(d.nmse)} in {d.epochs} epochs"


def farm_over_processes(trials: Trials, jobs: int, view: Screen) -> None:
    """Work in `jobs` processes of this machine; do again what a killed one has lost.

    Raises
    ------
    TransportError
        If processes are killed several times in a row and no job has been finished meanwhile.
    """
    context = multiprocessing.get_context("spawn")  # no fork: numba and BLAS have threads
    tries = 0

    def tell(done: Trial | Start) -> None:
        nonlocal tries
        tries = 0
        view.done(*describe(done))

    while True:
        try:
            with ProcessPoolExecutor(jobs, mp_context=context, initializer=follow_parent) as pool:
                farm(trials, pool, tell)
            return
        except BrokenProcessPool:
            tries += 1
            if tries > TRIES:
                raise TransportError(
                    f"{KILLED} What is done is saved; repeat the command to continue, perhaps with "
                    "fewer --jobs."
                ) from None
            view.say(f"{KILLED} What it had not finished is done again, try {tries} of {TRIES}.")


def follow_parent() -> None:
    """End this process when its parent ends."""
    if obey := end_with_parent():
        obey()


def farm_over_ranks(opened: Callable[[], Trials], view: View) -> Trials | None:
    """Work in the ranks of this MPI job: rank 0 hands out and returns the trials, the others work.

    A job of one rank does both.
    """
    from mpi4py import MPI
    from mpi4py.futures import MPICommExecutor

    with MPICommExecutor(MPI.COMM_WORLD, root=0) as pool:
        if pool is None:
            return None
        trials = opened()
        farm(trials, cast("Executor", pool), lambda done: view.done(*describe(done)))
        return trials
