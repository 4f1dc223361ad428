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
    force: Annotated[
        bool,
        Option(
            "--force",
            help="Continue even if the configuration, a file, the graph or a cost has changed.",
        ),
    ] = False,
    code: options.Code = [],
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
        from distopt.record.lock import refuse_held

        options.announce(run_dir, code, force)
        config = resumed_config(run_dir, iterations, settings, force, code)
        job = ResumeJob(cases=(Case(folder=run_dir, config=config, resume=True),), force=force)
        how.require_ranks(job.ranks)
        if engine is None:
            refuse_held(run_dir)  # before its job file is replaced
        carry_out(job, engine, how)
