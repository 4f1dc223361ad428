"""``distopt threshold``: a sweep over networks, in processes or over ranks."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from distopt.cli import options
from distopt.cli.deliver import deliver_tables
from distopt.cli.options import How
from distopt.cli.start import start
from distopt.core.rank import this_rank
from distopt.mpirun.failing import failing_together

if TYPE_CHECKING:
    from distopt.mpirun.jobfile import SweepJob
    from distopt.studies.trials import Trials


def threshold(
    config: Annotated[Path, Argument(metavar="CONFIG", help="A TOML file of a sweep.")],
    workers: Annotated[
        int | None,
        Option("-n", metavar="N", min=1, help="MPI ranks that train; one more deals out the work."),
    ] = None,
    jobs: Annotated[int, Option(metavar="J", min=1, help="Without MPI: processes that train.")] = 1,
    settings: options.Settings = [],
    out: Annotated[
        Path | None, Option(metavar="DIR", help="Folder for results.", show_default="runs/CONFIG")
    ] = None,
    overwrite: Annotated[
        bool, Option("--overwrite", help="Start over instead of continuing.")
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
        from distopt.studies.sweep import load_sweep

        job = SweepJob(
            sweep=load_sweep(config, settings).tables(), out=out, overwrite=overwrite,
            ranks=(workers or 0) + 1,
        )  # fmt: skip
        found = train(job, jobs, how)
    if found is None:  # a rank that has worked for rank 0
        return
    from distopt.core.files import write_files
    from distopt.show import network_figures
    from distopt.show.figures import png
    from distopt.studies.trials import tabulate

    found.save()
    figure = network_figures.against_width(found)
    written = [found.path, *write_files(out, {"threshold.png": png(figure)})]
    told = found.to_json() | {"files": [str(path) for path in written]}
    deliver_tables([tabulate(found)], [told], written, how)


def train(job: "SweepJob", jobs: int, how: How) -> "Trials | None":
    """Train what is left, in processes, as a rank, or in ranks that this process starts."""
    from distopt.show.console import make_view
    from distopt.studies import farm
    from distopt.studies.trials import Trials

    if this_rank() is None and how.ranks is not None:
        Trials.of_job(job)  # refuses the file of another sweep, before mpirun is started
        start(job, job.out, how)
        return Trials.of_job(job.model_copy(update={"overwrite": False}))
    with make_view(how.quiet) as view:
        if this_rank() is not None:
            return farm.farm_over_ranks(partial(Trials.of_job, job), view)
        trials = Trials.of_job(job)
        farm.farm_over_processes(trials, jobs, view)
        return trials
