"""The queue: start what fits, notice what has ended, and take up what an earlier server has left."""

import logging
import shutil
import sys
import threading
import time
from pathlib import Path

from distopt.core.errors import ConfigError, DistoptError
from distopt.core.files import slug
from distopt.record.lock import held
from distopt.service.backend import LOG, Backend, Seen
from distopt.service.catalogue import Catalogue, run_folders
from distopt.service.schema import ACTIVE, OPEN, RESUMABLE, Job, State
from distopt.service.settings import OWN, Settings
from distopt.service.store import Store

PAUSE = 0.5  # seconds between two looks at everything
INSIST_SECONDS = 60.0  # after which a job that was asked to stop, and has not, is ended at once
VOID_STARTS = 3  # in a row after which a job has failed
TAIL = 4096  # bytes of a log in which the reason of a failure is looked for

log = logging.getLogger("distopt.service")


class Refused(DistoptError):
    """The state of a job does not allow what was asked for."""


class Dispatcher:
    """Moves jobs through their states; the only part that does.

    Parameters
    ----------
    settings : Settings
    store : Store
    backend : Backend
    catalogue : Catalogue
        Kept fresh between the jobs.
    """

    def __init__(
        self, settings: Settings, store: Store, backend: Backend, catalogue: Catalogue
    ) -> None:
        self.settings, self.store = settings, store
        self.backend, self.catalogue = backend, catalogue
        self.lock = threading.RLock()  # one decision at a time
        self.wake, self.ended = threading.Event(), threading.Event()
        self.asked: dict[int, float] = {}  # when a job was last asked to stop
        self.voids: dict[int, int] = {}
        self.ticked = time.time()
        self.thread = threading.Thread(target=self.work, name="dispatcher", daemon=True)

    # The loop

    def begin(self) -> None:
        """Finish what an earlier server has begun to delete; start to work through the queue."""
        for job in self.store.in_states([State.deleted]):
            self.discard(job)
        shutil.rmtree(self.settings.own / "trash", ignore_errors=True)
        self.thread.start()

    def close(self) -> None:
        """Stop; jobs go on and are found again by the next server."""
        self.ended.set()
        self.wake.set()
        if self.thread.is_alive():
            self.thread.join()

    def work(self) -> None:
        """Look at everything, again and again; whatever goes wrong, the queue goes on."""
        while not self.ended.is_set():
            try:
                self.tick()
            except Exception:
                log.exception("the queue stumbled")
            self.wake.wait(PAUSE)
            self.wake.clear()

    def tick(self) -> None:
        """Look at everything once."""
        with self.lock:
            active = self.store.active()
            for job in active:
                self.follow(job)
            self.start_next()
        self.catalogue.refresh(active)
        self.ticked = time.time()

    # What became of a job

    def follow(self, job: Job) -> None:
        """Take note of what became of a job's process."""
        if not self.place(job).is_dir():
            self.end(job, State.failed, f"Its folder {job.folder} is gone.")
            return
        seen = self.backend.look(self.place(job) / OWN, job.attempt)
        if seen.said not in {"", job.message}:
            self.store.move(job.id, ACTIVE, message=seen.said)
        match seen.what:
            case "running" if job.state == State.starting:
                self.store.move(job.id, [State.starting], state=State.running)
                log.info("job %d runs", job.id)
            case "running" if job.state == State.stopping:
                self.insist(job)
            case "ended":
                self.conclude(job, seen)
            case "lost":
                self.end(job, State.interrupted, "Its process is gone without a word.")
            case "void":
                self.again(job)

    def conclude(self, job: Job, seen: Seen) -> None:
        """Note how a job's command ended, once its runs are known as they are now."""
        self.catalogue.refresh([job])
        if job.state == State.stopping:
            self.end(job, State.cancelled, "", seen.code)
        elif seen.code == 0:
            self.end(job, State.finished, "", 0)
        else:
            said = last_sentence(self.place(job) / OWN / LOG)
            self.end(job, State.failed, said or f"It ended with exit code {seen.code}.", seen.code)

    def end(self, job: Job, state: State, message: str, code: int | None = None) -> None:
        """Note that a job has ended."""
        self.store.move(job.id, ACTIVE, state=state, message=message, code=code, ended=time.time())
        self.asked.pop(job.id, None)
        self.voids.pop(job.id, None)
        log.info("job %d %s %s", job.id, state, message)

    def again(self, job: Job) -> None:
        """Put a job back whose process never began; give up after some times."""
        self.voids[job.id] = self.voids.get(job.id, 0) + 1
        if job.state == State.stopping:
            self.end(job, State.cancelled, "")
        elif self.voids[job.id] >= VOID_STARTS:
            said = last_sentence(self.place(job) / OWN / LOG)
            self.end(job, State.failed, said or "Its process does not start.")
        else:
            self.store.move(job.id, ACTIVE, state=State.queued)

    def insist(self, job: Job) -> None:
        """Ask a job again that was asked to stop long ago."""
        asked = self.asked.setdefault(job.id, time.monotonic())
        if time.monotonic() - asked > INSIST_SECONDS:
            self.asked[job.id] = time.monotonic()
            self.backend.stop(self.place(job) / OWN, job.attempt)

    # Starting

    def start_next(self) -> None:
        """Start the first jobs of the queue as long as their ranks fit; nobody overtakes them."""
        busy = sum(job.ranks for job in self.store.active())
        for job in self.store.waiting():
            if busy + job.ranks > self.settings.slots:
                return
            place = self.place(job)
            if not (place / OWN).is_dir():
                self.refuse(job, f"Its folder {job.folder} is gone.")
            elif any(held(folder) for folder in run_folders(place, 2)):
                self.note(job, "Waits for a process that still writes to its folder.")
            else:
                busy += job.ranks
                self.start(job)

    def start(self, job: Job) -> None:
        """Start a job; written down before, so that a later server knows of it."""
        attempt, command = job.attempt + 1, self.command(job)
        self.store.move(
            job.id, [State.queued], state=State.starting, attempt=attempt, started=time.time(),
            ended=None, code=None, message="",
        )  # fmt: skip
        own = self.place(job) / OWN
        try:
            self.backend.start(own, attempt, command, self.settings.files or own, job.ranks)
        except OSError as error:
            self.end(job, State.failed, f"It cannot be started: {error.strerror}.")

    def command(self, job: Job) -> list[str]:
        """Return the command line of a job."""
        place, how = self.place(job), ["--simulate"] if job.engine == "simulate" else []
        source = str(self.source(job))
        distopt = [sys.executable, "-m", "distopt"]
        if job.kind == "suite":
            again = ["--reuse"] if job.attempt else []
            return [*distopt, "compare", source, "--out", str(place), *again, *how]
        if job.attempt and (place / "config.toml").is_file() and saved(place):
            return [*distopt, "resume", str(place), *how]
        again = ["--overwrite"] if job.attempt else []
        return [*distopt, "run", source, "--out", str(place), *again, *how]

    def refuse(self, job: Job, sentence: str) -> None:
        """End a job that cannot start."""
        ended = {"message": sentence, "ended": time.time()}
        self.store.move(job.id, [State.queued], state=State.failed, **ended)

    def note(self, job: Job, sentence: str) -> None:
        """Say why a job waits."""
        if job.message != sentence:
            self.store.move(job.id, [State.queued], message=sentence)

    # What people ask for

    def submit(
        self, name: str, kind: str, engine: str, ranks: int, cases: int, config: str, priority: int
    ) -> Job:
        """Put a checked configuration or suite into the queue.

        Raises
        ------
        ConfigError
            If it needs more ranks than there are slots, or there are too many jobs.
        DistoptError
            If its folder cannot be written.
        """
        if ranks > self.settings.slots:
            raise ConfigError(
                f"This needs {ranks} ranks, one for each agent, and the service has "
                f"{self.settings.slots} slots; use fewer agents, simulate it, or start the service with "
                f"--slots {ranks}."
            )
        if self.store.open_jobs() >= self.settings.limits.open_jobs:
            raise ConfigError(
                f"{self.settings.limits.open_jobs} jobs wait or run already, which is the limit."
            )

        def prepare(job: Job) -> None:
            try:
                (self.place(job) / OWN).mkdir(parents=True, exist_ok=True)
                self.source(job).write_text(config, encoding="utf-8")
            except OSError as error:
                raise DistoptError(
                    f"The folder of the job cannot be written: {error.strerror}."
                ) from None

        job = self.store.add(
            prepare, name=name, kind=kind, engine=engine, ranks=ranks, cases=cases,
            priority=priority,
        )  # fmt: skip
        log.info("job %d submitted: %s, %d ranks", job.id, kind, ranks)
        self.wake.set()
        return job

    def cancel(self, job: Job) -> None:
        """Take a job out of the queue, or ask it to save and stop."""
        with self.lock:
            if self.store.move(job.id, [State.queued], state=State.cancelled, ended=time.time()):
                return
            if not self.store.move(job.id, ACTIVE, state=State.stopping):
                raise Refused(f"Job {job.id} has ended; there is nothing to cancel.")
            self.asked[job.id] = time.monotonic()
            self.backend.stop(self.place(job) / OWN, job.attempt)
        self.wake.set()

    def resume(self, job: Job) -> None:
        """Put a job that ended early back into the queue, to go on from what is there."""
        early = [*RESUMABLE, State.finished]  # a run that stopped at a time limit may go on
        if not self.store.move(job.id, early, state=State.queued, message="", ended=None):
            raise Refused(f"Job {job.id} has not ended; there is nothing to resume.")
        self.wake.set()

    def reprioritize(self, job: Job, priority: int) -> None:
        """Change the place of a job in the queue."""
        if not self.store.move(job.id, OPEN, priority=priority):
            raise Refused(f"Job {job.id} has ended; its priority means nothing any more.")

    def delete(self, job: Job) -> None:
        """Delete a job that does not run, and its folder."""
        with self.lock:
            ended = [state for state in State if state not in ACTIVE]
            if not self.store.move(job.id, ended, state=State.deleted):
                raise Refused(f"Job {job.id} runs; cancel it first.")
            self.discard(job)
            self.store.drop_runs([run.folder for run in self.store.runs(job.id)])
        shutil.rmtree(self.settings.own / "trash", ignore_errors=True)

    def discard(self, job: Job) -> None:
        """Move the folder of a deleted job out of the way, all at once."""
        place, trash = self.place(job), self.settings.own / "trash"
        if place.is_dir() and not place.is_symlink():
            trash.mkdir(exist_ok=True)
            place.rename(trash / f"{job.id}-{time.time_ns()}")

    def place(self, job: Job) -> Path:
        """Return the folder of a job."""
        return self.settings.data / job.folder

    def source(self, job: Job) -> Path:
        """Return the file with what was submitted."""
        return self.place(job) / OWN / f"{slug(job.name)[:40]}.toml"


def saved(place: Path) -> bool:
    """Whether a run directory has a checkpoint from which it can go on."""
    # Imported here, for it brings numba: seconds in which the server would answer nobody.
    from distopt.record.checkpoint import newest

    return bool(newest(place / "checkpoints"))


def last_sentence(path: Path) -> str:
    """Return what a command said last, without "distopt: "."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    said = [line.removeprefix("distopt: ") for line in lines if line.startswith("distopt: ")]
    other = [line.strip() for line in lines if line.strip()]
    return next(reversed(said or other), "")
