"""The runs that engines, checkpoints and hot loops are tested on: every algorithm x compressors."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from distopt.algorithms import REGISTRY as ALGORITHMS
from distopt.compressors import REGISTRY as COMPRESSORS
from distopt.compressors.base import Adaptive, Relative
from distopt.config.build import Config, make_config, make_member
from distopt.engine.folder import make_folder
from distopt.engine.journal import Journal
from distopt.engine.loop import Loop
from distopt.engine.outcome import Result, conclude
from distopt.engine.stopping import StopRequest
from distopt.engine.team import Team, prepare
from distopt.transport.local import LocalTransport
from distopt.transport.opening import open_transport

AGENTS, DIMENSION = 4, 19

# A new algorithm adds one line. Steps are small enough for every compressor that it takes.
PARAMETERS = {
    "gt": {"eta": 0.02, "gamma": 0.5},
    "gt-atc": {"eta": 0.02, "gamma": 0.5, "form": "atc"},
    "gt-momentum": {"eta": 0.02, "gamma": 0.5, "beta": 0.3},
    "exact_diffusion": {"eta": 0.02, "beta": 0.3},
    "cgt1": {"eta": 0.01, "gamma": 0.1},
    "cgt1-sum": {"eta": 0.01, "gamma": 0.1, "memory": "sum"},
    "cgt2": {"eta": 0.02, "gamma": 0.3, "mu": 0.98, "s0x": "auto", "s0y": 3.0},
    "cgt3": {"eta": 0.02, "gamma": 0.3, "mu": 0.98, "s0x": "auto", "s0y": "auto"},
    "cgt3-zoom": {"eta": 0.02, "gamma": 0.3, "scale": "zoom"},
    "beer": {"eta": 0.01, "gamma": 0.1},
    "motef": {"eta": 0.005, "gamma": 0.1, "lam": 0.3},
    "cedas": {"eta": 0.02, "gamma": 0.2, "decay": 0.01},
    "lead": {"eta": 0.02, "gamma": 0.2},
    "dyna_cold": {"eta": 0.02, "gamma": 0.2, "s0": "auto", "mu": 0.98},
    "led": {"eta": 0.01, "gamma": 0.2, "local_steps": 2},
    "led-auto": {"local_steps": 3},
    "k_gt": {"eta": 0.005, "gamma": 0.1, "local_steps": 2},
    "k_gt-auto": {},
    "push_pull": {"eta": 0.005, "gamma": 0.1},
    "diloco": {"inner": "sgd", "eta": 0.01, "local_steps": 2, "outer_beta": 0.5, "outer_eta": 0.7},
    "diloco-adamw": {"local_steps": 2, "mean": "gossip", "gamma": 0.2, "outer_beta": 0.3},
    "averaged": {"eta": 0.01},
    "choco": {"eta": 0.02, "gamma": 0.1, "decay": 0.25},
    "dgd": {"eta": 0.02, "gamma": 0.5},
    "primal_dual": {"eta": 0.01, "gamma": 0.1, "beta": 0.01},
    "gt-fixed": {"eta": 0.02, "gamma": 0.5},
    "cgt3-fixed": {"eta": 0.02, "gamma": 0.3, "mu": 0.98, "s0x": "auto", "s0y": 4.0},
    "fixed_point_gd": {
        "eta": 0.125,
        "format": "Q4.8",
        "round_gradient": {"format": "Q5.9", "mode": "SR"},
        "round_step": {"format": "Q4.10", "mode": "SR_eps", "eps": 0.1},
        "round_subtraction": {"mode": "SR"},
        "repeats": 3,
    },
    "zed": {"eta": 0.02},
    "zed-auto": {},
    "exact_diffusion-auto": {"beta": 0.1},
    "gt-auto": {"form": "atc", "beta": 0.1},
    "lead-auto": {},
    "cgt1-auto": {},
    "zed1": {"eta": 0.02, "memory": "sum"},
    "cgt1-x0": {"eta": 0.01, "gamma": 0.1, "memory": "sum", "memory_start": "x0"},
    "lead-x0": {"eta": 0.02, "gamma": 0.2, "memory_start": "x0"},
    "zed-x0": {"memory_start": "x0"},
    "zest": {},
    "zest-gradient": {"form": "gradient"},
}
GRAPHS = {"push_pull": "directed_random"}  # of rows that are not on a ring
# Rows whose names end in -x0 start all agents from this point, with these compressors only.
COMMON_START = Path(__file__).with_name("start.txt")
FROM_X0 = {"quantize-range", "zoom"}
SEARCHED = {"identity", "quantize-dithered", "zoom"}  # of rows whose names end in -auto
ARITHMETIC = {  # of the rows whose names end in -fixed
    "x": {"format": "Q6.12", "mode": "SR"},
    "y": {"format": "Q12.12", "mode": "SR_eps", "eps": 0.1},
    "gradient": {"format": "Q12.10"},
}
EXACT = {"fixed_point_gd"}  # take problems whose gradients are exact in integers
MEMORY_STEP = {
    "cgt1",
    "cgt1-sum",
    "cgt1-x0",
    "cgt1-auto",
    "lead-auto",
    "lead",
    "lead-x0",
    "led",
    "led-auto",
    "k_gt",
    "k_gt-auto",
    "primal_dual",
    "push_pull",
    "cedas",
    "diloco-adamw",
}  # have alpha, which must be <= 1 / r

# A new compressor adds one line.
MESSAGES = {
    "identity": {"name": "identity"},
    "cast": {"name": "cast", "dtype": "bfloat16"},
    "top_k": {"name": "top_k", "fraction": 0.3},
    "top_k-quantize": {
        "name": "top_k",
        "fraction": 0.3,
        "values": {"name": "quantize", "bits": 4, "dithered": True},
    },
    "rand_k": {"name": "rand_k", "fraction": 0.3},
    "unbiased_rand_k": {"name": "unbiased_rand_k", "fraction": 0.3},
    "norm_sign": {"name": "norm_sign"},
    "quantize": {"name": "quantize", "bits": 3, "norm": "two", "block": 8},
    "quantize-dithered": {"name": "quantize", "bits": 2, "dithered": True},
    "quantize-range": {"name": "quantize", "bits": 2, "entropy": "range"},
    "ternary": {"name": "ternary"},
    "uniform": {"name": "uniform"},
    "uniform-dithered": {"name": "uniform", "dithered": True},
    "uniform-inset": {"name": "uniform", "entropy": "range", "inset": 0.08, "alone": True},
    "uniform-fast": {"name": "uniform", "entropy": "fast"},
    "one_bit": {"name": "one_bit"},
    "saturating": {"name": "saturating", "bits": 4},
    "anq": {"name": "anq"},
    "noisy": {"name": "noisy", "noise": 0.3, "values": {"name": "one_bit"}},
    "zoom": {"name": "zoom"},
    "zoom-rans": {"name": "zoom", "entropy": "rans"},
    "zoom_sign": {"name": "zoom_sign"},
    "sparse_zoom": {"name": "sparse_zoom", "density": 0.2},
}


def compressor(name: str):
    """Make the compressor of a row of `MESSAGES`."""
    return make_member(COMPRESSORS, MESSAGES[name])


def fits(algorithm: str, message: str) -> bool:
    """Whether a pair is allowed and stays bounded: a memory step of 1 wants r <= 1."""
    name, _, kind = algorithm.partition("-")
    cls = ALGORITHMS.get(name)
    needs = Adaptive if kind == "zoom" else cls.needs
    if kind == "x0" and message not in FROM_X0:
        return False
    if kind == "auto" and message not in SEARCHED:
        return False
    if needs is None:
        return message == "identity"
    guarantee = compressor(message).guarantee(DIMENSION, needs)
    if guarantee is None or (compressor(message).ends_message and cls.vectors > 1):
        return False
    contracts = not isinstance(guarantee, Relative) or guarantee.r <= 1
    return contracts or algorithm in MEMORY_STEP


PAIRS = [(a, m) for a in PARAMETERS for m in MESSAGES if fits(a, m)]


def covering(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Choose few of the pairs, so that every algorithm and every message of them is there."""
    chosen: dict[tuple[str, str], None] = {}
    for place in (0, 1):
        for name in dict.fromkeys(pair[place] for pair in pairs):
            if not any(pair[place] == name for pair in chosen):
                used = Counter(pair[1 - place] for pair in chosen)
                able = [pair for pair in pairs if pair[place] == name]
                chosen[min(able, key=lambda pair: used[pair[1 - place]])] = None
    return list(chosen)


