"""``distopt measure``: in the parent, as a rank, and inside a test bed."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from distopt.cli.commands import How, suite_line
from distopt.core.errors import DistoptError
from distopt.core.rank import this_rank
from distopt.mpirun.launcher import PARENT, failing_together, limit_threads, tell
from distopt.studies.measure.link import Link, parse_links

if TYPE_CHECKING:
    from distopt.show.console import ProgressView
    from distopt.studies.measure.items import Item
    from distopt.studies.suite import Suite


@dataclass(frozen=True)
class What:
    """The options of ``distopt measure``."""

    suite: Path
    out: Path
    links: str | None
    hosts: int | None
    rounds: int
    seconds: float
    interfaces: list[str] | None
    reuse: bool
    overwrite: bool
    items: list[int] | None  # of a rank: which to time


def measure(what: What, how: How) -> None:
    """Time every variant of a suite on every link, and say what was measured."""
    limit_threads(what.suite, how.settings)
    with failing_together():
        from distopt.studies import batch
        from distopt.studies.measure import bed, items
        from distopt.studies.suite import load_suite

        links = parse_links(what.links) if what.links else None
        suite = load_suite(what.suite, how.settings, what.out)
        agents = items.require_hosts(suite, what.hosts)
        wants_bed = links is not None or what.hosts is not None
        unlimited = parse_links("unlimited") if wants_bed else [None]
        wanted = items.make_items(suite, links or unlimited, what.rounds)
        if this_rank() is not None:
            as_rank(suite, wanted, what, how)
            return
        cases = list({item.case.place: item.case for item in wanted}.values())
        needed = batch.choose(cases, reuse=what.reuse, overwrite=what.overwrite)
    if wants_bed and not bed.inside():
        code = bed.run_inside([sys.executable, "-m", "distopt", *sys.argv[1:]], agents)
        if code:
            raise typer.Exit(code)
        return
    if wants_bed:
        bed.build(agents)
    from distopt.show import measured as summary
    from distopt.show.console import make_view

    failures: dict[str, str] = {}
    with make_view(how.quiet) as view:
        if needed:
            failures = batch.run_in_jobs(needed, suite_line(suite, what.suite, what.out, how), view)
        missing = [i for i in to_time(wanted, what) if i.case.name not in failures]
        for item in missing:
            item.path.unlink(missing_ok=True)
        if missing:
            failures |= batch.run_in_jobs(missing, timing_line(suite, wanted, what, how), view)
    summary.show(summary.collect(suite, wanted, failures), suite, what.out, how)


def to_time(wanted: Sequence["Item"], what: What) -> list["Item"]:
    """Return the items without a result that may be kept."""
    return [i for i in wanted if not (what.reuse and i.kept(what.seconds))]


def timing_line(
    suite: "Suite", wanted: Sequence["Item"], what: What, how: How
) -> Callable[[Sequence["Item"]], list[str]]:
    """Return what makes the mpirun command that times some items."""
    line = how.mpirun(*suite.agents)
    fixed = ["--rounds", str(what.rounds), "--seconds", str(what.seconds)]
    fixed += ["--link", what.links] if what.links else []
    fixed += ["--hosts", str(what.hosts)] if what.hosts else []
    fixed += [part for name in what.interfaces or [] for part in ("--interface", name)]

    def command(items: Sequence["Item"]) -> list[str]:
        numbers = [part for item in items for part in ("--item", str(wanted.index(item)))]
        return line(["measure", str(what.suite), "--out", str(what.out), *fixed, *numbers])

    return command


def as_rank(suite: "Suite", wanted: Sequence["Item"], what: What, how: How) -> None:
    """Time the items that the parent asked for; without a parent, everything."""
    from distopt.show import measured as summary
    from distopt.show.console import make_view
    from distopt.studies import batch

    failures: dict[str, str] = {}
    with make_view(how.quiet) as view:
        if what.items is not None:
            chosen = [wanted[i] for i in what.items]
        else:
            cases = list({item.case.place: item.case for item in wanted}.values())
            needed = batch.choose(cases, reuse=what.reuse, overwrite=what.overwrite)
            failures = batch.run_in_turn(needed, "mpi", view)
            chosen = [i for i in to_time(wanted, what) if i.case.name not in failures]
        failures |= time_in_turn(suite, chosen, what, view)
        tell("over")
    if this_rank() == 0 and PARENT not in os.environ:
        summary.show(summary.collect(suite, wanted, failures), suite, what.out, how)


def time_in_turn(
    suite: "Suite", items: Sequence["Item"], what: What, view: "ProgressView"
) -> dict[str, str]:
    """Time one item after the other as one rank of many; return the failures by name."""
    from distopt.core import units as q
    from distopt.record.history import read_history
    from distopt.studies.measure.timing import time_run

    failures: dict[str, str] = {}
    for item in items:
        view.begin(item.name)
        try:
            result = time_run(
                item.case.config,
                read_history(item.case.place),
                suite.accuracies,
                limit=limiter(item.link),
                seconds=what.seconds,
                interfaces=what.interfaces,
            )
        except DistoptError as error:
            failures[item.name] = str(error)
            view.failed(item.name, str(error))
            continue
        if this_rank() == 0:
            item.keep(result, what.seconds)
        view.done(
            item.name,
            f"{result['iterations']} iterations, {q.seconds(result['seconds_per_iteration'])} each",
        )
    return failures


def limiter(link: Link | None) -> Callable[[], None]:
    """Return what sets the rate of this rank's link; nothing outside a test bed."""
    from distopt.studies.measure import bed

    return lambda: bed.limit_here(link) if link and bed.inside() else None
