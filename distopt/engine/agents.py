"""The agents of this process: made from the parts of a run, and let go of after it."""

from collections.abc import Sequence

from distopt.algorithms.agent import Agent
from distopt.algorithms.backlog import Backlog
from distopt.algorithms.hosted import Hosted
from distopt.algorithms.reader import Board
from distopt.config.build import Parts
from distopt.core.errors import ConfigError
from distopt.core.workspace import Workspace
from distopt.engine.starts import Start
from distopt.problems.changing import ChangingTopology
from distopt.problems.topology import Topology


def make_agents(parts: Parts, topology: Topology, starts: Sequence[Start]) -> list[Hosted]:
    """Make agents of a topology, and their states at iteration 0."""
    algorithm, run = parts.algorithm, parts.run
    workspace, board = Workspace(), Board()  # one for all, since they work in turn
    hosted = []
    if topology.changes and run.checked:
        raise ConfigError(
            "run.checked = true cannot be combined with topology.up: messages that come late have no "
            "checksum of their own."
        )
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
            board=board if len(starts) > 1 else None,
        )
        if isinstance(topology, ChangingTopology):
            agent.backlog = Backlog(agent, topology, delivers=algorithm.needs is not None)
        hosted.append(Hosted(agent, algorithm.init(agent, x0)))
    return hosted


def release(hosted: Sequence[Hosted]) -> None:
    """Let go of all vectors of agents of which nothing will be asked any more.

    States, agents and readers refer to each other, and Python looks for such circles seldom: many runs in
    one process would pile up.
    """
    for h in hosted:
        vars(h.state).clear()
        vars(h.agent).clear()
