"""The agents of this process: made from the parts of a run, and let go of after it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.backlog import Backlog
from distopt.algorithms.crowd import Crowd, Row
from distopt.algorithms.hosted import Hosted
from distopt.algorithms.reader import Board
from distopt.config.build import Parts
from distopt.core.arrays import F64
from distopt.core.errors import ConfigError
from distopt.core.workspace import Workspace
from distopt.engine.starts import Start
from distopt.problems.changing import ChangingTopology
from distopt.problems.topology import Topology


def make_agents(
    parts: Parts, topology: Topology, starts: Sequence[Start], workers: int = 1
) -> list[Hosted]:
    """Make agents of a topology, and their states at iteration 0; share them out to so many workers."""
    agents = without_states(parts, topology, starts, workers)
    init, n = parts.algorithm.init, len(agents)
    return [
        Hosted(a, init(a, start_of(a, s)), worker_of(place, n, workers))
        for place, (a, s) in enumerate(zip(agents, starts, strict=True))
    ]


def worker_of(place: int, agents: int, workers: int) -> int:
    """Return which worker computes the agent at a place; all have equally many, or one more."""
    return place * workers // agents


def make_crew(
    parts: Parts,
    topology: Topology,
    starts: Sequence[Start],
    together: bool,
    workers: int = 1,
) -> tuple[list[Hosted], list[Hosted]]:
    """Make agents as `make_agents`; return them, and what is driven in an iteration.

    That is one crowd of all agents if `together`, which `goes_together` must allow and for which this
    process must have them all, else the agents themselves. Both give the same bits.
    """
    if not together:
        hosted = make_agents(parts, topology, starts, workers)
        return hosted, hosted
    agents = without_states(parts, topology, starts)
    crowd: Any = Crowd(agents)
    points = [start_of(a, s) for a, s in zip(agents, starts, strict=True)]
    whole = parts.algorithm.init(crowd, np.concatenate(points))
    d = agents[0].dimension
    rows = [Hosted(a, Row(whole, i, d, crowd.dimension)) for i, a in enumerate(agents)]
    return rows, [Hosted(crowd, whole)]


def start_of(agent: Agent, start: Start) -> F64:
    """Return the start point of an agent in its precision."""
    with np.errstate(over="ignore"):
        x0 = np.asarray(start.x0, agent.dtype)
    if np.isfinite(start.x0).all():
        agent.require_finite("the start in float32: x0", x0)
    return x0


def without_states(
    parts: Parts, topology: Topology, starts: Sequence[Start], workers: int = 1
) -> list[Agent]:
    """Make agents of a topology; those of one worker take turns."""
    algorithm, run = parts.algorithm, parts.run
    shared = [(Workspace(), Board()) for _ in range(workers)]
    if topology.changes and run.checked:
        raise ConfigError(
            f"run.checked = true cannot be combined with {topology.cause}: messages that come late have no "
            "checksum of their own."
        )
    agents = []
    for place, (i, cost, _) in enumerate(starts):
        workspace, board = shared[worker_of(place, len(starts), workers)]
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
            board=board if len(starts) > 1 else None,
            dtype=run.precision,
        )
        if isinstance(topology, ChangingTopology):
            agent.backlog = Backlog(agent, topology, delivers=algorithm.needs is not None)
        agents.append(agent)
    return agents


def release(hosted: Sequence[Hosted]) -> None:
    """Let go of all vectors of agents of which nothing will be asked any more.

    States, agents and readers refer to each other, and Python looks for such circles seldom: many runs in
    one process would pile up.
    """
    for h in hosted:
        vars(h.state).clear()
        vars(h.agent).clear()
