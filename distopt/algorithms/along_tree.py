"""Sums and broadcasts along a spanning tree, in rounded differences (docs: zest).

Every agent but the root sends the sum of its subtree to its parent, as codes of the difference to what
both ends predict; what the root decides comes down as codes that all pass on unchanged.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from math import floor, log2, sqrt
from time import perf_counter
from typing import TypeAlias

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.letter import NOTHING, Letter
from distopt.algorithms.memory import Neighbours
from distopt.algorithms.updates import difference
from distopt.compressors.base import Absolute
from distopt.compressors.zooming import OCTAVE, first_byte, power_of_two
from distopt.core.arrays import F64, U8
from distopt.core.errors import MessageError
from distopt.core.kernel import kernel
from distopt.core.randomness import make_key
from distopt.core.streams import Stream

Along: TypeAlias = Generator[Letter, Sequence[U8], U8]

FINENESS = 4  # levels that double a step of the grid
FURTHEST = 4000  # of a level
HEAD_NBYTES = 5  # of the two levels, at most


class Place:
    """An agent's place in the tree, and the exchanges along it: `height` each way.

    Attributes
    ----------
    root : bool
    parent : int or None
        As a position among the neighbours.
    children : list of int
        Likewise.
    """

    def __init__(self, agent: Agent) -> None:
        tree = agent.topology.lean_tree
        i, js = agent.index, agent.neighbours
        self.depth, self.height = tree.depths[i], tree.height
        self.children = [m for m, j in enumerate(js) if tree.parents[j] == i]
        self.parent = js.index(tree.parents[i]) if self.depth else None
        self.root = self.parent is None
        below = tuple(js[m] for m in self.children)
        above = () if self.parent is None else (js[self.parent],)
        self._below, self._above = below, above
        self._hears_below, self._hears_above = Letter(hears=below), Letter(hears=above)

    def up(self, hear: Callable[[int, U8], None], speak: Callable[[], U8]) -> Along:
        """Hear the children, then speak to the parent; from the leaves to the root."""
        for level in range(self.height, 0, -1):
            if level == self.depth:
                yield Letter(speak(), tells=self._above)
            elif level == self.depth + 1:
                received = yield self._hears_below
                for m in self.children:
                    hear(m, received[m])
            else:
                yield Letter()
        return NOTHING

    def down(self, message: U8) -> Along:
        """Pass the root's message on to all; return it."""
        for level in range(self.height):
            if level == self.depth:
                yield Letter(message, tells=self._below) if self._below else Letter()
            elif level == self.depth - 1:
                received = yield self._hears_above
                assert self.parent is not None
                message = received[self.parent]
            else:
                yield Letter()
        return message


class Codes:
    """One end of a stream of codes: the compressor with its state and the sender's key."""

    def __init__(self, agent: Agent, sender: int, stream: int) -> None:
        self.agent, self.sender = agent, sender
        self.state = agent.compressor.new_state(agent.dimension)
        self.key = make_key(agent.seed, sender, Stream.MESSAGE + stream)

    def encode(self, vector: F64, out: U8) -> int:
        """Write the codes of a vector; return the bytes used."""
        began, agent = perf_counter(), self.agent
        self.key[2] = agent.iteration
        used = agent.compressor.encode(vector, out, self.key, self.state, agent.work)
        agent.seconds.encoding += perf_counter() - began
        agent.seconds.encodings += 1
        return used

    def decode_add(self, payload: U8, step: float, acc: F64) -> None:
        """acc += step C(.), with all of the payload."""
        began, agent = perf_counter(), self.agent
        self.key[2] = agent.iteration
        try:
            used = agent.compressor.decode_add(payload, step, acc, self.key, self.state, agent.work)
        except MessageError as error:
            raise self.unreadable(str(error)) from None
        if used < payload.size:
            raise self.unreadable(f"{payload.size - used} bytes are left over")
        agent.seconds.mixing += perf_counter() - began
        agent.seconds.mixings += 1

    def unreadable(self, reason: str) -> MessageError:
        """Make the error that names receiver, sender and iteration."""
        return MessageError(
            f"Agent {self.agent.index} cannot read what agent {self.sender} sent at iteration "
            f"{self.agent.iteration}: {reason}."
        )


