"""``distopt resume``: go on from the newest checkpoint of a run."""

from pathlib import Path
from typing import Annotated

import typer

from distopt.cli import options
from distopt.cli.start import deliver, start
from distopt.core.errors import CheckpointError
from distopt.mpirun.launcher import failing_together, limit_threads, require_equal


def resume(
    run_dir: Annotated[
        Path, typer.Argument(metavar="RUN_DIR", help="Directory of an earlier run.")
    ],
    iterations: Annotated[
        int | None,
        typer.Option(
            metavar="K", help="New number of iterations, in total.", show_default="as configured"
        ),
    ] = None,
    ranks: options.Ranks = None,
    simulate: options.Simulate = False,
    settings: options.Settings = [],  # noqa: B006
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    mpirun_args: options.MpirunArgs = "",
) -> None:
    """Continue a run from its newest checkpoint, bit for bit as if it had never stopped.

    Only keys of run.* that do not change the mathematics may be set.
    """  # fmt: skip
    how = options.How(settings, simulate, ranks, mpirun_args, as_json, quiet=quiet)
    limit_threads(run_dir / "config.toml", settings)
    with failing_together():
        engine = how.engine()
        agents = agents_of(run_dir)
        require_equal(ranks, agents)
        if engine:
            from distopt.engine import run as engines
            from distopt.show.console import make_view

            with make_view(quiet) as view:
                result = engines.resume(
                    run_dir, engine=engine, iterations=iterations, settings=settings,
                    progress=view.report, signals=False,
                )  # fmt: skip
            deliver(result, how)
            return
    total = [] if iterations is None else ["--iterations", str(iterations)]
    start(how.mpirun(agents)(["resume", str(run_dir), *total]), how)


def agents_of(run_dir: Path) -> int:
    """Read how many agents a run has."""
    from distopt.config.tables import read_toml

    path = run_dir / "config.toml"
    if not path.is_file():
        raise CheckpointError(f"{run_dir} is not a run directory: it has no config.toml.")
    agents = read_toml(path).get("problem", {}).get("agents")
    if not isinstance(agents, int):
        raise CheckpointError(f"{path} does not say problem.agents, so it cannot be continued.")
    return agents
