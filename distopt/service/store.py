"""The store: jobs, runs and tokens in SQLite.

Every change gets the next number, so a reader can ask for what is new.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from distopt.core.files import slug
from distopt.service.schema import ACTIVE, OPEN, Base, Job, Run, State, Token, open_database
from distopt.service.settings import OWN, Settings

NAME_LETTERS = 40  # of a job's name in that of its folder


class Store:
    """The database of one service.

    Attributes
    ----------
    changed : int
        Number of the latest change.
    """

    def __init__(self, settings: Settings) -> None:
        settings.own.mkdir(parents=True, exist_ok=True)
        self.data = settings.data
        self.engine = open_database(settings.own / "service.db")
        self.writing = threading.RLock()
        with Session(self.engine) as session:
            latest = [session.scalar(select(func.max(t.changed))) or 0 for t in (Job, Run)]
        self.changed = max(latest)

    def close(self) -> None:
        """Close the database."""
        self.engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Read; the rows stay usable afterwards."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def change(self) -> Iterator[tuple[Session, int]]:
        """Write in one transaction, whose rows get the number that is given."""
        with self.writing, Session(self.engine, expire_on_commit=False) as session:
            number = self.changed + 1
            with session.begin():
                yield session, number
            self.changed = number

    # Jobs

    def add(self, prepare: Callable[[Job], None], **fields: Any) -> Job:
        """Put a job into the queue, once `prepare` has made its folder."""
        with self.change() as (session, number):
            job = Job(
                state=State.queued, folder="", attempt=0, resume=False, submitted=time.time(),
                message="", changed=number, **fields,
            )  # fmt: skip
            session.add(job)
            session.flush()  # which gives it a number
            job.folder = f"jobs/{job.id}-{slug(job.name)[:NAME_LETTERS].strip('-.')}"
            prepare(job)
        return job

    def job(self, number: int) -> Job | None:
        """Return a job, unless it was deleted."""
        with self.reading() as session:
            job = session.get(Job, number)
        return None if job is None or job.state == State.deleted else job

    def active(self) -> Sequence[Job]:
        """Return the jobs to which a process may belong."""
        return self.in_states(ACTIVE)

    def waiting(self) -> Sequence[Job]:
        """Return the queue, first the job that is to start first."""
        return sorted(self.in_states([State.queued]), key=lambda job: (-job.priority, job.id))

    def in_states(self, states: Collection[str]) -> Sequence[Job]:
        """Return the jobs in some states."""
        with self.reading() as session:
            return session.scalars(select(Job).where(Job.state.in_(states)).order_by(Job.id)).all()

    def move(self, number: int, came_from: Collection[str], **fields: Any) -> bool:
        """Change a job that is in one of some states; return whether it was."""
        with self.change() as (session, change):
            found = update(Job).where(Job.id == number, Job.state.in_(came_from))
            moved = session.execute(found.values(changed=change, **fields))
            return bool(moved.rowcount)  # type: ignore[attr-defined]

    def counts(self) -> dict[str, int]:
        """Count the jobs by state."""
        with self.reading() as session:
            found = session.execute(select(Job.state, func.count()).group_by(Job.state)).all()
            return dict.fromkeys(map(str, State), 0) | {str(state): int(n) for state, n in found}

    def open_jobs(self) -> int:
        """Count the jobs that have not ended."""
        counts = self.counts()
        return sum(counts[state] for state in OPEN)

    # Runs

    def run(self, folder: str) -> Run | None:
        """Return what is known of a run folder."""
        with self.reading() as session:
            run = session.get(Run, folder)
        return None if run is None or run.state == State.deleted else run

    def runs(
        self,
        job: int | None = None,
        state: str | None = None,
        folders: Collection[str] | None = None,
    ) -> Sequence[Run]:
        """Return all runs, or those of a job, in a state, or in some folders."""
        wanted = select(Run).where(Run.state != State.deleted).order_by(Run.folder)
        if job is not None:
            wanted = wanted.where(Run.job == job)
        if state is not None:
            wanted = wanted.where(Run.state == state)
        if folders is not None:
            wanted = wanted.where(Run.folder.in_(folders))
        with self.reading() as session:
            return session.scalars(wanted).all()

    def put_runs(self, found: Sequence[Mapping[str, Any]]) -> None:
        """Write what was found in run folders: all columns but `changed`."""
        if not found:
            return
        with self.change() as (session, number):
            for fields in found:
                session.merge(Run(**fields, changed=number))

    def drop_runs(self, folders: Collection[str]) -> None:
        """Note that run folders are gone."""
        for at in range(0, len(folders), 500):
            some = [*folders][at : at + 500]
            with self.change() as (session, number):
                gone = update(Run).where(Run.folder.in_(some))
                session.execute(gone.values(state=State.deleted, changed=number))

    # Changes

    def changes(self, since: int, limit: int) -> tuple[Sequence[Job], Sequence[Run], int]:
        """Return the jobs and runs that changed after a change, deleted ones too, and its successor."""
        found: list[Any] = []
        upto = self.changed
        with self.reading() as session:
            for table in (Job, Run):
                new = select(table).where(table.changed > since, table.changed <= upto)
                found.append(session.scalars(new.order_by(table.changed).limit(limit + 1)).all())
        # A change is told whole: where there are too many, those of the last one wait.
        for rows in found:
            if len(rows) > limit:
                upto = min(upto, max(rows[-1].changed - 1, since + 1))
        jobs, runs = ([row for row in rows if row.changed <= upto] for rows in found)
        return jobs, runs, upto

    # Tokens

    def add_token(self, digest: str, scope: str) -> None:
        """Keep the digest of a token."""
        with self.change() as (session, _):
            session.add(Token(digest=digest, scope=scope, created=time.time()))

    def tokens(self) -> Sequence[Token]:
        """Return all tokens."""
        with self.reading() as session:
            return session.scalars(select(Token)).all()


def row(found: Base) -> dict[str, Any]:
    """Return the columns of a row."""
    return {column.key: getattr(found, column.key) for column in found.__mapper__.columns}


def inner(job: Job) -> str:
    """Return where the service keeps its own files of a job, relative to the data folder."""
    return f"{job.folder}/{OWN}"