class Subtree:
    """What both ends of a tree edge hold of the child's subtree.

    S is the decoded sum of its gradients, b how far a step moves it along itself: the next sum is
    predicted as S + b dx, and what is sent are codes of the difference.
    """

    def __init__(self, agent: Agent, child: int) -> None:
        d = agent.dimension
        self.S, self.b = np.zeros(d), np.zeros(1)
        self.codes = Codes(agent, child, 0)
        self.next = agent.work.array("next sum", d)

    def arrays(self) -> dict[str, np.ndarray]:
        """Name the arrays that a checkpoint must hold."""
        return {"S": self.S, "b": self.b, **self.codes.state}

    def predict(self, dx: F64) -> F64:
        """Return pi = S + b dx, in a work array."""
        return predict(self.S, float(self.b[0]), dx, self.next)

    def take(self, payload: U8, step: float, dx: F64, age: int) -> None:
        """S' = pi + step C(.);  w = (S' - S).dx / dx.dx;  b' = w at age 1, then (b + w) / 2."""
        if age == 0:
            step, payload = first_step(self.codes, payload), payload[1:]
        new = self.predict(dx)
        if step:
            self.codes.decode_add(payload, step, new)
        self.b[0] = replace(self.S, new, dx, float(self.b[0]), age)


class Branches:
    """An agent's own subtree and those of its children: what is known of their sums."""

    def __init__(self, agent: Agent, place: Place) -> None:
        self.agent = agent
        js = agent.neighbours
        self.own = Subtree(agent, agent.index)
        self.below = {m: Subtree(agent, js[m]) for m in place.children}
        self.encoder = Codes(agent, agent.index, 0)
        self.out = np.zeros(1 + agent.compressor.max_nbytes(agent.dimension), np.uint8)

    def arrays(self) -> dict[str, np.ndarray]:
        """Name the arrays that a checkpoint must hold."""
        named = {f"encoder.{name}": array for name, array in self.encoder.state.items()}
        js = self.agent.neighbours
        for j, subtree in [
            (self.agent.index, self.own),
            *((js[m], t) for m, t in self.below.items()),
        ]:
            named |= {f"{j}.{name}": array for name, array in subtree.arrays().items()}
        return named

    def take_over(self, other: "Branches", neighbours: Neighbours, name: str) -> None:
        """Begin anew: the tree is another one."""

    def copies(self) -> list[np.ndarray | None]:
        """List S of this agent, then of each neighbour that is a child."""
        held: Mapping[int, Subtree] = self.below
        others = [held[m].S if m in held else None for m in range(len(self.agent.neighbours))]
        return [self.own.S, *others]

    def add(self, g: F64, out: F64) -> None:
        """out = g + sum of the children's S."""
        out[:] = g
        for subtree in self.below.values():
            out += subtree.S

    def encode(self, T: F64, step: float, dx: F64, age: int) -> U8:
        """Return the message with the codes of T - pi, and take it in; at first with a step of its own."""
        out, head = self.out, int(age == 0)
        if age == 0:
            out[0] = first_byte(2 * norm(T) / sqrt(T.size))
            step = first_step(self.own.codes, out)
        e = self.own.predict(dx)
        difference(T, e, step or 1.0, out=e)
        used = head + (self.encoder.encode(e, out[head:]) if step else 0)
        self.own.take(out[:used], step, dx, age)
        return out[:used]


