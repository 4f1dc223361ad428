"""The parts of one service, put together."""

import fcntl
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distopt.core.errors import ConfigError, DistoptError
from distopt.record.lock import hold
from distopt.service.backend import Local
from distopt.service.catalogue import Catalogue
from distopt.service.curves import tidy
from distopt.service.dispatcher import Dispatcher
from distopt.service.schema import Job, Run
from distopt.service.security import Keys
from distopt.service.settings import OWN, Settings
from distopt.service.slurm import Slurm
from distopt.service.store import Store
from distopt.service.worker import Worker

EXAMPLES = Path(__file__).parent / "examples"  # links, whose files a wheel has
IDLE_SECONDS = 120.0  # after which the process that checks and draws is ended
CHECK_SECONDS = 30.0  # a configuration may take to be checked
DRAW_SECONDS = 120.0  # a comparison or an export may take


class Missing(DistoptError):
    """There is no such job or run."""


class Watchers:
    """Counts the open streams of a service."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> None:
        """Count one more."""
        self.count += 1

    def __exit__(self, *error: object) -> None:
        """Count one less."""
        self.count -= 1


@dataclass(frozen=True)
class Service:
    """Everything that answers a request. One service holds a data folder at a time."""

    settings: Settings
    store: Store
    reader: Worker  # of records; small, always there
    maker: Worker  # checks configurations, compares and draws
    catalogue: Catalogue
    dispatcher: Dispatcher
    keys: Keys
    held: int  # descriptor of the lock of the data folder
    watchers: Watchers = field(default_factory=Watchers)

    @classmethod
    def open(cls, settings: Settings, token: bool = False) -> "Service":
        """Open the data folder.

        Parameters
        ----------
        settings : Settings
        token : bool
            Whether a token is needed on this machine, too.

        Raises
        ------
        DistoptError
            If the folder cannot be written, or another service has it.
        """
        try:
            settings.own.mkdir(parents=True, exist_ok=True)
            held = os.open(settings.own / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DistoptError(
                f"{settings.data} cannot be the folder of a service: {error.strerror}."
            ) from None
        fcntl.fcntl(held, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        if not hold(held):
            os.close(held)
            raise DistoptError(
                f"Another service works in {settings.data}. Stop it, or name another folder with --data."
            )
        store = Store(settings)
        place = settings.files or settings.own
        reader, maker = Worker(place), Worker(place, IDLE_SECONDS)
        catalogue = Catalogue(store, reader, settings.curves)
        tidy(settings.curves)
        backend = Local() if settings.slurm is None else Slurm(settings.slurm)
        dispatcher = Dispatcher(settings, store, backend, catalogue)
        keys = Keys(store, token or not settings.local)
        return cls(settings, store, reader, maker, catalogue, dispatcher, keys, held)

    def begin(self) -> None:
        """Start to work."""
        self.dispatcher.begin()

    def close(self) -> None:
        """Leave the folder; jobs go on."""
        self.dispatcher.close()
        self.reader.close()
        self.maker.close()
        self.store.close()
        os.close(self.held)

    def check(self, config: str | dict[str, Any], name: str, engine: str) -> dict[str, Any]:
        """Check what may be submitted (see `distopt.service.validation.check`)."""
        files = str(self.settings.files) if self.settings.files else None
        return self.maker.do(  # type: ignore[no-any-return]
            "check", CHECK_SECONDS, config=config, name=name, engine=engine, files=files
        )

    def submit(self, config: str | dict[str, Any], name: str, engine: str, priority: int) -> Job:
        """Check a configuration or suite and put it into the queue."""
        found = self.check(config, name, engine)
        return self.dispatcher.submit(
            found["name"], found["kind"], engine, found["ranks"], len(found["cases"]),
            found["config"], priority,
        )  # fmt: skip

    def job(self, number: int) -> Job:
        """Return a job, or raise `Missing`."""
        job = self.store.job(number)
        if job is None:
            raise Missing(f"There is no job {number}.")
        return job

    def run(self, folder: str) -> tuple[Run, Path]:
        """Return a run and its folder, or raise `Missing`. Only folders that were found are known."""
        run = self.store.run(folder)
        if run is None:
            raise Missing(f"There is no run {folder[:200]!r} in this service.")
        return run, self.settings.data / run.folder

    def series(
        self, folder: str, cursor: str, names: list[str], points: int, skip: bool = False
    ) -> dict[str, Any]:
        """Return the new rows of a run (see `distopt.service.reading.series`)."""
        _, place = self.run(folder)
        return self.reader.do(  # type: ignore[no-any-return]
            "series", folder=str(place), cursor=cursor, names=names, points=points, skip=skip
        )

    def curves(self, folders: list[str], cursors: list[str], figure: dict[str, Any]) -> bytes:
        """Return the new points of several runs as JSON (see `distopt.service.curves.curves`)."""
        places = [str(self.settings.data / f) if self.store.run(f) else None for f in folders]
        cursors = cursors or [""] * len(places)
        if len(cursors) != len(places):
            raise ConfigError(f"{len(cursors)} cursors were given for {len(places)} runs.")
        keep = str(self.settings.curves)
        return self.reader.ask("curves", folders=places, cursors=cursors, figure=figure, keep=keep)

    def compare(self, folders: list[str], accuracies: list[float] | None) -> dict[str, Any]:
        """Compare runs."""
        places = [str(self.run(folder)[1]) for folder in folders]
        return self.maker.do(  # type: ignore[no-any-return]
            "compare", DRAW_SECONDS, folders=places, accuracies=accuracies
        )

    def graph(self, folder: str, drawn: bool = True, alone: bool = False) -> dict[str, Any]:
        """Describe the graph of a run; `drawn`, also as SVG, `alone` as a file of its own."""
        _, place = self.run(folder)
        return self.maker.do(  # type: ignore[no-any-return]
            "graph", DRAW_SECONDS, folder=str(place), drawn=drawn, alone=alone
        )

    def examples(self) -> dict[str, Path]:
        """Return the configurations and suites that come with distopt, by name."""
        return {path.stem: path.resolve() for path in sorted(EXAMPLES.glob("*.toml"))}

    def given(self, folder: str) -> str:
        """Return the TOML with which a run folder's run was started."""
        run, place = self.run(folder)
        job = self.store.job(run.job) if run.job else None
        path = self.dispatcher.source(job) if job and job.kind == "run" else place / "config.toml"
        return read_text(path)

    def log(self, job: Job, since: int, most: int = 1 << 16) -> tuple[str, int]:
        """Return what a job has printed after so many bytes, and how many there are then."""
        path = self.settings.data / job.folder / OWN / "log.txt"
        try:
            with path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(min(since, size) if since >= 0 else max(0, size - most))
                content = file.read(most)
                return content.decode(errors="replace"), file.tell()
        except OSError:
            return "", 0


def read_text(path: Path, most: int = 1 << 20) -> str:
    """Read a text file, not a link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(most).decode(errors="replace")
    except OSError:
        raise Missing(f"There is no file {path.name} in this folder.") from None
