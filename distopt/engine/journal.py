"""The journal of a run: the rows of its record, and its checkpoints."""

import platform
import socket
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self

import numpy as np

from distopt.algorithms import REGISTRY as ALGORITHMS
from distopt.compressors import REGISTRY as COMPRESSORS
from distopt.core.errors import DivergedError
from distopt.core.files import write_whole
from distopt.engine.audit import audit
from distopt.engine.diagnostics import Diagnostics
from distopt.engine.processes import SharedError, together
from distopt.engine.setup import Team
from distopt.engine.stopping import EARLY
from distopt.record import checkpoint
from distopt.record.hdf5 import run_refused
from distopt.record.recorder import Recorder

FLUSH_SECONDS = 0.5  # records wait at most about this long for the disk


class Journal:
    """Records a team and saves it; as a context it closes the record if the run fails.

    Parameters
    ----------
    team : Team
    out : Path or None
        Run directory; without it nothing is written.
    resumed : bool
        Whether `out` holds the beginning of this run.

    Attributes
    ----------
    latest : dict
        The newest row, on all processes.
    rows : list of dict
        All rows, on the root only.
    """

    def __init__(self, team: Team, out: Path | None = None, resumed: bool = False) -> None:
        self.team, self.out = team, out
        self.diagnostics = Diagnostics(team)
        self.rows: list[dict[str, Any]] = []
        self.saved_at = team.clock.iteration if resumed else -1
        self.flushed = perf_counter()
        self.recorder = together(team.transport, lambda: self._open(resumed), root_only=True)
        if resumed:
            self.latest = self.diagnostics.row()
        else:
            self.record()

    def _open(self, resumed: bool) -> Recorder | None:
        """Create (or continue) config.toml and metrics.h5."""
        if self.out is None:
            return None
        path, text, run = self.out / "metrics.h5", self.team.parts.to_toml(), self.team.parts.run
        if resumed:
            done = self.team.clock.iteration
            recorder = Recorder.reopen(
                path, lambda k: k <= done and run.records(k), {"config": text}
            )
            self.rows = recorder.kept
        write_whole(self.out / "config.toml", text.encode(), durable=True, refusal=run_refused)
        if not resumed:
            matrix = self.team.parts.problem.topology.matrix()
            recorder = Recorder(path, self.diagnostics.recorded, describe(self.team, text), matrix)
        return recorder

    def __enter__(self) -> Self:
        """Hold the record open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Save pending records, as far as possible, if the run fails."""
        if error is not None and self.recorder:
            self.recorder.close()

    def record(self) -> None:
        """Compute and keep one row; compare the two ends of every edge if their states adapt."""
        team, began = self.team, perf_counter()
        if team.hosted[0].agent.codec_arrays():
            audit(team)
        row = self.diagnostics.row()
        if not np.isfinite(row["stationarity"]):
            raise SharedError(  # every process has computed this row
                DivergedError(
                    f"The run diverged: at iteration {row['iteration']} the stationarity P is "
                    f"{row['stationarity']}; {team.parts.algorithm.remedy()}."
                )
            )
        self.latest = row
        if team.transport.root:
            self.rows.append(row)
        if self.recorder:
            self.recorder.append(row)
            if perf_counter() - self.flushed > FLUSH_SECONDS:
                self.recorder.flush()
                self.flushed = perf_counter()
        team.clock.diagnostics_seconds += perf_counter() - began

    def save(self) -> None:
        """Write a checkpoint of all agents, unless there is one of this iteration."""
        team, done = self.team, self.team.clock.iteration
        if self.out is None or self.saved_at == done:
            return
        began = perf_counter()
        audit(team)
        if self.recorder:
            self.recorder.flush()
        numbers = dict(vars(team.transport.traffic)) | {
            "run_seconds": team.clock.seconds,
            "run_diagnostics_seconds": team.clock.diagnostics_seconds,
        }
        folder, keep = self.out / "checkpoints", team.parts.run.keep
        checkpoint.save(folder, done, team.hosted, numbers, team.transport, keep)
        self.saved_at = done
        team.clock.diagnostics_seconds += perf_counter() - began

    def end(self, reason: str) -> None:
        """Save the last iteration and close the record."""
        self.save()
        if self.recorder:
            self.recorder.finish("stopped" if reason in EARLY else "finished", reason)
        if self.latest["iteration"] != self.team.clock.iteration:
            self.latest = self.diagnostics.row()  # for the summary only: it belongs to no series


def describe(team: Team, config_text: str) -> dict[str, Any]:
    """Describe a run for /meta: all that a reader needs besides the series."""
    algorithm, compressor, facts = team.parts.algorithm, team.parts.compressor, team.facts
    guarantee = compressor.guarantee(facts.dimension, algorithm.needs)
    function = team.lyapunov
    return {
        "algorithm": ALGORITHMS.name_of(type(algorithm)),
        "compressor": COMPRESSORS.name_of(type(compressor)),
        "parameters": {"algorithm": ALGORITHMS.describe(algorithm)},
        "config": config_text,
        "agents": facts.agents,
        "dimension": facts.dimension,
        "repeats": algorithm.repeats,
        "seed": np.uint64(team.parts.run.seed),
        "spectral_gap": facts.gap,
        "kappa": facts.kappa,
        "smoothness": np.nan if facts.smoothness is None else facts.smoothness,
        "guarantee": {"class": guarantee.name} | vars(guarantee) if guarantee else {},
        "certified": function is not None and function.certified,
        "lyapunov": function.function if function else "",
        "lyapunov_weights": function.weights() if function else {},
        "lyapunov_rho": function.rho if function else 0.0,
        "minimum": team.minimum.value,
        "minimum_kind": team.minimum.kind,
        "engine": "simulate" if len(team.hosted) > 1 else "mpi",
        "host": socket.gethostname(),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """List the versions of what a result depends on."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("distopt-mpi", "numpy", "numba", "scipy", "h5py", "mpi4py"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