SAMPLE = covering(PAIRS)
# Of those whose vectors may be in float32, few again.
SINGLE = covering(
    [
        (a, m)
        for a, m in PAIRS
        if ALGORITHMS.get(a.partition("-")[0]).single and not a.endswith("-fixed")
    ]
)


def mark_rest(mark: pytest.MarkDecorator, *more) -> list:
    """List all pairs as parameters; those outside of the sample with a mark."""
    return [pytest.param(*pair, *more, marks=[] if pair in SAMPLE else [mark]) for pair in PAIRS]


def configure(
    algorithm: str = "cgt1",
    message: str = "quantize-dithered",
    agents: int = AGENTS,
    problem: dict | None = None,
    graph: str | None = None,
    **run,
) -> Config:
    """Make the configuration of one row of each table."""
    parameters = {"name": algorithm.partition("-")[0]} | PARAMETERS[algorithm]
    if algorithm in MEMORY_STEP:
        guarantee = compressor(message).guarantee(DIMENSION, Relative)
        parameters["alpha"] = min(1.0, 1 / guarantee.r)
    name = "diagonal" if algorithm in EXACT else "pl"
    cost = {"name": name, "dimension": DIMENSION, "start": "normal", "agents": agents}
    if algorithm.endswith("-x0"):
        cost["start"] = str(COMMON_START)
    cost |= problem or {}
    if algorithm in EXACT:
        cost.pop("basis", None)  # always diagonal
    tables = {
        "problem": cost,
        "topology": {"graph": graph or GRAPHS.get(algorithm, "ring")},
        "algorithm": parameters,
        "arithmetic": ARITHMETIC if algorithm.endswith("-fixed") else {},
        "compressor": MESSAGES[message],
        "run": {"iterations": 60, "record_every": 7, "seed": 5, "timeout": 240.0} | run,
    }
    return make_config(tables, Path())


