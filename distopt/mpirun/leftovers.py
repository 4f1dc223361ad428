"""Shared memory and session folders of MPI jobs that were killed, removed at the next start.

Open MPI leaves 16 MiB a rank in /dev/shm (of which it has touched a part) and a folder for temporary
files, MPICH some MiB a job. The kernel says whether anybody still uses a file: it grants a lease for
reading only if no process has the file open or mapped for writing, in whatever container it lives. The
ranks of a job have, from the moment they make it.
"""

import fcntl
import os
import re
import shutil
import signal
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

SEGMENT = re.compile(  # of Open MPI, MPICH, and UCX, which both may use
    r"(sm|vader)_segment\..+\.\d+\.[0-9a-f]+\.\d+|mpich_(shm_|shar_tmp)\w+|ucx_shm_posix_[0-9a-f]+"
)
SESSION = re.compile(r"ompi\.\d+")  # of Open MPI's mpirun, by its process
IN_USE = "hwloc.sm"  # the file of a session that mpirun holds open for writing


def remove_leftovers(memory: Path = Path("/dev/shm"), temporary: Path | None = None) -> list[Path]:
    """Remove what this user's dead MPI jobs have left on this host; return the paths."""
    found = []
    for path in entries(memory, SEGMENT):
        if unused(path):
            with suppress(OSError):
                path.unlink()
                found.append(path)
    for path in entries(temporary or Path(tempfile.gettempdir()), SESSION):
        if not path.is_symlink() and unused(path / IN_USE):
            shutil.rmtree(path, ignore_errors=True)
            found.append(path)
    return found


def entries(folder: Path, names: re.Pattern[str]) -> list[Path]:
    """List this user's entries of a folder that have such a name."""
    found = []
    with suppress(OSError):
        for path in folder.iterdir():
            with suppress(OSError):
                if names.fullmatch(path.name) and path.lstat().st_uid == os.getuid():
                    found.append(path)
    return found


def unused(path: Path) -> bool:
    """Whether a plain file exists that no process has open for writing; False if the system can't tell."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return False
        # Should anybody open it now, the signal is one that is ignored, not SIGIO, which ends us.
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except (OSError, AttributeError):  # AttributeError: only Linux has leases
        return False
    else:
        return True
    finally:
        os.close(file)  # and the lease
