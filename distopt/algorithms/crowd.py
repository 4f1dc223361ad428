"""All agents of a process as one, with their vectors as rows: a verb is one call for all of them.

A step that treats every coordinate alike does the same to the vectors of all agents, one after the other
in one array, as to those of one agent. So it is run once, on the crowd, instead of once an agent; what
differs between agents is inside the verbs. The bits are those of agents by themselves.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.base import Algorithm
from distopt.algorithms.crowd_search import CrowdSearch, RowSearch
from distopt.algorithms.memory import MemoryKind, MemoryStart
from distopt.algorithms.state import State
from distopt.compressors.fused import FINE
from distopt.core.arrays import F64, I64, U8, U32, Precision
from distopt.core.errors import DataError
from distopt.core.kernel import kernel
from distopt.fixedpoint.kernels import first_nonfinite
from distopt.problems.topology import Topology


class Ties(NamedTuple):
    """Whom every agent hears: agent i the members[starts[i]:starts[i + 1]], with these weights."""

    starts: I64
    members: I64
    weights: F64
    sums: F64  # of each agent's weights


def ties_of(agents: Sequence[Agent]) -> Ties:
    """Return the ties of agents that are all there are, in order."""
    degrees = [len(agent.neighbours) for agent in agents]
    starts = np.concatenate([[0], np.cumsum(degrees)]).astype(np.int64)
    members = np.array([j for agent in agents for j in agent.neighbours], np.int64)
    weights = np.array([w for agent in agents for w in agent.weights])
    return Ties(starts, members, weights, np.concatenate([agent.weight_sum for agent in agents]))


def goes_together(algorithm: Algorithm, topology: Topology) -> bool:
    """Whether a crowd can run an algorithm's step: its own class says so, and nothing is per agent."""
    return (
        claims(algorithm)
        and getattr(algorithm, "arithmetic", None) is None
        and getattr(algorithm, "memory", "replicas") == "replicas"
        and type(topology).at is Topology.at  # a graph that stays
    )


def claims(algorithm: Algorithm) -> bool:
    """Whether the class that has the step says `together`; a subclass with methods says it anew."""
    for cls in type(algorithm).__mro__:
        if "together" in vars(cls):
            return bool(vars(cls)["together"])
        own = (item for name, item in vars(cls).items() if not name.startswith("__"))
        if any(isinstance(item, FunctionType | property) for item in own):
            return False
    return False


class CrowdMemory:
    """The memories of all agents: one h an agent, since all replicas of it are equal to the bit.

    `own` and `mixed` are as of `Memory`, one agent after the other.
    """

    def __init__(self, shape: tuple[int, int], ties: Ties, dtype: Precision) -> None:
        self.ties = ties
        self.h, self.mixed = np.zeros(shape, dtype), np.zeros(shape[0] * shape[1], dtype)
        self.own = self.h.reshape(-1)
        self.q = self.h[:0]  # all decoded messages, once alpha < 1

    def target(self, alpha: float) -> F64:
        """Return where messages are added."""
        if alpha == 1:
            return self.h
        if not self.q.size:
            self.q = np.empty_like(self.h)
        self.q.fill(0.0)
        return self.q

    def settle(self, alpha: float) -> None:
        """Compute `mixed`, and advance h by alpha q."""
        starts, members, weights, _ = self.ties
        mixed = self.mixed.reshape(self.h.shape)
        if alpha == 1:
            mix_rows(self.h, starts, members, weights, mixed)
        else:
            mix_rows_and_remember(self.h, self.q, starts, members, weights, alpha, mixed)

    @property
    def sent(self) -> F64:
        """The messages as the network decoded them, as of `Memory`."""
        return self.q.reshape(-1)

    def arrays(self) -> dict[str, np.ndarray]:
        """Name what is kept between iterations."""
        return {"h": self.h}


