"""The mean of all agents' vectors along a spanning tree, compressed; what was left out is fed back.

From the leaves to the root, agent i with the children c:

    T = v + e + sum_c S_c
    S = C(T) / r                                     sent to the parent
    e = feedback (T - S)

At the root the same S is the sum of all, and goes back to all: each edge carries one message up and one
down. Every agent has the same bits of the mean S / n.

Feedback of errors: Seide, Fu, Droppo, Li and Yu, "1-bit stochastic gradient descent and its application to
data-parallel distributed training of speech DNNs".
"""

from typing import Self

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.along_tree import Along, Codes, Place
from distopt.algorithms.letter import NOTHING
from distopt.algorithms.memory import Neighbours
from distopt.compressors.base import Relative
from distopt.core.arrays import F64, U8


class TreeMean:
    """One agent's part.

    Attributes
    ----------
    e : float[d]
        What was left out so far.
    place : Place
    """

    def __init__(self, agent: Agent, feedback: float = 1.0) -> None:
        d, js = agent.dimension, agent.neighbours
        root = agent.topology.lean_tree.parents.index(-1)
        found = agent.compressor.guarantee(d, Relative)
        assert isinstance(found, Relative)
        self.agent, self.place, self.feedback, self.gain = (
            agent,
            Place(agent),
            feedback,
            1 / found.r,
        )
        self.e = np.zeros(d, agent.dtype)
        self.T, self.S = np.empty((2, d), agent.dtype)  # they outlive an exchange
        self.out = np.zeros(agent.compressor.max_nbytes(d), np.uint8)
        self.below = {m: Codes(agent, js[m], 0) for m in self.place.children}
        stream = int(self.place.root)
        self.encoder = Codes(agent, agent.index, stream)
        self.decoder = Codes(agent, agent.index, stream)
        self.last = self.decoder if self.place.root else Codes(agent, root, 1)  # of what comes down

    def arrays(self) -> dict[str, np.ndarray]:
        """Name the arrays that a checkpoint must hold."""
        js = self.agent.neighbours
        ends = {"encoder": self.encoder, "decoder": self.decoder, "down": self.last}
        ends |= {f"below {js[m]}": codes for m, codes in self.below.items()}
        named = {
            f"{end}.{name}": a for end, codes in ends.items() for name, a in codes.state.items()
        }
        return {"e": self.e, **named}

    def take_over(self, other: Self, neighbours: Neighbours, name: str) -> None:
        """Keep what was left out; the tree is another one, and its codes begin anew."""
        self.e[:] = other.e

    def of(self, v: F64, out: F64) -> Along:
        """out = mean of the agents' v, as the network decoded it; the same bits everywhere."""
        np.add(v, self.e, out=self.T)
        yield from self.place.up(self.hear, self.speak)
        message = yield from self.place.down(self.speak() if self.place.root else NOTHING)
        if self.place.root:
            np.copyto(out, self.S)
        else:
            out.fill(0.0)
            self.last.decode_add(message, self.gain, out)
        out /= self.agent.topology.agents
        return message

    def take_point(self, x: F64) -> Along:
        """x = that of the root."""
        message = yield from self.place.down(x.view(np.uint8))
        if message.size != x.nbytes:
            raise self.last.unreadable(f"{message.size} bytes are no vector of {x.size} numbers")
        x[:] = message.view(x.dtype)
        return message

    def hear(self, child: int, message: U8) -> None:
        """T += S of a child."""
        self.below[child].decode_add(message, self.gain, self.T)

    def speak(self) -> U8:
        """S = C(T) / r;  e = feedback (T - S); return the message."""
        self.agent.require_finite("sum", self.T)
        message = self.out[: self.encoder.encode(self.T, self.out)]
        self.S.fill(0.0)
        self.decoder.decode_add(message, self.gain, self.S)
        np.subtract(self.T, self.S, out=self.e)
        self.e *= self.feedback
        return message
