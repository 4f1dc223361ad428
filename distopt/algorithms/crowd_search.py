"""The search for the step of agents that are computed together, as rows (`distopt.algorithms.crowd`)."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from math import sqrt
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from distopt.algorithms import turning
from distopt.algorithms.standing import decision, seen
from distopt.algorithms.state import State
from distopt.algorithms.step_rule import (
    BACK,
    CALM,
    FURTHER_BACK,
    SEEN,
    Balance,
    Pace,
    StepRule,
    Window,
    first_numbers,
    size,
)
from distopt.algorithms.step_search import (
    BURST,
    HUGE,
    KEPT,
    add,
    climb,
    copy,
    observe,
    start_direction,
    window_of,
)
from distopt.algorithms.window_code import DECISION_NBYTES, WINDOW_NBYTES, decode, encode
from distopt.core.arrays import F64, I64
from distopt.core.errors import DivergedError
from distopt.core.kernel import kernel
from distopt.theory.facts import Facts

if TYPE_CHECKING:
    from distopt.algorithms.crowd import Crowd

Bools: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]


class CrowdSearch(Pace):
    """The parts of all agents in the search, to the bit those of `StepSearch`, whose arguments it takes.

    What all agents know alike is read from the root's numbers and written to those of all.
    """

    def __init__(self, crowd: Crowd, s: State, balance: Balance) -> None:
        self.crowd, self.state, self.balance = crowd, s, balance
        (n, d), tree = crowd.shape, crowd.topology.tree
        self.parents, self.height = np.array(tree.parents), tree.height
        order = np.argsort(tree.depths, kind="stable")
        counts = np.bincount(tree.depths)
        # The agents of each depth, ascending.
        self.layers = np.split(order, np.cumsum(counts)[:-1])
        self.tells = np.isin(np.arange(n), [*tree.with_children])
        noisy = crowd.agents[0].batches is not None
        self.rule = StepRule(balance, crowd.topology.gap, tree.height, noisy)
        self.numbers = first_numbers(balance.trust)  # of the root
        self.table = np.tile(self.numbers.array, (n, 1))
        self.root = int(self.layers[0][0])
        vars(self.numbers)["array"] = self.table[self.root]
        self.x, self.g = s.x.reshape(n, d).copy(), s.g.reshape(n, d).copy()
        self.mark = self.x[self.root].copy()
        self.mixed, self.dx = np.zeros((2, n, d), s.x.dtype)
        self.again = np.empty_like(self.g) if noisy else self.g
        self.steep = np.tile(start_direction(d, s.x.dtype), (n, 1))
        self.near, self.there = np.empty((2, d), s.x.dtype)
        self.sums, self.unseen, self.total = np.zeros((n, 5)), np.zeros((n, 5)), np.zeros((n, 7))
        self.found = np.zeros((n, 3))
        self.last = {name: array.copy() for name, array in self.present().items()}
        self.older = {name: array.copy() for name, array in self.last.items()}
        for agent in crowd.agents:
            agent.forgives = True

    def begin(self, facts: Facts) -> None:
        """Set the first step."""
        level = self.balance.first(facts.require_curvature())
        self.tell(level=level, first=level)

    def tell(self, **values: float) -> None:
        """Set numbers of all agents."""
        for name, value in values.items():
            self.of_each(name)[:] = value

    def of_each(self, name: str) -> F64:
        """Return one number of all agents, float64[agents], to be changed in place."""
        return self.table[:, self.numbers.names.index(name)]

    def present(self) -> Mapping[str, np.ndarray]:
        """Name all that a snapshot holds: the crowd's state, and the compressor states of every agent."""
        codecs = {
            f"{agent.index} {name}": array
            for agent in self.crowd.agents
            for name, array in agent.codec_arrays(own=True).items()
        }
        return self.state.arrays(but="steps") | codecs

    def exchange(self, sizes: I64) -> Generator[I64, Any, Any]:
        """Send what was just packed, of these sizes, with what the search has to say behind it."""
        n = self.numbers
        turn = int(n.iterations - n.length)
        if turn < 0:
            return (yield sizes)
        if turn < self.height:
            senders, nbytes = self.layers[self.height - turn], WINDOW_NBYTES
        elif turn < 2 * self.height:
            layer = self.layers[turn - self.height]
            senders, nbytes = layer[self.tells[layer]], DECISION_NBYTES
        else:
            return (yield sizes)
        if turn == self.height:
            self.decide()
        tails = np.zeros_like(sizes)
        tails[senders] = nbytes
        self.of_each("nbytes")[:] += tails
        e = size(int(n.level))
        windows = [encode(self.window(i), e) for i in senders] if turn < self.height else []
        received = yield sizes + tails
        for i, window in zip(senders, windows, strict=False):
            add(self.total[self.parents[i]], decode(window, e))
        if not windows:
            hearers = self.layers[turn - self.height + 1]
            for name in ("kind", "move"):
                self.of_each(name)[hearers] = getattr(n, name)
        return received

    def window(self, i: int) -> Window:
        """Return what agent i and all below it saw."""
        n, s, shape = self.numbers, self.state, self.crowd.shape
        adrift, steepest = (self.of_each(name)[i] for name in ("adrift", "steepest"))
        x, g = s.x.reshape(shape)[i], s.g.reshape(shape)[i]
        sums = seen(self.sums[i], x, g, size(int(n.level)), n.length)
        return window_of(self.total[i], sums, adrift, steepest)

    def decide(self) -> None:
        """At the root: choose."""
        n = self.numbers
        turning.look(self.rule, n, self.x[self.root], self.mark)
        n.kind, n.move = decision(self.rule, self.window(self.root), n, self.x)

    def watch(self, mixed: F64) -> None:
        """See the end of an iteration; follow the decision when it is time."""
        n, agents = self.numbers, self.crowd.agents
        self.tell(iterations=n.iterations + 1, done=n.done + 1)
        left = n.length - n.iterations
        self.observe(mixed, left >= 0 and (not self.rule.noisy or left < SEEN) and not n.fresh)
        self.tell(fresh=0.0)
        if n.anew:
            copy(self.present(), self.last)
            copy(self.last, self.older)
            self.tell(anew=0.0)
        adrift = [i for i, agent in enumerate(agents) if agent.adrift]
        if adrift:
            self.of_each("adrift")[adrift] = 1.0
            shape = self.crowd.shape
            self.state.x.reshape(shape)[adrift] = self.last["x"].reshape(shape)[adrift]
        if left == 0:
            self.probe()
        if left == -2 * self.height:
            self.follow()

    def observe(self, mixed: F64, counts: bool) -> None:
        """Remember where this iteration ended; add its changes to the sums if it counts."""
        s, n, agents, shape = self.state, self.numbers, self.crowd.agents, self.crowd.shape
        away = np.array([agent.adrift for agent in agents])
        e = size(int(n.level)) if self.rule.noisy else 0.0
        if self.rule.noisy and counts:
            with self.crowd.one_gradient(len(agents) - int(away.sum())):
                for i in np.flatnonzero(~away).tolist():
                    agents[i].gradient_again(self.x[i], out=self.again[i])
        observe_rows(
            s.x.reshape(shape), s.g.reshape(shape), mixed.reshape(shape), self.x, self.g, self.again,
            self.mixed, self.dx, e, self.sums if counts else self.unseen, away, self.found,
        )  # fmt: skip
        square, move, along = self.found.T
        if not away[self.root]:
            n.path += sqrt(move[self.root])
        lost = ~(square < HUGE)
        if not n.fresh:
            burst = BURST * self.of_each("largest")
            lost |= (along < 0) & (move > burst) & (burst > 0)
            if n.iterations <= n.length:
                larger = self.of_each("larger")
                larger[:] = np.where(~away & (move > larger), move, larger)
        for i in np.flatnonzero(lost & ~away).tolist():
            agents[i].adrift = True

    def probe(self) -> None:
        """Find the largest curvature around each x, as `StepSearch.probe`."""
        n, shape, agents = self.numbers, self.crowd.shape, self.crowd.agents
        there = [i for i, agent in enumerate(agents) if not agent.adrift]
        times = np.zeros(len(agents), np.int64)
        points, slopes = self.state.x.reshape(shape), self.state.g.reshape(shape)
        before = self.crowd.seconds.gradients
        with self.crowd.one_gradient(0):
            for i in there:
                found = climb(
                    agents[i], points[i], slopes[i], self.dx[i], self.steep[i], self.near, self.there,
                    1 if n.decisions else 6,
                )  # fmt: skip
                times[i] = found.gradients
                if found.curvature is not None:
                    self.of_each("steepest")[i] = found.curvature
        self.crowd.count_gradients(before, int(times.sum()))

    def follow(self) -> None:
        """Do what the root decided."""
        n, crowd = self.numbers, self.crowd
        kind, move = int(n.kind), n.move
        if kind == CALM:
            self.last, self.older = self.older, self.last
            copy(self.present(), self.last)
        elif kind in {BACK, FURTHER_BACK}:
            if kind == FURTHER_BACK:
                copy(self.older, self.last)
            copy(self.last, self.present())
            for agent in crowd.agents:
                agent.adrift = False
            self.tell(adrift=0.0, fresh=1.0)
            self.x[:], self.g[:] = (
                self.state.x.reshape(crowd.shape),
                self.state.g.reshape(crowd.shape),
            )
            self.dx[:] = 0.0
            turning.begin(n, self.x[self.root], self.mark)
            self.tell(returns=n.returns + 1)
        self.tell(level=n.level + move)
        if self.hopeless:
            raise DivergedError(self.no_step(0, crowd.iteration))
        self.next_window(kind)
        names = ("decisions", "trouble", "stretch", "length", "iterations")
        self.tell(**{name: getattr(n, name) for name in names})
        if kind < BACK:
            self.of_each("largest")[:] = self.of_each("larger")
        self.of_each("larger")[:] = 0.0
        self.sums[:] = 0.0
        self.total[:] = 0.0


