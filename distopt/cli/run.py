"""``distopt run``: one configuration from iteration 0."""

from pathlib import Path
from typing import Annotated

from typer import Option

from distopt.cli import options
from distopt.cli.start import carry_out
from distopt.mpirun.failing import failing_together


def run(
    config: options.Config,
    iterations: Annotated[
        int | None,
        Option(metavar="K", help="Number of iterations.", show_default="as configured"),
    ] = None,
    ranks: options.Ranks = None,
    simulate: options.Simulate = False,
    settings: options.Settings = [],
    out: Annotated[
        Path | None, Option(metavar="DIR", help="Run directory.", show_default="runs/CONFIG")
    ] = None,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    mpirun_args: options.MpirunArgs = "",
) -> None:
    """Run one configuration in an MPI job, one rank per agent.

    Under your own mpirun or srun the command is a rank of that job. The record is RUN_DIR/metrics.h5.
    """
    how = options.How(settings, simulate, ranks, mpirun_args, as_json, quiet=quiet)
    out = out or Path("runs") / config.stem
    settings = [*settings, *([] if iterations is None else [f"run.iterations={iterations}"])]
    with failing_together():
        engine = how.engine()
        from distopt.config.build import load_config
        from distopt.engine.folder import make_folder, prepare_folder
        from distopt.mpirun.jobfile import Case, RunJob
        from distopt.record.lock import refuse_held

        case = Case(folder=out, config=load_config(config, settings))
        job = RunJob(cases=(case,), overwrite=overwrite)
        how.require_ranks(job.ranks)
        if engine is None:  # refuse before the job file is replaced and mpirun started
            make_folder(out)
            refuse_held(out)
            if not overwrite:
                prepare_folder(out, overwrite=False)
        carry_out(job, engine, how)
