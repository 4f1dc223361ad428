"""The loop: iterate until there is a reason to stop, recording and saving on the way."""

from collections.abc import Callable
from dataclasses import dataclass
from signal import SIGINT, SIGTERM, SIGUSR1
from time import perf_counter

import numpy as np

from distopt.config.run import read_test
from distopt.engine.journal import Journal
from distopt.engine.stopping import StopRequest
from distopt.engine.team import Team
from distopt.record.series import MEASURES

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
        self.first = team.clock.iteration
        self.shown = perf_counter()

    def run(self) -> str:
        """Iterate to the end, a stopping test, a time limit or a signal; return the reason."""
        self.journal.begin()
        self.stop.listen(SIGTERM, SIGINT, SIGUSR1)
        with self.journal:
            reason = self.iterate()
        self.journal.end(reason)
        return reason

    def iterate(self) -> str:
        """Iterate until there is a reason to stop, and return it."""
        clock, settings, journal = self.team.clock, self.settings, self.journal
        if journal.schedule.belongs(clock.iteration) and (reason := self.reached()):
            return reason
        while clock.iteration < settings.iterations:
            if reason := self.asked():
                return reason
            self.team.iterate()
            if journal.due():
                journal.record()
                if reason := self.reached():
                    return reason
            if settings.checkpoint_every and clock.iteration % settings.checkpoint_every == 0:
                journal.save()
            journal.save_by_clock()
            self.show()
        journal.require_bounded()
        return "iterations"

    def reached(self) -> str:
        """Apply the stopping tests to the latest record; return the reason to stop, "" for none."""
        stop, latest = self.settings.stop, self.journal.latest
        if latest["stationarity"] <= stop.stationarity:
            return "stop.stationarity"
        for name, test in stop.measures.items():
            compare, bound = read_test(test)
            if compare(latest[MEASURES + name], bound):
                return f"stop.measures.{name}"
        return "stop.nmse" if latest.get("nmse", np.inf) <= stop.nmse else ""

    def asked(self) -> str:
        """Return why all processes stop here, "" if they go on; the first iteration is always done."""
        clock, wish = self.team.clock, ""
        if clock.iteration == self.first:
            return ""
        if self.stop.signal is not None:
            wish = "signal"
        elif clock.seconds >= self.settings.stop.seconds:
            wish = "stop.seconds"
        return self.team.transport.agree_to_stop(wish)

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
