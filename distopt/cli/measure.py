"""``distopt measure``: seconds and bytes of a suite, on a test bed or between real hosts."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

from typer import Argument, Option

from distopt.cli import options
from distopt.cli.deliver import deliver_tables
from distopt.cli.options import How
from distopt.cli.start import carry_parts
from distopt.core.rank import this_rank
from distopt.mpirun.failing import failing_together

if TYPE_CHECKING:
    from distopt.studies.measure.timed import TimedRun
    from distopt.studies.suite import Suite

Links: TypeAlias = Annotated[
    str | None,
    Option(
        "--link",
        metavar="RATES",
        help="Make a test bed of hosts with links of these rates, such as 100mbit,1gbit or 25mbit+10ms. "
        "Without --link and --hosts: between the hosts that mpirun uses.",
    ),
]
Interfaces: TypeAlias = Annotated[
    list[str],
    Option(
        "--interface",
        metavar="NAME",
        help="Network interface whose counters are read; may be repeated.",
        show_default="those that lead to the neighbours",
    ),
]


def measure(
    suite: Annotated[Path, Argument(metavar="SUITE.toml", help="A suite of variants.")],
    links: Links = None,
    hosts: Annotated[
        int | None,
        Option(
            metavar="N",
            help="Hosts of the test bed; must be as many as agents.",
            show_default="agents",
        ),
    ] = None,
    rounds: Annotated[
        int, Option(metavar="R", min=1, help="Time each run this often and report medians.")
    ] = 3,
    seconds: Annotated[
        float,
        Option(
            metavar="S",
            min=0.1,
            help="Time a run for about S seconds at most and extrapolate the rest.",
        ),
    ] = 10.0,
    interfaces: Interfaces = [],
    settings: options.Settings = [],
    out: Annotated[
        Path | None,
        Option(
            metavar="DIR", help="Folder for runs and results.", show_default="runs/SUITE-measured"
        ),
    ] = None,
    reuse: Annotated[
        bool, Option("--reuse", help="Keep the finished runs and timings in DIR.")
    ] = False,
    overwrite: options.Overwrite = False,
    as_json: options.AsJsonLines = False,
    as_table: options.AsTable = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    mpirun_args: options.MpirunArgs = "",
) -> None:
    """Measure time and network traffic of a suite, on links of given rates or on real ones.

    Variants take turns, so all of them see the same machine.
    """
    how = How(settings, mpirun_args=mpirun_args, as_json=as_json, format=as_table, quiet=quiet)
    out = out or Path("runs") / f"{suite.stem}-measured"
    with failing_together():
        from distopt.mpirun.jobfile import SuiteJob
        from distopt.show.console import make_view
        from distopt.studies import batch
        from distopt.studies.measure import timed
        from distopt.studies.measure.bed import on_bed
        from distopt.studies.measure.link import UNLIMITED, one_latency, parse_links
        from distopt.studies.suite import load_suite

        loaded = load_suite(suite, settings, out)
        agents = timed.require_hosts(loaded, hosts)
        wanted = parse_links(links) if links else [UNLIMITED] if hosts else []
        bed = partial(on_bed, hosts=agents, link=one_latency(wanted)) if wanted else None
        runs = timed.list_timed_runs(loaded, wanted or [None], rounds)
        cases = {run.case.folder: run.case for run in runs}
        needed = batch.choose(list(cases.values()), reuse=reuse, overwrite=overwrite)
        timing = partial(timed.make_job, loaded.accuracies, seconds, interfaces)
        with make_view(quiet) as view:
            failures = carry_parts(needed, SuiteJob.of, out, how, view, bed)
            missing = timed.missing(runs, failures, seconds if reuse else None)
            failures |= carry_parts(missing, timing, out, how, view, bed)
    if this_rank() in {None, 0}:
        show_measured(loaded, runs, failures, out, how)


def show_measured(
    suite: "Suite", runs: Sequence["TimedRun"], failures: dict[str, str], out: Path, how: How
) -> None:
    """Print the tables, write the numbers, and fail if a variant has failed."""
    from distopt.show import console, measured
    from distopt.studies.measure import break_even, summary, tables

    variants = summary.collect(runs, failures)
    accuracy = summary.common_accuracy(variants, suite)
    model = break_even.judge(variants, accuracy, summary.baseline(variants, suite))
    written = measured.write_measured(variants, suite, accuracy, model, out)
    for sentence in summary.problems(variants):
        console.say(sentence)
    failed = [f"{v['variant']}: {text}" for v in variants for text in v["failures"]]
    found = tables.tabulate(variants, suite.accuracies, model)
    deliver_tables(found, variants, written, how, failed)