class RowSearch(Pace):
    """What one agent of a crowd has of the search, for records and checkpoints."""

    def __init__(self, whole: CrowdSearch, agent: int) -> None:
        self.whole, self.agent = whole, agent
        self.numbers, self.balance = whole.numbers, whole.balance

    def series(self) -> dict[str, float]:
        """Return the series of the search."""
        nbytes = float(self.whole.of_each("nbytes")[self.agent])
        return super().series() | {"step_bytes": nbytes}

    @property
    def members(self) -> Sequence[int]:
        """The agent and its neighbours."""
        agent = self.whole.crowd.agents[self.agent]
        return [agent.index, *agent.neighbours]

    def arrays(self) -> dict[str, np.ndarray]:
        """Name the arrays that an agent by itself keeps; those of memories are copies."""
        w, i = self.whole, self.agent
        kept = {"numbers": w.table[i]} | {name: getattr(w, name)[i] for name in KEPT}
        kept |= {"mark": w.mark} if i == w.root else {}
        for name, snapshot in (("last", w.last), ("older", w.older)):
            kept |= {f"{name}.{part}": array for part, array in self.part_of(snapshot).items()}
        return kept

    def part_of(self, snapshot: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return what an agent by itself holds of a snapshot."""
        crowd, i = self.whole.crowd, self.agent
        found = {}
        for name in self.whole.state.arrays(but="steps"):
            rows = snapshot[name].reshape(crowd.shape)
            found[name] = rows[i] if snapshot[name].ndim == 1 else rows[self.members]
        for name in crowd.agents[i].codec_arrays():
            part, member = name.split(".")[:2]
            owner = i if part == "encoder" else int(member)
            found[name] = snapshot[f"{owner} {name}"]
        return found

    def loaded(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over the memories' copies that were filled, and whether the agent is adrift."""
        w, i = self.whole, self.agent
        for name, snapshot in (("last", w.last), ("older", w.older)):
            for part, array in snapshot.items():
                if array.ndim == 2 and " " not in part:
                    array[i] = arrays[f"{name}.{part}"][0]
        w.crowd.agents[i].adrift = bool(w.of_each("adrift")[i])


@kernel
def observe_rows(
    x: F64, g: F64, mixed: F64, x0: F64, g0: F64, again: F64, mixed0: F64, dx0: F64, e: float, sums: F64,
    away: Bools, found: F64,
) -> None:  # fmt: skip
    """found_i = `observe` of agent i, and its sums, unless it is away; all float64[agents, ...]."""
    for i in range(x.shape[0]):
        if away[i]:
            found[i] = 0.0
        else:
            found[i, 0], found[i, 1], found[i, 2] = observe(
                x[i], g[i], mixed[i], x0[i], g0[i], again[i], mixed0[i], dx0[i], e, sums[i]
            )