def play(
    config: Config, transport=None, out: Path | None = None, together: bool = True
) -> tuple[Team, Result]:
    """Run a configuration on a transport (in this process by default); return the team as well."""
    if transport is None:
        transport = LocalTransport(config.problem.topology)
    if out is not None:
        with transport.together():
            if transport.root:
                make_folder(out)
    team = prepare(config, transport, together=together)
    return team, finish(team, out)


def finish(team: Team, out: Path | None = None) -> Result:
    """Iterate a team to the end of its run."""
    journal = Journal(team, out)
    with StopRequest() as stop:
        return conclude(team, journal, Loop(team, journal, stop).run(), stop.signal)


def play_mpi(config: Config, comm, out: Path | None = None, disturb=None) -> tuple[Team, Result]:
    """Run a configuration under MPI on `comm`; `disturb(transport)` may make it misbehave."""
    with open_transport("mpi", config, comm) as transport:
        if disturb is not None:
            disturb(transport)
        return play(config, transport, out)


def states(team: Team) -> dict[int, dict[str, np.ndarray]]:
    """Copy all that a checkpoint would hold, by agent."""
    return {
        h.agent.index: {name: array.copy() for name, array in h.arrays().items()}
        for h in team.hosted
    }


def assert_equal_states(found, wanted) -> None:
    """Demand equal bits in all arrays of all agents in `found`."""
    for agent, arrays in found.items():
        assert set(arrays) == set(wanted[agent])
        for name, array in arrays.items():
            assert np.isfinite(array).all(), f"agent {agent}, {name} is not finite"
            assert array.tobytes() == wanted[agent][name].tobytes(), f"agent {agent}, {name}"


def comparable(rows: Sequence[dict[str, float]], *others: str) -> list[dict[str, float]]:
    """Drop what may differ between equal runs: clocks, traffic of records, the series in `others`."""
    dropped = {"diagnostics_bytes", *others}
    return [
        {
            k: None if v != v else v  # nan equals nothing
            for k, v in row.items()
            if not k.startswith("seconds") and k not in dropped
        }
        for row in rows
    ]
