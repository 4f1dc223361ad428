"""``distopt measure``: seconds and bytes of a suite, on a test bed or between real hosts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distopt.cli import options
from distopt.cli.deliver import deliver_tables
from distopt.cli.options import How
from distopt.cli.start import starter
from distopt.core.rank import this_rank
from distopt.mpirun.failing import debugging, failing_together

if TYPE_CHECKING:
    from distopt.mpirun.jobfile import Case, TimingJob
    from distopt.show.console import ProgressView
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
        list[str],
        typer.Option(
            "--interface",
            metavar="NAME",
            help="Network interface whose bytes are counted; may be repeated.",
            show_default="those that lead to the neighbours",
        ),
    ] = [],  # noqa: B006
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
) -> None:
    """Measure seconds and bytes at the network interfaces, on links of given rates or real ones.

    Variants alternate, so that all of them see the same machine.
    """  # fmt: skip
    how = How(settings, mpirun_args=mpirun_args, as_json=as_json, format=as_table, quiet=quiet)
    out = out or Path("runs") / f"{suite.stem}-measured"
    with failing_together():
        from distopt.show.console import make_view
        from distopt.studies import batch
        from distopt.studies.measure.link import UNLIMITED, parse_links
        from distopt.studies.measure.timed import list_timed_runs, require_hosts
        from distopt.studies.suite import load_suite

        rates = parse_links(links) if links else None
        loaded = load_suite(suite, settings, out)
        agents = require_hosts(loaded, hosts)
        on_bed = rates is not None or hosts is not None
        runs = list_timed_runs(loaded, rates or [UNLIMITED if on_bed else None], rounds)
        cases = list({run.case.folder: run.case for run in runs}.values())
        needed = batch.choose(cases, reuse=reuse, overwrite=overwrite)
        what = Timed(loaded, out, seconds, tuple(interfaces), reuse)
        with make_view(quiet) as view:
            if this_rank() is None:
                failures = measure_in_jobs(needed, runs, what, agents if on_bed else 0, how, view)
            else:
                failures = measure_as_rank(needed, runs, what, view)
    if this_rank() in {None, 0}:
        show_measured(loaded, runs, failures, out, how)


@dataclass(frozen=True)
class Timed:
    """What is timed, and how."""

    suite: "Suite"
    out: Path
    seconds: float
    interfaces: tuple[str, ...]
    reuse: bool

    def missing(self, runs: Sequence["TimedRun"], failures: Mapping[str, str]) -> "list[TimedRun]":
        """Return the timed runs without a result to keep, except those of cases that failed."""
        return [
            run
            for run in runs
            if run.case.name not in failures and not (self.reuse and run.kept(self.seconds))
        ]

    def job(self, runs: Sequence["TimedRun"]) -> "TimingJob":
        """Return the job that does some timed runs."""
        from distopt.studies.measure.timed import make_job

        return make_job(runs, self.suite.accuracies, self.seconds, self.interfaces, debugging())


def measure_in_jobs(
    needed: Sequence["Case"],
    runs: Sequence["TimedRun"],
    what: Timed,
    hosts: int,
    how: How,
    view: "ProgressView",
) -> dict[str, str]:
    """Run what is needed, then time it, in MPI jobs; on a bed of so many hosts, 0: without one."""
    from distopt.mpirun.jobfile import SuiteJob
    from distopt.studies.batch import run_in_jobs
    from distopt.studies.measure.bed import on_bed

    command = starter(how, (lambda mpirun: on_bed(mpirun, hosts)) if hosts else lambda m: m)
    failures: dict[str, str] = {}
    if needed:
        whole = SuiteJob(cases=tuple(needed), debug=debugging())
        failures = run_in_jobs(
            needed, lambda cases: command(whole.restricted(cases), what.out), view
        )
    missing = what.missing(runs, failures)
    for run in missing:
        run.path.unlink(missing_ok=True)
    if missing:
        failures |= run_in_jobs(missing, lambda some: command(what.job(some), what.out), view)
    return failures


def measure_as_rank(
    needed: Sequence["Case"], runs: Sequence["TimedRun"], what: Timed, view: "ProgressView"
) -> dict[str, str]:
    """Run what is needed, then time it, as one rank of many."""
    from distopt.studies.batch import run_in_turn
    from distopt.studies.measure.timed import time_in_turn

    failures = run_in_turn(needed, "mpi", view)
    missing = what.missing(runs, failures)
    return failures | (time_in_turn(what.job(missing), view) if missing else {})


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
