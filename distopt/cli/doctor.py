"""``distopt doctor``: does this installation work, and if not, what to do about it."""

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

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


class Finding(NamedTuple):
    """One line of the examination."""

    what: str
    ok: bool
    text: str
    advice: str = ""


def doctor(debug: options.Debug = False) -> None:
    """Check this installation: packages, MPI, a message between two ranks, caches."""
    from rich.markup import escape

    from distopt.show.console import output

    console, healthy = output(), True
    for finding in findings():
        mark = "[green]ok[/]     " if finding.ok else "[bold red]problem[/]"
        console.print(f"{mark}  {finding.what:<16} {escape(finding.text)}")
        if not finding.ok:
            console.print(f"{'':25} [yellow]{escape(finding.advice)}[/]")
            healthy = False
    console.print("All is well." if healthy else "[bold]See the lines marked as a problem.[/]")
    if not healthy:
        raise typer.Exit(1)


def findings() -> Iterator[Finding]:
    """Check one thing after the other."""
    yield python()
    for package in ("numpy", "numba", "h5py", "scipy", "scikit-learn", "mpi4py"):
        yield installed(package)
    yield byte_order()
    yield cores()
    yield checked("BLAS", blas, "Reinstall numpy and threadpoolctl.")
    yield checked("compiled kernel", kernel, "Reinstall numba; its version must fit numpy's.")
    yield kernel_cache()
    yield checked("MPI library", mpi_library, INSTALL)
    yield checked("mpirun", lambda: " ".join(find_mpirun().command), INSTALL)
    yield checked(
        "two ranks", exchange, "Try the printed command by hand; --mpirun-args and DISTOPT_MPIRUN "
        "change it."
    )  # fmt: skip


def checked(what: str, check: Callable[[], str], advice: str) -> Finding:
    """Turn a check that returns a text or raises into a finding."""
    try:
        return Finding(what, True, check())
    except DistoptError as error:
        return Finding(what, False, str(error), "" if INSTALL in str(error) else advice)
    except Exception as error:  # whatever is broken is what we are looking for
        return Finding(what, False, f"{type(error).__name__}: {error}", advice)


def python() -> Finding:
    """Check the interpreter."""
    ok = sys.version_info >= (3, 11)
    text = f"{platform.python_version()} in {sys.prefix}"
    return Finding("Python", ok, text, "distopt needs Python 3.11 or newer.")


def installed(package: str) -> Finding:
    """Check that a package is there."""
    try:
        return Finding(package, True, version(package))
    except PackageNotFoundError:
        advice = INSTALL if package == "mpi4py" else f"`pip install {package}` brings it."
        return Finding(package, False, "not installed", advice)


def byte_order() -> Finding:
    """Check what the wire formats rely on."""
    return Finding(
        "byte order", sys.byteorder == "little", f"{sys.byteorder}-endian, {platform.machine()}",
        "The wire formats are little-endian; this machine cannot take part.",
    )  # fmt: skip


def cores() -> Finding:
    """Count the cores that this process may use."""
    return Finding("cores", True, f"{usable_cores()} usable of {os.cpu_count()}")


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


def kernel_cache() -> Finding:
    """Check that compiled kernels can be kept."""
    prepare_numba_cache()
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or Path(__file__).parent)
    try:
        with tempfile.TemporaryFile(dir=folder):
            return Finding("kernel cache", True, str(folder))
    except OSError as error:
        return Finding(
            "kernel cache", False, f"{folder} is not writable ({error.strerror})",
            "Set NUMBA_CACHE_DIR to a folder that is; without it every start compiles again.",
        )  # fmt: skip


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
