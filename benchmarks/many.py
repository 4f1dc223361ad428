"""Many agents in one process: time of an iteration, and the memory that another agent takes.

    python benchmarks/many.py                      # times and memory; --only time, or --only memory
    python benchmarks/many.py --agents 2000        # the rows of a ring with as many agents
    python benchmarks/many.py --only set-up --agents 10000
    python benchmarks/many.py --only workers       # by the clock, with two threads

Times are processor time without records, the crowd and agents by themselves in turns, medians of rounds.
The set-up is all before iteration 0, from the configuration on, with kernels in numba's cache.
Memory is what Python and numpy hold after three iterations and a record, the difference between runs with
10 and with 30 agents, at d = 20,000 in vectors of 8 d bytes, and at d = 100 in kB.
"""

import argparse
import gc
import os
import tracemalloc
from itertools import product
from statistics import median
from time import perf_counter, process_time

import numpy as np

from distopt.config.build import make_config
from distopt.engine.diagnostics import Diagnostics
from distopt.engine.team import prepare
from distopt.transport.local import LocalTransport

TWO_BITS = {"name": "quantize", "bits": 2}
METHODS = {
    "gt": ({"name": "gt", "eta": 0.02, "gamma": 0.5}, {"name": "identity"}),
    "lead 2 bits": ({"name": "lead", "eta": 0.02, "gamma": 0.2}, TWO_BITS),
    "cgt1 2 bits": ({"name": "cgt1", "eta": 0.01, "gamma": 0.1}, TWO_BITS),
    "zed": ({"name": "zed", "eta": 0.02}, {"name": "zoom"}),
    "cgt1 top-k": (
        {"name": "cgt1", "eta": 0.01, "gamma": 0.1, "alpha": 1.0},
        {"name": "top_k", "fraction": 0.1},
    ),
    "gt, step searched": ({"name": "gt"}, {"name": "identity"}),
    "zed, step searched": ({"name": "zed"}, {"name": "zoom"}),
}
ON_RING = ("gt", "lead 2 bits", "cgt1 2 bits", "zed")
LARGE = ("ring", "torus", "exponential"), ("gt", "lead 2 bits", "gt, step searched")
OTHERS = (
    ("zed", "ring"),
    ("zed", "complete"),
    ("cgt1 top-k", "complete"),
    ("cgt1 2 bits", "complete"),
)
# Vectors of a crowd's agent without its cost, and bytes whatever the dimension is (docs/speed.md).
OBJECTS, MODELS, SNAPSHOT = 9e3, 5e3, 9e3
FORMULA = {
    "gt": (9, OBJECTS),
    "lead 2 bits": (8 + 3 / 64, OBJECTS),
    "cgt1 2 bits": (9 + 6 / 64, OBJECTS),
    "zed": (10.75, OBJECTS + MODELS),
    "gt, step searched": (20, OBJECTS),
    "zed, step searched": (28.75, OBJECTS + MODELS + 2 * SNAPSHOT),
}
COST = 6.0  # four rows of coefficients, a start, z while a value is computed


def team_of(method, agents, d, graph="ring", together=True, workers=1):
    algorithm, compressor = METHODS[method]
    tables = {
        "problem": {"name": "pl", "dimension": d, "basis": "diagonal", "agents": agents},
        "topology": {"graph": graph},
        "algorithm": algorithm,
        "compressor": compressor,
        "run": {"workers": workers},
    }
    config = make_config(tables, ".")
    return prepare(config, LocalTransport(config.problem.topology), together=together)


def iteration_of(team, rounds):
    """Return the processor seconds of each of some iterations."""
    spent = []
    for _ in range(rounds):
        began = process_time()
        team.iterate()
        spent.append(process_time() - began)
    return spent


def time_row(method, agents, d, graph, rounds):
    teams = [team_of(method, agents, d, graph, together) for together in (True, False)]
    spent = [[], []]
    for _ in range(rounds):
        for team, found in zip(teams, spent, strict=True):
            found += iteration_of(team, 5)
    crowd, alone = (1e3 * median(found) for found in spent)
    name = f"{method}, {graph} of {agents}, d = {d}"
    print(
        f"| {name} | {alone:.3g} ms | {crowd:.3g} ms: {1e3 / crowd:.3g} iterations a second |",
        flush=True,
    )


