"""An iteration whose second vectors travel while the gradient is computed, and one without that.

    sh launch/netns/bed.sh --hosts 2 --link 100mbit -- python benchmarks/overlap.py [--short] [--d 62500]

Starts its own MPI job: two ranks, on the bed's hosts if it is started there. The gradient is that of a
quadratic and takes as long as an exchange of both vectors, measured first: one that "waits" sleeps,
as for a device, one that "computes" keeps Python's lock and a core. Both forms of the iteration take turns
within one job. What is timed is checked: x must be the same, to the bit, as in one process. Times are the
slowest rank's, medians over rounds.

Limit set beforehand: 1.15 times the longer of gradient and wire, plus half the wire.
"""

from contextlib import ExitStack
from functools import partial
from statistics import median
from time import perf_counter, sleep

import numba
import numpy as np
from iteration import Ours
from shared import become_rank, leave, machine_line, show

from distopt.engine.arguments import as_topology, make_parts
from distopt.engine.team import prepare
from distopt.studies.results import Column
from distopt.transport.local import LocalTransport
from distopt.transport.opening import open_transport

RANKS = 2
LIMIT = 1.15
ROUNDS = 9
METHODS = {
    "gt": ("gt", "identity"),
    "cgt1 bfloat16": ("cgt1", "cast"),
}


@numba.njit  # which keeps Python's lock
def work(rounds):
    total = 0.0
    for i in range(rounds):
        total += np.sin(total + i)
    return total


def compute(seconds, rate):
    work(int(seconds * rate))


class Slow:
    """A quadratic whose gradient takes as long as it is told."""

    def __init__(self, d, agent):
        self.dimension, self.smoothness = d, 2.0
        self.slopes, self.shift = np.linspace(0.5, 2.0, d), np.full(d, 1.0 + agent)
        self.seconds, self.spend = 0.0, sleep

    def value(self, x):
        return 0.5 * float(self.slopes @ (x - self.shift) ** 2)

    def gradient(self, x, out):
        np.multiply(self.slopes, x - self.shift, out=out)
        if self.seconds:
            self.spend(self.seconds)


def parts_of(costs, name, compressor):
    import distopt

    kind = {"gt": distopt.GradientTracking, "cgt1": distopt.CompressedTracking1}[name]
    more = {} if name == "gt" else {"alpha": 1.0}
    graph = as_topology("path", RANKS)
    method = kind(eta=0.1, gamma=0.5, **more)
    return make_parts(costs, None, graph, method, compressor, {"overlap": True, "seed": 1})


def timed(comm, ours, overlaps):
    from mpi4py import MPI

    agent = ours.team.hosted[0].agent
    agent.overlaps, agent.cut = overlaps, None
    comm.Barrier()
    began = perf_counter()
    ours.run(3)
    return comm.allreduce(perf_counter() - began, op=MPI.MAX) / 3


def measure(comm, method, d, rounds):
    name, compressor = METHODS[method]
    cost, rows, done = Slow(d, comm.rank), [], 0
    with ExitStack() as stack:
        parts = parts_of({comm.rank: cost}, name, compressor)
        ours = Ours(prepare(parts, stack.enter_context(open_transport("mpi", parts, comm))))
        nbytes = ours.team.hosted[0].agent.max_nbytes
        wire = median([timed(comm, ours, False) for _ in range(rounds)][1:])
        done += 3 * rounds
        work(10)
        began = perf_counter()
        work(10**6)
        rate = 1e6 / comm.allreduce(perf_counter() - began) * RANKS
        for kind, spend in (("waits", sleep), ("computes", partial(compute, rate=rate))):
            cost.seconds, cost.spend = wire, spend
            began = perf_counter()
            for _ in range(5):
                spend(wire)
            alone = comm.allreduce(perf_counter() - began) / RANKS / 5
            times = np.array(
                [[timed(comm, ours, on) for on in (False, True)] for _ in range(rounds + 1)]
            )[1:]
            done += 6 * (rounds + 1)
            before, after = np.median(times, axis=0)
            row = {"method": method, "nbytes": nbytes, "kind": kind, "wire": 1e3 * wire}
            row |= {"gradient": 1e3 * alone, "before": 1e3 * before, "after": 1e3 * after}
            row["limit"] = 1e3 * (LIMIT * max(wire, alone) + wire / 2)
            row["reached"] = "reached" if row["after"] <= row["limit"] else "**missed**"
            rows.append(row)
        mine = ours.team.hosted[0].state.x.copy()
    parts = parts_of({i: Slow(d, i) for i in range(RANKS)}, name, compressor)
    alone = prepare(parts, LocalTransport(parts.problem.topology), together=False)
    Ours(alone).run(done)
    assert (alone.hosted[comm.rank].state.x == mine).all()
    return rows


def main():
    options = become_rank(
        __file__, __doc__, RANKS, d={"type": int, "action": "append"}, rounds={"type": int}
    )
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    dimensions = [2000] if options.short else options.d or [6250, 62_500, 250_000]
    rounds = 2 if options.short else options.rounds or ROUNDS
    rows = [r for d in dimensions for method in METHODS for r in measure(comm, method, d, rounds)]
    if comm.rank == 0:
        two = "{:.3g}".format
        columns = [Column("method", "method"), Column("nbytes", "bytes", write="{:,}".format)]
        columns += [Column("kind", "the gradient")]
        columns += [
            Column("wire", "exchange", "", "ms", two),
            Column("gradient", "gradient", "", "ms", two),
        ]
        columns += [
            Column("before", "one after the other", "", "ms", two),
            Column("after", "overlapped", "", "ms", two),
        ]
        columns += [Column("limit", "limit", "", "ms", two), Column("reached", "")]
        library = MPI.Get_library_version().split(",")[0].splitlines()[0]
        show(
            f"{library}. {machine_line()}. Times in ms of an iteration, medians of {rounds} rounds.",
            columns,
            rows,
        )
    leave(comm)


if __name__ == "__main__":
    main()
