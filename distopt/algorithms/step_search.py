"""A step that finds itself: what one agent watches, how all agree, and how they go back.

Agents sum up a window of iterations; the sums climb a spanning tree, the root decides (`StepRule`), and
the decision comes down. All of it travels behind the ordinary messages, so there is no further message:
seven bytes an agent on the way up and one on the way down, counted as the algorithm's. All agents follow a
decision in the same iteration, 2 `height` iterations after the window.
"""

from collections.abc import Generator, Mapping, Sequence
from math import sqrt
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from distopt.algorithms import turning
from distopt.algorithms.agent import Agent
from distopt.algorithms.base import Algorithm
from distopt.algorithms.memory import Neighbours
from distopt.algorithms.standing import decision, seen
from distopt.algorithms.state import State
from distopt.algorithms.step_rule import (
    BACK,
    CALM,
    FURTHER_BACK,
    FURTHEST,
    SEEN,
    Balance,
    Pace,
    StepRule,
    Window,
    first_numbers,
    size,
)
from distopt.algorithms.window_code import DECISION_NBYTES, WINDOW_NBYTES, decode, encode
from distopt.core.arrays import F64, U8
from distopt.core.errors import DivergedError
from distopt.core.kernel import kernel
from distopt.core.randomness import make_key, words
from distopt.core.streams import Stream
from distopt.theory.facts import Facts

Received: TypeAlias = Generator[U8, Sequence[U8], Sequence[U8]]
NOTHING = np.zeros(0, np.uint8)
HUGE = 1e120  # of |x|^2: beyond, x counts as not finite
KEPT = ("x", "g", "mixed", "dx", "steep", "sums", "total")  # by each agent between iterations
BURST = 1000.0  # |dx|^2 of a move to and fro over the last window's largest: beyond, all go back
NEAR = 0.01  # of 1 + |x|: where the steepest curvature is looked for


class Steps(Protocol):
    """Where the step of an iteration comes from."""

    @property
    def eta(self) -> float:
        """The step in use."""
        ...

    def exchange(self, payload: U8) -> Received:
        """Send a payload to the neighbours and return theirs."""
        ...

    def watch(self, mixed: F64) -> None:
        """See the end of an iteration: the state's x and g, and what was mixed into x."""
        ...

    def series(self) -> dict[str, float]:
        """Return the series of the search, if there is one."""
        ...


class FixedStep:
    """A step that was given."""

    def __init__(self, eta: float) -> None:
        self.eta = eta

    def arrays(self) -> dict[str, np.ndarray]:
        """Name nothing."""
        return {}

    def take_over(self, other: "FixedStep", neighbours: Neighbours, name: str) -> None:
        """Nothing depends on the agents."""

    def exchange(self, payload: U8) -> Received:
        return (yield payload)

    def watch(self, mixed: F64) -> None:
        pass

    def series(self) -> dict[str, float]:
        return {}


