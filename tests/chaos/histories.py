"""Histories of a run: stages in processes of their own, each with a fault, compared with no fault at all.

A history is a text: "cgt1 quantize: run kill@17 resume torn@30" starts a run that dies at its 17th file
operation, is resumed, dies in the middle of its 30th, and (always at the end) is resumed without a fault.
Faults at an operation happen at the same place in every replay; "kill+35", after 35 ms, does not.
"""

import os
import random
import signal
import socket
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
from ledger import AGENTS, ITERATIONS, Ledger
from operations import LETHAL, LIBC, Fault, Watch, be_watched
from run_table import comparable, configure

from distopt.core.errors import CheckpointError, DistoptError
from distopt.engine import journal, team
from distopt.engine.run import resume, run
from distopt.record import checkpoint, lock, metrics
from distopt.record.metrics import read_metrics

RUN = {"iterations": ITERATIONS, "record_every": 7, "checkpoint_every": 10}
REFUSALS = {"full", "readonly", "broken"}
SIGNALS = {"SIGTERM", "SIGINT", "SIGUSR1"}
SECONDS = 300.0  # a stage that takes longer hangs
COUNTED = ("nbytes", "nbytes_on_wire", "messages")
NOTHING_YET = ("There is no valid checkpoint in", "is not a run directory")


NO_FAULT = Fault()


@dataclass(frozen=True)
class Stage:
    """One process of a history: what it does ("run", "resume", "over"), and what happens to it."""

    do: str
    fault: Fault = NO_FAULT

    def __str__(self) -> str:
        f = self.fault
        where = f"@{f.at}" if f.after is None else f"+{f.after:g}"
        what = f"{f.kind}:{f.who}" if f.who else f.kind
        return self.do if f.kind == "none" else f"{self.do} {what}{where}"


@dataclass(frozen=True)
class History:
    """The stages of one run."""

    pair: tuple[str, str]
    stages: tuple[Stage, ...]

    def __str__(self) -> str:
        return f"{' '.join(self.pair)}: {' '.join(map(str, self.stages))}"

    @classmethod
    def read(cls, text: str) -> "History":
        """Read what `str` writes.

        >>> str(History.read("cgt1 quantize: run kill:rank2@17 resume pause+3.5 resume"))
        'cgt1 quantize: run kill:rank2@17 resume pause+3.5 resume'
        """
        head, _, rest = text.partition(":")
        algorithm, message = head.split()
        stages: list[Stage] = []
        for word in rest.split():
            if word in {"run", "resume", "over"}:
                stages.append(Stage(word))
                continue
            kind, _, place = word.replace("+", "@").partition("@")
            kind, _, who = kind.partition(":")
            where = {"after": float(place)} if "+" in word else {"at": int(place)}
            stages[-1] = Stage(stages[-1].do, Fault(kind, who=who, **where))
        return cls((algorithm, message), tuple(stages))


@contextmanager
def clock_moved_by(seconds: float) -> Iterator[None]:
    """Show the package another time of day, and start times of processes that follow it."""

    class Moved(datetime):
        @classmethod
        def now(cls, zone: Any = None) -> datetime:
            return datetime.now(zone) + timedelta(seconds=seconds)

    class Process(psutil.Process):
        def create_time(self) -> float:
            return super().create_time() + seconds

    lock.datetime, lock.psutil.Process = Moved, Process
    yield


@contextmanager
def read_here(history: History) -> Iterator[None]:
    """Read records in this process, bounded in time as it is; after a loss of power in a child.

    A new Python for each record would take most of a campaign's time.
    """
    original = metrics.read_in_child
    if not any(stage.fault.kind == "power" for stage in history.stages):
        metrics.read_in_child = metrics.read_here
    try:
        yield
    finally:
        metrics.read_in_child = original


def act(stage: Stage, pair: tuple[str, str], out: Path) -> None:
    """Do what a stage does, as a user would."""
    config = configure(*pair, **RUN)
    journal.FLUSH_SECONDS = 0.0  # so that operations do not depend on time
    if stage.do == "resume":
        try:
            resume(out, engine="simulate")
            return
        except CheckpointError as error:
            if not any(words in str(error) for words in NOTHING_YET):
                raise
            os.write(2, b"(begins anew)\n")
    run(config, engine="simulate", out=out, overwrite=stage.do != "run")


