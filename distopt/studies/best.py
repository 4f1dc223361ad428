"""The best minimum known of a problem, above which objectives and Lyapunov functions are drawn."""

import json
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np

from distopt.core.arrays import F64
from distopt.core.errors import DistoptError
from distopt.problems.given import GIVEN
from distopt.problems.minimum import reference_minimum
from distopt.problems.problem import build_problem
from distopt.record.reader import RunData

CHEAP_SECONDS = 2.0  # about how long a reference optimum may take
SETTLED = 1e-4  # of P at the start: a run with a smaller one ended near a stationary point
ELSEWHERE = 0.01  # of the way down: that far below, a reference optimum is of another point
LEAST_CALLS = 200  # with fewer calls of value and gradient a search is not worth it
FOREIGN = {"python", GIVEN}  # a record's code is not run only to draw it


class Best(NamedTuple):
    """A value of f, and which it is."""

    value: float
    source: str

    def above(self, objective: F64) -> F64:
        """Return how far objectives are above it; a difference that is rounding is 4 ulp."""
        gap, floor = objective - self.value, 4 * np.spacing(abs(self.value))
        return np.where(np.abs(gap) < floor, floor, gap)


def best_minima(runs: Sequence[RunData]) -> list[Best]:
    """Return for each run the best minimum known of its problem: f* if its record has it.

    Else the smallest of a reference optimum, where it costs about 2 s at most, and of all
    objectives that those of the runs recorded that have this problem. A reference optimum far below
    the stationary point of f at which the best run ended belongs to another place: it is named, and
    not taken, for above it nothing would be seen to converge.
    """
    groups: dict[str, list[RunData]] = {}
    for run in runs:
        groups.setdefault(key_of(run), []).append(run)
    best = {key: best_minimum(some) for key, some in groups.items()}
    return [best[key_of(run)] for run in runs]


def best_minimum(runs: Sequence[RunData]) -> Best:
    """Return the best minimum known of the problem that all these runs have."""
    if runs[0].meta.get("minimum_kind") == "exact":
        return Best(float(runs[0].meta["minimum"]), "the exact minimum f*")
    least = [float(np.nanmin(run["objective"])) for run in runs]
    smallest, run = min(zip(least, runs, strict=True), key=lambda pair: pair[0])
    source = "the smallest record of " + (
        f"{len(runs)} runs, in {run.name}" if len(runs) > 1 else "this run"
    )
    value = reference(runs[0])
    if value is None or value > smallest:
        return Best(smallest, source)
    settled = run.last("stationarity") <= SETTLED * run["stationarity"][0]
    if settled and smallest - value > ELSEWHERE * (run["objective"][0] - smallest):
        return Best(smallest, f"{source} (a search found {value:.6g} elsewhere)")
    return Best(value, "a reference optimum, by L-BFGS on the average cost")


def key_of(run: RunData) -> str:
    """Return what is equal for runs of the same costs."""
    told = {k: v for k, v in run.config.get("problem", {}).items() if k != "start"}
    facts = (run.meta.get("identity") or {}).get("facts", {})
    measured = {k: v for k, v in facts.items() if k.startswith("cost ")}
    return json.dumps([told, measured, run.meta["dimension"]], sort_keys=True, default=str)


def reference(run: RunData) -> float | None:
    """Search the minimum of the average cost, if that is cheap; None otherwise."""
    try:
        if run.config.get("problem", {}).get("name", GIVEN) in FOREIGN:
            return None
        problem = build_problem(run.config["problem"], {}, Path())  # the graph does not matter
        costs = [problem.cost(i) for i in range(problem.agents)]
        x, out = problem.start_point(0, costs[0]), np.empty(problem.dimension)
        spent = []
        for _ in range(4):  # the first may compile
            began = perf_counter()
            costs[0].gradient(x, out)
            costs[0].value(x)
            spent.append(perf_counter() - began)
        calls = int(CHEAP_SECONDS / (problem.agents * min(spent) + 1e-5))
        return reference_minimum(problem, calls=calls)[0] if calls >= LEAST_CALLS else None
    except DistoptError:  # such as data that is not here
        return None
