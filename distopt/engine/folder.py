"""The run directory: made ready, and its config.toml and metrics.h5 opened."""

import platform
import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np

from distopt.algorithms import REGISTRY as ALGORITHMS
from distopt.compressors import REGISTRY as COMPRESSORS
from distopt.core.errors import CheckpointError, ConfigError
from distopt.core.files import reason, write_whole
from distopt.engine.failures import Failure, failures_in, tabulate
from distopt.engine.schedule import Schedule
from distopt.engine.team import Team
from distopt.record.hdf5 import run_refused
from distopt.record.metrics import Metrics, read_metrics
from distopt.record.reader import parsed
from distopt.record.writer import Writer


def prepare_folder(out: Path, overwrite: bool) -> None:
    """Empty the run directory, or refuse one that holds a run."""
    if (out / "metrics.h5").exists() or (out / "config.toml").exists():
        if not overwrite:
            raise ConfigError(
                f"{out} already holds a run; continue it with `distopt resume {quote(str(out))}`, choose "
                "another folder with --out, or replace it with --overwrite."
            )
        try:
            if (out / "checkpoints").exists():
                shutil.rmtree(out / "checkpoints")
            for name in ("metrics.h5", "config.toml", "report.html"):
                (out / name).unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(
                f"The run in {out} cannot be replaced: {error.filename}: {reason(error)}."
            ) from None


def make_folder(out: Path) -> None:
    """Create the run directory if needed."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; a run needs a folder.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"The run directory {out} cannot be created: {reason(error)}.") from None


def open_record(
    team: Team,
    names: Sequence[str],
    schedule: Schedule,
    out: Path,
    resumed: bool,
    failures: list[Failure],
) -> Writer:
    """Write config.toml, and create metrics.h5 for the series of these names or continue it.

    `failures` are those since this command started; those of the earlier record are put before them.
    """
    parts, path = team.parts, out / "metrics.h5"
    text = parts.to_toml()
    found = earlier_record(team, names, schedule.newest(), path) if resumed else None
    if found is None:
        meta = describe(team, text) | {"failures": tabulate(failures)}
        writer = Writer(path, names, meta, parts.problem.topology.matrix())
    else:
        done = team.clock.iteration
        forced = [found.meta.get("forced", ""), *team.identity.forced]
        known = {f.since for f in failures}
        failures[:0] = [f for f in failures_in(found.meta) if f.since not in known]
        changes = {
            "failures": tabulate(failures),
            "breaks": breaks(team, found),
            "config": text,
            "identity": team.identity.table(),
            "forced": " ".join(filter(None, forced)),
        }
        if team.lost:
            found = replace(found, matrix=parts.problem.topology.matrix())
            changes = describe(team, text) | changes
        writer = Writer.reopen(path, found, lambda k: k <= done and schedule.belongs(k), changes)
    write_whole(out / "config.toml", text.encode(), durable=True, refusal=run_refused)
    return writer


def breaks(team: Team, found: Metrics) -> list[dict[str, Any]]:
    """List where agents were lost: after which iteration, which, and how many were left."""
    done, earlier = team.clock.iteration, parsed(found.meta.get("breaks", "[]"))
    if not team.lost:
        return earlier if isinstance(earlier, list) else []
    new = {"iteration": done, "lost": list(team.lost), "agents": team.parts.problem.agents}
    return [b for b in earlier if b["iteration"] < done] + [new]


def earlier_record(team: Team, names: Sequence[str], last: int, path: Path) -> Metrics | None:
    """Read the record of a run that is resumed, to iteration `last`; set one aside that cannot go on.

    The state is in the checkpoints, so a lost record costs its rows and a warning, never the run.
    """
    done, warn = team.clock.iteration, team.known.warnings.append
    try:
        found, fault = read_metrics(path), ""
    except CheckpointError as error:
        found, fault = None, str(error)
    if found and "identity" in found.meta:
        team.identity.require(parsed(found.meta["identity"]), str(path))
    if found and not {"iteration"} <= set(found.series) <= set(names):
        fault = f"{path} holds the series of another run."
    if not found or fault:
        kept = set_aside(path)
        warn(f"{fault} A new record begins; rows up to iteration {done} are lost.{kept}")
        return None
    recorded = found.series["iteration"].tolist()
    if not recorded or recorded[0] > 0 or recorded[-1] < last:
        there = f"{recorded[0]} to {recorded[-1]}" if recorded else "no iteration"
        warn(f"{path} lacks rows up to iteration {done}: it holds those of {there}.")
    return found


def set_aside(path: Path) -> str:
    """Rename a damaged file, if it is there at all; return a sentence that says so, else ""."""
    if not path.exists():
        return ""
    names = [path.with_name(f"{path.name}.damaged{n or ''}") for n in range(1000)]
    aside = next((name for name in names if not name.exists()), names[0])
    try:
        path.replace(aside)
    except OSError as error:
        raise run_refused(path, error) from None
    return f" The old file is kept as {aside}."


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
        "identity": team.identity.table(),
        "forced": " ".join(team.identity.forced),
        "breaks": [],
        "agents": facts.agents,
        "dimension": facts.dimension,
        "repeats": algorithm.repeats,
        "vectors": algorithm.vectors,
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


@cache
def versions() -> Mapping[str, str]:
    """List the versions of what a result depends on."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("distopt-mpi", "numpy", "numba", "scipy", "h5py", "mpi4py"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