def child(
    stage: Stage, pair: tuple[str, str], out: Path, ledger: Ledger, told: int, to: socket.socket
) -> None:
    """Be the process of a stage, and end with it."""
    code = 1
    try:
        os.dup2(told, 1)
        os.dup2(told, 2)
        ledger.listen(team)
        be_watched(to)
        if stage.fault.kind == "clock":
            with clock_moved_by(stage.fault.at):
                act(stage, pair, out)
        else:
            act(stage, pair, out)
        code = 0
    except KeyboardInterrupt:
        code = 130
    except DistoptError as error:
        os.write(2, f"distopt: {error}\n".encode())
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        LIBC.exit(code)  # with HDF5's own end, without Python's


@dataclass
class Ended:
    """How a stage ended."""

    status: int  # exit code, or minus the number of the signal
    text: str  # what it wrote
    watch: Watch
    in_time: bool


def play(stage: Stage, pair: tuple[str, str], out: Path, ledger: Ledger) -> Ended:
    """Fork the process of a stage, watch it to its end."""
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as told, ours:
        pid = os.fork()
        if pid == 0:
            child(stage, pair, out, ledger, told.fileno(), theirs)
        theirs.close()
        _, (listener,), _, _ = socket.recv_fds(ours, 1, 1)
        ended = os.pidfd_open(pid)
        watch = Watch(pid, f"{out}", NO_FAULT if stage.fault.kind == "clock" else stage.fault)
        in_time = watch.serve(listener, ended, SECONDS)
        _, status = os.waitpid(pid, 0)
        os.close(listener)
        os.close(ended)
        told.seek(0)
        text = told.read().decode(errors="replace")
    return Ended(os.waitstatus_to_exitcode(status), text, watch, in_time)


@dataclass(frozen=True)
class Content:
    """What a run directory holds, clocks excepted."""

    iteration: int
    arrays: dict[str, bytes]
    numbers: dict[str, int]
    rows: list[dict[str, Any]]
    meta: dict[str, Any]
    names: set[str]
    checkpoints: int

    @classmethod
    def of(cls, out: Path) -> "Content":
        """Read a run that has ended."""
        place = checkpoint.latest(out / "checkpoints", AGENTS).place
        arrays, numbers = {}, {}
        for path in sorted(place.glob("rank-*.h5")):
            with h5py.File(path, "r") as file:
                for name, data in file.items():
                    arrays[f"{path.name} {name}"] = data[()].tobytes()
                for name in COUNTED:
                    numbers[name] = numbers.get(name, 0) + file.attrs.get(name, 0)
        found = read_metrics(out / "metrics.h5")
        names = {p.name for p in out.iterdir()} - {"job.json"}
        rows = comparable(found.rows(), "diagnostics_bytes")
        valid = len([*out.glob("checkpoints/*/manifest.json")])
        meta = {key: value for key, value in found.meta.items() if key != "engine"}
        return cls(int(place.name), arrays, numbers, rows, meta, names, valid)


@dataclass(frozen=True)
class Undisturbed:
    """The run without a fault: what all others must become."""

    content: Content
    sums: np.ndarray
    operations: int

    @property
    def iterations(self) -> list[int]:
        """Those that are recorded."""
        return [row["iteration"] for row in self.content.rows]


@lru_cache(maxsize=32)
def undisturbed(pair: tuple[str, str]) -> Undisturbed:
    """Make it, in this process (so that the kernels are here for those to be forked), and in its own."""
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        run(configure(*pair, **RUN), engine="simulate")
        ledger, out = Ledger(), Path(folder) / "run"
        ended = play(Stage("run"), pair, out, ledger)
        if ended.status:
            raise RuntimeError(ended.text)
        return Undisturbed(Content.of(out), ledger.sums.copy(), len(ended.watch.trace))


