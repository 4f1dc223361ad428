"""The catalogue: every run folder below the data folder, made by the service or by the command line."""

import math
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from distopt.core.errors import DistoptError
from distopt.record.lock import held
from distopt.record.reader import RECORD
from distopt.service.curves import LONG
from distopt.service.schema import Job, Run
from distopt.service.settings import OWN
from distopt.service.store import Store
from distopt.service.worker import Worker

DEPTH = 6  # folders below the data folder
SKIPPED = {OWN, "checkpoints"}
TOGETHER = 20  # folders that are read at once
TURN_SECONDS = 1.0  # of a walk; then the queue has its turn, and the rest comes with the next walk
SCAN_SECONDS = 5.0  # between two walks through all folders, at least
SHARE = 0.01  # of the time goes into walks, at most
QUIET_SECONDS = 900.0  # until a writer on another host, of whom nothing is known, counts as gone


class Catalogue:
    """Keeps the table of runs as the disk is."""

    def __init__(self, store: Store, reader: Worker, curves: Path) -> None:
        self.store, self.reader, self.curves = store, reader, curves
        self.next_walk = 0.0

    def refresh(self, jobs: Sequence[Job] = (), walk: bool = False) -> None:
        """Look at the runs that are at work, and at `jobs`; now and then at all folders."""
        began = time.monotonic()
        if walk or began >= self.next_walk:
            known = {run.folder: run for run in self.store.runs()}
            found = set(self.folders(self.store.data))
            self.store.drop_runs(known.keys() - found)
            whole = self.look(found, known, math.inf if walk else TURN_SECONDS)
            spent = time.monotonic() - began
            self.next_walk = time.monotonic() + (max(SCAN_SECONDS, spent / SHARE) if whole else 0.0)
            return
        found = {run.folder for run in self.store.runs(state="running")}
        for job in jobs:
            found.update(self.folders(self.store.data / job.folder))
        if found:
            self.look(found, {run.folder: run for run in self.store.runs(folders=found)})

    def folders(self, place: Path) -> Iterator[str]:
        """Find the run folders in a folder; links are never followed."""
        for path in run_folders(place, DEPTH):
            yield path.relative_to(self.store.data).as_posix()

    def look(
        self, folders: Iterable[str], known: dict[str, Run], seconds: float = math.inf
    ) -> bool:
        """Read those folders whose record or state has changed; return whether `seconds` were enough."""
        until = time.monotonic() + seconds
        stamps: dict[str, str] = {}
        for folder in sorted(folders):
            stamp = stamp_of(self.store.data / folder)
            if stamp and (folder not in known or known[folder].stamp != stamp):
                stamps[folder] = stamp
        names = [*stamps]
        for at in range(0, len(names), TOGETHER):
            if at and time.monotonic() > until:
                return False
            some = names[at : at + TOGETHER]
            found = self.read(some)
            long = [
                name
                for name, told in zip(some, found, strict=True)
                if told.get("records", 0) > LONG and told["status"] != "running"
            ]
            self.store.put_runs(
                [self.columns(n, stamps[n], f) for n, f in zip(some, found, strict=True)]
            )
            self.prepare(long)
        return True

    def read(self, folders: Sequence[str]) -> list[dict[str, Any]]:
        """Read what folders are at; where that brings the reader down, one after the other."""
        paths = [str(self.store.data / folder) for folder in folders]
        try:
            return self.reader.do("summaries", folders=paths)  # type: ignore[no-any-return]
        except DistoptError as error:
            if len(folders) > 1:
                return [found for folder in folders for found in self.read([folder])]
            return [{"status": "unreadable", "message": str(error)}]

    def prepare(self, folders: Iterable[str]) -> None:
        """Have the curves of long runs that have ended made, one after the other."""
        for folder in folders:
            with suppress(DistoptError):
                self.reader.do(
                    "prepare", folder=str(self.store.data / folder), keep=str(self.curves)
                )

    def columns(self, folder: str, stamp: str, found: dict[str, Any]) -> dict[str, Any]:
        """Return the columns of a run."""
        place = self.store.data / folder
        status = found.pop("status")
        if status == "running" and not at_work(place):
            status = "interrupted"
        numbers = ("agents", "dimension", "iterations", "iteration", "stationarity", "objective",
                   "bytes_per_agent", "seconds")  # fmt: skip
        words = ("algorithm", "compressor", "problem", "message")
        written = time.time()
        with suppress(OSError):
            written = (place / RECORD).stat().st_mtime
        return {
            "folder": folder,
            "job": self.job_of(folder),
            "stamp": stamp,
            "state": status,
            "records": found.get("records", 0),
            "written": written,
            **{name: found.get(name) for name in numbers},
            **{name: found.get(name, "") for name in words},
        }

    def job_of(self, folder: str) -> int | None:
        """Return the number of the job that a folder belongs to."""
        first, _, rest = folder.partition("/")
        number = rest.partition("-")[0]
        if first != "jobs" or not number.isdecimal() or len(number) > 9:
            return None
        job = self.store.job(int(number))
        return job.id if job and f"{folder}/".startswith(f"{job.folder}/") else None


def run_folders(place: Path, depth: int) -> Iterator[Path]:
    """Find the folders that hold a record, down to some depth."""
    inner = []
    try:
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.name == RECORD and entry.is_file(follow_symlinks=False):
                    yield place
                elif entry.is_dir(follow_symlinks=False) and entry.name not in SKIPPED:
                    inner.append(Path(entry.path))
    except OSError:
        return
    if depth > 0:
        for folder in inner:
            yield from run_folders(folder, depth - 1)


def at_work(folder: Path) -> bool:
    """Whether somebody writes to a run folder; a writer on another host must have done so lately."""
    try:
        quiet = time.time() - (folder / RECORD).stat().st_mtime
    except OSError:
        return False
    return held(folder, elsewhere=quiet < QUIET_SECONDS)


def stamp_of(folder: Path) -> str:
    """Tell one state of a run from the next: its record, and whether somebody writes there."""
    try:
        state = (folder / RECORD).lstat()
    except OSError:
        return ""
    return f"{state.st_mtime_ns}:{state.st_size}:{state.st_ino}:{at_work(folder):d}"
