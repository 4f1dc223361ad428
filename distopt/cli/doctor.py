"""``distopt doctor``: check whether this installation works, and say what to do if not."""

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import typer

from distopt.cli import options
from distopt.core.errors import DistoptError
from distopt.mpirun.environment import prepare_numba_cache, usable_cores
from distopt.mpirun.launcher import INSTALL, find_mpirun, mpi_library

MESSAGE_SECONDS = 60
# Two ranks exchange packed bytes as the transport does, and rank 0 says so.
EXCHANGE = """
import numpy as np
from mpi4py import MPI
comm = MPI.COMM_WORLD
sent, got = np.full(1000, comm.rank, np.uint8), np.empty(1000, np.uint8)
comm.Sendrecv([sent, 1000, MPI.BYTE], 1 - comm.rank, 0, [got, 1000, MPI.BYTE], 1 - comm.rank, 0)
assert (got == 1 - comm.rank).all()
comm.Barrier()
if comm.rank == 0:
    print("exchanged", flush=True)
"""


def doctor(debug: options.Debug = False) -> None:
    """Check this installation: packages, MPI, a message between two ranks, caches."""
    from rich.markup import escape

    from distopt.show.console import output

    console, healthy = output(), True
    for what, (check, advice) in checks().items():
        try:
            console.print(f"[green]ok[/]       {what:<16} {escape(check())}")
        except Exception as error:  # any error is a finding
            healthy = False
            known = isinstance(error, DistoptError)
            sentence = str(error) if known else f"{type(error).__name__}: {error}"
            console.print(f"[bold red]problem[/]  {what:<16} {escape(sentence)}")
            if advice not in sentence:
                console.print(f"{'':25} [yellow]{escape(advice)}[/]")
    console.print("All is well." if healthy else "[bold]See the lines marked as a problem.[/]")
    if not healthy:
        raise typer.Exit(1)


def checks() -> dict[str, tuple[Callable[[], str], str]]:
    """List the checks: a function that returns its finding or raises, and advice for a failure."""
    packages = ("numpy", "numba", "h5py", "scipy", "scikit-learn", "mpi4py")
    return {
        "Python": (lambda: f"{platform.python_version()} in {sys.prefix}", ""),
        **{name: (partial(version, name), f"`pip install {name}` brings it.") for name in packages},
        "byte order": (
            byte_order,
            "The wire formats are little-endian; this machine cannot run distopt.",
        ),
        "cores": (lambda: f"{usable_cores()} usable of {os.cpu_count()}", ""),
        "BLAS": (blas, "Reinstall numpy and threadpoolctl."),
        "compiled kernel": (kernel, "Reinstall numba; its version must fit numpy's."),
        "kernel cache": (
            kernel_cache,
            "Set NUMBA_CACHE_DIR to a folder that is; without it every start compiles again.",
        ),
        "service": (service, ""),
        "MPI library": (mpi_library, INSTALL),
        "mpirun": (lambda: " ".join(find_mpirun().command), INSTALL),
        "two ranks": (
            exchange,
            "Try the printed command by hand; --mpirun-args and DISTOPT_MPIRUN change it.",
        ),
    }


def byte_order() -> str:
    """Check the machine's byte order, on which the wire formats rely."""
    if sys.byteorder != "little":
        raise DistoptError(f"{sys.byteorder}-endian")
    return f"little-endian, {platform.machine()}"


def blas() -> str:
    """Name the linear algebra library behind numpy."""
    import numpy as np
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    found = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    described = [f"{pool['internal_api']} {pool.get('version') or ''}".strip() for pool in found]
    return ", ".join(dict.fromkeys(described)) or "none that threadpoolctl knows"


def kernel() -> str:
    """Compile and run a compressor."""
    from distopt.compressors.base import compress
    from distopt.compressors.norm_sign import NormSign

    payload, decoded = compress(NormSign(), [4.0, -1.0])
    if decoded.tolist() != [2.0, -2.0]:
        raise DistoptError(f"norm_sign of [4, -1] decoded to {decoded.tolist()}, not to [2, -2].")
    return f"norm_sign packs 2 coordinates into {len(payload)} bytes and back"


def kernel_cache() -> str:
    """Check that compiled kernels can be kept."""
    prepare_numba_cache()
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or Path(__file__).parents[1])
    try:
        with tempfile.TemporaryFile(dir=folder):
            return str(folder)
    except OSError as error:
        raise DistoptError(f"{folder} is not writable ({error.strerror})") from None


def service() -> str:
    """Name the packages of `distopt serve`, which nothing else needs."""
    from distopt.cli.serve import missing_packages

    if missing := missing_packages():
        return f'{", ".join(missing)} missing; `pip install "distopt-mpi[service]"` for `distopt serve`'
    names = ("fastapi", "uvicorn", "sqlalchemy", "sse-starlette")
    return ", ".join(f"{name} {version(name)}" for name in names)


def exchange() -> str:
    """Start two ranks that send each other a message."""
    mpirun = find_mpirun()
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMI", "PRTE_"))}
    command = mpirun.start(2, [sys.executable, "-c", EXCHANGE])
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=MESSAGE_SECONDS, check=False, env=clean
        )
    except subprocess.TimeoutExpired:
        raise DistoptError(
            f"no message within {MESSAGE_SECONDS} s: {' '.join(command[:-2])} ..."
        ) from None
    if done.returncode or "exchanged" not in done.stdout:
        said = [line for line in done.stderr.splitlines() if line.strip("-= ")]
        raise DistoptError(
            f"{' '.join(command[:-2])} ... ended with code {done.returncode}: {' '.join(said[:3])}"
        )
    return f"exchanged a message over {mpirun.library}"