def memory_folder() -> str | None:
    """Return a folder in memory, where there is one: fsync is quick there."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class Trial:
    """Plays a history and collects what is wrong with it."""

    def __init__(self, history: History, draw: random.Random) -> None:
        self.history, self.draw = history, draw
        self.whole = undisturbed(history.pair)
        self.ledger = Ledger(wanted=self.whole.sums)
        self.wrong: list[str] = []
        self.struck: list[str] = []  # faults that happened
        self.saved: int | None = None  # the iteration of the newest checkpoint
        self.record_may_be_lost = False
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return time.monotonic() - self.began

    def play(self) -> "Trial":
        """Play all stages, and one more without a fault; compare."""
        with tempfile.TemporaryDirectory(dir=memory_folder()) as folder, read_here(self.history):
            out = Path(folder) / "run"
            for number, stage in enumerate([*self.history.stages, Stage("resume")]):
                ended = play(stage, self.history.pair, out, self.ledger)
                self.after(stage, ended, out, f"stage {number + 1} ({stage})")
                if self.wrong:
                    break
            else:
                self.compare(Content.of(out))
        return self

    def after(self, stage: Stage, ended: Ended, out: Path, what: str) -> None:
        """Check what one stage leaves behind."""
        kind, watch = stage.fault.kind, ended.watch
        what += f", {watch.where}" if watch.where else ""
        if watch.hit or kind == "clock":
            self.struck.append(kind)
        if not ended.in_time:
            self.wrong.append(f"{what}: did not end within {SECONDS:g} s")
        if "(begins anew)" in ended.text and self.saved is not None:
            self.wrong.append(f"{what}: found no checkpoint, but one of {self.saved} was there")
        allowed = self.allowed(kind if watch.hit else "none")
        if stage.fault.after is not None:
            allowed = allowed | {0}  # it may just have ended by itself
        if ended.status not in allowed:
            self.wrong.append(f"{what}: ended with {ended.status}: {ended.text}")
        if "Traceback" in ended.text:
            self.wrong.append(f"{what}: {ended.text}")
        if kind == "power" and watch.hit:
            watch.lose_power(self.draw.random)
            self.record_may_be_lost = True
        anew = stage.do != "resume" or "(begins anew)" in ended.text
        done = [] if anew or self.saved is None else [self.saved]
        certain = watch.trace[:-1] if stage.fault.after is not None and watch.hit else watch.trace
        done += [
            int(Path(path).parent.name)
            for call, path in certain
            if call == "rename" and path.endswith("/manifest.json")
        ]
        self.saved = self.newest(out)
        if done and (self.saved is None or self.saved < max(done)):
            self.wrong.append(f"{what}: checkpoint {max(done)} was made, {self.saved} is there")
        if self.saved is not None and not self.record_may_be_lost:
            self.check_record(out, what)

    @staticmethod
    def allowed(kind: str) -> set[int]:
        """Return the exit codes that a fault may lead to."""
        if kind in LETHAL:
            return {-signal.SIGKILL}
        if kind in REFUSALS:
            return {0, 1}
        if kind in SIGNALS:
            number = signal.Signals[kind]
            return {0, 1, 128 + number, -number}
        return {0}

    @staticmethod
    def newest(out: Path) -> int | None:
        """Return the iteration of the newest valid checkpoint."""
        with suppress(CheckpointError):
            return checkpoint.latest(out / "checkpoints", AGENTS).iteration
        return None

    def check_record(self, out: Path, what: str) -> None:
        """Demand all rows up to the newest checkpoint, and none that is wrong."""
        try:
            rows = comparable(read_metrics(out / "metrics.h5").rows(), "diagnostics_bytes")
        except CheckpointError as error:
            self.wrong.append(f"{what}: {error}")
            return
        wanted = self.whole.content.rows
        if rows != wanted[: len(rows)]:
            # The last iteration is recorded also where it is no multiple of run.record_every.
            self.wrong.append(f"{what}: rows {[row['iteration'] for row in rows]} differ")
        if len(rows) < sum(k <= self.saved and k % 7 == 0 for k in self.whole.iterations):
            self.wrong.append(f"{what}: {len(rows)} rows, the newest checkpoint is {self.saved}")

    def compare(self, found: Content) -> None:
        """Compare the end with that of the undisturbed run."""
        wanted = self.whole.content
        for name in ("iteration", "arrays", "numbers"):
            if getattr(found, name) != getattr(wanted, name):
                self.wrong.append(f"end: {name} differ")
        if (
            found.checkpoints < wanted.checkpoints
        ):  # a kill before older ones are removed leaves more
            self.wrong.append(f"end: {found.checkpoints} checkpoints are left")
        if self.record_may_be_lost:
            if found.rows != wanted.rows[len(wanted.rows) - len(found.rows) :]:
                self.wrong.append("end: rows differ")
        elif found.rows != wanted.rows or found.meta != wanted.meta:
            differ = [key for key in wanted.meta if found.meta.get(key) != wanted.meta[key]]
            self.wrong.append(f"end: the record differs: {len(found.rows)} rows, meta {differ}")
        if self.ledger.wrong.any() or (self.ledger.sums != self.whole.sums).any():
            where = np.unique(np.nonzero(self.ledger.sums != self.whole.sums)[0])
            self.wrong.append(f"end: messages differ, of iterations {where.tolist()}")
        more = {name for name in found.names ^ wanted.names if ".damaged" not in name}
        if more:
            self.wrong.append(f"end: files left behind or missing: {sorted(more)}")
