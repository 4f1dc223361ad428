"""The audit: what the agents hold about each other must fit together.

A message that was changed on its way, or a faulty host, leaves traces that no later message shows, because
both ends of an edge advance their states from the codes alone. So from time to time agents exchange a few
numbers, as diagnostics, and compare:

* **copies** of neighbours' memories, coder models and scales, to the bit, by checksums;
* **sums** of memories, m_i = sum_j W_ij h_j, by a linear functional: r'm_i = sum_j W_ij r'h_j;
* **totals** that a method keeps at zero, such as sum_i (y_i - g_i), by the same functional;
* what **all** agents hold alike, by checksums.

r is a fixed vector of random signs, so a change of one entry is seen whole, and rounding errors e, which
do not know r, give r'e <= 8 ||e||_2 but for a chance of 3e-14 (Hoeffding). Sums and totals drift by
rounding, so what is tested is their change since the last audit: `rounding` bounds it.
"""

from collections.abc import Mapping, Sequence
from math import sqrt
from time import perf_counter

import numpy as np
from crc32c import crc32c

from distopt.algorithms.hosted import Hosted
from distopt.algorithms.state import View
from distopt.core.arrays import F64
from distopt.core.errors import AuditError
from distopt.core.randomness import make_key, words
from distopt.core.streams import Stream
from distopt.engine.diagnostics import square
from distopt.engine.team import Team
from distopt.transport.base import SharedError

SHARE = 20.0  # between two audits the iterations take at least this many times as long as one
CAUSE = "The memory or the arithmetic of one of their hosts is faulty, or a message was changed on its way"


