"""Run directories with numbers that a test can do in its head."""

from pathlib import Path

import numpy as np
import tomli_w

from distopt.engine.diagnostics import OBSERVED
from distopt.record.series import SERIES
from distopt.record.writer import Writer

LYAPUNOV = ("gap", "memory_x", "memory_y", "consensus", "tracking")


def write_run(
    place: Path,
    stationarity=(1.0, 1e-2, 1e-5, 1e-8),
    nbytes=1000.0,
    every=10,
    status="finished",
    absent=(),
    **meta,
) -> Path:
    """Write a run whose P is given and whose agents send `nbytes` bytes an iteration each.

    Parameters
    ----------
    place : Path
        The run directory, made here.
    stationarity : Sequence[float]
        P of the records.
    nbytes : float
        Sent by each agent in one iteration.
    every : int
        Iterations between two records.
    status : str
        "running" leaves a file as a killed writer would.
    absent : Sequence[str]
        Series that the run does not have.
    **meta
        Attributes of /meta that differ from the usual ones.
    """
    place.mkdir(parents=True, exist_ok=True)
    usual = [n for n in SERIES if n not in {*OBSERVED, "objective_runs"}]
    rare = {"lyapunov_scale", "lyapunov_direction", "ball_violations"}
    names = [n for n in usual if n not in {*rare, *absent}]
    names += ["ball_violations"] * ("ball_violations" in meta)
    compressor = meta.get("compressor", "quantize")
    config = {
        "problem": {"name": "quadratic", "agents": 4, "seed": 0},
        "topology": {"graph": "ring"},
        "algorithm": {"name": meta.get("algorithm", "cgt1"), "eta": 0.1},
        "compressor": {"name": compressor},
        "run": {"iterations": every * (len(stationarity) - 1)},
    }
    violations = meta.pop("ball_violations", 0)
    described = {
        "algorithm": "cgt1",
        "compressor": compressor,
        "parameters": {},
        "config": tomli_w.dumps(config),
        "agents": 4,
        "dimension": 25,
        "seed": np.uint64(0),
        "spectral_gap": 2 / 3,
        "kappa": 4 / 3,
        "smoothness": 1.0,
        "guarantee": {"class": "relative", "r": 1.0, "psi": 0.5},
        "certified": False,
        "lyapunov": "V1",
        "lyapunov_weights": dict.fromkeys(LYAPUNOV, 1.0),
        "lyapunov_rho": 0.0,
        "minimum": 0.0,
        "minimum_kind": "lower bound",
        "engine": "mpi",
        "host": "node1",
        "versions": {"python": "3.11"},
    } | meta
    W = np.eye(4) / 3
    for i in range(4):
        W[i, (i + 1) % 4] = W[(i + 1) % 4, i] = 1 / 3
    writer = Writer(place / "metrics.h5", names, described, W)
    for record, P in enumerate(stationarity):
        k = every * record
        known = {
            "iteration": k,
            "seconds": 0.01 * k,
            "stationarity": P,
            "consensus_error": P / 2,
            "gradient_norm": np.sqrt(P / 2) if np.isfinite(P) else P,
            "objective": 1.0 + P,
            "bytes_per_agent": nbytes * k,
            "bytes_on_wire": int(8 * nbytes * k),
            "messages_per_agent": 2.0 * k,
            "gradients": k + 1.0,
            "diagnostics_bytes": 100 * record,
            "ball_violations": violations,
            "seconds_gradient": 0.001 * k,
            "seconds_compression": 0.002 * k,
            "seconds_communication": 0.004 * k,
            "seconds_diagnostics": 0.005 * k,
        }
        writer.append({name: known.get(name, 0.5 * P) for name in names})
    if status == "running":
        writer.close()
    else:
        writer.finish(status, "iterations")
    (place / "config.toml").write_text(described["config"])
    return place
