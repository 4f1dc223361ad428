"""What every test session needs; its folder joins the import path, so `run_table` can be imported."""

import contextlib
import os
import signal
import time
import traceback
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples every time; no limit on the time of one, since the first compiles.
settings.register_profile("normal", max_examples=50, derandomize=True, deadline=None)
settings.register_profile("slow", settings.get_profile("normal"), max_examples=500)
settings.load_profile("normal")

ABANDONED_SECONDS = 60.0  # a rank that failed waits so long for the others at the end of a test


def mpi_rank() -> int:
    """Return this process's rank in the MPI job that pytest runs in, 0 outside one."""
    for name in ("OMPI_COMM_WORLD_RANK", "PMI_RANK"):
        if name in os.environ:
            return int(os.environ[name])
    return 0


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Let only rank 0 of an MPI job speak and write its results; hear Ctrl-C even in the background.

    A shell starts what it leaves in the background with SIGINT ignored, and children inherit that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if mpi_rank() > 0:
        config.option.xmlpath = None


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session):
    reporter = session.config.pluginmanager.getplugin("terminalreporter")
    if mpi_rank() > 0 and reporter is not None:
        reporter._tw._file = Path(os.devnull).open("w")  # noqa: SIM115  as long as the process


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """End an MPI test alike on all ranks: one that fails anywhere fails everywhere, with the reason.

    A rank that failed while others still wait inside the test for it prints and aborts the job.
    """
    config = pyfuncitem.config
    if pyfuncitem.get_closest_marker("mpi") is None or not config.getoption("--with-mpi", False):
        return (yield)
    from mpi4py import MPI

    failure = ""
    result = None
    try:
        result = yield
    except BaseException as error:  # also pytest's own outcomes
        failure = "".join(traceback.format_exception(error))
    comm = outcome_comm()
    meeting = comm.Ibarrier()
    began = time.monotonic()
    while not meeting.Test():
        time.sleep(1e-4)
        if failure and time.monotonic() - began > ABANDONED_SECONDS:
            with contextlib.suppress(OSError), Path("/dev/stderr").open("w") as stderr:
                print(f"rank {comm.rank}, alone in {pyfuncitem.nodeid}:\n{failure}", file=stderr)
            MPI.COMM_WORLD.Abort(1)
    failures = {rank: text for rank, text in enumerate(comm.allgather(failure)) if text}
    if failures:
        told = "\n".join(f"--- on rank {rank}\n{text}" for rank, text in failures.items())
        pytest.fail(f"failed on rank {', '.join(map(str, failures))}\n{told}", pytrace=False)
    return result


_comms = []


def outcome_comm():
    """Return the communicator of the outcomes, on which nobody else talks."""
    from mpi4py import MPI

    if not _comms:
        _comms.append(MPI.COMM_WORLD.Dup())
    return _comms[0]
