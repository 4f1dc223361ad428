"""Run a configuration, or continue a run: what the command line and Python call.

All processes of an MPI job call the same function; what one of them decides, all decide.
"""

import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from distopt.algorithms.base import Algorithm
from distopt.compressors.base import Compressor
from distopt.config.build import Config, load_config, make_config
from distopt.config.run import RunConfig
from distopt.config.tables import apply_settings, read_toml
from distopt.core.blas import BLAS
from distopt.core.errors import CheckpointError, ConfigError
from distopt.engine.agreement import SharedError, together
from distopt.engine.session import Progress, Result, Session, StopRequest
from distopt.problems.given import GIVEN, GivenProblem
from distopt.problems.problem import Problem
from distopt.record import checkpoint
from distopt.transport.base import Transport
from distopt.transport.local import LocalTransport

Engine: TypeAlias = Literal["simulate", "mpi"]


def run(
    config: Config,
    *,
    engine: Engine,
    out: Path | None = None,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
    signals: bool = True,
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
        Whether SIGINT or SIGTERM, after they ended the run and it was saved, take their usual course
        and end the program. False leaves that to the caller, who finds them in ``result.signal``.

    Raises
    ------
    DistoptError
        With a sentence. Under MPI an error during the iterations aborts the whole job instead.
    KeyboardInterrupt
        After SIGINT, if `signals`.
    """
    with open_transport(
        engine, config.problem, config.algorithm, config.compressor, config.run
    ) as transport:
        if out is not None:
            together(transport, lambda: prepare_folder(out, overwrite), root_only=True)
        result = execute(
            config.problem, config.algorithm, config.compressor, config.run, transport,
            out=out, progress=progress,
        )  # fmt: skip
    return raise_signal(result) if signals else result


def resume(
    run_dir: Path,
    *,
    engine: Engine,
    iterations: int | None = None,
    settings: Sequence[str] = (),
    progress: Callable[[Progress], None] | None = None,
    signals: bool = True,
) -> Result:
    """Continue a run from its newest valid checkpoint, bit-identically.

    Parameters
    ----------
    run_dir : Path
    engine : "simulate" or "mpi"
        Need not be the one that the run was started with.
    iterations : int, optional
        New total number of iterations.
    settings : Sequence[str]
        ``run.*`` settings; any other key would make it another run and is refused.
    progress : callable, optional
    signals : bool
        As in `run`.

    Raises
    ------
    CheckpointError
        If there is nothing to continue or it belongs to another configuration.
    """
    if not (run_dir / "config.toml").is_file():
        raise CheckpointError(f"{run_dir} is not a run directory: it has no config.toml.")
    if read_toml(run_dir / "config.toml").get("problem", {}).get("name") == GIVEN:
        raise CheckpointError(
            f"{run_dir} was made from Python, so only the same Python call knows its costs; continue "
            "it there with resume=True."
        )
    stored = load_config(run_dir / "config.toml")
    changes = list(settings)
    if iterations is not None:
        changes.append(f"run.iterations={iterations}")
    config = make_config(apply_settings(stored.tables, changes), stored.folder)
    refuse_changes(stored, config)
    agents = config.problem.agents
    place, done, damaged = checkpoint.latest(run_dir / "checkpoints", agents)
    with open_transport(
        engine, config.problem, config.algorithm, config.compressor, config.run
    ) as transport:
        result = execute(
            config.problem, config.algorithm, config.compressor, config.run, transport,
            out=run_dir, progress=progress, place=place, done=done,
        )  # fmt: skip
    result.warnings[:0] = damaged
    return raise_signal(result) if signals else result


def set_up(config: Config, transport: Transport, settings: RunConfig | None = None) -> Session:
    """Set up the agents of a transport at iteration 0, to be iterated by hand; nothing is written.

    `settings` take the place of the configuration's [run].
    """
    session = Session(
        config.problem, config.algorithm, config.compressor, settings or config.run, transport,
        None, None,
    )  # fmt: skip
    session.begin(None, 0)
    return session


def raise_signal(result: Result) -> Result:
    """Let the SIGINT or SIGTERM that ended a run end the program as well; else return the result."""
    if result.signal in {signal.SIGINT, signal.SIGTERM}:
        signal.raise_signal(result.signal)
    return result


def refuse_changes(stored: Config, wanted: Config) -> None:
    """Raise `CheckpointError` naming the keys that would change the run's mathematics."""
    free = {"iterations", "timeout", "keep", "checkpoint_every", "threads", "stop"}
    old, new = stored.resolved(), wanted.resolved()
    different = [
        f"{section}.{key} ({old[section].get(key)!r} in the run, {value!r} wanted)"
        for section, table in new.items()
        for key, value in table.items()
        if not (section == "run" and key in free) and old[section].get(key) != value
    ]
    if different:
        raise CheckpointError(
            f"This run cannot be continued with another configuration: {'; '.join(different)}. "
            "Start a new run instead."
        )


@contextmanager
def open_transport(
    engine: Engine,
    problem: Problem | GivenProblem,
    algorithm: Algorithm,
    compressor: Compressor,
    run: RunConfig,
    comm: Any = None,
) -> Iterator[Transport]:
    """Hold the transport of an engine; under MPI whatever escapes aborts the whole job.

    `comm` is an mpi4py communicator with one rank per agent, by default COMM_WORLD.
    """
    topology = problem.topology
    if engine == "simulate":
        try:
            yield LocalTransport(topology)
        except SharedError as error:
            raise error.cause from None
        return
    from distopt.transport.mpi import MpiTransport, require_ranks

    comm = require_ranks(comm, topology.agents)
    largest = algorithm.max_nbytes(compressor, problem.dimension)
    transport = MpiTransport(comm, topology, largest, run.timeout)
    try:
        yield transport
    except SharedError as error:
        transport.close()
        raise error.cause from None
    except BaseException as error:
        transport.abort(error)
        raise
    transport.close()


def prepare_folder(out: Path, overwrite: bool) -> None:
    """Create the run directory, or refuse one that holds a run."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; a run needs a folder.")
    if (out / "metrics.h5").exists() or (out / "config.toml").exists():
        if not overwrite:
            raise ConfigError(
                f"{out} already holds a run; continue it with `distopt resume {out}`, choose "
                "another folder with --out, or replace it with --overwrite."
            )
        shutil.rmtree(out / "checkpoints", ignore_errors=True)
        for name in ("metrics.h5", "config.toml", "report.html"):
            (out / name).unlink(missing_ok=True)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"The run directory {out} cannot be created: {error}.") from None


def execute(
    problem: Problem | GivenProblem,
    algorithm: Algorithm,
    compressor: Compressor,
    settings: RunConfig,
    transport: Transport,
    *,
    out: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    place: Path | None = None,
    done: int = 0,
) -> Result:
    """Set the agents up (or load them from checkpoint `place` after `done` iterations) and iterate."""
    stop = StopRequest()
    # Overflow is no warning here: whatever is not finite ends the run with a sentence. SIGUSR1 only ever
    # asks for an orderly stop, so it is taken from the beginning; SIGINT and SIGTERM end a set-up.
    with (
        BLAS.held(settings.threads),
        np.errstate(over="ignore", invalid="ignore"),
        stop.listening(signal.SIGUSR1),
    ):
        session = together(
            transport,
            lambda: Session(
                problem, algorithm, compressor, settings, transport, out, progress, stop
            ),
        )
        session.begin(place, done)
        return session.iterate()
