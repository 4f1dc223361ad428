"""Milliseconds per iteration of four ranks on a ring, against a bare exchange and a numpy loop.

    python benchmarks/iteration.py [--short]

Starts its own MPI job. Per dimension d, interleaved in one job, medians over rounds:

* distopt: cgt1, quantize 4 bits, the PL cost in its diagonal basis, split into its phases;
* numpy: gradient tracking of the same cost as one writes it with mpi4py and numpy, float64 on the wire;
* limit: Isend, Irecv and Waitall of as many bytes as distopt's messages have, and nothing else.

Then iterations a second of `simulate` with 100 agents, d = 100. What is timed is checked first: the
ranks' models must equal those of a simulated run, to the bit.
"""

from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from shared import become_rank, leave, machine_line, show

from distopt.config.build import make_config
from distopt.engine.team import prepare
from distopt.studies.results import Column
from distopt.transport.opening import open_transport

RANKS = 4
TARGETS = {100: 0.25, 1_000_000: 120.0}  # ms an iteration
BLOCKS = {100: 400, 10_000: 100, 1_000_000: 4}  # iterations per round
ROUNDS = 9
SIMULATED = 100.0  # iterations a second


def configuration(d, agents=RANKS):
    return make_config(
        {
            "problem": {"name": "pl", "dimension": d, "basis": "diagonal", "agents": agents},
            "topology": {"graph": "ring"},
            "algorithm": {"name": "cgt1", "eta": 0.02, "gamma": 0.3, "alpha": 1.0},
            "compressor": {"name": "quantize", "bits": 4},
            "run": {"iterations": 10**6, "record_every": 10**6},
        },
        Path(),
    )


class Ours:
    """distopt's own loop, without records."""

    def __init__(self, team):
        self.team = team

    def run(self, iterations):
        for _ in range(iterations):
            self.team.iterate()

    def phases(self):
        seconds = self.team.hosted[0].agent.seconds
        communication = self.team.transport.traffic.seconds
        return np.array([seconds.gradient, seconds.compression, communication])


class Numpy:
    """The rival: gradient tracking in mpi4py and numpy, float64 vectors."""

    def __init__(self, comm, cost, d):
        self.comm, self.cost = comm, cost
        self.left, self.right = (comm.rank - 1) % RANKS, (comm.rank + 1) % RANKS
        self.x, self.g, self.new = np.zeros(d), np.empty(d), np.empty(d)
        cost.gradient(self.x, self.g)
        self.y = self.g.copy()
        self.received = np.empty((2, 2, d))

    def run(self, iterations):
        from mpi4py import MPI

        for _ in range(iterations):
            own = np.stack([self.x, self.y])
            requests = [
                self.comm.Irecv(self.received[0], self.left),
                self.comm.Irecv(self.received[1], self.right),
                self.comm.Isend(own, self.left),
                self.comm.Isend(own, self.right),
            ]
            MPI.Request.Waitall(requests)
            mixed = (self.received[0] + self.received[1] - 2 * own) / 3
            self.x += 0.3 * mixed[0] - 0.02 * self.y
            self.cost.gradient(self.x, self.new)
            self.y += 0.3 * mixed[1] + self.new - self.g
            self.g, self.new = self.new, self.g


class Limit:
    """Nothing but the bytes."""

    def __init__(self, comm, nbytes):
        self.comm = comm
        self.neighbours = ((comm.rank - 1) % RANKS, (comm.rank + 1) % RANKS)
        self.own = np.zeros(nbytes, np.uint8)
        self.received = [np.empty(nbytes, np.uint8) for _ in self.neighbours]

    def run(self, iterations):
        from mpi4py import MPI

        for _ in range(iterations):
            requests = [
                self.comm.Irecv(b, j) for b, j in zip(self.received, self.neighbours, strict=True)
            ]
            requests += [self.comm.Isend(self.own, j) for j in self.neighbours]
            MPI.Request.Waitall(requests)


