"""One writer: a lock file in the run folder says which process writes there.

The file appears whole, by a hard link, with host, process and start time of its owner, who also holds a
`flock` on it. The system frees a `flock` when its process ends, so on one host a lock that a killed
run left behind is recognised and removed, and so is that of a container which is gone: its host name means
nothing to others, but they share its kernel, and with it the `flock`. Docs: running, one writer.
"""

import fcntl
import glob
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from distopt.core.errors import CheckpointError
from distopt.record.hdf5 import run_refused

NAME = "run.lock"
TAKEOVER_SECONDS = 0.2
LEAVE_SECONDS = 10.0  # a process of a job that has ended is gone within this time
CLOCK_SECONDS = 2.0  # start times of one process may differ by this much when the clock is adjusted


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder.

    Raises
    ------
    CheckpointError
        If another process holds it.
    """
    path = folder / NAME
    mine = path.with_name(f"{NAME}.{socket.gethostname()}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        descriptor = os.open(mine, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    except OSError as error:
        raise run_refused(path, error) from None
    try:
        try:
            os.write(descriptor, json.dumps(this_process()).encode())
            os.fsync(descriptor)
            hold(descriptor)
            while not linked(mine, path):
                remove_stale(path)
        except OSError as error:
            raise run_refused(path, error) from None
        finally:
            remove_first_names(mine)
        try:
            yield
        finally:
            release(path, descriptor)
    finally:
        os.close(descriptor)


def remove_first_names(mine: Path) -> None:
    """Remove the name under which a lock was made, and those of processes killed in this instant."""
    names = mine.parent.glob(f"{NAME}.{glob.escape(socket.gethostname())}.*")
    pids = {path: path.name.split(".")[-2] for path in names}
    gone = [
        path for path, pid in pids.items() if pid.isdecimal() and not psutil.pid_exists(int(pid))
    ]
    for path in (mine, *gone):
        with suppress(OSError):
            path.unlink()


def refuse_held(folder: Path) -> None:
    """Raise `CheckpointError` if a process of this machine holds the lock of a run folder; change nothing.

    Of other machines the ranks know more.
    """
    with suppress(OSError):
        remove_stale(folder / NAME, keep=True)


def held(folder: Path, elsewhere: bool = True) -> bool:
    """Whether a process writes to a run folder; `elsewhere` is the answer for one on another host."""
    try:
        with (folder / NAME).open("rb") as file:
            owner = json.load(file)
            if owner["host"] == socket.gethostname():
                return alive(owner)
            if not beside(owner):
                return elsewhere
            return not hold(file.fileno(), without=False, shared=True)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def free_lock(folder: Path, owner: tuple[str, int] | None) -> None:
    """Clear the way to a run folder after its job has ended.

    The process at `owner`, a host and a pid, held the lock. On this host wait until it is gone; that of
    another host is removed, because mpirun has ended it there.
    """
    path, began = folder / NAME, time.monotonic()
    while time.monotonic() - began < LEAVE_SECONDS:
        try:
            refuse_held(folder)
            break
        except CheckpointError:
            time.sleep(0.05)
    if owner is not None and owner_elsewhere(path) == owner:
        with suppress(OSError):
            path.unlink()


def owner_elsewhere(path: Path) -> tuple[str, int] | None:
    """Return host and process of a lock that another host holds, None of any other file."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        found = json.loads(path.read_bytes())
        if found["host"] != socket.gethostname():
            return found["host"], found["pid"]
    return None


def this_process() -> dict[str, Any]:
    """Describe this process, as the lock file does its owner."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
        "kernel": kernel(),
    }


def kernel() -> str:
    """Name the running kernel: the same in all containers of a machine until it is started again."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"unknown to {socket.gethostname()}"


def beside(owner: dict[str, Any]) -> bool:
    """Whether the owner of a lock is on this machine, but under another host's name: in a container."""
    return owner["host"] != socket.gethostname() and owner.get("kernel") == kernel()


def linked(source: Path, path: Path) -> bool:
    """Give a file a second name, where links exist, else another one; return False if it is taken."""
    try:
        os.link(source, path)
    except FileExistsError:
        return False
    except OSError:
        if path.exists():
            return False
        # Not safe against another start in this instant, but links are rarely missing.
        source.rename(path)
    return True


def hold(descriptor: int, without: bool = True, shared: bool = False) -> bool:
    """Take the `flock` of a file; return False if another process has it.

    `without` is the answer on a file system without `flock`; by default that counts as success, since there
    the content of the file decides alone. Who only looks takes it `shared`, and is in no other's way.
    """
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return without
    return True


def remove_stale(path: Path, keep: bool = False) -> None:
    """Remove a lock whose owner is gone (only look if `keep`); raise if it is not, or may not be."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        owner = json.loads(os.read(descriptor, 4096))
        here = owner["host"] == socket.gethostname()
        contained = beside(owner)
        if keep and not here and not contained:
            return
        gone = contained or (here and not alive(owner))
        free = hold(descriptor, without=not contained)
        if gone and not free:  # another process may be removing it right now
            time.sleep(TAKEOVER_SECONDS)
            free = hold(descriptor, without=not contained)
        if not (gone and free):
            raise refusal(path, owner)
        if not keep:
            release(path, descriptor)
    except (ValueError, KeyError, TypeError):
        raise CheckpointError(
            f"{path} is not a lock of distopt. If no run writes there, remove it: rm {path}"
        ) from None
    finally:
        os.close(descriptor)


def release(path: Path, descriptor: int) -> None:
    """Remove the lock file, if it is still the one that is open."""
    with suppress(OSError):
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            path.unlink()


def alive(owner: dict[str, Any]) -> bool:
    """Whether the process that a lock of this host names still exists."""
    try:
        process = psutil.Process(owner["pid"])
        gone = process.status() == psutil.STATUS_ZOMBIE
        return not gone and abs(process.create_time() - owner["started"]) < CLOCK_SECONDS
    except psutil.Error:
        return False


def refusal(path: Path, owner: dict[str, Any]) -> CheckpointError:
    """Make the sentence about a folder that another process writes to."""
    near = owner["host"] == socket.gethostname() or beside(owner)
    advice = (
        "Wait for it, or stop it."
        if near
        else f"If it is gone (this host cannot tell), remove the lock: rm {path}"
    )
    return CheckpointError(
        f"{path.parent} belongs to process {owner['pid']} on host {owner['host']}, which has been "
        f"writing there since {owner['since']}. {advice}"
    )
