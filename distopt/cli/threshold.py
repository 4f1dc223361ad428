"""``distopt threshold``: a sweep over networks, in processes or over ranks."""

from pathlib import Path
from typing import Annotated

import typer

from distopt.cli import options
from distopt.cli.deliver import deliver_tables
from distopt.cli.options import How
from distopt.cli.start import start
from distopt.core.rank import this_rank
from distopt.mpirun.failing import debugging, failing_together


def threshold(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A TOML file of a sweep.")],
    workers: Annotated[
        int | None,
        typer.Option(
            "-n", metavar="N", min=1, help="MPI ranks that train; one more deals out the work."
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(metavar="J", min=1, help="Without MPI: processes that train.")
    ] = 1,
    settings: options.Settings = [],  # noqa: B006
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for results.", show_default="runs/CONFIG"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start over instead of continuing.")
    ] = False,
    as_json: options.AsJson = False,
    as_table: options.AsTable = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    mpirun_args: options.MpirunArgs = "",
) -> None:
    """Find how many samples networks can be trained on, by width.

    Continues where it stopped: threshold.h5 keeps every finished training.
    """
    how = How(settings, False, workers, mpirun_args, as_json, as_table, quiet)
    out = out or Path("runs") / config.stem
    with failing_together():
        from distopt.mpirun.jobfile import SweepJob
        from distopt.show.console import make_view
        from distopt.studies import farm
        from distopt.studies.sweep import load_sweep
        from distopt.studies.trials import Trials, tabulate

        sweep = load_sweep(config, settings)
        job = SweepJob(
            sweep=sweep.tables(), out=out, overwrite=overwrite, ranks=(workers or 0) + 1,
            debug=debugging(),
        )  # fmt: skip
        with make_view(quiet) as view:
            if this_rank() is not None:
                found = farm.farm_over_ranks(lambda: Trials.of_job(job), view)
            elif workers is None:
                found = Trials.of_job(job)
                farm.farm_over_processes(found, jobs, view)
        if this_rank() is None and workers is not None:
            Trials.of_job(job)  # refuse another sweep's before mpirun is started
            start(job, out, how)
            found = Trials.of_job(job.model_copy(update={"overwrite": False}))
    if found is None:
        return
    from distopt.core.files import write_files
    from distopt.show import network_figures
    from distopt.show.figures import png

    found.save()
    figure = network_figures.against_width(found)
    written = [found.path, *write_files(out, {"threshold.png": png(figure)})]
    told = found.to_json() | {"files": [str(path) for path in written]}
    deliver_tables([tabulate(found)], [told], written, how)
