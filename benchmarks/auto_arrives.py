"""Which runs with nothing tuned arrive: zed as it comes against the best of 13 fixed steps (docs: auto).

    python benchmarks/auto_arrives.py [--half tuned|reported] [--only TEXT] [--advice] [--quick]

A run arrives when P is 1e-8 of its value at the start, within 3000 iterations. The fixed steps are each
twice the one before, in vectorised form (auto_models.py); they are kept in build/auto_grids. With
--advice, what a run that did not arrive is told to try is tried.
"""

import sys
import warnings

import auto_families
import numpy as np
from auto import once
from auto_models import iterations
from shared import options, show

import distopt
from distopt.core.errors import DistoptError
from distopt.engine.interface import as_topology
from distopt.studies.results import Column
from distopt.theory.rules import curvature_on_the_way, estimate_curvature

LIMIT, EVERY, TARGET = 3000, 10, 1e-8
EXPONENTS = (-1, 0, -2, 1, -3, 2, -4, 3, -5, -6, -7, -8, -9)  # of two, over the curvature
HALVES = {"tuned": auto_families.TUNED, "reported": auto_families.REPORTED}


def prepare(case):
    """Return the costs of a case, its graph, and P at the start."""
    _, name, agents, seed, family, keys = case
    stack = auto_families.make(family, seed, agents, **keys)
    start = np.tile(stack.start, (agents, 1))
    g = stack.gradient(stack.data, start).mean(axis=0)
    return stack, as_topology(name, agents), float(g @ g)


def play(case, limit=LIMIT, **numbers):
    """Run zed as it comes, or with some numbers; return iterations or None, P over its first, the step."""
    stack, topology, first = prepare(case)
    try:
        result = distopt.simulate(
            [stack.of(i) for i in range(stack.agents)], stack.start, algorithm=distopt.Zed(**numbers),
            topology=topology, iterations=limit, record_every=EVERY,
            stop={"stationarity": TARGET * first}, series="light",
        )  # fmt: skip
    except DistoptError:
        return None, np.inf, np.nan
    there = result.summary["stop_reason"] == "stop.stationarity"
    last = result.rows[-1]
    P = last["stationarity"] / first
    return result.summary["iterations"] if there else None, P, last.get("step", np.nan)


def curvature(cost, x0):
    """Return the curvature at the start as a search begins with it."""
    return curvature_on_the_way(cost, x0, estimate_curvature(cost, x0, 6))


def best_of_grid(case):
    """Return the fewest iterations of the fixed steps and that step, None if none arrives."""

    def find():
        stack, topology, first = prepare(case)
        L = max(curvature(stack.of(i), stack.start) for i in range(stack.agents))
        best, at = None, None
        for exponent in EXPONENTS:
            eta = 2.0**exponent / L
            k = iterations("zed", stack, topology, eta, TARGET * first, best or LIMIT, EVERY)
            if k and (best is None or k < best):
                best, at = k, eta
        return best, at

    return once("arrives", " ".join(map(str, case[:4])), find)


def compare(case, advice):
    """Return the row of a case, and the ratio to the best fixed step (None if none arrives)."""
    best, at = best_of_grid(case)
    k, P, step = play(case)
    row = {
        "problem": case[0], "graph": f"{case[1]} {case[2]}",
        "auto": str(k) if k else f"P = {P:.1g}", "best": best, "step": step, "at": at,
    }  # fmt: skip
    if advice and k is None and np.isfinite(step):
        k4, P4, _ = play(case, eta=step / 4)
        more, P2, _ = play(case, 2 * LIMIT)
        row["smaller"] = str(k4) if k4 else f"P = {P4:.1g}"
        row["longer"] = str(more) if more else f"P = {P2:.1g}"
    print(row, file=sys.stderr, flush=True)
    return row, None if best is None else (k / best if k else np.inf)


COLUMNS = [
    Column("problem", "problem"),
    Column("graph", "graph"),
    Column("auto", "auto"),
    Column("best", "best fixed step"),
    Column("step", "last step", write="{:.2g}".format),
    Column("at", "best step", write="{:.2g}".format),
]
FURTHER = [
    Column("smaller", "with a fourth of the step"),
    Column("longer", "in twice as many"),
]


def main():
    given = options(__doc__, "advice", half={"choices": list(HALVES)}, only={"default": ""})
    warnings.simplefilter("ignore")  # large steps of the grid overflow
    for half in [given.half] if given.half else HALVES:
        chosen = [case for case in HALVES[half] if given.only in case[0]]
        found = [compare(case, given.advice) for case in chosen[: 1 if given.quick else None]]
        ratios = [ratio for _, ratio in found if ratio is not None]
        lost = int(np.isinf(ratios).sum())
        note = (
            f"{len(ratios)} of {len(found)} problems are solved by some fixed step; auto solves "
            f"{len(ratios) - lost} of them, at a median ratio of {np.median(ratios):.2f}, worst "
            f"{max([r for r in ratios if r < np.inf], default=np.nan):.2f}."
        )
        show(half, COLUMNS + FURTHER * given.advice, [row for row, _ in found], [note])


if __name__ == "__main__":
    main()
