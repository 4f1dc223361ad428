"""``distopt resume``: continue a run from its newest checkpoint."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from distopt.cli import options
from distopt.cli.start import carry_out
from distopt.mpirun.failing import failing_together


def resume(
    run_dir: Annotated[Path, Argument(metavar="RUN_DIR", help="Directory of an earlier run.")],
    iterations: Annotated[
        int | None,
        Option(
            metavar="K", help="New number of iterations, in total.", show_default="as configured"
        ),
    ] = None,
    ranks: options.Ranks = None,
    simulate: options.Simulate = False,
    settings: options.Settings = [],
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    mpirun_args: options.MpirunArgs = "",
) -> None:
    """Continue a run from its newest checkpoint, bit for bit as if it had never stopped.

    You may set only those keys of run.* that do not change the mathematics.
    """
    how = options.How(settings, simulate, ranks, mpirun_args, as_json, quiet=quiet)
    with failing_together():
        engine = how.engine()
        from distopt.engine.run import resumed_config
        from distopt.mpirun.jobfile import Case, ResumeJob

        case = Case(folder=run_dir, config=resumed_config(run_dir, iterations, settings))
        job = ResumeJob(cases=(case,))
        how.require_ranks(job.ranks)
        carry_out(job, engine, how)
