"""Jobs in the queue of a Slurm cluster, which all see the data folder.

A start is one batch job, whose name says which; the process that it runs claims the start like any other
(`distopt.service.runner`). So a server that was killed finds its batch jobs by their names, whether or not
it had noted down anything, and a batch job whose start was given up meanwhile ends at once.

PSI/J would reach other schedulers, too, but version 0.9.11 reads a reason with blanks ("Nodes required for
job are DOWN") as a failure, of all jobs, and cannot ask a job to save and stop.
"""

import os
import shlex
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from distopt.record.lock import NAME, owner_elsewhere
from distopt.service.backend import LOG, SAFE, Seen, read, rule_out, runner_command
from distopt.service.catalogue import run_folders
from distopt.service.runner import claim_file, end_file

ANSWER_SECONDS = 30.0  # that a command of Slurm may take
FRESH_SECONDS = 1.0  # an answer of squeue counts for so long
GONE_SECONDS = 15.0  # between the end of a batch job and that of waiting for its last file
ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
    "PREEMPTED", "REVOKED", "TIMEOUT",
}  # fmt: skip
WARNING = "--signal=B:TERM@60"  # a minute before its time is over a job saves and stops


class Batch(NamedTuple):
    """What squeue says of a batch job."""

    id: str
    state: str
    reason: str

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.state in ENDED


class Slurm:
    """Runs jobs as batch jobs.

    Parameters
    ----------
    options : Sequence[str]
        Of sbatch, such as ``--partition=long``.
    """

    def __init__(self, options: Sequence[str] = ()) -> None:
        self.options = tuple(options)
        self.lock = threading.Lock()
        self.asked = -FRESH_SECONDS
        self.known: dict[str, Batch] | None = None
        self.fault = ""
        self.gone: dict[str, float] = {}  # when a batch job was first seen to be over

    def start(
        self, folder: Path, attempt: int, command: Sequence[str], cwd: Path, ranks: int
    ) -> None:
        """Submit a batch job; what sbatch complains of stands in the log of the job."""
        script = f"#!/bin/sh\nexec {shlex.join(runner_command(folder, attempt, command))}\n"
        log = folder / LOG
        asked = [
            "sbatch", "--parsable", f"--job-name={name_of(folder, attempt)}", f"--ntasks={ranks}",
            "--no-requeue", f"--output={log}", "--open-mode=append", f"--chdir={cwd}", WARNING,
            *self.options,
        ]  # fmt: skip
        code, said = call(asked, script, **SAFE)
        if code:
            with log.open("a", encoding="utf-8") as file:
                file.write(f"distopt: Slurm did not take the job: {said}\n")
        with self.lock:
            self.asked = -FRESH_SECONDS

    def look(self, folder: Path, attempt: int) -> Seen:
        """Say what became of a start, also of one by an earlier server."""
        name = name_of(folder, attempt)
        queue = self.queue()  # before the files, which the end of a batch job follows
        end = read(end_file(folder, attempt))
        if end is not None:
            code = end.get("code")
            self.gone.pop(name, None)
            return Seen("ended", code if isinstance(code, int) else None)
        if queue is None:
            return Seen("unknown", said=f"Slurm does not answer: {self.fault}.")
        batch = queue.get(name)
        owner = read(claim_file(folder, attempt))
        if owner is None:
            if batch is not None and not batch.over:
                return Seen("starting", said=f"Slurm job {batch.id} waits: {batch.reason}.")
            return Seen("void") if rule_out(folder, attempt) else self.look(folder, attempt)
        if owner.get("pid") == 0:
            return Seen("void")
        if batch is not None and not batch.over:
            return Seen("running", said=f"Slurm job {batch.id} on {batch.reason}.")
        # Its last file may still be on its way from the node.
        since = self.gone.setdefault(name, time.monotonic())
        if time.monotonic() - since < GONE_SECONDS:
            return Seen("running")
        unlock(folder.parent)
        return Seen("lost")

    def stop(self, folder: Path, attempt: int) -> None:
        """Ask a running job to save and stop, by a signal to its runner; cancel one that waits."""
        batch = (self.queue() or {}).get(name_of(folder, attempt))
        if batch is None or batch.over:
            return
        waits = read(claim_file(folder, attempt)) is None
        call(["scancel", *([] if waits else ["--batch", "--signal=TERM"]), batch.id])
        with self.lock:
            self.asked = -FRESH_SECONDS

    def queue(self) -> dict[str, Batch] | None:
        """Return the user's batch jobs by name, None where Slurm does not answer."""
        with self.lock:
            if time.monotonic() - self.asked >= FRESH_SECONDS:
                code, said = call(["squeue", "--me", "-h", "-t", "all", "-o", "%i|%T|%R|%j"])
                self.known, self.fault = None, said
                found = [line.split("|", 3) for line in said.splitlines() if line.strip()]
                if code == 0 and all(len(parts) == 4 for parts in found):
                    self.known = {
                        parts[3].strip(): Batch(
                            parts[0].strip(), parts[1].strip(), reason(parts[2])
                        )
                        for parts in found
                    }
                self.asked = time.monotonic()
            return self.known


def unlock(place: Path) -> None:
    """Remove the locks that processes of a lost batch job have left on its nodes."""
    for folder in run_folders(place, 2):
        if owner_elsewhere(folder / NAME) is not None:
            with suppress(OSError):
                (folder / NAME).unlink()


def reason(text: str) -> str:
    """Return where a batch job runs, or why it waits, which squeue sets in brackets."""
    return text.strip().removeprefix("(").removesuffix(")")


def name_of(folder: Path, attempt: int) -> str:
    """Name the batch job of one start: of this data folder, this job, this attempt."""
    mark = sha256(str(folder.resolve()).encode()).hexdigest()[:10]
    return f"distopt-{folder.parent.name}-{mark}-{attempt}"


def call(command: Sequence[str], text: str = "", **more: str) -> tuple[int, str]:
    """Call a command of Slurm; return its exit code and what it said, in one line if it failed."""
    try:
        done = subprocess.run(
            command, input=text, env=os.environ | more, capture_output=True, text=True,
            errors="replace", timeout=ANSWER_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, f"{command[0]}: {error}"
    if done.returncode:
        return done.returncode, " ".join((done.stderr or done.stdout).split())[:300].rstrip(".")
    return 0, done.stdout