def milliseconds(comm, rival, iterations):
    """Time a block of iterations: the slowest rank's, per iteration."""
    from mpi4py import MPI

    comm.Barrier()
    began = perf_counter()
    rival.run(iterations)
    return 1e3 * comm.allreduce(perf_counter() - began, op=MPI.MAX) / iterations


def check(config, team, iterations):
    """Demand that the timed ranks compute what one process computes."""
    from distopt.transport.local import LocalTransport

    alone = Ours(prepare(config, LocalTransport(config.problem.topology)))
    alone.run(iterations)
    mine = team.hosted[0]
    assert (mine.state.x == alone.team.hosted[mine.agent.index].state.x).all()


def measure(comm, d, rounds):
    config = configuration(d)
    with open_transport("mpi", config, comm) as transport:
        team = prepare(config, transport)
        ours = Ours(team)
        ours.run(3)
        if d <= 10_000:
            check(config, team, 3)
        nbytes = transport.traffic.nbytes // 3
        rivals = {
            "distopt": ours,
            "numpy": Numpy(comm, team.hosted[0].agent.cost, d),
            "limit": Limit(comm, nbytes),
        }
        times = {name: [] for name in rivals}
        phases = []
        block = BLOCKS[d]
        for _ in range(rounds + 1):
            for name, rival in rivals.items():
                before = ours.phases()
                times[name].append(milliseconds(comm, rival, block))
                if name == "distopt":
                    mean = comm.allreduce(ours.phases() - before) / RANKS
                    phases.append(1e3 * mean / block)
    medians = {name: median(found[1:]) for name, found in times.items()}  # the first is warm-up
    return nbytes, medians, np.median(phases[1:], axis=0)


def simulated(rounds):
    """Return iterations a second of 100 agents in one process."""
    from distopt.transport.local import LocalTransport

    config = configuration(100, agents=100)
    ours = Ours(prepare(config, LocalTransport(config.problem.topology)))
    ours.run(5)
    rates = []
    for _ in range(rounds):
        began = perf_counter()
        ours.run(30)
        rates.append(30 / (perf_counter() - began))
    return median(rates)


def verdict(value, bound, smaller=True):
    good = value <= bound if smaller else value >= bound
    return f"{bound:g}: {'reached' if good else 'MISSED'}"


def main():
    short = become_rank(__file__, __doc__, RANKS).short
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    rounds, rows = 1 if short else ROUNDS, []
    for d in list(BLOCKS)[: 2 if short else 3]:
        nbytes, ms, phases = measure(comm, d, rounds)
        gradient, compression, exchange = phases
        rows.append(
            ms | {"d": d, "bytes": nbytes, "gradient": gradient, "compression": compression,
                  "exchange": exchange, "to_limit": ms["distopt"] / ms["limit"],
                  "target": verdict(ms["distopt"], TARGETS[d]) if d in TARGETS else ""}
        )  # fmt: skip
    if comm.rank == 0:
        parts = ("distopt", "gradient", "compression", "exchange", "numpy", "limit")
        columns = [
            Column("d", "d", write="{:,}".format),
            Column("bytes", "bytes", "B"),
            *(Column(part, part, "", "ms", "{:.4f}".format) for part in parts),
            Column("to_limit", "/ limit", write="{:.1f}".format),
            Column("target", "target, ms"),
        ]
        library = MPI.Get_library_version().split(",")[0].splitlines()[0]
        print(f"{machine_line()}; {library}")
        title = (
            "ms per iteration, 4 ranks, ring, cgt1, quantize 4 bits; medians of "
            f"{rounds} interleaved rounds"
        )
        rate = simulated(rounds)
        note = (
            f"simulate, 100 agents, d = 100: {rate:.0f} iterations/s "
            f"({verdict(rate, SIMULATED, smaller=False)})"
        )
        show(title, columns, rows, [note])
    leave(comm)


if __name__ == "__main__":
    main()
