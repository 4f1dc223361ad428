"""``distopt run``: one configuration from iteration 0."""

from pathlib import Path
from typing import Annotated

import typer

from distopt.cli import options
from distopt.cli.start import deliver, start
from distopt.mpirun.launcher import failing_together, limit_threads, require_equal


def run(
    config: options.Config,
    ranks: options.Ranks = None,
    simulate: options.Simulate = False,
    settings: options.Settings = [],  # noqa: B006  typer copies it
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Run directory.", show_default="runs/CONFIG"),
    ] = None,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    mpirun_args: options.MpirunArgs = "",
) -> None:
    """Run one configuration in an MPI job of its own, one rank per agent.

    Under mpirun or srun the command is a rank of that job. The record is RUN_DIR/metrics.h5.
    """
    how = options.How(settings, simulate, ranks, mpirun_args, as_json, quiet=quiet)
    out = out or Path("runs") / config.stem
    limit_threads(config, settings)
    with failing_together():
        engine = how.engine()
        from distopt.config.build import load_config
        from distopt.engine import run as engines
        from distopt.show.console import make_view

        loaded = load_config(config, settings)
        require_equal(ranks, loaded.problem.agents)
        if engine:
            with make_view(quiet) as view:
                result = engines.run(
                    loaded, engine=engine, out=out, overwrite=overwrite, progress=view.report,
                    signals=False,
                )  # fmt: skip
            deliver(result, how)
            return
        if not overwrite:
            engines.prepare_folder(out, overwrite=False)  # refuse before mpirun is started
    line = how.mpirun(loaded.problem.agents)
    start(line(["run", str(config), "--out", str(out), *["--overwrite"] * overwrite]), how)
