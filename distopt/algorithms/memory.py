"""The memory h: what the network believes a vector of an agent to be.

Every compressed method here sends differences to a memory h that sender and receivers advance in the
same way, from the decoded bytes alone. Two layouts hold the neighbours' memories (docs: theory, memory):

* `Replicas`: one h per neighbour. The terms of an edge, W_ij (h_j - h_i), cancel exactly between its
  two ends, so the mean of the trackers does not drift. Costs (1 + degree) d numbers a vector.
* `RunningSum`: one sum m = sum_j W_ij h_j. Costs 2 d numbers for any degree, but its rounding
  errors accumulate in the mean (about 1e-15 an iteration).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Self, TypeAlias

import numpy as np

from distopt.compressors.fused import mix_tile
from distopt.core.arrays import F64, Precision
from distopt.core.errors import ConfigError
from distopt.core.kernel import kernel
from distopt.core.workspace import Workspace

MemoryKind: TypeAlias = Literal["replicas", "sum"]
MemoryStart: TypeAlias = Literal["zeros", "x0"]


class Neighbours(NamedTuple):
    """The neighbours that an agent keeps when others are lost."""

    members: list[int]  # places that the agent itself and these neighbours had
    read: Callable[[int, str], F64]  # gives an array of the neighbour at a place


class Memory(ABC):
    """The memory of one vector. Member 0 is the agent itself, then its neighbours in order.

    Attributes
    ----------
    own : float64[d]
        h_i, what the neighbours know of this agent's vector.
    mixed : float64[d]
        sum_j W_ij (hat_j - hat_i), filled by `settle`.
    """

    own: F64
    mixed: F64
    # sum_j W_ij h_j, own term included, where it is held instead of all h_j.
    sum_of_all: F64 | None = None
    # Whether its weights are C_ij of a directed graph, whose columns sum to one.
    pushes: bool = False

    @abstractmethod
    def start_at(self, point: F64) -> None:
        """Put h of all members to `point` : float64[d], which all agents hold equal to the bit."""

    @abstractmethod
    def target(self, member: int, scale: float, alpha: float) -> tuple[float, F64]:
        """Return where the member's message goes: `acc` += `weight` C(.), as (weight, acc)."""

    @abstractmethod
    def settle(self, alpha: float) -> None:
        """Compute `mixed`, advance h by alpha q, after all members' messages went to their targets."""

    @abstractmethod
    def reweigh(self, weights: Sequence[float]) -> None:
        """Take other weights of the neighbours, 0 for those that are not linked at present."""

    @abstractmethod
    def take_over(self, other: Self, neighbours: Neighbours, name: str) -> None:
        """Take what `other` held before agents were lost; `name` is that of its array h.

        `mixed` is filled anew, as of h.
        """

    @property
    @abstractmethod
    def sent(self) -> F64:
        """The agent's own message as the network decoded it, times its scale: float64[d].

        Only of the memory that was mixed last, with alpha < 1, and until the next one is mixed.
        """

    def advance(self, member: int, alpha: float) -> None:
        """Advance h of a member by what went to its target, without mixing; replicas only."""
        raise NotImplementedError

    def hat(self, alpha: float, out: F64) -> F64:
        """Set out = hat_i, what the network took this agent's vector for in the last mixing."""
        if alpha == 1:
            out[:] = self.own
        else:
            np.add(self.own, np.multiply(self.sent, 1 - alpha, out=out), out=out)
        return out

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """Name the arrays that must be kept between iterations."""

    def replica(self, member: int) -> F64 | None:
        """Return h of a member, equal to the bit wherever it is held; None where there is none."""
        return None


class Replicas(Memory):
    """One memory per member: h : float64[1 + degree, d]."""

    def __init__(
        self, weights: Sequence[float], d: int, work: Workspace, dtype: Precision = np.float64
    ) -> None:
        self.weights = np.array([0.0, *weights])
        self.h = np.zeros((1 + len(weights), d), dtype)
        # All members' decoded messages, if alpha < 1.
        self.q: F64 = work.array("memory", self.h.shape, dtype)
        self.own = self.h[0]
        self.mixed = np.zeros(d, dtype)

    def start_at(self, point: F64) -> None:
        self.h[:] = point

    def target(self, member: int, scale: float, alpha: float) -> tuple[float, F64]:
        """With alpha = 1 the message goes straight into h, which then is the hat."""
        if alpha == 1:
            return scale, self.h[member]
        q = self.q[member]
        q.fill(0.0)
        return scale, q

    def reweigh(self, weights: Sequence[float]) -> None:
        self.weights[1:] = weights

    def advance(self, member: int, alpha: float) -> None:
        if alpha != 1:  # else the message went straight into h
            self.h[member] += np.multiply(self.q[member], alpha, out=self.q[member])

    def take_over(self, other: Self, neighbours: Neighbours, name: str) -> None:
        self.h[:] = other.h[neighbours.members]
        weighted_differences(self.h, self.weights, self.mixed)

    def settle(self, alpha: float) -> None:
        if alpha == 1:
            weighted_differences(self.h, self.weights, self.mixed)
        else:
            mix_and_remember(self.h, self.q, self.weights, alpha, self.mixed)

    @property
    def sent(self) -> F64:
        return self.q[0]  # type: ignore[no-any-return]

    def arrays(self) -> dict[str, np.ndarray]:
        return {"h": self.h}

    def replica(self, member: int) -> F64 | None:
        return self.h[member]  # type: ignore[no-any-return]


