"""Whether the second vector of each message travels while the gradient is computed.

In the methods that say ``overlaps`` the next x needs the neighbours' x only, and their y not before the
gradient there is known. So a message can travel in two parts, the second during the gradient. Neither the
bits nor the bytes depend on it (docs: speed, overlap).
"""

from math import inf

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.base import Algorithm
from distopt.config.build import Parts
from distopt.transport.base import Transport

# With "auto", measured: what a second part costs, some 10 us, is then little of what it hides.
LEAST_NBYTES = 2**14  # of a part
LEAST_SECONDS = 1e-3  # of a gradient
MOVED_NBYTES = 2**17  # of a part: what is shorter the buffers of the network take at once


def overlap(parts: Parts, agent: Agent, transport: Transport) -> None:
    """Let messages travel in two parts from here on, where that was asked for or pays.

    All processes decide alike: by what all know, and by the longest of their gradients.
    """
    wish, nbytes, hosts = parts.run.overlap, second_nbytes(parts, agent), transport.hosts
    if not transport.travels or not pays(wish, hosts, nbytes, inf):
        return
    spent = agent.seconds.gradient / max(agent.seconds.gradients, 1)
    longest = transport.collect(np.array([[spent]])).max()
    if not pays(wish, hosts, nbytes, longest):
        return
    agent.overlaps = True
    transport.in_parts(nbytes, moved=nbytes >= MOVED_NBYTES and longest >= LEAST_SECONDS)


def second_nbytes(parts: Parts, agent: Agent) -> int:
    """Return the most bytes of a second vector that may travel by itself, 0 where messages go whole."""
    able = can_overlap(parts.algorithm) and not agent.checked and agent.backlog is None
    return agent.max_nbytes // parts.algorithm.vectors if able else 0


def pays(wish: bool | str, hosts: int, nbytes: int, gradient: float) -> bool:
    """Whether second vectors of so many bytes travel during a gradient of so many seconds."""
    if wish == "auto":
        return hosts > 1 and nbytes >= LEAST_NBYTES and gradient >= LEAST_SECONDS
    return bool(wish) and nbytes > 0


def can_overlap(algorithm: Algorithm) -> bool:
    """Whether the class that has the step says so; messages have two vectors then."""
    owner = next(cls for cls in type(algorithm).__mro__ if "step" in vars(cls))
    return bool(vars(owner).get("overlaps", False))