class RowMemory:
    """What one agent of a crowd has of a memory, for records and checkpoints."""

    sum_of_all = None

    def __init__(self, memory: CrowdMemory, agent: int) -> None:
        starts, members, _, _ = memory.ties
        self._memory = memory
        self._members = np.array([agent, *members[starts[agent] : starts[agent + 1]]])
        self.own = memory.h[agent]
        self.mixed = memory.mixed.reshape(memory.h.shape)[agent]

    def replica(self, member: int) -> F64:
        """Return h of a member."""
        h: F64 = self._memory.h[self._members[member]]
        return h

    def arrays(self) -> dict[str, np.ndarray]:
        """Name copies of the arrays that agents by themselves hold."""
        return {"h": self._memory.h[self._members]}


class Row(State):
    """The state of one agent of a crowd: views of what the crowd's state holds at present."""

    def __init__(self, whole: State, agent: int, dimension: int, size: int) -> None:
        self._whole, self._size = whole, size
        self._agent, self._part = agent, slice(agent * dimension, (agent + 1) * dimension)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_whole" not in vars(self):  # released
            raise AttributeError(name)
        item = getattr(self._whole, name)
        if isinstance(item, CrowdMemory):
            return RowMemory(item, self._agent)
        if isinstance(item, CrowdSearch):
            return RowSearch(item, self._agent)
        if isinstance(item, np.ndarray) and item.shape == (self._size,):
            return item[self._part]
        return item

    def loaded(self, arrays: dict[str, np.ndarray]) -> None:
        """Take over memories, of which `arrays` gave copies."""
        for name in self._kept:
            item = getattr(self._whole, name)
            if isinstance(item, CrowdMemory):
                item.h[self._agent] = arrays[f"{name}.h"][0]
            elif isinstance(item, CrowdSearch):
                start = f"{name}."
                parts = {k.removeprefix(start): a for k, a in arrays.items() if k.startswith(start)}
                RowSearch(item, self._agent).loaded(parts)
        super().loaded(arrays)