class StepSearch(Pace):
    """The part of one agent in the search for the step.

    Parameters
    ----------
    agent : Agent
    s : State
        Complete but for this search, at iteration 0; `x`, `g` are its model and its gradient there.
    balance : Balance
        Of the method.
    """

    def __init__(self, agent: Agent, s: State, balance: Balance) -> None:
        self.agent, self.state, self.balance = agent, s, balance
        tree, topology = agent.topology.tree, agent.topology
        self.depth, self.height = tree.depths[agent.index], tree.height
        self.parent = tree.parents[agent.index]
        self.depths = [tree.depths[j] for j in agent.neighbours]
        self.tells = [j in tree.with_children for j in (agent.index, *agent.neighbours)]
        self.children = [
            m for m, j in enumerate(agent.neighbours) if tree.parents[j] == agent.index
        ]
        noisy = agent.batches is not None
        self.rule = StepRule(balance, topology.gap, tree.height, noisy)
        self.numbers = first_numbers(balance.trust)
        d = agent.dimension
        self.x, self.g = s.x.copy(), s.g.copy()
        self.mixed, self.dx = np.zeros_like(s.x), np.zeros_like(s.x)
        # The gradient at the point before, on this batch.
        self.again = np.empty_like(s.x) if noisy else self.g
        # Where the root's way began.
        self.mark = s.x.copy() if self.depth == 0 else s.x[:0].copy()
        self.steep = start_direction(d, s.x.dtype)  # the steepest direction at x
        # A point on that way, the gradient there.
        self.near, self.there = np.empty_like(s.x), np.empty_like(s.x)
        self.sums = np.zeros(5)  # of this agent
        self.unseen = np.zeros(5)  # of iterations that do not count
        # Of all below it, once the window is over: the fields of `Window`.
        self.total = np.zeros(7)
        self.last = {name: array.copy() for name, array in self.present().items()}
        self.older = {name: array.copy() for name, array in self.last.items()}
        s.derive(self.restored)
        agent.forgives = True

    def begin(self, facts: Facts) -> None:
        """Set the first step."""
        n = self.numbers
        n.level = n.first = self.balance.first(facts.require_curvature())

    def arrays(self) -> dict[str, np.ndarray]:
        """Name the arrays that must be kept between iterations."""
        kept = {"numbers": self.numbers.array} | {name: getattr(self, name) for name in KEPT}
        kept |= {"mark": self.mark} if self.depth == 0 else {}
        for name, snapshot in (("last", self.last), ("older", self.older)):
            kept |= {f"{name}.{part}": array for part, array in snapshot.items()}
        return kept

    def restored(self) -> None:
        """Tell the agent after a resume whether it is adrift."""
        self.agent.adrift = bool(self.numbers.adrift)

    def take_over(self, other: "StepSearch", neighbours: Neighbours, name: str) -> None:
        """Go on with the step of the same agent before others were lost, and with a new window."""
        n = self.numbers
        n.array[:], self.steep[:] = other.numbers.array, other.steep
        n.iterations, n.fresh, n.anew, n.largest = 0.0, 1.0, 1.0, 0.0
        if self.depth == 0:
            turning.begin(n, self.x, self.mark)

    def present(self) -> Mapping[str, np.ndarray]:
        """Name all that a snapshot holds: the state, and the compressor states of all members."""
        return self.state.arrays(but="steps") | self.agent.codec_arrays()

    # What travels.

    def exchange(self, payload: U8) -> Received:
        """Send what was just packed, with what the search has to say behind it; return theirs."""
        n, me = self.numbers, self.agent
        turn = int(n.iterations - n.length)  # exchanges since the window was over
        if turn < 0:
            return (yield payload)
        me.cut = None  # the tail is behind a message that is whole
        tail = self.tail(turn)
        n.nbytes += tail.size
        received = yield me.append(tail) if tail.size else payload
        stripped = []
        for m, message in enumerate(received):
            nbytes = self.tail_nbytes(turn, self.depths[m], self.tells[m + 1])
            if message.size < nbytes:
                raise me.message_error(m + 1, "the bytes of the search for the step are missing")
            rest = message[message.size - nbytes :]
            if m in self.children and nbytes == WINDOW_NBYTES:
                add(self.total, decode(rest, size(int(n.level))))
            elif me.neighbours[m] == self.parent and nbytes == DECISION_NBYTES:
                n.kind, n.move = rest[0] >> 6, int(rest[0] & 63) - FURTHEST
            stripped.append(message[: message.size - nbytes])
        return stripped

    def tail_nbytes(self, turn: int, depth: int, tells: bool) -> int:
        """Return how many bytes an agent of this depth, with children or not, adds in a turn."""
        if depth > 0 and turn == self.height - depth:
            return WINDOW_NBYTES
        return DECISION_NBYTES if tells and turn == self.height + depth else 0

    def tail(self, turn: int) -> U8:
        """Return what this agent adds to its message."""
        n = self.numbers
        nbytes = self.tail_nbytes(turn, self.depth, self.tells[0])
        if nbytes == WINDOW_NBYTES:
            return encode(self.window(), size(int(n.level)))
        if nbytes == DECISION_NBYTES:
            if self.depth == 0:
                self.decide()
            return np.array([int(n.kind) << 6 | int(n.move) + FURTHEST], np.uint8)
        return NOTHING

    def window(self) -> Window:
        """Return what this agent and all below it saw."""
        n, s = self.numbers, self.state
        sums = seen(self.sums, s.x, s.g, size(int(n.level)), n.length)
        return window_of(self.total, sums, n.adrift, n.steepest)

    def decide(self) -> None:
        """At the root: choose."""
        n = self.numbers
        turning.look(self.rule, n, self.x, self.mark)
        n.kind, n.move = decision(self.rule, self.window(), n, self.x)

    # What is watched, and what follows.

    def watch(self, mixed: F64) -> None:
        """See the end of an iteration; follow the decision when it is time."""
        n, s, agent = self.numbers, self.state, self.agent
        n.iterations += 1
        n.done += 1
        left = n.length - n.iterations
        counts = left >= 0 and (agent.batches is None or left < SEEN) and not n.fresh
        self.observe(mixed, counts)
        n.fresh = 0.0
        if n.anew:
            copy(self.present(), self.last)
            copy(self.last, self.older)
            n.anew = 0.0
        if agent.adrift:
            n.adrift = 1.0
            s.x[:] = self.last["x"]  # finite, until all go back
        if left == 0 and not agent.adrift:
            self.probe()
        if left == -2 * self.height:
            self.follow()

    def observe(self, mixed: F64, counts: bool) -> None:
        """Remember where this iteration ended; add its changes to the sums if it counts."""
        s, agent = self.state, self.agent
        if agent.adrift:
            return
        if agent.batches is not None and counts:
            agent.gradient_again(self.x, out=self.again)
        e = size(int(self.numbers.level)) if agent.batches is not None else 0.0
        square, move, along = observe(
            s.x, s.g, mixed, self.x, self.g, self.again, self.mixed, self.dx, e,
            self.sums if counts else self.unseen,
        )  # fmt: skip
        agent.adrift |= not square < HUGE
        if not self.numbers.fresh:
            self.meet(move, along)
        if self.depth == 0:
            self.numbers.path += sqrt(move)

    def meet(self, move: float, along: float) -> None:
        """Be adrift after a burst: a move to and fro, far larger than all of the last window."""
        n = self.numbers
        self.agent.adrift |= along < 0 and move > BURST * n.largest > 0
        if n.iterations <= n.length:
            n.larger = max(n.larger, move)

    def probe(self) -> None:
        """Find the largest curvature around x, by a step of the power method (the first time, by six).

        It is that of the distance which x moves in an iteration, or of 0.01 (1 + |x|) if that is more, so
        that kinks and rounding do not pass for curvature.
        """
        n, s = self.numbers, self.state
        found = climb(
            self.agent,
            s.x,
            s.g,
            self.dx,
            self.steep,
            self.near,
            self.there,
            1 if n.decisions else 6,
        )
        if found.curvature is not None:
            n.steepest = found.curvature

    def follow(self) -> None:
        """Do what the root decided; all agents do it in the same iteration."""
        n, agent = self.numbers, self.agent
        if self.depth == 0 and self.height == 0:
            self.decide()
        kind = int(n.kind)
        if kind == CALM:
            self.last, self.older = self.older, self.last
            copy(self.present(), self.last)
        elif kind in {BACK, FURTHER_BACK}:
            if kind == FURTHER_BACK:
                copy(self.older, self.last)
            copy(self.last, self.present())
            agent.adrift, n.adrift, n.fresh = False, 0.0, 1.0
            self.x[:], self.g[:], self.dx[:] = self.state.x, self.state.g, 0.0
            if self.depth == 0:
                turning.begin(n, self.x, self.mark)
            n.returns += 1
        n.level += n.move
        if self.hopeless:
            raise DivergedError(self.no_step(agent.index, agent.iteration))
        self.next_window(kind)
        if kind < BACK:
            n.largest = n.larger
        n.larger = 0.0
        self.sums[:] = 0.0
        self.total[:] = 0.0


