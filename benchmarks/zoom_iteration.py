"""Milliseconds per iteration of zed and zed1 against exact_diffusion, four ranks on a ring.

    python benchmarks/zoom_iteration.py [--short]

Starts its own MPI job. The PL cost in its diagonal basis, d = 10,000 and 1,000,000;
the rivals take turns in one job, medians over rounds. Bytes are per agent and iteration, of the last
block. The limit set beforehand: at d = 1,000,000 an iteration of zed takes at most twice that of
exact_diffusion.
"""

from contextlib import ExitStack
from pathlib import Path
from statistics import median

import numpy as np
from iteration import RANKS, Ours, milliseconds
from shared import become_rank, leave, machine_line, show

from distopt.config.build import make_config
from distopt.engine.team import prepare
from distopt.studies.results import Column, write_count
from distopt.transport.opening import open_transport

NAMES = ("exact_diffusion", "zed", "zed1")
BLOCKS = {10_000: 50, 1_000_000: 4}  # iterations per round
ROUNDS = 7
LIMIT = 2.0


def configuration(name, d):
    return make_config(
        {
            "problem": {"name": "pl", "dimension": d, "basis": "diagonal", "agents": RANKS},
            "topology": {"graph": "ring"},
            "algorithm": {"name": name, "eta": 0.02},
            "run": {"iterations": 10**6, "record_every": 10**6},
        },
        Path(),
    )


def measure(comm, d, rounds):
    with ExitStack() as stack:
        rivals = {}
        for name in NAMES:
            c = configuration(name, d)
            transport = stack.enter_context(open_transport("mpi", c, comm))
            rivals[name] = Ours(prepare(c, transport))
            rivals[name].run(10)
        times = {name: [] for name in NAMES}
        nbytes, phases = {}, {}
        for _ in range(rounds):
            for name, rival in rivals.items():
                traffic = rival.team.transport.traffic
                before, sent = rival.phases(), traffic.nbytes
                times[name].append(milliseconds(comm, rival, BLOCKS[d]))
                nbytes[name] = (traffic.nbytes - sent) / BLOCKS[d]
                mean = comm.allreduce(rival.phases() - before) / RANKS
                phases.setdefault(name, []).append(1e3 * mean / BLOCKS[d])
    return {
        name: (median(times[name]), nbytes[name], *np.median(phases[name], axis=0))
        for name in NAMES
    }


def main():
    short = become_rank(__file__, __doc__, RANKS).short
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    rows, notes, parts = [], [], ("ms", "gradient", "compression", "exchange")
    for d in list(BLOCKS)[: 1 if short else None]:
        found = measure(comm, d, 1 if short else ROUNDS)
        base = found["exact_diffusion"][0]
        for name, (ms, nbytes, *phases) in found.items():
            times = dict(zip(parts, (ms, *phases), strict=True))
            rows.append({"d": d, "name": name, "bytes": nbytes, "ratio": ms / base} | times)
        if d == 1_000_000:
            ratio = found["zed"][0] / base
            reached = "reached" if ratio <= LIMIT else "MISSED"
            notes.append(f"zed at d = 1,000,000: limit {LIMIT:g}, {reached}")
    if comm.rank == 0:
        columns = [
            Column("d", "d", write="{:,}".format),
            Column("name", "algorithm"),
            Column("bytes", "bytes", write=write_count),
            *(Column(part, part, "", "ms", "{:.2f}".format) for part in parts),
            Column("ratio", "of exact_diffusion", write="{:.2f}".format),
        ]
        show(machine_line(), columns, rows, notes)
    leave(comm)


if __name__ == "__main__":
    main()
