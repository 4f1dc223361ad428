"""Whether the second vector of each message travels while the gradient is computed.

In the methods that say ``overlaps`` the next x needs the neighbours' x only, and their y not before the
gradient there is known. So a message can travel in two parts, the second during the gradient. Neither the
bits nor the bytes depend on it (docs: speed, overlap).
"""

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
    wish, nbytes = parts.run.overlap, agent.max_nbytes // parts.algorithm.vectors
    able = can_overlap(parts.algorithm) and not agent.checked and agent.backlog is None
    if not wish or not able or not transport.travels:
        return
    if wish == "auto" and (transport.hosts == 1 or nbytes < LEAST_NBYTES):
        return
    spent = agent.seconds.gradient / max(agent.seconds.gradients, 1)
    longest = transport.collect(np.array([[spent]])).max()
    if wish == "auto" and longest < LEAST_SECONDS:
        return
    agent.overlaps = True
    transport.in_parts(nbytes, moved=nbytes >= MOVED_NBYTES and longest >= LEAST_SECONDS)


def can_overlap(algorithm: Algorithm) -> bool:
    """Whether the class that has the step says so; messages have two vectors then."""
    owner = next(cls for cls in type(algorithm).__mro__ if "step" in vars(cls))
    return bool(vars(owner).get("overlaps", False))