def workers_row(method, agents, d, rounds):
    """One thread, its agents as a crowd and by themselves, and two threads, in turns, by the clock."""
    teams = [
        team_of(method, agents, d, **how)
        for how in ({}, {"together": False}, {"workers": 2})
    ]  # fmt: skip
    block = max(2, 2_000_000 // (agents * d))
    spent = [[], [], []]
    for _ in range(rounds + 1):
        for team, found in zip(teams, spent, strict=True):
            began = perf_counter()
            for _ in range(block):
                team.iterate()
            found.append((perf_counter() - began) / block)
    one, alone, two = np.array(spent)[:, 1:]  # the first round is warm-up
    saved = f"{median(one / two):.2f}", f"{median(alone / two):.2f}"
    times = (f"{1e3 * median(found):.3g} ms" for found in (one, alone, two))
    name = f"{method}, ring of {agents}, d = {d:,}"
    print(f"| {name} | {' | '.join(times)} | {' | '.join(saved)} |", flush=True)


def set_up_row(method, agents, d, graph, rounds):
    team_of(method, 16, d, graph)  # kernels are loaded
    began = process_time()
    team = team_of(method, agents, d, graph)
    ready = process_time() - began
    iteration_of(team, 3)
    spent = 1e3 * median(iteration_of(team, 5 * rounds))
    diagnostics = Diagnostics(team)
    diagnostics.row()
    began = process_time()
    diagnostics.row()
    record = process_time() - began
    name = f"{method}, {graph} of {agents:,}, d = {d}"
    print(
        f"| {name} | {ready:.2g} s | {spent:.3g} ms: {1e3 / spent:.3g} | {record:.2g} s |",
        flush=True,
    )


def held(method, agents, d, together):
    """Return the bytes that a run of so many agents holds."""
    gc.collect()
    tracemalloc.start()
    team = team_of(method, agents, d, together=together)
    iteration_of(team, 3)
    diagnostics = Diagnostics(team)
    diagnostics.row()
    gc.collect()
    nbytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return nbytes


def an_agent(method, d, together=True):
    """Return the bytes of another agent."""
    held(method, 10, d, together)  # what is loaded or kept once
    return (held(method, 30, d, together) - held(method, 10, d, together)) / 20


def memory_row(method):
    vector, told = 8 * 20_000, ""
    found = [an_agent(method, 20_000, together) / vector - COST for together in (True, False)]
    small = an_agent(method, 100) / 1e3
    if method in FORMULA:
        vectors, fixed = FORMULA[method]
        less = (800 * (vectors + COST) + fixed) / 1e3
        told = f"{vectors + fixed / vector:.2f}; {less:.0f} kB"
    print(f"| {method} | {told} | {found[0]:.2f} | {small:.0f} kB | {found[1]:.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("time", "memory", "set-up", "workers"))
    parser.add_argument("--agents", type=int)
    parser.add_argument("--dimension", type=int, default=100, help="of --only set-up")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores\n")
    if args.only in {None, "time"}:
        print("| | by themselves | as a crowd |\n|---|---|---|")
        for method in ON_RING:
            time_row(method, args.agents or 1000, 100, "ring", args.rounds)
        for method, graph in OTHERS if args.agents is None else ():
            time_row(method, 64, 1000, graph, args.rounds)
    if args.only == "set-up":
        print("| | set-up | an iteration: iterations a second | a record |\n|---|---|---|---|")
        for graph, method in product(*LARGE):
            set_up_row(method, args.agents or 10_000, args.dimension, graph, args.rounds)
    if args.only == "workers":
        print("| | crowd | by themselves | two workers | crowd / two | by themselves / two |")
        print("|---|---|---|---|---|---|")
        for agents, d in ((10, 1000), (10, 10_000), (4, 100_000), (4, 1_000_000)):
            for method in (*ON_RING, "cgt1 top-k"):
                workers_row(method, agents, d, args.rounds)
    if args.only in {None, "memory"} and args.agents is None:
        print("\n| | formula | crowd, vectors | crowd, d = 100, in all | by themselves, vectors |")
        print("|---|---|---|---|---|")
        for method in [m for m in METHODS if m != "cgt1 top-k"]:
            memory_row(method)


if __name__ == "__main__":
    main()
