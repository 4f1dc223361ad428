"""A variant of a plan, simulated for some seconds of this processor: how far it came, and what it took."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, log
from statistics import median
from time import thread_time
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from distopt.config.build import Config
from distopt.core.usercode import blaming
from distopt.engine.journal import Journal
from distopt.engine.overlap import second_nbytes
from distopt.engine.schedule import EVERY
from distopt.engine.team import Team, prepare
from distopt.studies.measure.rounds import Rounds
from distopt.transport.local import LocalTransport

LEAST_SECONDS = 0.1  # of iterations, whatever the set-up took
FAR = 20  # times the simulated iterations: farther is not projected
BENT = 1.2  # a fall that slows down by more from one quarter to the next is taken for a power of k


@dataclass(frozen=True)
class Trial:
    """What a simulation gave.

    Attributes
    ----------
    rows : Sequence of dict
        Its records.
    computing : float
        Processor seconds of one agent in an iteration, median.
    exchanges : float
        One after the other, in an iteration.
    copies, message : float
        What the busiest agent of an exchange sends, on average: messages, and bytes of one.
    second : int
        Bytes, at most, of a second vector that may travel during the gradient, 0 for none.
    gradient : float
        Processor seconds of one gradient.
    """

    rows: Sequence[dict[str, Any]]
    computing: float
    exchanges: float = 1.0
    copies: float = 1.0
    message: float = 0.0
    second: int = 0
    gradient: float = 0.0

    @property
    def iterations(self) -> int:
        """How many were simulated."""
        return max(int(self.rows[-1]["iteration"]), 1)

    def of_iteration(self, series: str) -> float:
        """Return the mean increase of a series in an iteration."""
        return float(self.rows[-1][series]) / self.iterations


def simulate(config: Config, accuracy: float, seconds: float) -> Trial:
    """Run a configuration until P <= accuracy, to its end, or for about `seconds` of processor time."""
    if config.run.record_every == "auto":  # a simulation sends nothing: it may look often
        config = replace(config, run=config.run.model_copy(update={"record_every": EVERY}))
    spent, began = list[float](), thread_time()
    with (
        LocalTransport(config.problem.topology) as transport,
        threadpool_limits(1),
        np.errstate(over="ignore", invalid="ignore"),
        blaming(),
    ):
        team = prepare(config, transport, together=False)
        rounds = Rounds(transport, config.problem.topology)
        journal = Journal(team)
        journal.begin()
        end = max(began + seconds, thread_time() + LEAST_SECONDS)
        asked, taken = gradients_of(team)
        while journal.latest["stationarity"] > accuracy:
            before = thread_time()
            team.iterate()
            spent.append(thread_time() - before)
            last = team.clock.iteration >= config.run.iterations or before > end
            if last or journal.due():
                journal.record()
            if last:
                break
        journal.require_bounded()
    waits = rounds.waits()
    computing = median(spent[1:] or spent or [0.0]) / len(team.hosted)
    all_asked, all_taken = gradients_of(team)
    # By the clock a gradient takes its share of the iterations, whatever else the machine does.
    share = (all_taken - taken) / (team.clock.seconds or 1.0)
    each = (all_asked - asked) / len(team.hosted) / max(team.clock.iteration, 1)
    whole = team.parts.algorithm.searching  # behind a whole message is what the search tells
    return Trial(
        list(journal.rows),
        computing=computing,
        exchanges=waits.exchanges / max(team.clock.iteration, 1),
        copies=waits.copies,
        message=waits.message,
        second=0 if whole else second_nbytes(team.parts, team.hosted[0].agent),
        gradient=share * computing / (each or 1.0),
    )


def gradients_of(team: Team) -> tuple[int, float]:
    """Return how many gradients the agents have computed, and the seconds by the clock."""
    seconds = [h.agent.seconds for h in team.hosted]
    return sum(s.gradients for s in seconds), sum(s.gradient for s in seconds)


def iterations_to(accuracy: float, rows: Sequence[dict[str, Any]]) -> tuple[float | None, bool]:
    """Return the iterations to an accuracy, and whether they are projected; None: it stands still.

    A run that ended earlier is continued as the smallest P so far fell in the last two quarters: by a
    factor an iteration or, where it became slower, as a power of the iteration; not beyond `FAR` times
    its iterations.

    >>> iterations_to(1e-6, [{"iteration": k, "stationarity": 10.0 ** (-k / 10)} for k in range(0, 50, 10)])
    (60.0, True)
    """
    P = np.fmin.accumulate([row["stationarity"] for row in rows])
    for row, smallest in zip(rows, P, strict=True):
        if smallest <= accuracy:
            return float(row["iteration"]), False
    k = np.array([row["iteration"] for row in rows], np.float64)
    if len(rows) < 5 or not np.isfinite(P[-1]):
        return None, False
    third, fourth = -np.diff(np.interp(k[-1] * np.array([0.5, 0.75, 1.0]), k, np.log(P)))
    wanted = log(P[-1] / accuracy) if accuracy else inf
    if fourth <= 0:
        factor = inf
    elif third > BENT * fourth:
        factor = np.exp(min(wanted * log(4 / 3) / fourth, log(2 * FAR)))
    else:
        factor = 1 + wanted / (2 * (third + fourth))
    return (float(round(k[-1] * factor)), True) if factor <= FAR else (None, False)
