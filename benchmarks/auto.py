"""Iterations of a searched step against the best of a grid of ten fixed ones (docs: auto).

    python benchmarks/auto.py [--algorithm NAME ...] [--only TEXT] [--seeds 3] [--quick]

The grid has ten steps, each twice the one before, around the inverse of the largest curvature at the
start; they run in vectorised form (auto_models.py). The rule was made on the problems of the first table;
those of the second were only reported. Grids are kept in build/auto_grids, because they take most of the
time.
"""

import json
import sys
import warnings

import auto_problems as p
import networkx
import numpy as np
from auto_models import iterations
from shared import ROOT, options, show

import distopt
from distopt.core.errors import DistoptError
from distopt.problems.topology import Topology
from distopt.studies.results import Column
from distopt.theory.rules import estimate_curvature

GRIDS = ROOT / "build" / "auto_grids"
ONE_BIT, TWO_BITS = distopt.NormSign(), distopt.Quantize(bits=2, dithered=True)
METHODS = {
    "zed": (distopt.Zed, None),
    "exact_diffusion": (distopt.ExactDiffusion, None),
    "zed1": (distopt.Zed1, None),
    "lead": (distopt.Lead, ONE_BIT),
    "gt": (distopt.GradientTracking, None),
    "cgt1": (distopt.CompressedTracking1, TWO_BITS),
}
# Of two, in this order: good ones shorten the rest. Trackers are stable up to smaller steps.
EXPONENTS = (-1, 0, -2, 1, -3, 2, -4, 3, -5, -6)
LOWER = {"gt": 2, "cgt1": 2}
EVERY = 5


def graph(name, agents):
    """Make a graph by name."""
    if name == "random":
        seeds = (networkx.gnp_random_graph(agents, 3 / agents + 0.1, seed=s) for s in range(100))
        return Topology.from_graph(next(g for g in seeds if networkx.is_connected(g)), name)
    if name == "torus":
        rows = max(k for k in range(2, agents) if agents % k == 0 and k * k <= agents)
        grid = networkx.grid_2d_graph(rows, agents // rows, periodic=True)
        return Topology.from_graph(networkx.convert_node_labels_to_integers(grid), name)
    nodes = agents - 1 if name == "star" else agents  # networkx does not count the middle of a star
    return Topology.from_graph(getattr(networkx, f"{name}_graph")(nodes), name)


# Title: (family, its keys, graph, agents, target of P, iterations at most).
DEVELOPED = {
    "quadratic, condition 10": (p.quadratic, {"condition": 10}, "cycle", 10, 1e-8, 3000),
    "quadratic, condition 100": (p.quadratic, {"condition": 100}, "path", 10, 1e-8, 3000),
    "quadratic, condition 1000": (p.quadratic, {"condition": 1000, "d": 15}, "torus", 16, 1e-8, 6000),
    "quadratic, condition 30": (p.quadratic, {"condition": 30, "d": 10}, "cycle", 100, 1e-8, 6000),
    "Geman-McClure": (p.robust, {"far": 2.0}, "cycle", 8, 1e-8, 3000),
    "Geman-McClure, far start": (p.robust, {"far": 6.0, "d": 8}, "star", 8, 1e-8, 3000),
    "sparse logistic": (p.logistic, {"ridge": 1e-2}, "random", 12, 1e-8, 4000),
    "logistic, uneven": (
        p.logistic, {"factors": 4, "uneven": 0.5, "ridge": 0.03, "m": 100}, "cycle", 4, 1e-8, 4000
    ),
    "factorization": (p.factorization, {}, "cycle", 6, 1e-8, 4000),
    "phase retrieval": (p.phase, {}, "star", 8, 1e-8, 3000),
    "Rosenbrock chain": (p.rosenbrock, {}, "cycle", 6, 1e-8, 6000),
    "network": (p.network, {}, "random", 10, 1e-6, 6000),
    "Poisson": (p.poisson, {}, "torus", 12, 1e-8, 3000),
    "softmax": (p.softmax, {}, "path", 6, 1e-8, 3000),
    "ReLU network": (p.relu, {}, "cycle", 4, 1e-4, 3000),
}  # fmt: skip
REPORTED = {
    "quadratic, condition 300": (p.quadratic, {"condition": 300, "d": 30}, "star", 12, 1e-8, 6000),
    "quadratic, condition 50": (p.quadratic, {"condition": 50}, "cycle", 30, 1e-8, 4000),
    "quadratic, condition 10": (
        p.quadratic, {"condition": 10, "d": 10, "spread": 0.5}, "cycle", 100, 1e-8, 6000
    ),
    "Cauchy": (
        p.robust, {"kind": "cauchy", "far": 3.0, "condition": 20.0}, "path", 8, 1e-8, 4000
    ),
    "Welsch": (p.robust, {"kind": "welsch"}, "cycle", 5, 1e-8, 3000),
    "pseudo-Huber": (
        p.robust, {"kind": "huber", "far": 20.0, "condition": 50.0}, "random", 16, 1e-8, 4000
    ),
    "sparse logistic, convex": (
        p.logistic, {"nonconvex": False, "ridge": 1e-2, "density": 0.1}, "star", 10, 1e-8, 4000
    ),
    "factorization": (p.factorization, {"p": 8, "q": 4, "start": 0.01}, "torus", 9, 1e-8, 4000),
    "phase retrieval": (p.phase, {"d": 10, "m": 30}, "cycle", 12, 1e-8, 4000),
    "Rosenbrock chain": (p.rosenbrock, {"d": 4, "c": 20.0}, "path", 5, 1e-8, 8000),
    "network": (p.network, {"inputs": 3, "hidden": 5}, "cycle", 4, 1e-6, 6000),
    "matrix sensing": (p.sensing, {"rank": 2}, "complete", 6, 1e-8, 4000),
    "softmax": (p.softmax, {"d": 8, "classes": 3, "ridge": 3e-3}, "torus", 9, 1e-8, 4000),
    "largest of affine": (p.max_affine, {}, "random", 7, 1e-5, 4000),
}  # fmt: skip


def play(method, case, seed, topology, limit, **numbers):
    """Run a method on a case and a graph; return iterations to the target or None, and the result.

    Raises
    ------
    DistoptError
        If the run diverged.
    """
    family, keys, _, agents, target, _ = case
    cls, compressor = METHODS[method]
    stack = family(seed, agents, **keys)
    result = distopt.simulate(
        [stack.of(i) for i in range(agents)], stack.start, algorithm=cls(**numbers),
        compressor=compressor, topology=topology, iterations=limit, record_every=EVERY,
        stop={"stationarity": target},
    )  # fmt: skip
    there = result.summary["stop_reason"] == "stop.stationarity"
    return result.summary["iterations"] if there else None, result


def attempt(method, case, seed, limit):
    """Return (iterations or None, the last record, the largest P over the smallest before it)."""
    try:
        k, result = play(method, case, seed, graph(case[2], case[3]), limit)
    except DistoptError:
        return None, {}, np.nan
    P = np.array([row["stationarity"] for row in result.rows])
    return k, result.rows[-1], float((P / np.minimum.accumulate(P)).max())


def once(name, key, find):
    """Return what `find` finds, once and for all: it is kept in build/auto_grids."""
    file = GRIDS / f"{name}.json"

    def known():
        return json.loads(file.read_text()) if file.exists() else {}

    if key not in known():
        found = find()
        GRIDS.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(known() | {key: found}, indent=1))
    return known()[key]


