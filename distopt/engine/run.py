"""Run a configuration, or continue a run: what the command line and Python call.

All processes of an MPI job call the same function and take the same decisions.
"""

import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from distopt.config.build import Config, Parts, make_config
from distopt.core.blas import BLAS
from distopt.core.errors import CheckpointError, ConfigError
from distopt.core.usercode import blaming
from distopt.engine.failures import Failure
from distopt.engine.folder import make_folder, prepare_folder
from distopt.engine.identity import differences, facts_of
from distopt.engine.journal import Journal
from distopt.engine.loop import Loop, Progress
from distopt.engine.outcome import Result, conclude
from distopt.engine.stopping import StopRequest
from distopt.engine.team import prepare
from distopt.engine.trust import trusted
from distopt.problems.given import GIVEN
from distopt.record import checkpoint
from distopt.record.lock import only_writer
from distopt.transport.opening import Engine, open_transport


def run(
    config: Config,
    *,
    engine: Engine,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
    signals: bool = True,
    failures: Sequence[Failure] = (),
) -> Result:
    """Run a configuration from iteration 0.

    Parameters
    ----------
    config : Config
    engine : "simulate" or "mpi"
        All agents in this process, or this process as one rank of an MPI job.
    out : Path, optional
        Run directory to create; without it nothing is written.
    overwrite : bool
        Replace an existing run directory instead of refusing it.
    progress : callable, optional
        Called on the root with a `Progress`, at most a few times a second.
    signals : bool
        Whether SIGINT or SIGTERM, once the run has stopped and is saved, take their usual course and
        end the program. False leaves this to the caller, who finds the signal in ``result.signal``.
    failures : Sequence[Failure]
        Of earlier attempts at this run, for its record.

    Raises
    ------
    DistoptError
        With a sentence. Under MPI an error during the iterations aborts the whole job instead.
    KeyboardInterrupt
        After SIGINT, if `signals`.
    """
    if not isinstance(config, Config):
        raise ConfigError(
            f"config is of type {type(config).__name__}; accepted: what distopt.load_config returns."
        )
    folder = None if out is None else Path(out)
    return execute(
        config, engine, out=folder, overwrite=overwrite, progress=progress, signals=signals,
        failures=failures,
    )  # fmt: skip


def resume(
    run_dir: str | Path,
    *,
    engine: Engine,
    iterations: int | None = None,
    settings: Sequence[str] = (),
    force: bool = False,
    code: Sequence[Path] = (),
    progress: Callable[[Progress], None] | None = None,
    signals: bool = True,
) -> Result:
    """Continue a run from its newest valid checkpoint, bit-identically.

    Parameters
    ----------
    run_dir : Path
    engine : "simulate" or "mpi"
        May differ from the one that started the run.
    iterations : int, optional
        New total number of iterations.
    settings : Sequence[str]
        ``run.*`` settings; any other key would change the run and is refused.
    force : bool
        Continue even if the configuration, files, graph or costs have changed, and record what differs.
    code : Sequence[Path]
        Python files of the run, where its folder names them by a path that is not trusted.
    progress : callable, optional
    signals : bool
        As in `run`.

    Raises
    ------
    CheckpointError
        If there is nothing to continue or it belongs to another configuration.
    """
    folder = Path(run_dir)
    config = resumed_config(folder, iterations, settings, force, code)
    return go_on(config, folder, engine=engine, force=force, progress=progress, signals=signals)


def resumed_config(
    run_dir: Path,
    iterations: int | None = None,
    settings: Sequence[str] = (),
    force: bool = False,
    code: Sequence[Path] = (),
) -> Config:
    """Return the configuration to continue with.

    Changes that would make it another run are refused, unless `force`.
    """
    tables, _ = trusted(run_dir, code, force)
    if tables.get("problem", {}).get("name") == GIVEN:
        raise CheckpointError(
            f"{run_dir} was made from Python, so only the same Python call knows its costs; continue "
            "it there with resume=True."
        )
    stored = make_config(tables, run_dir)
    changes = list(settings)
    if iterations is not None:
        changes.append(f"run.iterations={iterations}")
    config = make_config(stored.tables, stored.folder, changes)
    if not force:
        refuse_changes(stored, config)
    return config


def go_on(
    config: Config,
    run_dir: Path,
    *,
    engine: Engine,
    force: bool = False,
    progress: Callable[[Progress], None] | None = None,
    signals: bool = True,
    failures: Sequence[Failure] = (),
) -> Result:
    """Continue a run with its `resumed_config`."""
    saved = checkpoint.latest(run_dir / "checkpoints", config.problem.total)
    return execute(
        config, engine, out=run_dir, saved=saved, force=force, progress=progress, signals=signals,
        failures=failures,
    )  # fmt: skip


def refuse_changes(stored: Config, wanted: Config) -> None:
    """Raise `CheckpointError` naming the keys that would change the run's mathematics."""
    if different := differences(facts_of(stored), facts_of(wanted)):
        raise CheckpointError(
            f"This run cannot be continued with another configuration: {'; '.join(different)}. "
            "Start a new run instead."
        )


def execute(
    parts: Parts,
    engine: Engine,
    *,
    comm: Any = None,
    out: Path | None = None,
    overwrite: bool = False,
    saved: checkpoint.Saved | None = None,
    force: bool = False,
    progress: Callable[[Progress], None] | None = None,
    signals: bool = True,
    failures: Sequence[Failure] = (),
    on_record: Callable[[dict[str, Any]], None] | None = None,
) -> Result:
    """Run from iteration 0, or continue from the checkpoint `saved` in `out`: every run comes here.

    `comm` is an mpi4py communicator, COMM_WORLD by default; `on_record` is called on the root with every
    new row; the rest is as in `run` and `resume`.
    """
    # No warning of an overflow: a number that is not finite ends the run with a sentence. SIGUSR1 only
    # ever asks for an orderly stop, so we handle it from the start; SIGINT and SIGTERM end a set-up. One
    # that comes after the last iteration is held to the end, at which ranks wait for each other.
    with (
        StopRequest() as stop,
        open_transport(engine, parts, comm) as transport,
        BLAS.held(parts.run.threads),
        np.errstate(over="ignore", invalid="ignore"),
        blaming(),
        ExitStack() as held,
    ):
        stop.listen(signal.SIGUSR1)
        if out is not None:
            with transport.together():
                if transport.root:
                    make_folder(out)
                    held.enter_context(only_writer(out))
                    if saved is None:
                        prepare_folder(out, overwrite)
        team = prepare(parts, transport, saved, force)
        held.callback(team.release)
        journal = Journal(team, out, saved is not None, failures, on_record)
        reason = Loop(team, journal, stop, progress).run()
        result = conclude(team, journal, reason, stop.signal)
    if signals and stop.signal in {signal.SIGINT, signal.SIGTERM}:
        signal.raise_signal(stop.signal)
    return result
