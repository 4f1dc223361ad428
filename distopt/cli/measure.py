"""``distopt measure``: in the parent, as a rank, and inside a test bed."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distopt.cli import options
from distopt.cli.compare import suite_line
from distopt.cli.deliver import deliver_tables
from distopt.cli.options import How
from distopt.core.rank import this_rank
from distopt.mpirun.launcher import PARENT, failing_together, limit_threads, tell

if TYPE_CHECKING:
    from distopt.studies.measure.timed import TimedRun
    from distopt.studies.suite import Suite


def measure(
    suite: Annotated[Path, typer.Argument(metavar="SUITE.toml", help="A suite of variants.")],
    links: Annotated[
        str | None,
        typer.Option(
            "--link",
            metavar="RATES",
            help="Measure on a test bed of hosts with links of these rates, such as "
            "100mbit,1gbit,unlimited. Without it (and --hosts): between the hosts that mpirun uses.",
        ),
    ] = None,
    hosts: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Hosts of the test bed, one for each agent.", show_default="agents"
        ),
    ] = None,
    rounds: Annotated[
        int,
        typer.Option(metavar="R", min=1, help="Rounds of timing; medians over them are reported."),
    ] = 3,
    seconds: Annotated[
        float,
        typer.Option(
            metavar="S",
            min=0.1,
            help="Longest time of one timed run; the rest of it is extrapolated.",
        ),
    ] = 10.0,
    interfaces: Annotated[
        list[str] | None,
        typer.Option(
            "--interface",
            metavar="NAME",
            help="Network interface whose bytes are counted; may be repeated.",
            show_default="those that lead to the neighbours",
        ),
    ] = None,
    settings: options.Settings = [],  # noqa: B006
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of runs and numbers.", show_default="runs/SUITE-measured"
        ),
    ] = None,
    reuse: Annotated[
        bool,
        typer.Option("--reuse", help="Keep the finished runs and timings that DIR holds already."),
    ] = False,
    overwrite: options.Overwrite = False,
    as_json: options.AsJsonLines = False,
    as_table: options.AsTable = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    mpirun_args: options.MpirunArgs = "",
    items: Annotated[list[int] | None, typer.Option("--item", hidden=True)] = None,
) -> None:
    """Measure seconds and bytes at the network interfaces, on links of given rates or real ones.

    Variants alternate, so that all of them see the same machine.
    """  # fmt: skip
    place = out or Path("runs") / f"{suite.stem}-measured"
    how = How(settings, mpirun_args=mpirun_args, as_json=as_json, format=as_table, quiet=quiet)
    what = What(suite, place, links, hosts, rounds, seconds, interfaces, reuse, overwrite, items)
    measure_suite(what, how)


@dataclass(frozen=True)
class What:
    """What is to be measured, and how long."""

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


def measure_suite(what: What, how: How) -> None:
    """Time every variant of a suite on every link, and say what was measured."""
    limit_threads(what.suite, how.settings)
    with failing_together():
        from distopt.studies import batch
        from distopt.studies.measure import bed, timed
        from distopt.studies.measure.link import parse_links
        from distopt.studies.suite import load_suite

        links = parse_links(what.links) if what.links else None
        suite = load_suite(what.suite, how.settings, what.out)
        agents = timed.require_hosts(suite, what.hosts)
        wants_bed = links is not None or what.hosts is not None
        unlimited = parse_links("unlimited") if wants_bed else [None]
        wanted = timed.list_timed_runs(suite, links or unlimited, what.rounds)
        if this_rank() is not None:
            as_rank(suite, wanted, what, how)
            return
        cases = list({item.case.folder: item.case for item in wanted}.values())
        needed = batch.choose(cases, reuse=what.reuse, overwrite=what.overwrite)
    if wants_bed and not bed.inside():
        code = bed.run_inside([sys.executable, "-m", "distopt", *sys.argv[1:]], agents)
        if code:
            raise typer.Exit(code)
        return
    if wants_bed:
        bed.build(agents)
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
    show_measured(suite, wanted, failures, what.out, how)


def to_time(wanted: Sequence["TimedRun"], what: What) -> list["TimedRun"]:
    """Return the items without a result that may be kept."""
    return [i for i in wanted if not (what.reuse and i.kept(what.seconds))]


def timing_line(
    suite: "Suite", wanted: Sequence["TimedRun"], what: What, how: How
) -> Callable[[Sequence["TimedRun"]], list[str]]:
    """Return what makes the mpirun command that times some items."""
    line = how.mpirun(*suite.agents)
    fixed = ["--rounds", str(what.rounds), "--seconds", str(what.seconds)]
    fixed += ["--link", what.links] if what.links else []
    fixed += ["--hosts", str(what.hosts)] if what.hosts else []
    fixed += [part for name in what.interfaces or [] for part in ("--interface", name)]

    def command(items: Sequence["TimedRun"]) -> list[str]:
        numbers = [part for item in items for part in ("--item", str(wanted.index(item)))]
        return line(["measure", str(what.suite), "--out", str(what.out), *fixed, *numbers])

    return command


def as_rank(suite: "Suite", wanted: Sequence["TimedRun"], what: What, how: How) -> None:
    """Time the items that the parent asked for; without a parent, everything."""
    from distopt.show.console import make_view
    from distopt.studies import batch
    from distopt.studies.measure.timed import time_in_turn

    failures: dict[str, str] = {}
    with make_view(how.quiet) as view:
        if what.items is not None:
            chosen = [wanted[i] for i in what.items]
        else:
            cases = list({item.case.folder: item.case for item in wanted}.values())
            needed = batch.choose(cases, reuse=what.reuse, overwrite=what.overwrite)
            failures = batch.run_in_turn(needed, "mpi", view)
            chosen = [i for i in to_time(wanted, what) if i.case.name not in failures]
        failures |= time_in_turn(chosen, suite.accuracies, what.seconds, what.interfaces, view)
        tell("over")
    if this_rank() == 0 and PARENT not in os.environ:
        show_measured(suite, wanted, failures, what.out, how)


def show_measured(
    suite: "Suite", runs: Sequence["TimedRun"], failures: dict[str, str], out: Path, how: How
) -> None:
    """Print the tables, write the numbers, and fail if a variant has failed."""
    from distopt.show import console, measured
    from distopt.studies.measure import break_even, summary, tables

    variants = summary.collect(suite, runs, failures)
    accuracy = summary.common_accuracy(variants, suite)
    model = break_even.judge(variants, accuracy, summary.baseline(variants, suite))
    written = measured.write_measured(variants, suite, accuracy, model, out)
    for sentence in summary.problems(variants):
        console.say(sentence)
    failed = [f"{v['variant']}: {text}" for v in variants for text in v["failures"]]
    found = tables.tabulate(variants, suite.accuracies, model)
    deliver_tables(found, variants, written, how, failed)