class Audit:
    """Compares what the agents of a team hold.

    Attributes
    ----------
    seconds : float
        What the last one took, on the slowest process; the same on all.
    """

    def __init__(self, team: Team) -> None:
        self.team = team
        self.eps = float(np.finfo(team.parts.run.precision).eps)
        self.seconds, self._at = 0.0, -np.inf
        self._iteration = team.clock.iteration
        self._signs: F64 | None = None
        self._sums: F64 | None = None  # of the last audit: drift and size, by agent and sum
        self._total: tuple[float, float] | None = None  # of the last audit: total and size

    def due(self, seconds: float) -> bool:
        """Whether it is time, given the agreed seconds of the run, the same on all processes."""
        return seconds - self._at >= SHARE * self.seconds

    def run(self, seconds: float = -np.inf) -> None:
        """Compare; all processes call it together, between two iterations.

        Raises
        ------
        SharedError
            Of an `AuditError` on all processes; it names agents, what differs and the iteration.
        """
        began = perf_counter()
        team = self.team
        views = [team.parts.algorithm.view(h.state) for h in team.hosted]
        own = [self._told(h, view) for h, view in zip(team.hosted, views, strict=True)]
        names = list(own[0])
        if not names:
            return
        table = team.transport.collect(np.array([list(told.values()) for told in own], np.float64))
        told = dict(zip(names, table.T, strict=True))
        found = np.array(
            [
                [*self._copies(h, view, names, table), *self._drift(i, view, told), 0.0]
                for i, (h, view) in enumerate(zip(team.hosted, views, strict=True))
            ]
        )
        found[:, -1] = perf_counter() - began
        found = team.transport.collect(found)
        self.seconds, self._at = float(found[:, -1].max()), max(seconds, self._at)
        self._judge_copies(found, names)
        self._judge_common(told)
        self._judge_sums(found, [n for n in names if n.startswith("sum ")])
        self._judge_total(told)
        self._iteration = team.clock.iteration

    def _told(self, h: Hosted, view: View) -> dict[str, float]:
        """Return what an agent tells the others, by name."""
        told: dict[str, float] = dict(checksums(h, view, 0))
        for name, (vector, memory) in view.memories.items():
            if memory.sum_of_all is not None:
                told[f"sum of the memories h{name}"] = self._functional(memory.own)
                told[f"size h{name}"] = norm(memory.own) + norm(vector)
        if view.common is not None:
            told["common"] = checksum([view.common])
        algorithm = self.team.parts.algorithm
        conserved = algorithm.conserved(h.state)
        if conserved is not None:
            vectors = [v for v in conserved if v is not None]
            one, *other = map(self._functional, vectors)
            # Values that were clamped, or given up until all go back, are not conserved.
            given_up = view.series.get("saturations") or h.agent.adrift
            told["total"] = np.nan if given_up else one - sum(other)
            # What was added may have been divided by the step.
            step = h.state.steps.eta if hasattr(h.state, "steps") else vars(algorithm).get("eta", 1)
            sizes = [norm(memory.own) for _, memory in view.memories.values()]
            sizes += [norm(view.model) * (1 + 1 / step), *map(norm, vectors)]
            told["size"] = sum(sizes)
        return told

    def _functional(self, vector: F64) -> float:
        """Return r'v."""
        flat = vector.reshape(-1)
        if self._signs is None:
            bits = words(make_key(0, 0, Stream.AUDIT), flat.size) & 1
            self._signs = np.where(bits, 1.0, -1.0)
        return float(np.dot(self._signs, flat))

    def _rounding(self, degree: int, d: int) -> float:
        """Bound r'(rounding errors since the last audit), for numbers of size one.

        An iteration rounds each entry at most degree + 4 times; the functional itself rounds like a
        random walk. Sizes are those at the two audits, and a run may have been larger in between, so
        there is a factor of 8. In honest runs of all methods (over 1000 iterations) at most 0.4 % of this
        was used.
        """
        steps = self.team.clock.iteration - self._iteration
        return 8 * self.eps * (8 * steps * (degree + 4) + 8 * sqrt(d) + 64)

    @staticmethod
    def _copies(h: Hosted, view: View, names: Sequence[str], table: F64) -> tuple[float, float]:
        """Find the first neighbour of which an agent holds something else, and which name; -1: none."""
        for member, j in enumerate(h.agent.neighbours, start=1):
            if j not in h.agent.links.hears:  # what its edge misses comes later
                continue
            for name, value in checksums(h, view, member).items():
                if value != table[j, names.index(name)]:
                    return float(j), float(names.index(name))
        return -1.0, -1.0

    def _drift(self, i: int, view: View, told: Mapping[str, F64]) -> list[float]:
        """Return how far each sum is from its terms, and how large it is: 2 numbers a sum."""
        agent, found = self.team.hosted[i].agent, []
        for name, (_, memory) in view.memories.items():
            if memory.sum_of_all is not None:
                members = [agent.index, *agent.neighbours]
                weights = np.array([1.0 - float(sum(agent.weights)), *agent.weights])
                terms = weights * told[f"sum of the memories h{name}"][members]
                sizes = weights * told[f"size h{name}"][members]
                found.append(self._functional(memory.sum_of_all) - float(sum(terms)))
                found.append(norm(memory.sum_of_all) + float(sum(sizes)))
        return found

    def _judge_copies(self, found: F64, names: Sequence[str]) -> None:
        for i, (j, name) in enumerate(found[:, :2]):
            if j >= 0:
                raise self._error(
                    f"Agents {i} and {j:.0f} no longer agree: at iteration "
                    f"{self.team.clock.iteration} they hold different bits of {names[int(name)]} of agent "
                    f"{j:.0f}. {CAUSE}."
                )

    def _judge_common(self, told: Mapping[str, F64]) -> None:
        common = told.get("common", np.zeros(1))
        if other := int(np.argmax(common != common[0])):
            raise self._error(
                f"Agents 0 and {other} no longer agree: at iteration {self.team.clock.iteration} they hold "
                f"different bits of the model, which is the same at all agents. {CAUSE}."
            )

    def _judge_sums(self, found: F64, names: Sequence[str]) -> None:
        now = found[:, 2:-1]
        before, self._sums = self._sums, now
        if before is None:
            return
        topology, d = self.team.parts.problem.topology, self.team.hosted[0].agent.dimension
        for i, (old, new) in enumerate(zip(before, now, strict=True)):
            neighbours = topology.neighbours(i)
            for s, name in enumerate(names):
                moved = abs(new[2 * s] - old[2 * s])
                size = max(new[2 * s + 1], old[2 * s + 1])
                if moved > self._rounding(len(neighbours), d) * size:
                    some = ", ".join(map(str, neighbours))
                    raise self._error(
                        f"Agent {i} and its neighbours ({some}) no longer agree: {self._since()} the "
                        f"{name} that agent {i} holds moved by {moved:.1e} from what they hold, which "
                        f"rounding does not explain. {CAUSE}; run.checked = true would name the message."
                    )

    def _judge_total(self, told: Mapping[str, F64]) -> None:
        if "total" not in told:
            return
        new, size = float(sum(told["total"])), float(sum(told["size"]))
        before, self._total = self._total, (new, size)
        if before is None:
            return
        topology, d = self.team.parts.problem.topology, self.team.hosted[0].agent.dimension
        degree = max(len(topology.neighbours(i)) for i in range(topology.agents))
        moved, size = abs(new - before[0]), max(size, before[1])
        if moved > self._rounding(degree, d) * size:
            raise self._error(
                f"The agents no longer agree: {self._since()} the total of all agents' trackers moved by "
                f"{moved:.1e} from that of their gradients, which rounding does not explain. {CAUSE}; "
                "run.checked = true would name the message."
            )

    def _since(self) -> str:
        return f"between iterations {self._iteration} and {self.team.clock.iteration}"

    @staticmethod
    def _error(sentence: str) -> SharedError:
        return SharedError(AuditError(sentence))


def checksums(h: Hosted, view: View, member: int) -> dict[str, int]:
    """Name the checksums of an agent's states: its own (member 0), or its copies of a neighbour's."""
    found = {}
    for vector, state in h.agent.codecs.of(member).items():
        if state:
            found[f"the compressor's state for {vector}"] = checksum(list(state.values()))
    for name, (_, memory) in view.memories.items():
        replica = memory.replica(member)
        if replica is not None:
            found[f"the memory h{name}"] = checksum([replica])
    for name, held in view.copies.items():
        copy = held[member]
        if copy is not None:
            found[name] = checksum([copy])
    return found


def checksum(arrays: Sequence[np.ndarray]) -> int:
    """Return the CRC-32C of the bytes of arrays."""
    total = 0
    for array in arrays:
        total = crc32c(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, total)
    return total


def norm(vector: F64) -> float:
    """Return ||v||_2."""
    return sqrt(square(vector))