class RunningSum(Memory):
    """h_i and m = sum_j W_ij h_j (own term included), each float64[d]."""

    def __init__(
        self, weights: Sequence[float], d: int, work: Workspace, dtype: Precision = np.float64
    ) -> None:
        self.weights = [1.0 - float(sum(weights)), *weights]
        # The agent's own decoded message, and the weighted sum of the neighbours'.
        self.q, self.weighted = work.array("memory", (2, d), dtype)
        self.own = np.zeros(d, dtype)
        self.sum = self.sum_of_all = np.zeros(d, dtype)
        self.mixed = np.zeros(d, dtype)

    def start_at(self, point: F64) -> None:
        """The sum is `point` as well, because a row of W sums to one."""
        self.own[:] = point
        self.sum[:] = point

    def target(self, member: int, scale: float, alpha: float) -> tuple[float, F64]:
        """The agent's own message is kept as q; the neighbours' go into one weighted sum."""
        if member == 0:
            self.q.fill(0.0)
            self.weighted.fill(0.0)
            return scale, self.q
        return self.weights[member] * scale, self.weighted

    def reweigh(self, weights: Sequence[float]) -> None:
        raise ConfigError(
            'algorithm.memory = "sum" holds one sum for all weights, so it cannot follow a graph that '
            'changes; use "replicas".'
        )

    def take_over(self, other: Self, neighbours: Neighbours, name: str) -> None:
        self.own[:] = other.own
        np.multiply(other.own, self.weights[0], out=self.sum)
        for weight, place in zip(self.weights[1:], neighbours.members[1:], strict=True):
            self.sum += weight * neighbours.read(place, name)
        np.subtract(self.sum, self.own, out=self.mixed)

    def settle(self, alpha: float) -> None:
        sum_and_remember(
            self.own, self.sum, self.q, self.weighted, self.weights[0], alpha, self.mixed
        )

    @property
    def sent(self) -> F64:
        return self.q  # type: ignore[no-any-return]

    def arrays(self) -> dict[str, np.ndarray]:
        return {"h": self.own, "sum": self.sum}


TILE = 2048  # coordinates that stay in the first-level cache over all members


@kernel
def weighted_differences(h: F64, weights: F64, mixed: F64) -> None:
    """mixed = sum_j W_ij (h_j - h_i); h : float64[1 + degree, d], row 0 is agent i."""
    d = h.shape[1]
    for start in range(0, d, TILE):
        mix_tile(h, weights, start, min(start + TILE, d), mixed)


@kernel
def mix_and_remember(h: F64, q: F64, weights: F64, alpha: float, mixed: F64) -> None:
    """mixed = sum_j W_ij ((h_j + q_j) - (h_i + q_i)); h_j += alpha q_j for all members j."""
    members, d = h.shape
    for start in range(0, d, TILE):
        own, own_q = h[0, start : start + TILE], q[0, start : start + TILE]
        out = mixed[start : start + TILE]
        out[:] = 0.0
        for m in range(1, members):
            w = weights[m]
            other, other_q = h[m, start : start + TILE], q[m, start : start + TILE]
            for k in range(own.size):
                out[k] += w * ((other[k] + other_q[k]) - (own[k] + own_q[k]))
            for k in range(own.size):
                other[k] += alpha * other_q[k]
        for k in range(own.size):
            own[k] += alpha * own_q[k]


@kernel
def sum_and_remember(
    h: F64, m: F64, q: F64, weighted: F64, own_weight: float, alpha: float, mixed: F64
) -> None:
    """With w = W_ii q + weighted: mixed = (m + w) - (h + q); h += alpha q; m += alpha w."""
    for k in range(h.size):
        w = own_weight * q[k] + weighted[k]
        mixed[k] = (m[k] + w) - (h[k] + q[k])
        h[k] += alpha * q[k]
        m[k] += alpha * w
