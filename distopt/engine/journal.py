"""The journal of a run: the rows of its record, and its checkpoints."""

from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self

import numpy as np

from distopt.core.errors import DivergedError
from distopt.engine.audit import Audit
from distopt.engine.diagnostics import Diagnostics
from distopt.engine.failures import Failure
from distopt.engine.folder import open_record
from distopt.engine.schedule import Schedule
from distopt.engine.stopping import EARLY
from distopt.engine.team import Team
from distopt.record import checkpoint
from distopt.record.rows import Rows, StoredRows
from distopt.record.writer import Writer
from distopt.transport.base import RECORD, SAVE, SharedError

SAVING_SHARE = 0.02  # of the time goes into checkpoints that the clock demands; more of it where a
CHEAP_SECONDS = 0.15  # checkpoint takes no longer, to keep them
PROMPT_SECONDS = 1.5  # apart at most
ASK_SECONDS = 0.25  # between two questions whether to
EXPLODED = 1e20  # a run that ends with P this many times its first value, or 1, has diverged
FLUSH_SECONDS = 0.5  # records wait at most about this long for the disk


class Journal:
    """Records a team and saves it; as a context it closes the record if the run fails.

    Parameters
    ----------
    team : Team
    out : Path or None
        Run directory; without it nothing is written.
    resumed : bool
        Whether `out` holds the beginning of this run.
    failures : Sequence[Failure]
        Those from which this run was restarted since the command began.
    on_record : callable, optional
        Called on the root with every new row.

    Attributes
    ----------
    first, latest : dict
        The run's first and newest row; the first of a resumed run on the root only.
    rows : Sequence of dict
        All rows, on the root only: in memory without `out`, else on disk.
    failures : list of Failure
        All of this run, on the root only.
    """

    def __init__(
        self,
        team: Team,
        out: Path | None = None,
        resumed: bool = False,
        failures: Sequence[Failure] = (),
        on_record: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.on_record = on_record
        self.team, self.out, self.resumed = team, out, resumed
        self.diagnostics, self.audit = Diagnostics(team), Audit(team)
        self.schedule = Schedule(team, self.diagnostics)
        self.writer: Writer | None = None
        self.failures = [failure.over() for failure in failures]
        with team.transport.together():
            if out is not None and team.transport.root:
                recorded, schedule = self.diagnostics.recorded, self.schedule
                self.writer = open_record(team, recorded, schedule, out, resumed, self.failures)
        self.memory = Rows(self.diagnostics.recorded) if team.transport.root and not out else None
        self.first: dict[str, Any] | None = self.writer.first if self.writer else None
        self.latest: dict[str, Any] = {}
        self.saved_at = team.clock.iteration if resumed else -1
        self.flushed = self.saved = self.asked = perf_counter()
        self.costs = 0.0, 0.0  # seconds that the last two checkpoints took
        self.gap = 1  # iterations between two questions whether the clock demands a checkpoint
        self.ask_at = team.clock.iteration + self.gap

    def begin(self) -> None:
        """Make the first record, or compute the row at which a resumed run continues."""
        if self.resumed:
            self.team.transport.begin(RECORD, self.team.clock.iteration)
            self.audit.run()
            self.latest = self.diagnostics.row(self.schedule.trackers())
            self.first = self.first or self.latest
            done = self.team.clock.iteration
            if self.writer and self.writer.last < done and self.schedule.belongs(done):
                self.writer.append(self.latest)
        else:
            self.record()

    @property
    def rows(self) -> Sequence[dict[str, Any]]:
        """All rows, on the root only."""
        if self.writer:
            return StoredRows(self.writer.path)
        return [] if self.memory is None else self.memory

    def __enter__(self) -> Self:
        """Hold the record open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Save pending records, as far as possible, if the run fails."""
        if error is not None and self.writer:
            self.writer.close()

    def due(self) -> bool:
        """Whether to record now; all processes ask together after every iteration."""
        began = perf_counter()
        due = self.schedule.due()
        self.team.clock.diagnostics_seconds += perf_counter() - began
        return due

    def record(self) -> None:
        """Compute one row, audit if it is time, and keep the row."""
        team, began = self.team, perf_counter()
        team.transport.begin(RECORD, team.clock.iteration)
        trackers = self.schedule.trackers()
        row = self.diagnostics.row(trackers)
        self.schedule.made(row, trackers)
        # A search for the step goes back by itself from numbers that are not finite.
        if not np.isfinite(row["stationarity"]) and not team.parts.algorithm.searching:
            raise SharedError(  # every process has computed this row
                DivergedError(
                    f"The run diverged: at iteration {row['iteration']} the stationarity P is "
                    f"{row['stationarity']}; {team.parts.algorithm.remedy()}."
                )
            )
        if self.audit.due(row["seconds"]):
            self.audit.run(row["seconds"])
        self.latest, self.first = row, self.first or row
        if self.memory is not None:
            self.memory.append(row)
        if self.on_record and team.transport.root:
            self.on_record(dict(row))
        if self.writer:
            self.writer.append(row)
            if perf_counter() - self.flushed > FLUSH_SECONDS:
                self.writer.flush()
                self.flushed = perf_counter()
        team.clock.diagnostics_seconds += perf_counter() - began

    @property
    def pause(self) -> float:
        """Seconds between two checkpoints that the clock demands, infinite if it demands none."""
        cost = min(self.costs)
        longest = PROMPT_SECONDS if cost <= CHEAP_SECONDS else np.inf
        return max(self.team.parts.run.saving_seconds, min(cost / SAVING_SHARE, longest))

    def save_by_clock(self) -> None:
        """Save if ``run.checkpoint_seconds`` have passed for any process; they ask each other at times.

        All save at the same iteration, and the last two checkpoints say how much time they take.
        """
        team, done, pause = self.team, self.team.clock.iteration, self.pause
        if self.out is None or pause == np.inf or done < self.ask_at:
            return
        began = perf_counter()
        team.transport.begin(RECORD, done)
        pace = (began - self.asked) / self.gap
        row = [float(began - self.saved > pause), pace]
        due, slowest = team.transport.collect(np.tile(row, (len(team.hosted), 1))).max(axis=0)
        team.clock.diagnostics_seconds += perf_counter() - began
        if due:
            self.save()
        self.gap = min(max(int(ASK_SECONDS / max(slowest, 1e-9)), 1), 2 * self.gap)
        self.asked, self.ask_at = perf_counter(), done + self.gap

    def save(self) -> None:
        """Write a checkpoint of all agents, unless there is one of this iteration."""
        team, done = self.team, self.team.clock.iteration
        if self.out is None or self.saved_at == done:
            return
        began = perf_counter()
        team.transport.begin(SAVE, done)
        self.audit.run()
        if self.writer:
            self.writer.flush()
        numbers = dict(vars(team.transport.traffic)) | {
            "run_seconds": team.clock.seconds,
            "run_diagnostics_seconds": team.clock.diagnostics_seconds,
        }
        folder, keep = self.out / "checkpoints", team.parts.run.keep
        identity = team.identity.table()
        records = self.schedule.table()
        checkpoint.save(folder, done, team.hosted, numbers, team.transport, keep, identity, records)
        self.saved_at, self.saved = done, perf_counter()
        self.costs = self.costs[1], self.saved - began
        team.clock.diagnostics_seconds += self.costs[1]

    def require_bounded(self) -> None:
        """Raise `DivergedError`, on all processes, if P has grown beyond all bounds."""
        now = self.latest["stationarity"]
        if not now > EXPLODED:  # the same on all; a search that ends adrift has nan
            return
        with self.team.transport.together():
            first = (self.first or self.latest)["stationarity"]  # the run's own, on the root
            if self.team.transport.root and now > EXPLODED * first:
                raise DivergedError(
                    f"The run diverged: P grew from {first:.3g} to {now:.3g} at iteration "
                    f"{self.latest['iteration']}; {self.team.parts.algorithm.remedy()}."
                )

    def end(self, reason: str) -> None:
        """Save the last iteration, audited, and close the record."""
        if self.out is None:
            self.team.transport.begin(RECORD, self.team.clock.iteration)
            self.audit.run()
        self.save()
        if self.writer:
            self.writer.finish("stopped" if reason in EARLY else "finished", reason)
        if self.latest["iteration"] != self.team.clock.iteration:
            self.team.transport.begin(RECORD, self.team.clock.iteration)
            # For the summary only: it belongs to no series.
            self.latest = self.diagnostics.row(self.schedule.trackers())
