"""Where jobs run. `Local` starts them on this machine, `distopt.service.slurm` on a cluster."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from distopt.record.lock import alive
from distopt.service.runner import claim, claim_file, end_file

LOG = "log.txt"  # what the command printed
SAFE = {"PYTHONSAFEPATH": "1"}  # no module comes from the folder of files


class Seen(NamedTuple):
    """What became of one start of a job."""

    what: str  # "starting", "running", "ended", "lost", "void": it never began and never will, or "unknown"
    code: int | None = None  # exit code, if it ended
    said: str = ""  # where it waits or runs, or why nobody knows


class Backend(Protocol):
    """A place where jobs run. `folder` is that of the service's own files of a job."""

    def start(
        self, folder: Path, attempt: int, command: Sequence[str], cwd: Path, ranks: int
    ) -> None:
        """Start a command that will start so many ranks, detached from this process."""

    def look(self, folder: Path, attempt: int) -> Seen:
        """Say what became of a start, also of one by an earlier server."""

    def stop(self, folder: Path, attempt: int) -> None:
        """Ask a running job to save and stop; ask again to end it at once."""


class Local:
    """Runs jobs on this machine, each in a session of its own, which a server leaves alone when it ends."""

    def __init__(self) -> None:
        self.children: dict[tuple[Path, int], subprocess.Popen[bytes]] = {}
        self.lock = threading.Lock()

    def start(
        self, folder: Path, attempt: int, command: Sequence[str], cwd: Path, ranks: int
    ) -> None:
        """Start a command, detached from this process."""
        with (folder / LOG).open("ab") as log:
            child = subprocess.Popen(
                runner_command(folder, attempt, command),
                cwd=cwd,
                env=os.environ | SAFE,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        with self.lock:
            self.children[folder, attempt] = child

    def look(self, folder: Path, attempt: int) -> Seen:
        """Say what became of a start, also of one by an earlier server."""
        waiting = self.waits(folder, attempt)  # before the files, which its end follows
        owner = read(claim_file(folder, attempt))
        if owner is None:
            if waiting:
                return Seen("starting")
            return Seen("void") if rule_out(folder, attempt) else self.look(folder, attempt)
        here = runs(owner)  # before the end, which is written while it runs
        end = read(end_file(folder, attempt))
        if end is not None and not waiting:
            code = end.get("code")
            return Seen("ended", code if isinstance(code, int) else None)
        if here or waiting:
            return Seen("running")
        return Seen("void" if owner.get("pid") == 0 else "lost")

    def waits(self, folder: Path, attempt: int) -> bool:
        """Whether a child of this process is there; one that has ended is let go."""
        with self.lock:
            child = self.children.get((folder, attempt))
            if child is not None and child.poll() is not None:
                del self.children[folder, attempt]
                child = None
        return child is not None

    def stop(self, folder: Path, attempt: int) -> None:
        """Ask a running job to save and stop; ask again to end it at once."""
        owner = read(claim_file(folder, attempt))
        if owner is not None and runs(owner):
            with suppress(OSError):
                os.kill(owner["pid"], signal.SIGTERM)


def runner_command(folder: Path, attempt: int, command: Sequence[str]) -> list[str]:
    """Return the command line of the process that claims a start and carries it out."""
    own = [sys.executable, "-P", "-m", "distopt.service.runner", str(folder), str(attempt)]
    return [*own, *command]


def rule_out(folder: Path, attempt: int) -> bool:
    """Claim a start for nobody, so that it never happens; return False if a process was faster."""
    return claim(folder, attempt, {"host": socket.gethostname(), "pid": 0, "started": 0.0})


def runs(owner: dict[str, Any]) -> bool:
    """Whether the process of a claim runs; one of another host is gone, or out of reach."""
    try:
        return owner["host"] == socket.gethostname() and owner["pid"] > 0 and alive(owner)
    except (LookupError, TypeError):
        return False


def read(path: Path) -> dict[str, Any] | None:
    """Read a file of the runner; None if there is none."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
