"""How the ranks of a job fail: once, with one sentence, and all of them."""

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import NoReturn

from distopt.core.errors import TransportError
from distopt.core.rank import this_rank
from distopt.mpirun.launcher import INSTALL
from distopt.mpirun.leftovers import remove_leftovers
from distopt.transport.verdict import printed

AGREE_SECONDS = 5.0  # ranks that all fail do so within this time


@contextmanager
def failing_together() -> Iterator[None]:
    """Print what escapes from the block once for the whole job, and end all ranks with exit code 1.

    Ranks that all fail (a wrong configuration) meet in a barrier, rank 0 prints the error, and each
    exits. A rank that fails alone meets nobody there: it prints the error and aborts the job, because
    the others would wait for ever. Outside a job errors pass through.
    """
    if this_rank() is None:
        yield
        return
    remove_leftovers()
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        if this_rank() == 0:
            complain(TransportError(f"mpi4py cannot be used in this MPI job: {error}. {INSTALL}"))
        raise SystemExit(1) from None
    from distopt.transport.watch import end_job, introduce

    introduce(MPI.COMM_WORLD)
    comm = MPI.COMM_WORLD.Dup()  # only this barrier uses it
    try:
        require_connected(comm.size)
        with exits_raised():
            yield
    except (Exception, KeyboardInterrupt) as error:
        meeting = comm.Ibarrier()
        began = time.monotonic()
        while not (met := meeting.Test()) and time.monotonic() - began < AGREE_SECONDS:
            time.sleep(0.01)
        if this_rank() == 0 or not met:
            complain(error)
        if not met:
            end_job(1)
        raise SystemExit(1) from None
    comm.Free()


@contextmanager
def exits_raised() -> Iterator[None]:
    """Let os._exit in this process's main thread raise SystemExit, so that it can be named."""
    leave, me = os._exit, os.getpid()

    def raising(code: int) -> NoReturn:
        if os.getpid() == me and current_thread() is main_thread():
            raise SystemExit(code)
        leave(code)

    setattr(os, "_exit", raising)  # noqa: B010  mypy knows no assignment to a function
    try:
        yield
    finally:
        setattr(os, "_exit", leave)  # noqa: B010


def require_connected(size: int) -> None:
    """Refuse tasks of srun that MPI takes for jobs of one rank each."""
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))
    if size == 1 < tasks and "OMPI_COMM_WORLD_RANK" not in os.environ:
        raise TransportError(
            f"srun started {tasks} tasks, but they are not connected: MPI sees one rank. Try "
            "srun --mpi=pmix or --mpi=pmi2, or start the job with mpirun."
        )


def complain(error: BaseException) -> None:
    """Print an error on standard error: a sentence, or the traceback of a bug or with --debug."""
    sys.stderr.write(
        printed(error, f"Rank {this_rank()} (host {socket.gethostname()}) was to start")
    )
    sys.stderr.flush()


def debugging() -> bool:
    """Whether --debug was given, here or to the parent of this rank."""
    return bool(os.environ.get("DISTOPT_DEBUG"))
