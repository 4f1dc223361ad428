"""Histories of MPI jobs: `distopt run` and `resume` with four ranks, any part of which may be killed.

Faults name whom they meet: "kill:rank2@40" at the 40th file operation of rank 2, "kill:mpirun+900" 900 ms
after all ranks have begun. The last stage resumes under MPI or in one process.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
import psutil
from histories import (
    NOTHING_YET,
    REFUSALS,
    RUN,
    Content,
    History,
    Stage,
    Trial,
    memory_folder,
    play,
    read_here,
)
from ledger import AGENTS, Ledger
from operations import LETHAL, PAUSE_SECONDS, Fault
from run_table import configure

HERE = Path(__file__).parent
JOB_SECONDS = 240.0  # a job that takes longer hangs
LEAVE_SECONDS = 60.0  # ranks whose job was killed are gone by then


def alive(pid: int) -> bool:
    """Whether a process exists and is not only waiting for its parent to notice its end."""
    with suppress(psutil.Error):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


class Job:
    """One job: the command, its mpirun, its ranks.

    Parameters
    ----------
    place : Path
        Of the trial; the run directory is `place`/out.
    arguments : list of str
        Of distopt.
    fault : Fault
    """

    def __init__(self, place: Path, arguments: list[str], fault: Fault) -> None:
        self.place, self.fault, self.hit, self.where = place, fault, False, ""
        for old in [*place.glob("pid-*"), place / "seen"]:
            old.unlink(missing_ok=True)
        at_operation = fault.after is None and fault.who.startswith("rank")
        rank = int(fault.who[4:]) if at_operation else -1
        inside = {key: value for key, value in asdict(fault).items() if key in {"kind", "at"}}
        (place / "plan.json").write_text(json.dumps({"rank": rank, "fault": inside}))
        path = os.pathsep.join([str(HERE / "rank"), os.environ.get("PYTHONPATH", "")])
        self.watched = rank >= 0
        with (place / "told").open("wb") as told:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "distopt", *arguments],
                stdin=subprocess.DEVNULL, stdout=told, stderr=told, start_new_session=True,
                env=os.environ | {"PYTHONPATH": path, "CHAOS_PLACE": str(place)},
            )  # fmt: skip

    @property
    def text(self) -> str:
        """What the job wrote."""
        return (self.place / "told").read_text(errors="replace")

    def ranks(self) -> dict[int, int]:
        """Return the processes of the ranks that have begun."""
        found = {}
        for path in self.place.glob("pid-*"):
            with suppress(ValueError):
                found[int(path.name[4:])] = int(path.read_text())
        return found

    def mpirun(self) -> list[int]:
        """Return the process of mpirun."""
        with suppress(psutil.Error):
            return [child.pid for child in psutil.Process(self.process.pid).children()]
        return []

    def end(self) -> bool:
        """Strike when it is time, wait for the end of all; return whether nothing had to be killed."""
        last, due = time.monotonic() + JOB_SECONDS, None
        everybody = {self.process.pid}
        while self.process.poll() is None and time.monotonic() < last:
            ranks = self.ranks()
            everybody |= {*ranks.values(), *self.mpirun()}
            if self.fault.after is not None and not self.hit and len(ranks) == AGENTS:
                due = due or time.monotonic() + self.fault.after / 1e3
                if time.monotonic() >= due:
                    self.strike(ranks)
            time.sleep(0.01)
        everybody |= set(self.ranks().values())
        in_time = self.process.poll() is not None
        last = time.monotonic() + LEAVE_SECONDS
        while in_time and any(map(alive, everybody)) and time.monotonic() < last:
            time.sleep(0.02)
        for pid in filter(alive, everybody):
            in_time = False
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        if self.watched:
            self.read_seen()
        return in_time

    def strike(self, ranks: dict[int, int]) -> None:
        """Do what the plan says, to whom it says."""
        who, self.hit = self.fault.who, True
        found = {"command": [self.process.pid], "mpirun": self.mpirun(), "all": [*ranks.values()]}
        pids = found.get(who) or [pid for rank, pid in ranks.items() if who == f"rank{rank}"]
        numbers = {"kill": signal.SIGKILL, "pause": signal.SIGSTOP}
        number = numbers.get(self.fault.kind) or signal.Signals[self.fault.kind]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        if number == signal.SIGSTOP:
            time.sleep(6 * PAUSE_SECONDS)
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def read_seen(self) -> None:
        """Take what the process saw that watched a rank."""
        last = time.monotonic() + LEAVE_SECONDS
        while not (self.place / "seen").exists() and time.monotonic() < last:
            time.sleep(0.02)
        with suppress(FileNotFoundError):
            seen = json.loads((self.place / "seen").read_text())
            self.hit, self.where = seen["hit"], seen["where"]


class JobTrial(Trial):
    """Plays a history of MPI jobs."""

    def __init__(self, history: History, draw: random.Random, last: str = "simulate") -> None:
        super().__init__(history, draw)
        self.last = last

    def play(self) -> "JobTrial":
        """Play all stages, and one more without a fault; compare."""
        with tempfile.TemporaryDirectory(dir=memory_folder()) as folder, read_here(self.history):
            place = Path(folder)
            (place / "config.toml").write_text(configure(*self.history.pair, **RUN).to_toml())
            (place / "ledger").write_bytes(bytes(Ledger.NBYTES))
            np.save(place / "wanted.npy", self.whole.sums)
            with (place / "ledger").open("r+b") as file:
                self.ledger = Ledger(file.fileno(), self.whole.sums)
            for number, stage in enumerate(self.history.stages):
                self.stage(place, stage, f"stage {number + 1} ({stage})")
                if self.wrong:
                    return self
            if self.last == "mpi":
                self.stage(place, Stage("resume"), "last stage")
            else:
                ended = play(Stage("resume"), self.history.pair, place / "out", self.ledger)
                self.after(Stage("resume"), ended, place / "out", "last stage")
            if not self.wrong:
                self.compare(Content.of(place / "out"))
        return self

    def stage(self, place: Path, stage: Stage, what: str) -> None:
        """Play one stage, and check what it leaves behind."""
        out = place / "out"
        anew = ["run", str(place / "config.toml"), "--out", str(out), "--quiet"]
        arguments = anew if stage.do == "run" else [*anew, "--overwrite"]
        if stage.do == "resume" and self.saved is not None:
            arguments = ["resume", str(out), "--quiet"]
        job = Job(place, arguments, stage.fault)
        in_time, kind, text = job.end(), stage.fault.kind, job.text
        code = job.process.returncode
        what += f", {job.where}" if job.where else ""
        if job.hit:
            self.struck.append(kind)
        if not in_time:
            self.wrong.append(f"{what}: did not end, or left processes: {text}")
        if "Traceback" in text:
            self.wrong.append(f"{what}: {text}")
        allowed = self.allowed(kind if job.hit else "none")
        if not (
            kind in LETHAL | REFUSALS or code in allowed or "before there was anything" in text
        ):
            self.wrong.append(f"{what}: ended with {code}: {text}")
        if any(words in text for words in NOTHING_YET):
            self.wrong.append(f"{what}: found no checkpoint, but one of {self.saved} was there")
        before, self.saved = self.saved, self.newest(out)
        lost = stage.do == "resume" and before is not None and (self.saved or 0) < before
        if lost:
            self.wrong.append(f"{what}: checkpoint {before} was there, now {self.saved}")
        if self.saved is not None:
            self.check_record(out, what)
