"""The team: the agents of this process, made from the parts of a run, ready to iterate."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.base import Algorithm
from distopt.algorithms.hosted import Hosted
from distopt.config.build import Parts
from distopt.core.arrays import F64, I64, require_room
from distopt.core.errors import DistoptError
from distopt.core.parameters import field_names
from distopt.core.workspace import Workspace
from distopt.engine.agreement import agree
from distopt.engine.driver import iterate, run_to_end
from distopt.engine.identity import Identity, first_values
from distopt.engine.losing import counted, places_before, restore_sums, take_over
from distopt.engine.survey import Start, Survey, find_start, leave_saddle, survey
from distopt.problems.costs.base import Cost
from distopt.problems.topology import Topology
from distopt.record import checkpoint
from distopt.transport.base import COST, Transport
from distopt.transport.local import LocalTransport

LEFT = (
    "All gradients are exactly zero at the start x = 0, so no method would leave it: the run starts at a "
    "seeded point of norm 1. problem.start (in Python: x0) chooses another."
)
UNKNOWN = (
    "The checkpoint does not say to which run it belongs (an earlier version wrote it), so nothing could "
    "be compared."
)


@dataclass
class Clock:
    """How far a run is."""

    iteration: int = 0  # iterations done
    seconds: float = 0.0  # in iterations
    diagnostics_seconds: float = 0.0  # in records and checkpoints


@dataclass(frozen=True)
class Team:
    """The agents of this process.

    Attributes
    ----------
    parts : Parts
        Every ``"auto"`` is a number here.
    known : Survey
    transport : Transport
    hosted : list of Hosted
    clock : Clock
        Moves on with `iterate`, as the agents' states do.
    identity : Identity
    lost : tuple of int
        The agents that the checkpoint still had and that take part no more.
    records : dict
        What the checkpoint says of the schedule of records.
    """

    parts: Parts
    known: Survey
    transport: Transport
    hosted: list[Hosted]
    clock: Clock
    identity: Identity
    lost: tuple[int, ...] = ()
    records: Mapping[str, float] = field(default_factory=dict)

    def iterate(self) -> None:
        """Do the next iteration of all agents."""
        began = perf_counter()
        iterate(self.parts.algorithm, self.hosted, self.transport, self.clock.iteration)
        self.clock.iteration += 1
        self.clock.seconds += perf_counter() - began


def prepare(
    parts: Parts,
    transport: Transport,
    saved: checkpoint.Saved | None = None,
    force: bool = False,
) -> Team:
    """Make the agents of this process, at iteration 0 or where a checkpoint was saved.

    All processes call this together, and end with the same algorithm, to the bit. With `force` the
    checkpoint may be one of another run.
    """
    transport.begin(COST)
    with transport.together():
        require_room(parts.problem.dimension, len(transport.hosted))
        starts = [find_start(parts, i) for i in transport.hosted]
    common, apart = agree(starts, transport)
    if common and not apart:
        parts = replace(parts, algorithm=with_memory_at_start(parts.algorithm))
    given, starts = starts, leave_saddle(parts, starts, transport)
    known = survey(parts, starts, transport)
    if starts is not given:
        known.warnings.append(LEFT)
    algorithm, topology, clock = known.algorithm, parts.problem.topology, Clock()
    parts = replace(parts, algorithm=algorithm)
    known.warnings.extend(apart)
    measured = first_values(parts, starts, known.facts.smoothness, transport) | common
    transport.warm_up(lambda: warm_up(parts, known, starts[0]))
    with transport.together():
        hosted = make_agents(parts, topology, starts)
    lost: tuple[int, ...] = ()
    if saved is None:
        steps = [algorithm.start(h.agent, h.state, known.facts) for h in hosted]
        run_to_end(hosted, steps, transport)
        parts = replace(parts, algorithm=algorithm.started(hosted[0].state))
        identity = Identity(parts, measured)
    else:
        with transport.together():
            identity = Identity(parts, measured, force)
            if saved.identity is None:
                known.warnings.append(UNKNOWN)
            else:
                identity.require(saved.identity, f"Checkpoint {saved.place}")
            before = checkpoint.lost_in(saved.identity)
            lost = tuple(j for j in parts.problem.lost if j not in before)
            numbers = (
                without(parts, before, starts, saved.place, hosted, transport.root)
                if lost
                else checkpoint.load(saved.place, hosted)
            )
        if lost:
            restore_sums(algorithm, hosted, transport)
        clock.iteration = saved.iteration
        clock.seconds = numbers.pop("run_seconds", 0.0)
        clock.diagnostics_seconds = numbers.pop("run_diagnostics_seconds", 0.0)
        transport.traffic.restore(numbers)
        known.warnings[:0] = saved.damaged
    records = saved.records if saved else {}
    return Team(parts, known, transport, hosted, clock, identity, lost, records)


def with_memory_at_start(algorithm: Algorithm) -> Algorithm:
    """Let the memories of models that all start alike begin where they do, not at 0.

    There they would pull all agents towards 0, and a network whose weights are 0 learns nothing.
    """
    has_one = "memory_start" in field_names(type(algorithm))
    if not has_one or getattr(algorithm, "arithmetic", None) is not None:
        return algorithm
    return replace(algorithm, memory_start="x0")  # type: ignore[type-var]


def without(
    parts: Parts,
    before: Sequence[int],
    starts: Sequence[Start],
    place: Path,
    hosted: Sequence[Hosted],
    root: bool,
) -> dict[str, float]:
    """Load a checkpoint in which agents still took part that are lost now; return the counters."""
    problem, whole = parts.problem, parts.problem.whole.without(before)
    numbers = places_before(problem, before)
    olds = make_agents(parts, whole, [s._replace(agent=numbers[s.agent]) for s in starts])
    checkpoint.load(place, olds)
    take_over(parts.algorithm, place, hosted, olds, numbers)
    return counted(place, whole.agents, problem.agents, root)


def make_agents(parts: Parts, topology: Topology, starts: Sequence[Start]) -> list[Hosted]:
    """Make agents of a topology, and their states at iteration 0."""
    algorithm, run = parts.algorithm, parts.run
    workspace = Workspace()  # one for all, since they work in turn
    hosted = []
    for i, cost, x0 in starts:
        agent = Agent(
            i,
            cost,
            topology,
            parts.compressor,
            run.seed,
            vectors=algorithm.vectors,
            batch=run.batch or getattr(cost, "batch", 0),
            remedy=algorithm.remedy(),
            checked=run.checked,
            workspace=workspace,
        )
        hosted.append(Hosted(agent, algorithm.init(agent, x0)))
    return hosted


class Likeness:
    """A quadratic with a cost's value and gradient where it is first asked, and its smoothness.

    So a cost whose gradient takes minutes computes one. Everything else is that of the cost.
    """

    def __init__(self, cost: Cost, smoothness: float) -> None:
        self._cost, self._smoothness = cost, smoothness
        self._at: dict[str, tuple[F64, Any]] = {}  # what was computed, and where

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cost, name)

    def value(self, x: F64) -> float:
        """Return f, where it is first asked, + L/2 of the squared distance from there."""
        if "value" not in self._at:
            self._at["value"] = x.copy(), self._cost.value(x)
        start, value = self._at["value"]
        return float(value + self._smoothness / 2 * np.sum((x - start) ** 2))

    def gradient(self, x: F64, out: F64) -> None:
        """out = g, where it is first asked, + L times the difference from there."""
        self._extend(x, out, lambda: self._cost.gradient(x, out))

    def batch_gradient(self, x: F64, index: I64, out: F64) -> None:
        """out = the same, of the first batch."""
        self._extend(x, out, lambda: self._cost.batch_gradient(x, index, out))  # type: ignore[attr-defined]

    def _extend(self, x: F64, out: F64, compute: Callable[[], None]) -> None:
        if "gradient" not in self._at:
            compute()
            self._at["gradient"] = x.copy(), out.copy()
        start, gradient = self._at["gradient"]
        out[:] = gradient + self._smoothness * (x - start)


def warm_up(parts: Parts, known: Survey, own: Start) -> None:
    """Compile or load every kernel of the run by two iterations of two agents, so none does it later.

    Both have this process's own cost: no other agent's data is needed to compile. What fails here is
    left to fail in the run itself, where the error names the right agent.
    """
    topology, cost = Topology(2, [(0, 1)]), Likeness(own.cost, known.facts.smoothness or 1.0)
    transport = LocalTransport(topology)
    with suppress(DistoptError), np.errstate(all="ignore"):
        starts = [own._replace(agent=i, cost=cost) for i in (0, 1)]
        hosted = make_agents(parts, topology, starts)
        steps = [parts.algorithm.start(h.agent, h.state, known.facts) for h in hosted]
        run_to_end(hosted, steps, transport)
        for k in range(2):
            iterate(parts.algorithm, hosted, transport, k)