def steps_of(algorithm: Algorithm, agent: Agent, s: State) -> FixedStep | StepSearch:
    """Make the steps of an agent: the algorithm's eta, or the search for it."""
    if not algorithm.searching:
        return FixedStep(float(vars(algorithm)["eta"]))
    search = getattr(agent, "search", StepSearch)  # a crowd has its own
    balance = algorithm.balance(agent.topology.gap)
    return search(agent, s, balance)  # type: ignore[no-any-return]


def start_direction(d: int, dtype: DTypeLike = np.float64) -> F64:
    """Return the direction in which the steepest curvature is looked for first: random signs, |.| = 1."""
    signs: F64 = np.where(words(make_key(0, 2, Stream.TYPICAL), d) & 1, 1.0, -1.0)
    return (signs / sqrt(d)).astype(dtype)


class Climb(NamedTuple):
    """The curvature that a search around a point ended with, if it found any, and gradients it took."""

    curvature: float | None
    gradients: int


def climb(
    agent: Agent, x: F64, g: F64, dx: F64, steep: F64, near: F64, there: F64, times: int
) -> Climb:
    """Do so many steps of the power method at x, with gradient g and last move dx, from `steep` on.

    It ends where there are no numbers. `near` and `there` are work space.
    """
    curvature = None
    for done in range(1, times + 1):
        distance = place(x, dx, steep, near)
        if agent.batches is None:
            agent.gradient(near, out=there)
        else:
            agent.gradient_again(near, out=there)
        if agent.adrift or not (found := turn(there, g, distance, steep)) < np.inf:
            agent.adrift = False  # the agent is not there
            return Climb(curvature, done)
        curvature = found
    return Climb(curvature, times)