class Broadcast:
    """What comes down from the root: the two grids, and the codes of the step.

    Attributes
    ----------
    numbers : int64[3]
        The levels of the grids of sums (up) and of steps (down), and the age: steps taken so far.
    """

    def __init__(self, agent: Agent, place: Place) -> None:
        root = agent.topology.lean_tree.parents.index(-1)
        d = agent.dimension
        self.numbers = np.zeros(3, np.int64)
        self.decoder = Codes(agent, root, 1)
        self.encoder = Codes(agent, root, 1) if place.root else None
        self.out = np.zeros(
            HEAD_NBYTES + agent.compressor.max_nbytes(d) if place.root else 0, np.uint8
        )
        found = agent.compressor.guarantee(d, Absolute)
        assert isinstance(found, Absolute)
        self.error = found.in_two_norm(d)  # of the compressor, on its own grid
        self.scaled = agent.work.array("next sum", d)

    @property
    def age(self) -> int:
        """How many steps were taken."""
        return int(self.numbers[2])

    @property
    def grid_up(self) -> float:
        """The step of the grid of sums."""
        return size(int(self.numbers[0]))

    def arrays(self) -> dict[str, np.ndarray]:
        """Name the arrays that a checkpoint must hold."""
        named = {f"decoder.{name}": array for name, array in self.decoder.state.items()}
        if self.encoder:
            named |= {f"encoder.{name}": array for name, array in self.encoder.state.items()}
        return {"numbers": self.numbers, **named}

    def take_over(self, other: "Broadcast", neighbours: Neighbours, name: str) -> None:
        """Begin anew, as the tree does."""

    def encode(self, p: F64, down: float, up: float) -> U8:
        """Return the message with the codes of p, and with both grids.

        They are such that rounding is `down` at most, and `up` for each of the next sums.
        """
        assert self.encoder is not None
        old = self.numbers[:2].tolist()
        new = [self.level(most, level) for most, level in zip((up, down), old, strict=True)]
        used = write_levels(new, old, self.out)
        np.divide(p, size(new[1]), out=self.scaled)
        used += self.encoder.encode(self.scaled, self.out[used:])
        return self.out[:used]

    def level(self, most: float, old: int) -> int:
        """Return the level of a grid for rounding of at most this size."""
        if most == 0.0 or self.error == 0.0:  # nothing to say, or a compressor that does not round
            return old
        return min(max(floor(FINENESS * log2(most / self.error)), -FURTHEST), FURTHEST)

    def read(self, payload: U8, out: F64) -> None:
        """Set out = dx from the root's message, and take its grids for the next sums."""
        levels = self.numbers[:2]
        rest = read_levels(payload, levels, self.decoder)
        out.fill(0.0)
        self.decoder.decode_add(rest, size(int(levels[1])), out)
        self.numbers[2] += 1

    def read_point(self, payload: U8, x: F64) -> None:
        """Take the root's start point."""
        if payload.size != x.nbytes:
            raise self.decoder.unreadable(f"{payload.size} bytes are no vector of {x.size} numbers")
        x[:] = payload.view(np.float64)


def first_step(codes: Codes, payload: U8) -> float:
    """Read the byte in front of a first message: 128 + log2 of its step, or 0 for a sum that is 0."""
    if payload.size == 0:
        raise codes.unreadable("it is empty")
    return float(power_of_two((int(payload[0]) - 128) * OCTAVE)) if payload[0] else 0.0


def size(level: int) -> float:
    """Return 2^(level / 4), the same on every machine."""
    return float(power_of_two(level * (OCTAVE // FINENESS)))


def write_levels(new: Sequence[int], old: Sequence[int], out: U8) -> int:
    """Write two levels, in one byte where neither moves by more than 7; return the bytes."""
    moves = [n - o for n, o in zip(new, old, strict=True)]
    if max(map(abs, moves)) <= 7:
        out[0] = (moves[0] + 8) << 4 | (moves[1] + 8)
        return 1
    out[0] = 0
    out[1:HEAD_NBYTES] = np.array(new, "<i2").view(np.uint8)
    return HEAD_NBYTES


def read_levels(payload: U8, levels: np.ndarray, codes: Codes) -> U8:
    """Move the two levels, int64[2], by what a message begins with; return the rest of it."""
    if payload.size and payload[0]:
        levels[0] += int(payload[0] >> 4) - 8
        levels[1] += int(payload[0] & 15) - 8
        rest = payload[1:]
    elif payload.size >= HEAD_NBYTES:
        levels[:] = payload[1:HEAD_NBYTES].copy().view("<i2")
        rest = payload[HEAD_NBYTES:]
    else:
        raise codes.unreadable("the steps of its grids are missing")
    if abs(levels).max() > FURTHEST:
        raise codes.unreadable("a step of its grids is impossible")
    return rest


@kernel
def dot(a: F64, b: F64) -> float:
    """Return a.b, summed in one order: both ends of an edge need the same bits."""
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@kernel
def norm(v: F64) -> float:
    """Return |v|, summed in one order."""
    return float(np.sqrt(dot(v, v)))


@kernel
def predict(S: F64, b: float, dx: F64, out: F64) -> F64:
    """out = S + b dx; return it."""
    for i in range(S.size):
        out[i] = S[i] + b * dx[i]
    return out


@kernel
def replace(S: F64, new: F64, dx: F64, b: float, age: int) -> float:
    """S = new; return b of the next prediction."""
    along = square = 0.0
    for i in range(S.size):
        along += (new[i] - S[i]) * dx[i]
        square += dx[i] * dx[i]
        S[i] = new[i]
    if age == 0 or square == 0.0:
        return b
    w = along / square
    return w if age == 1 else (b + w) / 2
