"""Time and processor time of an iteration, against an expert's loop and against the bare bytes.

    python benchmarks/speed.py [--short] [--d 100 --d 10000] [--rounds 9] [--page] [--rows FILE]

With --page the table is written into docs/speed.md, with --rows its numbers into a file, as JSON.

Starts its own MPI job: four ranks on a ring, the PL cost in its diagonal basis. For every method and
dimension d, in turns within one job: distopt's loop without records; an expert's loop of fused kernels
for just this method (`benchmarks/experts.py`); and the bare exchange of as many bytes, one pass over a
vector and the gradient. What is timed is checked first: distopt and the expert must have the same x, to
the bit.

A time is that of the slowest rank; processor time is summed over the ranks, all threads. Ratios are
medians over the rounds of the ratio within a round, so that what else the machine does falls on all.
"""

import json
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
from iteration import Ours
from shared import become_rank, leave, machine_line, markdown, show, write_section

from distopt.config.build import make_config
from distopt.engine.team import prepare
from distopt.studies.results import Column
from distopt.transport.opening import open_transport

RANKS = 4
ETA, GAMMA = 0.02, 0.3
QUANTIZE = {"name": "quantize", "bits": 2}
METHODS = {
    "gt": ({"name": "gt"}, {"name": "identity"}),
    "cgt1 2 bits": ({"name": "cgt1", "alpha": 1.0}, QUANTIZE),
    "lead 2 bits": ({"name": "lead", "alpha": 1.0}, QUANTIZE),
}
# Limits set beforehand.
OVER_BARE = {100: 3.0, 10_000: 1.5, 1_000_000: 1.3}  # of gt, by dimension
OVER_EXPERT = 1.2  # of the others
BLOCKS = {100: 200, 10_000: 50, 1_000_000: 2}  # iterations per round
ROUNDS = {100: 25, 10_000: 25, 1_000_000: 11}
RIVALS = ("distopt", "expert", "bare")


def configuration(method, d):
    algorithm, compressor = METHODS[method]
    return make_config(
        {
            "problem": {"name": "pl", "dimension": d, "basis": "diagonal", "agents": RANKS},
            "topology": {"graph": "ring"},
            "algorithm": algorithm | {"eta": ETA, "gamma": GAMMA},
            "compressor": compressor,
            "run": {"iterations": 10**6, "record_every": 10**6},
        },
        Path(),
    )


def rivals_of(comm, method, d, stack):
    """Make the three of a method, each after some iterations, and check the answer."""
    from experts import Bare, CompressedTracking, GradientTracking, Lead

    config = configuration(method, d)
    transport = stack.enter_context(open_transport("mpi", config, comm))
    team = prepare(config, transport)
    agent, state = team.hosted[0].agent, team.hosted[0].state
    ours, kinds = Ours(team), {"gt": GradientTracking, "cgt1 2 bits": CompressedTracking}
    expert = kinds.get(method, Lead)(comm, agent.cost, ETA, GAMMA, agent.weights)
    ours.run(5)
    expert.run(5)
    if method == "gt":  # the expert's sums are in another order
        np.testing.assert_allclose(expert.x, state.x, rtol=1e-12, atol=1e-13)
    else:
        assert (expert.x == state.x).all()
    bare = Bare(comm, agent.cost, transport.traffic.nbytes // 5)
    bare.run(5)
    return dict(zip(RIVALS, (ours, expert, bare), strict=True))


def timed(comm, rival, iterations):
    """Return milliseconds of the slowest rank and of all processors, per iteration."""
    from mpi4py import MPI

    comm.Barrier()
    began, spent = perf_counter(), process_time()
    rival.run(iterations)
    mine = np.array([perf_counter() - began, process_time() - spent])
    slowest = comm.allreduce(mine[0], op=MPI.MAX)
    return 1e3 * np.array([slowest, comm.allreduce(mine[1])]) / iterations


def measure(comm, method, d, rounds):
    with ExitStack() as stack:
        rivals = rivals_of(comm, method, d, stack)
        times = np.array(
            [
                [timed(comm, rival, BLOCKS[d]) for rival in rivals.values()]
                for _ in range(rounds + 1)
            ]
        )[1:]  # the first is warm-up; rounds, rivals, wall and processor
    ms = np.median(times, axis=0)
    row = {"method": method, "d": d}
    for i, name in enumerate(RIVALS):
        row |= {name: ms[i, 0], f"{name} cpu": ms[i, 1]}
    for name, i in (("expert", 1), ("bare", 2)):
        wall, cpu = np.median(times[:, 0] / times[:, i], axis=0)
        row |= {f"/ {name}": wall, f"cpu / {name}": cpu}
    limit = OVER_BARE[d] if method == "gt" else OVER_EXPERT
    found = row["/ bare" if method == "gt" else "/ expert"]
    against = "bare" if method == "gt" else "expert"
    row["limit"] = f"{limit:g} {against}: {'reached' if found <= limit else '**missed**'}"
    return row


def main():
    options = become_rank(
        __file__,
        __doc__,
        RANKS,
        d={"action": "append", "type": int, "choices": BLOCKS},
        rounds={"type": int},
        page={"action": "store_true"},
        rows={"type": Path},
    )
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    rows = [
        measure(comm, method, d, 1 if options.short else options.rounds or ROUNDS[d])
        for d in options.d or BLOCKS
        for method in METHODS
    ]
    if comm.rank == 0:
        digits = "{:.3g}".format
        columns = [
            Column("method", "method"),
            Column("d", "d", write="{:,}".format),
            *(Column(name, name, "", "ms", digits) for name in RIVALS),
            Column("/ expert", "/ expert", write=digits),
            Column("/ bare", "/ bare", write=digits),
            *(Column(f"{name} cpu", f"cpu {name}", "", "ms", digits) for name in RIVALS),
            Column("cpu / expert", "cpu / expert", write=digits),
            Column("cpu / bare", "cpu / bare", write=digits),
            Column("limit", "limit"),
        ]
        library = MPI.Get_library_version().strip("\0 \n").split(",")[0].splitlines()[0]
        title = f"{library}. {machine_line()}."
        show(title, columns, rows)
        if options.rows:
            options.rows.write_text(json.dumps(rows))
        if options.page:
            text = f"{title} Times in ms of an iteration.\n\n{markdown(columns, rows)}\n"
            write_section("speed.md", "benchmarks/speed.py", text)
    leave(comm)


if __name__ == "__main__":
    main()