def window_of(below: F64, sums: F64, adrift: float, steepest: float) -> Window:
    """Return what an agent saw, together with all below it."""
    whole = below.copy()
    add(whole, np.array([*sums, adrift, steepest]))
    moves, bend, turns, along, apart, away, highest = whole.tolist()
    return Window(moves, bend, turns, along, apart, away > 0, highest)


def copy(source: Mapping[str, np.ndarray], target: Mapping[str, np.ndarray]) -> None:
    """Copy arrays into others of the same names."""
    for name, array in source.items():
        target[name][...] = array


def add(total: F64, more: F64) -> None:
    """Add the fields of a window to those of others; of the curvatures the steepest counts."""
    steepest = max(total[-1], more[-1])
    total += more
    total[-1] = steepest


@kernel
def place(x: F64, dx: F64, direction: F64, out: F64) -> float:
    """out = x + distance direction; return distance = max(|dx|, NEAR (1 + |x|))."""
    moves = square = 0.0
    for i in range(x.size):
        moves += np.float64(dx[i]) * dx[i]
        square += np.float64(x[i]) * x[i]
    distance = max(np.sqrt(moves), NEAR * (1.0 + np.sqrt(square)))
    for i in range(x.size):
        out[i] = x[i] + distance * direction[i]
    return distance  # type: ignore[no-any-return]


@kernel
def turn(there: F64, g: F64, distance: float, direction: F64) -> float:
    """Return |v|, v = (there - g) / distance; direction = v / |v| if that is a number > 0."""
    square = 0.0
    for i in range(g.size):
        change = (np.float64(there[i]) - g[i]) / distance
        square += change * change
    length = np.sqrt(square)
    if 0.0 < length < np.inf:
        for i in range(g.size):
            direction[i] = (np.float64(there[i]) - g[i]) / distance / length
    return length  # type: ignore[no-any-return]


@kernel
def observe(
    x: F64, g: F64, mixed: F64, x0: F64, g0: F64, again: F64, mixed0: F64, dx0: F64, e: float, sums: F64
) -> tuple[float, float, float]:  # fmt: skip
    """Add the changes since x0 to sums (docs: `Window`), and put the present in place of it.

    Return |x|^2 + |dx|^2, |dx|^2, and the product of dx with the dx before.

    e > 0: `again` is the gradient at x0 on the batch of g, and the last sum that of e^2 |again - g0|^2 / 2.
    """
    square = moves = bend = turns = along = apart = 0.0
    for i in range(x.size):
        dx = np.float64(x[i]) - x0[i]
        dg = np.float64(g[i]) - again[i]
        square += np.float64(x[i]) * x[i]
        moves += dx * dx
        bend += dg * dx
        turns += dg * dg
        along += dx * dx0[i]
        if e > 0.0:
            apart += (np.float64(again[i]) - g0[i]) ** 2 * (0.5 * e * e)
        else:
            apart -= dx * (np.float64(mixed[i]) - mixed0[i])
        x0[i], g0[i], mixed0[i], dx0[i] = x[i], g[i], mixed[i], dx
    sums[0] += moves
    sums[1] += bend
    sums[2] += turns
    sums[3] += along
    sums[4] += apart
    return square + moves, moves, along
