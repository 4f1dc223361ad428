"""Iterations that rules for a step take to P <= 1e-8, against the best of a small grid around it.

    python benchmarks/auto_rules.py [--full] [--no-grid] [--problem NAME] [--graph NAME] [--quick]

The grid multiplies the rule's own eta by 1, 2, 4 and gamma by 1, 2 (not above 1); mu stays. It is a
yardstick for the rule, not a tuned result. breast_cancer and digits are so flat that plain gradient
descent does not reach 1e-8 in so many iterations either; their target is 1e-4.
"""

import sys
import warnings
from pathlib import Path

from shared import options, show

from distopt.config.build import make_config
from distopt.core.errors import DistoptError
from distopt.engine.run import run
from distopt.studies.results import Column

AGENTS, LIMIT = 8, 5000
PROBLEMS = {
    "quadratic": ({"name": "quadratic", "dimension": 20}, 1e-8),
    "pl": ({"name": "pl", "dimension": 20}, 1e-8),
    "synthetic, sorted": ({"name": "logistic", "dataset": "synthetic"}, 1e-8),
    "synthetic, iid": ({"name": "logistic", "dataset": "synthetic", "split": "iid"}, 1e-8),
    "breast_cancer, sorted": ({"name": "logistic", "dataset": "breast_cancer"}, 1e-4),
    "digits, sorted": ({"name": "logistic", "dataset": "digits"}, 1e-4),
}
GRAPHS = ("ring", "star", "path", "complete", "hypercube")
SOME_GRAPHS = {"pl": ("ring", "path"), "synthetic, sorted": ("star",)}
FLAT = ("breast_cancer, sorted", "digits, sorted")  # fewer pairs unless --full: they take longest
FLAT_PAIRS = ("cgt2", "lead")
RELATIVE = {
    "norm_sign": {"name": "norm_sign"},
    "top_k 10 %": {"name": "top_k", "fraction": 0.1},
}
PAIRS = [
    ("beer", {"norm_sign": RELATIVE["norm_sign"]}),
    ("cgt2", {"uniform": {"name": "uniform"}}),
    (
        "cgt3",
        {
            "saturating 4 bits": {"name": "saturating", "bits": 4},
            "one_bit": {"name": "one_bit"},
        },
    ),
    ("lead", {"top_k 10 %": RELATIVE["top_k 10 %"]}),
    ("primal_dual", {k: RELATIVE[k] for k in ("norm_sign", "top_k 10 %")}),
]


def attempt(problem, graph, algorithm, compressor, target, limit):
    """Return (iterations or None, P, violations, algorithm with numbers)."""
    config = make_config(
        {
            "problem": problem | {"agents": AGENTS},
            "topology": {"graph": graph},
            "algorithm": algorithm,
            "compressor": compressor,
            "run": {"iterations": limit, "record_every": 10, "stop": {"stationarity": target}},
        },
        Path(),
    )
    try:
        s = run(config, engine="simulate").summary
    except DistoptError:
        return None, float("inf"), 0, algorithm
    reached = s["iterations"] if s["stop_reason"] == "stop.stationarity" else None
    return reached, s["stationarity"], s["ball_violations"], s["parameters"]


def best_of_grid(problem, graph, found, compressor, target, limit, own):
    """Search around the numbers of a run that took `own` iterations; return the fewest, or None."""
    best = own
    for eta in (1, 2, 4):
        for gamma in (1, 2):
            if (eta, gamma) == (1, 1) or (gamma > 1 and found["gamma"] >= 1):
                continue
            trial = found | {
                "eta": found["eta"] * eta,
                "gamma": min(found["gamma"] * gamma, 1.0),
            }
            horizon = limit if best is None else best
            k, _, outside, _ = attempt(problem, graph, trial, compressor, target, horizon)
            if k is not None and not outside and (best is None or k < best):
                best = k
    return best


def pairs_of(label, full):
    """List the algorithms with their compressors, by name, that are tried on a problem."""
    for name, compressors in PAIRS:
        if label not in FLAT or name in FLAT_PAIRS or full:
            yield from ((name, title, compressor) for title, compressor in compressors.items())


COLUMNS = [
    Column("problem", "problem (target of P)"),
    Column("graph", "graph"),
    Column("algorithm", "algorithm"),
    Column("compressor", "compressor"),
    Column("auto", "auto"),
    Column("best", "best of grid"),
    Column("ratio", "ratio", write="{:.1f}".format),
]


def main():
    given = options(
        __doc__, "full", "no-grid",
        problem={"choices": list(PROBLEMS)}, graph={"choices": GRAPHS},
    )  # fmt: skip
    warnings.simplefilter("ignore")  # settings of the grid that diverge overflow
    only = "pl" if given.quick else given.problem
    problems = {only: PROBLEMS[only]} if only else PROBLEMS
    rows, violations = [], 0
    for label, (problem, target) in problems.items():
        graphs = GRAPHS if given.full else SOME_GRAPHS.get(label, GRAPHS[:1])
        if given.graph:
            graphs = (given.graph,)
        for graph in graphs[:1] if given.quick else graphs:
            for name, title, compressor in pairs_of(label, given.full):
                k, P, outside, found = attempt(
                    problem, graph, {"name": name}, compressor, target, LIMIT
                )
                violations += outside
                best = None
                if not (given.quick or given.no_grid):
                    best = best_of_grid(problem, graph, found, compressor, target, LIMIT, k)
                auto = f"{k}" if k is not None else f"not reached, P = {P:.0e}"
                auto += f", {outside} outside the ball" if outside else ""
                rows.append(
                    {"problem": f"{label} ({target:g})", "graph": graph, "algorithm": name,
                     "compressor": title, "auto": auto, "best": best, "reached": k is not None,
                     "ratio": k / best if k and best else None}
                )  # fmt: skip
                print(f"{label}, {graph}, {name}, {title}: {auto}", file=sys.stderr)
    reached = sum(row["reached"] for row in rows)
    note = f"{reached} of {len(rows)} reach the target; {violations} arguments were outside the unit ball."
    show(f"{AGENTS} agents, at most {LIMIT} iterations, seed 0.", COLUMNS, rows, [note])


if __name__ == "__main__":
    main()
