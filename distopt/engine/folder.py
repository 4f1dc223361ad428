"""The run directory: made ready, and its config.toml and metrics.h5 opened."""

import platform
import shutil
import socket
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from distopt.algorithms import REGISTRY as ALGORITHMS
from distopt.compressors import REGISTRY as COMPRESSORS
from distopt.core.errors import ConfigError
from distopt.core.files import write_whole
from distopt.engine.team import Team
from distopt.record.hdf5 import run_refused
from distopt.record.writer import Writer


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


def open_record(team: Team, names: Sequence[str], out: Path, resumed: bool) -> Writer:
    """Write config.toml, and create metrics.h5 for the series of these names or continue it."""
    parts, done, path = team.parts, team.clock.iteration, out / "metrics.h5"
    text = parts.to_toml()
    if resumed:
        writer = Writer.reopen(path, lambda k: k <= done and parts.run.records(k), {"config": text})
    else:
        writer = Writer(path, names, describe(team, text), parts.problem.topology.matrix())
    write_whole(out / "config.toml", text.encode(), durable=True, refusal=run_refused)
    return writer


def describe(team: Team, config_text: str) -> dict[str, Any]:
    """Describe a run for /meta: all that a reader needs besides the series."""
    algorithm, compressor, facts = team.parts.algorithm, team.parts.compressor, team.known.facts
    guarantee = compressor.guarantee(facts.dimension, algorithm.needs)
    function = team.known.lyapunov
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
        "minimum": team.known.minimum.value,
        "minimum_kind": team.known.minimum.kind,
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
