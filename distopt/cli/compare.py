"""``distopt compare``: run a suite, or take existing runs, and compare them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from distopt.cli import options
from distopt.cli.deliver import deliver_tables
from distopt.cli.options import How
from distopt.cli.start import carry_parts
from distopt.core.rank import this_rank
from distopt.mpirun.failing import failing_together

if TYPE_CHECKING:
    from distopt.studies.compare import Comparison


def compare(
    paths: Annotated[
        list[Path],
        Argument(metavar="SUITE.toml | RUN_DIR...", help="A suite to run, or earlier runs."),
    ],
    ranks: options.Ranks = None,
    simulate: options.Simulate = False,
    settings: options.Settings = [],
    out: Annotated[
        Path | None,
        Option(
            metavar="DIR",
            help="Folder for runs, page and figures.",
            show_default="runs/SUITE, or none for RUN_DIR...",
        ),
    ] = None,
    reuse: Annotated[bool, Option("--reuse", help="Keep the finished runs in DIR.")] = False,
    overwrite: options.Overwrite = False,
    jobs: Annotated[
        int,
        Option(
            metavar="J",
            min=1,
            help="With --simulate: variants at a time; more than one makes each slower.",
        ),
    ] = 1,
    accuracies: Annotated[
        list[float] | None,
        Option(
            "--accuracy",
            metavar="P",
            help="With RUN_DIR...: accuracy to compare at; may be repeated.",
        ),
    ] = None,
    as_json: options.AsJsonLines = False,
    as_table: options.AsTable = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    mpirun_args: options.MpirunArgs = "",
) -> None:
    """Compare variants of one problem: iterations, bytes and seconds to each accuracy.

    The variants of a suite run one after the other; one that diverges does not stop the others.
    """
    how = How(settings, simulate, ranks, mpirun_args, as_json, as_table, quiet)
    if len(paths) > 1 or paths[0].is_dir():
        from distopt.studies.compare import compare_folders

        show_comparison(compare_folders(paths, accuracies), out, how)
    else:
        folder = out or Path("runs") / paths[0].stem
        compare_suite(paths[0], folder, reuse, overwrite, jobs, how)


def compare_suite(path: Path, out: Path, reuse: bool, overwrite: bool, jobs: int, how: How) -> None:
    """Run the missing cases of a suite and compare its variants."""
    with failing_together():
        engine = how.engine()
        from distopt.mpirun.jobfile import SuiteJob
        from distopt.show.console import make_view
        from distopt.studies import batch
        from distopt.studies import compare as comparing
        from distopt.studies.suite import load_suite

        suite = load_suite(path, how.settings, out)
        needed = batch.choose(suite.cases, reuse=reuse, overwrite=overwrite)
        with make_view(how.quiet) as view:
            if engine == "simulate" and jobs > 1:
                failures = batch.run_side_by_side(needed, jobs, view)
            elif engine == "simulate":
                failures = batch.run_in_turn(needed, engine, view)
            else:
                failures = carry_parts(needed, SuiteJob.of, out, how, view)
    if this_rank() in {None, 0}:
        show_comparison(comparing.compare_suite(suite, failures), out, how)


def show_comparison(comparison: "Comparison", out: Path | None, how: How) -> None:
    """Print a comparison and write its page, figures and numbers; fail if a variant has failed."""
    from distopt.show.comparison import write_comparison
    from distopt.studies.comparison_table import tabulate

    tables = tabulate(comparison)
    written = write_comparison(comparison, tables, out) if out else []
    objects = (variant.to_json() for variant in comparison.variants)
    deliver_tables(tables, objects, written, how, comparison.failures)
