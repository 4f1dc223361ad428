"""Prepare a process before numpy and numba are imported: threads, a cache, its terminal; and its end."""

import atexit
import codecs
import ctypes
import gc
import io
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # of BLAS


def prepare() -> None:
    """Prepare this process, and those that it starts."""
    # Importing takes a sixth less processor time so.
    gc.set_threshold(100_000, *gc.get_threshold()[1:])
    require_home()
    for name in THREADS:  # the engine raises them to run.threads, which is not known yet
        os.environ.setdefault(name, "1")
    if "PMI_RANK" in os.environ:  # of MPICH's mpirun
        # UCX gives up peers that are silent for 20 s, and MPICH 5.0.2 crashes then; run.timeout decides.
        for name in ("UCX_KEEPALIVE_INTERVAL", "UCX_TCP_KEEPIDLE"):
            os.environ.setdefault(name, "inf")
    if "PRTE_LAUNCHED" in os.environ:  # by the mpirun of Open MPI 5
        # The part left out serves windows only, which we have none of, and sleeps a second as it closes.
        # Where the user has chosen parts, mpirun has set this name.
        os.environ.setdefault("OMPI_MCA_btl", "^ofi")
    prepare_numba_cache()
    for stream in (sys.stdout, sys.stderr):
        spell_out(stream)
    warnings.showwarning = Warned().show


def require_home() -> None:
    """Set HOME where it is missing, as under systemd: Open MPI does not start without."""
    if "HOME" not in os.environ:
        try:
            os.environ["HOME"] = str(Path.home())
        except RuntimeError:  # a user that the system does not know
            os.environ["HOME"] = tempfile.gettempdir()


SPELLED = {
    "≤": "<=", "≥": ">=", "≈": "~", "·": "*", "\u00d7": "x", "\u2212": "-", "\u2013": "-", "…": "...",
    "‖": "||", "µ": "u", "²": "^2",
}  # fmt: skip


def spell_out(stream: object) -> None:
    """Let a stream that cannot write every character, such as one in ASCII, write words or ? instead."""
    if isinstance(stream, io.TextIOWrapper) and not stream.encoding.lower().startswith("utf"):
        codecs.register_error("distopt.spelled", spelled)
        stream.reconfigure(errors="distopt.spelled")


def spelled(error: UnicodeError) -> tuple[str, int]:
    """Replace what an encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(SPELLED.get(letter, "?") for letter in lacking), error.end


class Warned:
    """Prints warnings of Python, such as those of a cost, as sentences, each once.

    Python itself forgets which it has shown whenever a library changes its filters.
    """

    def __init__(self) -> None:
        self.lines: set[str] = set()

    def show(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: object = None,
        line: str | None = None,
    ) -> None:
        """Print one, in place of ``warnings.showwarning``."""
        text = " ".join(str(message).split()).rstrip(".")
        told = f"warning: {filename}, line {lineno}: {text} ({category.__name__}).\n"
        if told not in self.lines:
            self.lines.add(told)
            sys.stderr.write(told)


THREAD_SECONDS = 5.0  # that threads of a cost may go on after the end of the program


@contextmanager
def ending_threads() -> Iterator[None]:
    """End the process after the block even if a thread that a cost has left never ends."""
    code = 0
    try:
        yield
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        raise
    finally:
        main = threading.main_thread()
        left = [t.name for t in threading.enumerate() if t is not main and not t.daemon]
        if left:
            finalize()
            timer = threading.Timer(THREAD_SECONDS, leave, (left, code))
            timer.daemon = True
            timer.start()


def end_at_once() -> None:
    """End the process well, but leave the interpreter's own cleaning to the operating system.

    It takes 0.2 s of processor time (measured), so four ranks on a busy machine end 8 s earlier. Exit
    functions are called; if threads are left, the process ends as usual.
    """
    if any(not t.daemon for t in threading.enumerate() if t is not threading.main_thread()):
        return
    atexit._run_exitfuncs()
    finalize()
    sys.stdout.flush()
    sys.stderr.flush()
    end_now(0)


def end_now(code: int) -> None:
    """End the process without the interpreter, but under MPI with the exit functions of C libraries.

    One of MPICH tells its mpirun that this rank is done. Else mpirun takes the end for a crash and kills
    the ranks that have not ended yet, with signal 9.
    """
    if "mpi4py.MPI" in sys.modules:
        ctypes.PyDLL(None).exit(code)
    os._exit(code)


def finalize() -> None:
    """Leave MPI, if this process is in it, which else happens after all threads have ended."""
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is not None and mpi.Is_initialized() and not mpi.Is_finalized():
        mpi.Finalize()


def leave(threads: list[str], code: int) -> None:
    """End the process at once."""
    sys.stdout.flush()
    sys.stderr.write(
        f"warning: the threads {', '.join(threads)} do not end; the program ends without them.\n"
    )
    sys.stderr.flush()
    end_now(code)


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
    private = Path(tempfile.gettempdir()) / f"distopt-{os.getuid()}"
    for folder in (user_cache() / "numba", private / "numba"):
        if usable(folder):
            os.environ["NUMBA_CACHE_DIR"] = str(folder)
            return folder
    return None


def user_cache() -> Path:
    """Return distopt's folder among the user's caches."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(caches) / "distopt"


def usable(folder: Path) -> bool:
    """Whether a folder exists or can be made, is ours, and can be written."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder.stat().st_uid == os.getuid() and os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        return False