class Crowd:
    """All agents there are, as one `Agent` whose vectors are float[agents d].

    Parameters
    ----------
    agents : Sequence[Agent]
        In order, at iteration 0. They still name what is wrong, hold the compressors' states and compute
        what has no kernel for rows; their clocks become one, which shows the mean of all.
    """

    board = backlog = None
    overlaps = False  # its messages do not travel
    search = CrowdSearch

    def __init__(self, agents: Sequence[Agent]) -> None:
        first = agents[0]
        self.agents, self.checked = agents, first.checked
        self.topology, self.compressor, self.work = first.topology, first.compressor, first.work
        self.shape = len(agents), first.dimension
        self.dimension, self.dtype = len(agents) * first.dimension, first.dtype
        self.iteration = 0
        self.ties = ties_of(agents)
        self.weight_sum = self.ties.sums
        self.seconds = first.seconds
        codecs = [agent.codecs for agent in agents]
        for agent in agents:
            agent.seconds = self.seconds
            agent.codecs.share(codecs)
        self._rows = self.compressor.rows(first.dimension, self.work)
        self._fused = self.compressor.fused(first.dimension, 1, self.work)
        self._keys = [np.array(keys) for keys in zip(*(a.keys for a in agents), strict=True)]
        self._messages = np.zeros((len(agents), first.max_nbytes), np.uint8)
        self._sizes, self._at = np.zeros((2, len(agents)), np.int64)

    def begin(self, k: int) -> None:
        """Go to iteration k."""
        self.iteration = k
        for agent in self.agents:
            agent.iteration = k
            if agent.batches:
                agent.batches.begin(k + 1)

    def new_memory(
        self,
        kind: MemoryKind,
        start: MemoryStart = "zeros",
        x0: F64 | None = None,
        pushes: bool = False,
    ) -> CrowdMemory:
        """Make the memories of a vector, at 0 or at x0, of the kind "replicas" and without `pushes`."""
        memory = CrowdMemory(self.shape, self.ties, self.dtype)
        if start == "x0" and x0 is not None:
            memory.own[:] = x0
        return memory

    def gradient(self, x: F64, out: F64) -> None:
        """Fill `out` with each agent's gradient at its part of x, as `Agent.gradient`."""
        points, slopes = x.reshape(self.shape), out.reshape(self.shape)
        with self.one_gradient(len(self.agents) - self._away()):
            self._gradients(points, slopes)

    def _gradients(self, points: F64, slopes: F64) -> None:
        """Let each agent compute its gradient."""
        done = 0
        try:
            for agent, point, slope in zip(self.agents, points, slopes, strict=True):
                if agent.batches or agent.adrift:
                    agent.gradient(point, slope)
                else:
                    agent.asked.gradient(point, slope)
                done += 1
        except DataError as error:
            self._require_finite(slopes[:done])
            agent = self.agents[done]
            raise (error if agent.batches else agent.blame(error)) from None
        self._require_finite(slopes)

    @contextmanager
    def one_gradient(self, agents: int) -> Iterator[None]:
        """Count what so many agents compute in the block as one gradient, in the mean of all."""
        began, before, count = perf_counter(), self.seconds.gradient, self.seconds.gradients
        yield
        self.seconds.gradient = before + (perf_counter() - began) / len(self.agents)
        self.count_gradients(count, agents)

    def count_gradients(self, before: float, more: int) -> None:
        """Set how many gradients an agent has computed: `before`, and its part of further ones."""
        whole, rest = divmod(more, len(self.agents))
        part = rest / len(self.agents) if rest else 0
        self.seconds.gradients = before + whole + part  # type: ignore[assignment]

    def _away(self) -> int:
        """Count the agents that are adrift, as only those are that forgive."""
        return sum(a.adrift for a in self.agents) if self.agents[0].forgives else 0

    def _require_finite(self, slopes: F64) -> None:
        """Let the first agent whose gradient is not finite say so; one that forgives has none then."""
        while (at := first_nonfinite(slopes.reshape(-1))) >= 0:
            i = at // self.shape[1]
            self.agents[i].require_finite("gradient", slopes[i])

    def pack(self, k: int, first: int = 0, /, **vectors: F64) -> I64:
        """Encode vectors of all agents as `Agent.pack`; return the sizes of the messages."""
        return self._pack(k, first, {name: (vector, None) for name, vector in vectors.items()})

    def pack_differences(self, k: int, /, **pairs: tuple[F64, CrowdMemory]) -> I64:
        """Do as `pack` with the difference of each vector to its memory."""
        return self._pack(k, 0, {name: (v, memory.h) for name, (v, memory) in pairs.items()})

    def _pack(self, k: int, first: int, vectors: dict[str, tuple[F64, F64 | None]]) -> I64:
        """Encode vectors, or their differences."""
        began, rows, wrong = perf_counter(), self._rows, 0
        self._sizes.fill(0)
        if rows and not self._away():
            wrong = FINE
            for stream, (vector, h) in enumerate(vectors.values(), start=first):
                keys, x = self._keys[stream], vector.reshape(self.shape)
                keys[:, 2] = k
                if h is None:
                    wrong = rows.encode(x, self._messages, self._sizes, keys)
                else:
                    wrong = rows.encode_difference(x, h, self._messages, self._sizes, keys)
                if wrong != FINE:
                    break
        if wrong != FINE:
            self._pack_each(first, vectors)
        self._spend("encoding", began)
        return self._sizes

    def _pack_each(self, first: int, vectors: dict[str, tuple[F64, F64 | None]]) -> None:
        """Let each agent encode for itself; what cannot be sent becomes a sentence here."""
        z = self.work.array("differences", self.shape[1], self.dtype)
        for i, agent in enumerate(self.agents):
            used, forgives = 0, agent.forgives and not agent.adrift
            for stream, (name, (vector, h)) in enumerate(vectors.items(), start=first):
                x, out, nbytes = vector.reshape(self.shape)[i], self._messages[i, used:], -1
                if forgives:  # and what comes behind a vector that was not finite may be
                    nbytes = self._by_kernel(
                        self._keys[stream][i], x, None if h is None else h[i], out
                    )
                if nbytes < 0:
                    part = x if h is None else np.subtract(x, h[i], out=z)
                    nbytes = agent.encode(name, stream, part, out)
                used += nbytes
            self._sizes[i] = used

    def _by_kernel(self, key: U32, x: F64, h: F64 | None, out: U8) -> int:
        """Encode x or x - h of an agent by the compressor's kernel; a number below 0: not possible."""
        key[2] = self.iteration
        if h is None:
            return self._fused.encode(x, out, key) if self._fused.encode else -1
        difference = self._fused.encode_difference
        return difference(x, h, out, key) if difference else -1

    def mix(
        self,
        received: object,
        *memories: CrowdMemory,
        scales: Sequence[float] | None = None,
        alpha: float = 1.0,
    ) -> None:
        """Do as `Agent.mix` for all agents: every message is decoded once."""
        began, rows = perf_counter(), self._rows
        self._at.fill(0)
        for stream, memory in enumerate(memories):
            scale, target = scales[stream] if scales else 1.0, memory.target(alpha)
            wrong = 0
            if rows:
                wrong = rows.decode_add(self._messages, self._sizes, self._at, scale, target)
            if wrong != FINE:
                self._decode_each(stream, scale, target[wrong:], wrong)
            memory.settle(alpha)
        self._require_taken()
        self._spend("mixing", began)

    def _decode_each(self, stream: int, scale: float, target: F64, first: int) -> None:
        """Let the agents from `first` on decode their own messages; what is wrong raises here."""
        for i, acc in enumerate(target, start=first):
            rest = self._messages[i, self._at[i] : self._sizes[i]]
            self._at[i] += self.agents[i].decode_own(stream, rest, scale, acc)

    def average(self, received: object, *pairs: tuple[F64, F64], first: int = 0) -> None:
        """Do as `Agent.average` for all agents, with messages that hold the vectors themselves."""
        began = perf_counter()
        assert self._rows is not None
        assert self._rows.average is not None
        starts, members, weights, sums = self.ties
        self._at.fill(0)
        for vector, out in pairs:
            self._rows.average(
                self._messages, self._at, starts, members, weights, sums,
                vector.reshape(self.shape), out.reshape(self.shape),
            )  # fmt: skip
        self._require_taken()
        self._spend("mixing", began)

    def rest(self) -> tuple[()]:
        """Do as `Agent.rest` where nothing travels."""
        return ()

    def _require_taken(self) -> None:
        """Demand that nothing is left of any message."""
        left = self._sizes - self._at
        if left.any():
            i = int(np.flatnonzero(left)[0])
            raise self.agents[i].message_error(0, f"{left[i]} bytes are left over")

    def _spend(self, phase: str, began: float) -> None:
        """Add the time since `began` to the clock that all share, and one call."""
        clock = vars(self.seconds)
        clock[phase] += (perf_counter() - began) / len(self.agents)
        clock[f"{phase}s"] += 1


