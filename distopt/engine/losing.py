"""A run goes on without some of its agents, from a checkpoint that still has them (docs: running).

The others keep their models, memories and costs, close up in number, and weigh their neighbours anew.
What their method conserves is restored by one mean over all of them, so the trackers again average to
the mean gradient, or the dual variables to zero. The result is the same to the bit under every engine.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from distopt.algorithms.base import Algorithm
from distopt.algorithms.hosted import Hosted
from distopt.algorithms.memory import Neighbours
from distopt.config.build import Parts
from distopt.core.arrays import F64
from distopt.core.errors import ConfigError
from distopt.engine.agents import make_agents
from distopt.engine.starts import Start
from distopt.problems.given import GivenProblem
from distopt.problems.problem import Problem
from distopt.record import checkpoint
from distopt.transport.base import Transport


def load_without(
    parts: Parts,
    before: Sequence[int],
    starts: Sequence[Start],
    place: Path,
    hosted: Sequence[Hosted],
    root: bool,
) -> dict[str, float]:
    """Load a checkpoint in which agents still took part that are lost now; return the counters."""
    problem, whole = parts.problem, parts.problem.whole.without(before)
    if whole.changes:
        raise ConfigError(
            f"A run with {whole.cause} cannot lose an agent: its edges would be up at other times."
        )
    numbers = places_before(problem, before)
    olds = make_agents(parts, whole, [s._replace(agent=numbers[s.agent]) for s in starts])
    checkpoint.load(place, olds)
    take_over(parts.algorithm, place, hosted, olds, numbers)
    return counted(place, whole.agents, problem.agents, root)


def places_before(problem: Problem | GivenProblem, lost_before: Sequence[int]) -> list[int]:
    """Return the numbers that the agents had in the checkpoint, in their present order."""
    before = [j for j in range(problem.total) if j not in lost_before]
    return [before.index(problem.member(i)) for i in range(problem.agents)]


def take_over(
    algorithm: Algorithm,
    place: Path,
    hosted: Sequence[Hosted],
    olds: Sequence[Hosted],
    numbers: Sequence[int],
) -> None:
    """Fill the states of agents from those that they had, `olds`, in a checkpoint.

    `numbers` are those of all agents there, as of `places_before`.

    Raises
    ------
    ConfigError
        If the algorithm cannot lose agents.
    """
    if getattr(algorithm, "arithmetic", None) is not None:
        raise ConfigError(
            "A run with [arithmetic] cannot lose an agent: the sum of its trackers is kept in integers."
        )
    for new, old in zip(hosted, olds, strict=True):
        known = algorithm.conserved(new.state)
        if known is None and algorithm.view(new.state).tracker is not None:
            raise ConfigError(
                f"{type(algorithm).__name__} cannot lose an agent: it has a tracker, but no method "
                "`conserved` that says what to restore."
            )
        had = (old.agent.index, *old.agent.neighbours)
        members = [had.index(numbers[j]) for j in (new.agent.index, *new.agent.neighbours)]

        def read(member: int, name: str, had: Sequence[int] = had) -> F64:
            return checkpoint.read_array(place, had[member], name)

        new.agent.take_over(old.agent, members)
        new.state.take_over(old.state, Neighbours(members, read))


def restore_sums(algorithm: Algorithm, hosted: Sequence[Hosted], transport: Transport) -> None:
    """Shift what the method conserves by its mean error; all processes call this together."""
    pairs = [algorithm.conserved(h.state) for h in hosted]
    found = [pair for pair in pairs if pair is not None]
    if not found:
        return
    errors = [v.copy() if target is None else v - target for v, target in found]
    mean = np.empty(errors[0].shape)
    transport.mean(errors, mean)
    for vector, _ in found:
        vector -= mean


def counted(place: Path, before: int, now: int, root: bool) -> dict[str, float]:
    """Return the numbers with which a process goes on: what was sent stays sent, the root has it.

    Totals are those of all agents that ever took part; means over agents go on from where they were.
    """
    sums = checkpoint.totals(place, before)
    clocks = {name: value for name, value in sums.items() if name.startswith("run_")}
    if not root:
        return dict.fromkeys(sums, 0) | clocks
    shared = {name: sums[name] * now / before for name in ("nbytes", "messages", "seconds")}
    return sums | shared | clocks
