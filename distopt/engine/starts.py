"""The starts: each agent's cost and the point where it begins."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from distopt.config.build import Parts
from distopt.core.arrays import F64, require_room
from distopt.core.errors import ConfigError, DataError
from distopt.core.randomness import make_key, normal
from distopt.core.streams import Stream
from distopt.core.usercode import within
from distopt.engine.agreement import agree
from distopt.problems.batches import require_batches
from distopt.problems.costs.base import Cost
from distopt.transport.base import COST, Transport

LEFT = (
    "All gradients are exactly zero at the start x = 0, so no method would leave it: the run starts at a "
    "seeded point of norm 1. problem.start (in Python: x0) chooses another."
)


class Start(NamedTuple):
    """Where an agent of this process begins."""

    agent: int
    cost: Cost
    x0: F64


@dataclass(frozen=True)
class Starts:
    """The starts of this process's agents, and what is known of all of them."""

    own: list[Start]
    common: Mapping[str, str]  # facts of models, the same at all agents; empty for other costs
    warnings: list[str] = field(default_factory=list)


def find_starts(parts: Parts, transport: Transport) -> Starts:
    """Make the costs and start points of this process's agents; all processes call this together."""
    transport.begin(COST)
    with transport.together():
        require_room(parts.problem.dimension, len(transport.hosted))
        own = [find_start(parts, i) for i in transport.hosted]
    common = agree({str(s.agent): getattr(s.cost, "facts", {}) for s in own}, transport)
    left = left_saddle(parts, own, transport)
    return Starts(own, common) if left is None else Starts(left, common, [LEFT])


def find_start(parts: Parts, i: int) -> Start:
    """Make the cost and the start point of agent i."""
    with within(parts.run.setup_timeout, i):
        cost = parts.problem.cost(i)
    require_batches(cost, parts.run.batch, i)
    if not parts.run.batch:
        require_batches(cost, getattr(cost, "batch", 0), i, "batch")
    nmse = parts.run.stop.nmse
    if nmse and not hasattr(cost, "energy"):
        raise ConfigError(
            f"run.stop.nmse = {nmse:g} needs costs that have an NMSE (an attribute energy, as "
            f"networks have); that of agent {i} has none. Accepted: 0."
        )
    start = Start(i, cost, parts.problem.start_point(i, cost))
    known_smoothness(start)
    return start


def left_saddle(parts: Parts, starts: list[Start], transport: Transport) -> list[Start] | None:
    """Find other starts if none was chosen and the gradients of all costs are exactly zero at 0.

    No method leaves such a point, a saddle of factorizations for example, whatever its seed. The new one
    is the same for all agents, of norm 1, and a function of the problem's seed (of the run's, where the
    costs are objects).
    """
    problem = parts.problem
    if problem.start != "zeros":
        return None
    with transport.together():
        held = [[is_held(s)] for s in starts]
    if not transport.collect(np.array(held, np.float64)).all():
        return None
    key = make_key(getattr(problem, "seed", parts.run.seed), 0, Stream.LEAVING)
    point = normal(key, problem.dimension)
    point /= np.linalg.norm(point)
    return [s._replace(x0=point.copy()) for s in starts]


def is_held(s: Start) -> bool:
    """Whether the start is 0 for want of another, and the gradient there is exactly zero."""
    if getattr(s.cost, "start", None) is not None:
        return False
    gradient = np.empty(s.cost.dimension)
    s.cost.gradient(s.x0, gradient)
    return not gradient.any()


def known_smoothness(s: Start) -> float | None:
    """Return what a cost says of its smoothness, None where it says nothing."""
    told = getattr(s.cost, "smoothness", None)
    if told is None:
        return None
    try:
        number = np.nan if isinstance(told, str) else float(told)
    except (TypeError, ValueError):
        number = np.nan
    if not 0 <= number < np.inf:
        raise DataError(
            f"The cost of agent {s.agent} has smoothness = {told!r}; accepted: a positive finite number, "
            "0 for a linear cost, None where it is unknown."
        )
    return number
