"""The verdict: why a job ends, from what its ranks say about themselves.

When a rank fails or has waited too long it calls the others. All that still run answer, with what they
do and for whom they wait; one that hangs does not. So its absence tells, also in a collective operation,
which by itself does not show who is missing.
"""

import os
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from distopt.core.errors import DistoptError

GRACE_SECONDS = 0.5  # for other causes, where a rank has failed and some do not answer
# For answers, where a rank is silent: busy machines pause processes for seconds.
ANSWER_SECONDS = 10.0
LAST_SECONDS = 2.0  # for the last answer, which is most likely that of a rank that hangs


def aim(task: str, iteration: int | None) -> str:
    """Name a task and its iteration."""
    return task if iteration is None else f"{task} iteration {iteration}"


def printed(error: BaseException, who: str) -> str:
    """Write an error as a sentence, or as the traceback of a bug or with --debug.

    `who` was to do what, if a cost has left by SystemExit or KeyboardInterrupt.
    """
    if not os.environ.get("DISTOPT_DEBUG"):
        if isinstance(error, DistoptError):
            return f"distopt: {error}\n"
        if not isinstance(error, Exception):
            last, text = traceback.extract_tb(error.__traceback__)[-1], str(error)
            return (
                f"distopt: {who}, but {last.filename}, line {last.lineno}, ended it by "
                f"{type(error).__name__}{': ' if text else ''}{text}.\n"
            )
    return "".join(traceback.format_exception(error))


@dataclass(frozen=True)
class Report:
    """What a rank says about itself."""

    rank: int
    exchanges: int  # completed; the order of events
    task: str
    iteration: int | None
    key: str  # that sets how long it waits
    waits: tuple[int, ...] = ()  # for messages of these agents
    seconds: float = 0.0  # waited, if it gave up waiting
    error: str = ""  # else its own failure, as printed
    network: bool = False  # whether that failure may follow from another rank's
    left: bool = False  # whether it just ended

    @property
    def aim(self) -> str:
        """Task and iteration."""
        return aim(self.task, self.iteration)


class Verdict:
    """Judges the reports that have come.

    Parameters
    ----------
    hosts : Sequence[str]
        Of the agents.
    """

    def __init__(self, hosts: Sequence[str]) -> None:
        self.hosts = hosts
        self.reports: dict[int, Report] = {}

    @property
    def missing(self) -> list[int]:
        """Return who has not answered."""
        return [j for j in range(len(self.hosts)) if j not in self.reports]

    @property
    def failed(self) -> list[Report]:
        """Return the reports of ranks that failed, the likeliest cause first."""
        found = [r for r in self.reports.values() if r.error]
        return sorted(found, key=lambda r: (r.network, r.exchanges, r.rank))

    @property
    def silent(self) -> bool:
        """Whether somebody gave up waiting, and no rank failed by itself."""
        waited = any(r.seconds for r in self.reports.values())
        return waited and not any(not r.network for r in self.failed)

    @property
    def lost(self) -> bool:
        """Whether a rank was lost, so the run may go on from its checkpoint."""
        failed = self.failed
        return self.silent or not failed or failed[0].network or failed[0].left

    @property
    def hindmost(self) -> Report:
        """Return the report of who waits in the earliest exchange, or operation of all agents."""
        waiting = self.reports.values()
        return min(waiting, key=lambda r: (r.exchanges, not r.waits, not r.seconds, r.rank))

    def settled(self, seconds: float) -> bool:
        """Whether more answers are not worth waiting for, `seconds` after the first report."""
        missing = self.missing
        if not missing or not self.reports:
            return not missing
        if not self.silent:
            return seconds > GRACE_SECONDS
        known = set(missing) <= set(self.hindmost.waits)
        return known or seconds > (LAST_SECONDS if len(missing) == 1 else ANSWER_SECONDS)

    def text(self) -> str:
        """Return what is to be printed."""
        failed = self.failed
        return f"distopt: {self.silence()}\n" if self.silent or not failed else failed[0].error

    def silence(self) -> str:
        """Name who hangs."""
        report, missing = self.hindmost, self.missing
        seconds = max(r.seconds for r in self.reports.values())
        limit = f"{report.key} sets how long to wait."
        if report.waits:
            who = [j for j in report.waits if j in missing] or report.waits
            when = (
                "during set-up" if report.iteration is None else f"in iteration {report.iteration}"
            )
            return (
                f"A{self.names([report.rank])} heard nothing from a{self.names(who)} for {seconds:g} s "
                f"{when}; {limit}"
            )
        if missing:
            one = len(missing) == 1
            return (
                f"A{self.names(missing)} {'hangs' if one else 'hang'}: the others have waited "
                f"{seconds:g} s for {'it' if one else 'them'} to {report.aim}; {limit}"
            )
        return (
            f"A{self.names([report.rank])} has waited {seconds:g} s for all agents to {report.aim}. All of "
            f"them answer, so a message was lost; {limit}"
        )

    def names(self, ranks: Sequence[int]) -> str:
        """Name agents and their hosts, without the first letter."""
        return " and ".join(f"agent {j} (host {self.hosts[j]})" for j in ranks)[1:]
