"""The loop: iterate until there is a reason to stop, recording and saving on the way."""

from collections.abc import Callable
from dataclasses import dataclass
from signal import SIGINT, SIGTERM, SIGUSR1
from time import perf_counter

import numpy as np

from distopt.engine.journal import Journal
from distopt.engine.stopping import StopRequest
from distopt.engine.team import Team

AGREE_SECONDS = 0.5  # about how often the processes ask each other whether to stop
PROGRESS_SECONDS = 0.2


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    iteration: int
    iterations: int
    stationarity: float  # of the latest record
    seconds: float  # spent in iterations


class Loop:
    """Iterates a team.

    Parameters
    ----------
    team : Team
    journal : Journal
    stop : StopRequest
    progress : callable, optional
        Called on the root with a `Progress`, at most a few times a second.
    """

    def __init__(
        self,
        team: Team,
        journal: Journal,
        stop: StopRequest,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.team, self.journal, self.stop = team, journal, stop
        self.progress = progress if team.transport.root else None
        self.settings = team.parts.run
        self.agree_at = team.clock.iteration + 1
        self.shown = perf_counter()

    def run(self) -> str:
        """Iterate to the end, a stopping test, a time limit or a signal; return the reason."""
        self.journal.begin()
        with self.journal, self.stop.listening(SIGTERM, SIGINT, SIGUSR1):
            reason = self.iterate()
        self.journal.end(reason)
        return reason

    def iterate(self) -> str:
        """Iterate until there is a reason to stop, and return it."""
        clock, settings, journal = self.team.clock, self.settings, self.journal
        if settings.records(clock.iteration) and (reason := self.reached()):
            return reason
        while clock.iteration < settings.iterations:
            spent = self.team.iterate()
            if settings.records(clock.iteration):
                journal.record()
                if reason := self.reached():
                    return reason
            if settings.checkpoint_every and clock.iteration % settings.checkpoint_every == 0:
                journal.save()
            journal.save_by_clock()
            if clock.iteration == self.agree_at and (reason := self.agree(spent)):
                return reason
            self.show()
        return "iterations"

    def reached(self) -> str:
        """Apply the stopping tests to the latest record; return the reason to stop, "" for none."""
        stop, latest = self.settings.stop, self.journal.latest
        if latest["stationarity"] <= stop.stationarity:
            return "stop.stationarity"
        return "stop.nmse" if latest.get("nmse", np.inf) <= stop.nmse else ""

    def agree(self, spent: float) -> str:
        """Ask all processes whether one got a stopping signal; also set when to ask next."""
        began, clock, transport = perf_counter(), self.team.clock, self.team.transport
        row = [float(self.stop.signal is not None), clock.seconds, spent]
        table = transport.collect(np.tile(row, (len(transport.hosted), 1)))
        signalled, seconds, slowest = table.max(axis=0)
        clock.diagnostics_seconds += perf_counter() - began
        if signalled:
            return "signal"
        if seconds >= self.settings.stop.seconds:
            return "stop.seconds"
        self.agree_at += int(min(max(AGREE_SECONDS / max(slowest, 1e-6), 1), 10_000))
        return ""

    def show(self) -> None:
        """Report progress, not too often."""
        clock, last, now = self.team.clock, self.settings.iterations, perf_counter()
        if self.progress is None or (
            now - self.shown < PROGRESS_SECONDS and clock.iteration < last
        ):
            return
        self.shown = now
        self.progress(
            Progress(clock.iteration, last, self.journal.latest["stationarity"], clock.seconds)
        )
