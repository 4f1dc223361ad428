"""Timed runs: every variant on every link in every round, one file each."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from distopt.core import units as q
from distopt.core.errors import ConfigError, DistoptError
from distopt.core.files import write_whole
from distopt.core.rank import this_rank
from distopt.mpirun.jobfile import Case, Timing, TimingJob
from distopt.mpirun.relay import View
from distopt.record.reader import load
from distopt.studies.measure import bed
from distopt.studies.measure.link import Link, parse_link
from distopt.studies.measure.timing import time_run
from distopt.studies.suite import Suite

FORMAT = 4  # of the files


@dataclass(frozen=True)
class TimedRun:
    """A variant on a link in a round."""

    case: Case
    link: Link | None  # None: between real hosts, whose links are as they are
    round: int

    @property
    def name(self) -> str:
        """Variant, link and round."""
        link = f", {self.link.name}" if self.link else ""
        return f"{self.case.label}{link}, round {self.round}"

    @property
    def link_name(self) -> str:
        """The link as files and tables call it."""
        return self.link.name if self.link else "as it is"

    @property
    def path(self) -> Path:
        """Where its result is kept."""
        link = self.link_name.replace(" ", "-")
        return self.case.folder / "timed" / f"{link}-{self.round}.json"

    def key(self, seconds: float) -> dict[str, Any]:
        """The values that must be equal for a kept result to count for this run."""
        resolved = json.loads(json.dumps(self.case.config.resolved(), default=str))
        return {"format": FORMAT, "config": resolved, "seconds": seconds}

    def keep(self, result: dict[str, Any], seconds: float) -> None:
        """Write a result, whole or not at all."""
        text = json.dumps({"key": self.key(seconds), "result": result}, indent=1)
        write_whole(self.path, text.encode())

    def kept(self, seconds: float | None) -> dict[str, Any] | None:
        """Return the result if there is one (made with this time limit, if one is given)."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            wanted = self.key(found["key"]["seconds"] if seconds is None else seconds)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return dict(found["result"]) if found["key"] == wanted else None


def list_timed_runs(suite: Suite, links: Sequence[Link | None], rounds: int) -> list[TimedRun]:
    """List the items to time, with variants and links alternating; one seed of each variant."""
    first: dict[str, Case] = {}
    for case in suite.cases:
        first.setdefault(case.label, case)
    return [
        TimedRun(case, link, number)
        for number in range(1, rounds + 1)
        for link in links
        for case in first.values()
    ]


def missing(
    runs: Sequence[TimedRun], failures: Mapping[str, str], reuse: float | None
) -> list[TimedRun]:
    """Return the runs to be timed; old results of these are removed.

    Cases that have failed are left out. `reuse` keeps results that were timed for so many seconds.
    """
    found = [
        run
        for run in runs
        if run.case.name not in failures and (reuse is None or run.kept(reuse) is None)
    ]
    for run in found:
        run.path.unlink(missing_ok=True)
    return found


def require_hosts(suite: Suite, hosts: int | None) -> int:
    """Return the number of agents, which must be the same in all variants, and that of the hosts.

    Raises
    ------
    ConfigError
        If not.
    """
    if len(suite.agents) > 1:
        raise ConfigError(
            f"The variants have different numbers of agents ({sorted(suite.agents)}), so they cannot "
            "be timed on the same hosts; --set problem.agents=N makes them equal."
        )
    (agents,) = suite.agents
    if hosts is not None and hosts != agents:
        raise ConfigError(
            f"--hosts {hosts}, but the suite has {agents} agents, and every agent has a host of its "
            f"own: use --hosts {agents} (or leave it out), or --set problem.agents={hosts}."
        )
    return agents


def make_job(
    accuracies: Sequence[float],
    seconds: float,
    interfaces: Sequence[str],
    runs: Sequence[TimedRun],
) -> TimingJob:
    """Make the job that does some timed runs."""
    cases = {run.case.folder: run.case for run in runs}
    number = {folder: i for i, folder in enumerate(cases)}
    return TimingJob(
        cases=tuple(cases.values()),
        timings=tuple(
            Timing(case=number[r.case.folder], link=r.link.name if r.link else None, round=r.round)
            for r in runs
        ),
        accuracies=tuple(accuracies),
        seconds=seconds,
        interfaces=tuple(interfaces),
    )


def time_in_turn(job: TimingJob, view: View) -> dict[str, str]:
    """Time one run after the other as one rank of many; return the failures by name."""
    failures: dict[str, str] = {}
    for timing in job.timings:
        link = parse_link(timing.link) if timing.link else None
        run = TimedRun(job.cases[timing.case], link, timing.round)
        view.begin(run.name)
        try:
            result = time_run(
                run.case.config,
                load(run.case.folder),
                job.accuracies,
                limit=partial(bed.limit_here, link),
                seconds=job.seconds,
                interfaces=job.interfaces or None,
            )
        except DistoptError as error:
            failures[run.name] = str(error)
            view.failed(run.name, str(error))
            continue
        if this_rank() == 0:
            run.keep(result, job.seconds)
        pace = q.seconds(result["seconds_per_iteration"])
        view.done(run.name, f"{result['iterations']} iterations, {pace} each")
    return failures
