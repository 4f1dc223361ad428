"""The adaptive compressor states of an agent, such as a coder's models or a scale that zooms."""

from collections.abc import Sequence

import numpy as np

from distopt.compressors.base import CodecState, Compressor
from distopt.core.arrays import U8


class Codecs:
    """One state for each vector that the agent sends, and one for each vector of each neighbour.

    Parameters
    ----------
    compressor : Compressor
    d : int
        Coordinates of a vector.
    members : Sequence[int]
        The agent and its neighbours.
    vectors : int
        Number of vectors that it sends in an iteration.
    streams : int
        Vectors for which there are states, used or not; at least `vectors`.

    Attributes
    ----------
    names : list of str
        What the vectors are called.
    encoders : list of CodecState
        With which its messages are made, by vector.
    decoders : list of lists of CodecState
        With which messages are read, by member and vector. Those of its own are the encoders where the
        compressor leaves room for what was sent, since it does not decode that.
    keeps : bool
        Whether there is such room.
    own : list of CodecState
        The encoders, together with that room.
    buffer : uint8[:]
        Holds the message whose codes are there.
    """

    def __init__(
        self, compressor: Compressor, d: int, members: Sequence[int], vectors: int, streams: int
    ) -> None:
        self.members = members
        self.names = [f"vector {v}" for v in range(streams)]
        self.encoders = [compressor.new_state(d) for _ in range(streams)]
        rooms = [compressor.new_room(d) for _ in range(vectors)]
        self.keeps = any(rooms)
        self.own = [state | room for state, room in zip(self.encoders, rooms, strict=False)]
        self.decoders = [[compressor.new_state(d) for _ in range(streams)] for _ in members[1:]]
        made = [] if self.keeps else [compressor.new_state(d) for _ in range(streams)]
        self.decoders.insert(0, made or self.encoders)
        self.buffer: U8 | None = None

    def share(self, others: Sequence["Codecs"]) -> None:
        """Hold the neighbours' own decoders, where each message is decoded once for all agents."""
        for member, j in enumerate(self.members[1:], start=1):
            self.decoders[member] = others[j].decoders[0]

    def take_over(self, other: "Codecs", members: Sequence[int]) -> None:
        """Take the states of the same agent before others were lost.

        `members` are the places that it and its present neighbours had there.
        """
        states = [*self.encoders, *(state for states in self.decoders for state in states)]
        olds = [*other.encoders, *(state for m in members for state in other.decoders[m])]
        for state, old in zip(states, olds, strict=True):
            copy_state(old, state)

    def of(self, member: int) -> dict[str, CodecState]:
        """Map vectors to the states with which a member's messages are read; 0: made."""
        states = self.decoders[member] if member else self.encoders
        return dict(zip(self.names, states, strict=True))

    def arrays(self, own: bool = False) -> dict[str, np.ndarray]:
        """Name the arrays of all states, or of those of the agent's own messages."""
        arrays: dict[str, np.ndarray] = {}
        for stream, state in enumerate(self.encoders):
            arrays |= {f"encoder.{stream}.{name}": a for name, a in state.items()}
        count = 1 if own else len(self.members)
        for member, states in zip(self.members[:count], self.decoders[:count], strict=True):
            for stream, state in enumerate(states):
                arrays |= {f"decoder.{member}.{stream}.{name}": a for name, a in state.items()}
        return arrays


def copy_state(old: CodecState, new: CodecState) -> None:
    """Set all arrays of a state to those of the same names."""
    for name, array in new.items():
        array[...] = old[name]