@kernel
def mix_rows(h: F64, starts: I64, members: I64, weights: F64, mixed: F64) -> None:
    """mixed_i = sum_j W_ij (h_j - h_i), to the bit of `weighted_differences`; float64[agents, d]."""
    for i in range(h.shape[0]):
        own, out = h[i], mixed[i]
        if starts[i] == starts[i + 1]:
            out[:] = 0.0
        for m in range(starts[i], starts[i + 1]):
            w, other = weights[m], h[members[m]]
            if m == starts[i]:
                for k in range(own.size):
                    out[k] = w * (other[k] - own[k])
            else:
                for k in range(own.size):
                    out[k] += w * (other[k] - own[k])


@kernel
def mix_rows_and_remember(
    h: F64, q: F64, starts: I64, members: I64, weights: F64, alpha: float, mixed: F64
) -> None:
    """Do as `mix_and_remember` for all agents, to the bit."""
    for i in range(h.shape[0]):
        own, own_q, out = h[i], q[i], mixed[i]
        out[:] = 0.0
        for m in range(starts[i], starts[i + 1]):
            w, other, other_q = weights[m], h[members[m]], q[members[m]]
            for k in range(own.size):
                out[k] += w * ((other[k] + other_q[k]) - (own[k] + own_q[k]))
    for i in range(h.shape[0]):
        own, own_q = h[i], q[i]
        for k in range(own.size):
            own[k] += alpha * own_q[k]
