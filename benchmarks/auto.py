"""Iterations that "auto" takes to P <= 1e-8, against the best of a small grid around it.

    python benchmarks/auto.py [--full] [--no-grid] [--problem NAME] [--graph NAME] [--quick]

The grid multiplies the rule's own eta by 1, 2, 4 and gamma by 1, 2 (not above 1); mu stays. It is a
yardstick for the rule, not a tuned result. breast_cancer and digits are so flat that plain gradient
descent does not reach 1e-8 in so many iterations either; their target is 1e-4.
"""

import argparse
import dataclasses
import sys
import warnings
from pathlib import Path

from distopt.config.build import make_config
from distopt.core.errors import DistoptError
from distopt.engine.run import run

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
FLAT_PAIRS = ("gt", "cgt1", "cgt2", "lead")
IDENTITY = {"name": "identity"}
RELATIVE = {
    "quantize 2 bits dithered": {"name": "quantize", "bits": 2, "dithered": True},
    "norm_sign": {"name": "norm_sign"},
    "top_k 10 %": {"name": "top_k", "fraction": 0.1},
    "unbiased_rand_k 20 %": {"name": "unbiased_rand_k", "fraction": 0.2},
}
PAIRS = [
    ("gt", {"identity": IDENTITY}),
    ("cgt1", RELATIVE),
    ("beer", {"norm_sign": RELATIVE["norm_sign"]}),
    ("cgt2", {"uniform": {"name": "uniform"}}),
    (
        "cgt3",
        {
            "saturating 4 bits": {"name": "saturating", "bits": 4},
            "one_bit": {"name": "one_bit"},
        },
    ),
    ("lead", {k: RELATIVE[k] for k in ("norm_sign", "top_k 10 %")}),
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


@dataclasses.dataclass
class Tally:
    rows: int = 0
    converged: int = 0
    violations: int = 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--full", action="store_true", help="every graph and pair for every problem (hours)"
    )
    parser.add_argument("--no-grid", action="store_true", help="the rule alone")
    parser.add_argument("--problem", choices=list(PROBLEMS), help="this one only")
    parser.add_argument("--graph", choices=GRAPHS, help="this one only")
    parser.add_argument("--quick", action="store_true", help="one problem and graph, no grid")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # settings of the grid that diverge overflow
    only = "pl" if options.quick else options.problem
    problems = {only: PROBLEMS[only]} if only else PROBLEMS
    tally = Tally()
    print(f"{AGENTS} agents, at most {LIMIT} iterations, seed 0.\n")
    print(
        "| problem (target of P) | graph | algorithm | compressor | auto | best of grid | ratio |"
    )
    print("|---|---|---|---|---|---|---|")
    for label, (problem, target) in problems.items():
        graphs = GRAPHS if options.full else SOME_GRAPHS.get(label, GRAPHS[:1])
        if options.graph:
            graphs = (options.graph,)
        for graph in graphs[:1] if options.quick else graphs:
            for name, compressors in PAIRS:
                if label in FLAT and name not in FLAT_PAIRS and not options.full:
                    continue
                for title, compressor in compressors.items():
                    k, P, outside, found = attempt(
                        problem, graph, {"name": name}, compressor, target, LIMIT
                    )
                    tally.rows += 1
                    tally.converged += k is not None
                    tally.violations += outside
                    best = None
                    if not (options.quick or options.no_grid):
                        best = best_of_grid(problem, graph, found, compressor, target, LIMIT, k)
                    auto = f"{k}" if k is not None else f"not reached, P = {P:.0e}"
                    auto += f", {outside} outside the ball" if outside else ""
                    ratio = f"{k / best:.1f}" if k and best else "-"
                    print(
                        f"| {label} ({target:g}) | {graph} | {name} | {title} | {auto} "
                        f"| {best or '-'} | {ratio} |",
                        flush=True,
                    )
    print(
        f"\n{tally.converged} of {tally.rows} reach the target; "
        f"{tally.violations} arguments were outside the unit ball."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
