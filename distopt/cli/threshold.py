"""``distopt threshold``: a sweep over networks, in processes or over ranks."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from distopt.cli import options
from distopt.cli.deliver import deliver_tables
from distopt.cli.options import How
from distopt.cli.start import start
from distopt.core.rank import this_rank
from distopt.mpirun.launcher import PARENT, failing_together, limit_threads, tell


def threshold(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A TOML file of a sweep.")],
    workers: Annotated[
        int | None,
        typer.Option(
            "-n", metavar="N", min=1, help="MPI ranks that work; one more hands out the jobs."
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(metavar="J", min=1, help="Without MPI: processes that work.")
    ] = 1,
    settings: options.Settings = [],  # noqa: B006
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of results.", show_default="runs/CONFIG"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start over instead of going on.")
    ] = False,
    as_json: options.AsJson = False,
    as_table: options.AsTable = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    mpirun_args: options.MpirunArgs = "",
) -> None:
    """Find how many samples networks can be trained on, by width.

    The command goes on where it stopped: threshold.h5 keeps every finished job.
    """
    how = How(settings, False, workers, mpirun_args, as_json, as_table, quiet)
    find_thresholds(config, out or Path("runs") / config.stem, jobs, overwrite, how)


def find_thresholds(config: Path, out: Path, jobs: int, overwrite: bool, how: How) -> None:
    """Do what is left of a sweep: in processes, as a rank of a farm, or as the parent of ranks."""
    limit_threads(config, how.settings)
    path = out / "threshold.h5"
    with failing_together():
        from distopt.show.console import make_view
        from distopt.studies import farm
        from distopt.studies.sweep import load_sweep
        from distopt.studies.trials import Trials, tabulate

        sweep = load_sweep(config, how.settings)
        rank = this_rank()
        trials = Trials.opened(path, sweep, overwrite) if rank in {None, 0} else None
        with make_view(how.quiet) as view:
            if rank is not None:
                farm.farm_over_ranks(trials, view)
                tell("over")
            elif how.ranks is None and trials is not None:
                farm.farm_over_processes(trials, jobs, view)
    if rank is not None and (rank > 0 or PARENT in os.environ):
        return
    if how.ranks is not None and rank is None:
        arguments = ["threshold", str(config), "--out", str(out), *["--overwrite"] * overwrite]
        start(farm_line(how)(arguments), how)
        trials = Trials.opened(path, sweep, overwrite=False)
    assert trials is not None
    from distopt.core.files import write_files
    from distopt.show import network_figures
    from distopt.show.figures import png

    trials.save()
    figure = network_figures.against_width(trials)
    written = [path, *write_files(out, {"threshold.png": png(figure)})]
    told = trials.to_json() | {"files": [str(path) for path in written]}
    deliver_tables([tabulate(trials)], [told], written, how)


def farm_line(how: How) -> Callable[[list[str]], list[str]]:
    """Return what makes the mpirun command of a farm: its workers, and rank 0, which deals."""
    assert how.ranks is not None
    with_dealer = replace(how, ranks=how.ranks + 1)
    return with_dealer.mpirun(how.ranks + 1)
