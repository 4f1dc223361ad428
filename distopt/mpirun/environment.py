"""Prepare a process before numpy and numba are imported: threads, and a cache for compiled kernels."""

import os
import tempfile
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # of BLAS


def prepare() -> None:
    """Prepare this process, and those that it starts."""
    for name in THREADS:  # the engine raises them to run.threads, which is not known yet
        os.environ.setdefault(name, "1")
    prepare_numba_cache()


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
    """Whether a folder exists or can be made, is ours, and can be written."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder.stat().st_uid == os.getuid() and os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        return False
