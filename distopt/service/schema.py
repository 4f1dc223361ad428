"""The tables of the service's database, and how a database of an earlier version becomes one of today."""

import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, ForeignKey, create_engine, event, text
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from distopt.core.errors import DistoptError

State = StrEnum(
    "State",
    ["queued", "starting", "running", "stopping", "finished", "failed", "cancelled", "interrupted",
     "deleted"],
)  # fmt: skip
ACTIVE = (State.starting, State.running, State.stopping)  # a process may belong to them
OPEN = (State.queued, *ACTIVE)
RESUMABLE = (State.failed, State.cancelled, State.interrupted)
WAIT_SECONDS = 20  # for others who use the database

# Each entry brings a database from its index to the next version; none is ever changed.
MIGRATIONS: Sequence[Sequence[str]] = (
    (
        """CREATE TABLE jobs (
            id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, kind TEXT NOT NULL,
            engine TEXT NOT NULL, state TEXT NOT NULL, priority INTEGER NOT NULL, ranks INTEGER NOT NULL,
            cases INTEGER NOT NULL, folder TEXT NOT NULL, attempt INTEGER NOT NULL, resume INTEGER NOT NULL,
            submitted REAL NOT NULL, started REAL, ended REAL, code INTEGER,
            message TEXT NOT NULL, changed INTEGER NOT NULL)""",
        "CREATE INDEX jobs_by_state ON jobs (state, priority, id)",
        "CREATE INDEX jobs_by_change ON jobs (changed)",
        """CREATE TABLE runs (
            folder TEXT PRIMARY KEY, job INTEGER REFERENCES jobs (id), stamp TEXT NOT NULL,
            state TEXT NOT NULL, algorithm TEXT NOT NULL, compressor TEXT NOT NULL,
            problem TEXT NOT NULL, agents INTEGER, dimension INTEGER, iterations INTEGER,
            iteration INTEGER, records INTEGER NOT NULL, stationarity REAL, objective REAL,
            bytes_per_agent REAL, seconds REAL, written REAL NOT NULL, message TEXT NOT NULL,
            changed INTEGER NOT NULL)""",
        "CREATE INDEX runs_by_change ON runs (changed)",
        "CREATE INDEX runs_by_job ON runs (job)",
        """CREATE TABLE tokens (
            digest TEXT PRIMARY KEY, scope TEXT NOT NULL, created REAL NOT NULL)""",
    ),
)


class Base(DeclarativeBase):
    """The base of all rows."""


class Job(Base):
    """One configuration or suite that was submitted."""

    __tablename__ = "jobs"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    kind: Mapped[str]  # "run" or "suite"
    engine: Mapped[str]  # "mpi" or "simulate"
    state: Mapped[str]
    priority: Mapped[int]  # larger goes first
    ranks: Mapped[int]
    cases: Mapped[int]  # runs; of a suite one for each variant and seed
    folder: Mapped[str]  # relative to the data folder
    attempt: Mapped[int]  # how often it was started
    resume: Mapped[bool]  # the next start goes on from what is there
    submitted: Mapped[float]  # seconds since 1970, as all times here
    started: Mapped[float | None]
    ended: Mapped[float | None]
    code: Mapped[int | None]  # exit code
    message: Mapped[str]  # why it failed or waits
    changed: Mapped[int]  # number of the latest change


class Run(Base):
    """What is known of one run folder, as of its record's `stamp`."""

    __tablename__ = "runs"

    folder: Mapped[str] = mapped_column(primary_key=True)  # relative to the data folder
    job: Mapped[int | None] = mapped_column(ForeignKey("jobs.id"))
    stamp: Mapped[str]
    state: Mapped[str]  # running, finished, stopped, interrupted, unreadable or deleted
    algorithm: Mapped[str]
    compressor: Mapped[str]
    problem: Mapped[str]
    agents: Mapped[int | None]
    dimension: Mapped[int | None]
    iterations: Mapped[int | None]  # to be done
    iteration: Mapped[int | None]  # done
    records: Mapped[int]
    stationarity: Mapped[float | None]
    objective: Mapped[float | None]
    bytes_per_agent: Mapped[float | None]
    seconds: Mapped[float | None]
    written: Mapped[float]
    message: Mapped[str]
    changed: Mapped[int]


class Token(Base):
    """A key to the API."""

    __tablename__ = "tokens"

    digest: Mapped[str] = mapped_column(primary_key=True)  # SHA-256 of the token
    scope: Mapped[str]  # "read" or "run"
    created: Mapped[float]


def open_database(path: Path) -> Engine:
    """Open or make a database, and bring it to the version of today.

    Raises
    ------
    DistoptError
        If it is damaged, or of a later version.
    """
    engine = create_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", prepare)
    try:
        write_ahead(engine)
        migrate(engine, path)
    except DatabaseError as error:
        raise DistoptError(
            f"{path} cannot be used as the database of the service: {error.orig}. Move it away to begin "
            "a new one; the runs stay where they are and will be found again."
        ) from None
    return engine


def prepare(connection: Any, record: object) -> None:
    """Set up a connection: it waits for others, and what it commits is on the disk."""
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {1000 * WAIT_SECONDS}")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def write_ahead(engine: Engine) -> None:
    """Choose the write-ahead log, so that readers and one writer work at a time; the file keeps the choice.

    SQLite's own wait does not cover others who choose at the same moment.
    """
    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            return
        except OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.02)


def migrate(engine: Engine, path: Path) -> None:
    """Carry out the migrations that a database has not seen, each as a whole."""
    with engine.connect() as connection:
        (found,) = connection.execute(text("PRAGMA user_version")).one()
    if found > len(MIGRATIONS):
        raise DistoptError(
            f"{path} has version {found}; this distopt knows version {len(MIGRATIONS)} at most. Use the "
            "distopt that wrote it, or a later one."
        )
    for version, statements in enumerate(MIGRATIONS[found:], found + 1):
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            (found,) = connection.execute(text("PRAGMA user_version")).one()
            if found >= version:  # another process was faster
                continue
            for statement in statements:
                connection.exec_driver_sql(statement)
            connection.exec_driver_sql(f"PRAGMA user_version = {version}")
            connection.commit()
