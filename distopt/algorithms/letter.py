"""A message for some of the neighbours only."""

from typing import NamedTuple

import numpy as np

from distopt.core.arrays import U8

NOTHING = np.zeros(0, np.uint8)
# What a step yields that wants the second parts of the messages that came.
REST = np.zeros(0, np.uint8)


class Letter(NamedTuple):
    """What an agent sends and hears in an exchange in which not all neighbours take part.

    A step that yields letters does so at all agents in the same exchange, and they agree who sends to
    whom. It is given one message per neighbour, as ever; those of agents that are not in `hears` are empty.
    Nothing travels, and nothing is counted, but what is addressed.

    Attributes
    ----------
    payload : uint8[:]
        The message, the same for all to whom it goes.
    tells : tuple of int
        The neighbours to whom it goes.
    hears : tuple of int
        The neighbours from whom one comes.
    bundles : tuple of uint8[:]
        Where it is not the same for all: what goes to each of `tells`, with what its edge has missed.
    """

    payload: U8 = NOTHING
    tells: tuple[int, ...] = ()
    hears: tuple[int, ...] = ()
    bundles: tuple[U8, ...] = ()

    def to(self, j: int) -> U8:
        """Return what goes to agent j."""
        return self.bundles[self.tells.index(j)] if self.bundles else self.payload