def best_of_grid(method, title, case, seed):
    """Return the fewest iterations of ten fixed steps, None if none arrives."""

    def find():
        stack, best = case[0](seed, case[3], **case[1]), None
        topology = graph(case[2], case[3])
        L = max(estimate_curvature(stack.of(i), stack.start, 6) for i in range(case[3]))
        for exponent in EXPONENTS:
            eta = 2.0 ** (exponent - LOWER.get(method, 0)) / L
            k = iterations(method, stack, topology, eta, case[4], best or case[5], EVERY)
            best = k or best
        return best

    return once(method, f"{title} {case[3]} {seed}", find)


def compare(method, title, case, seeds):
    """Return the row of a problem, and the ratios of its seeds."""
    found, ratios = [], []
    for seed in seeds if case[3] < 100 else seeds[:1]:  # one seed of the largest: they take longest
        best = best_of_grid(method, title, case, seed)
        limit = case[5] if best is None else 4 * best + 200
        k, last, rise = attempt(method, case, seed, limit)
        if best is not None:
            ratios.append(k / best if k else np.inf)
        found.append((k, best, last, rise))
    numbers = [f"{k or '-'} / {best or '-'}" for k, best, *_ in found]
    share = [100 * r["step_bytes"] / case[3] / r["bytes_per_agent"] for _, _, r, _ in found if r]
    print(f"{method}, {title}: {numbers}", file=sys.stderr, flush=True)
    row = {
        "problem": title, "graph": f"{case[2]} {case[3]}".replace("cycle", "ring"),
        "found": ", ".join(numbers),
        "ratio": ", ".join("lost" if np.isinf(r) else f"{r:.2f}" for r in ratios),
        "decisions": float(np.median([r["step_decisions"] for _, _, r, _ in found if r] or [np.nan])),
        "rise": max(rise for *_, rise in found),
        "share": float(np.median(share)) if share else np.nan,
    }  # fmt: skip
    return row, ratios


COLUMNS = [
    Column("problem", "problem"),
    Column("graph", "graph"),
    Column("found", "auto / best of grid, by seed"),
    Column("ratio", "ratio"),
    Column("decisions", "decisions", write="{:.0f}".format),
    Column("rise", "largest rise of P", write="{:.2g}".format),
    Column("share", "bytes of agreeing, %", write="{:.2g}".format),
]


def main():
    given = options(
        __doc__, algorithm={"choices": list(METHODS), "action": "append"}, only={"default": ""},
        seeds={"type": int, "default": 3},
    )  # fmt: skip
    warnings.simplefilter("ignore")  # large steps of the grid overflow
    for method in given.algorithm or METHODS:
        for name, cases in (("developed on", DEVELOPED), ("only reported", REPORTED)):
            chosen = {t: c for t, c in cases.items() if given.only in t}
            if given.quick:
                chosen = dict(list(chosen.items())[:1])
            rows, ratios = [], []
            for title, case in chosen.items():
                row, more = compare(method, title, case, range(1 if given.quick else given.seeds))
                rows.append(row)
                ratios += more
            if not ratios:
                continue
            lost = int(np.isinf(ratios).sum())
            note = (
                f"{len(ratios)} runs that some step of the grid finishes: median ratio "
                f"{np.median(ratios):.2f}, worst {max(ratios):.2f}; {lost} lost (more than four times)."
            )
            show(f"{method}, {name}", COLUMNS, rows, [note])


if __name__ == "__main__":
    main()
