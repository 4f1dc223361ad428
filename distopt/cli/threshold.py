"""``distopt threshold``: a sweep over networks, in processes or over ranks."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from distopt.cli import options
from distopt.cli.diagnose import deliver_table, write_files
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
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    mpirun_args: options.MpirunArgs = "",
) -> None:
    """Find how many samples networks can be trained on, by width.

    The command goes on where it stopped: threshold.h5 keeps every finished job.
    """
    how = How(settings, False, workers, mpirun_args, as_json, quiet=quiet)
    find_thresholds(config, out or Path("runs") / config.stem, jobs, overwrite, how)


def find_thresholds(config: Path, out: Path, jobs: int, overwrite: bool, how: How) -> None:
    """Do what is left of a sweep: in processes, as a rank of a farm, or as the parent of ranks."""
    limit_threads(config, how.settings)
    path = out / "threshold.h5"
    with failing_together():
        from distopt.show.console import make_view
        from distopt.studies import sweep as sweeps

        sweep = sweeps.load_sweep(config, how.settings)
        rank = this_rank()
        results = sweeps.Results.opened(path, sweep, overwrite) if rank in {None, 0} else None
        with make_view(how.quiet) as view:
            if rank is not None:
                sweeps.farm_over_ranks(results, view)
                tell("over")
            elif how.ranks is None:
                sweeps.farm_over_processes(results, jobs, view)
    if rank is not None and (rank > 0 or PARENT in os.environ):
        return
    if how.ranks is not None and rank is None:
        arguments = ["threshold", str(config), "--out", str(out), *["--overwrite"] * overwrite]
        start(farm_line(how)(arguments), how)
        results = sweeps.Results.opened(path, sweep, overwrite=False)
    assert results is not None
    from distopt.show import network_figures, tables
    from distopt.show.figures import png

    results.save()
    written = write_files(out, {"threshold.png": png(network_figures.against_width(results))})
    deliver_table(tables.of_sweep(results), [path, *written], results.to_json(), how)


def farm_line(how: How) -> Callable[[list[str]], list[str]]:
    """Return what makes the mpirun command of a farm: its workers, and rank 0, which deals."""
    assert how.ranks is not None
    with_dealer = replace(how, ranks=how.ranks + 1)
    return with_dealer.mpirun(how.ranks + 1)
