"""What holds an agent's messages: its buffers, and the checksums of checked messages."""

from collections.abc import Sequence
from struct import pack_into

import numpy as np
from crc32c import crc32c

from distopt.core.arrays import U8

CHECKSUM = 4  # bytes behind a checked message
RIGHT = 0x48674BC7  # the CRC-32C of any message together with its own CRC-32C
TAIL = 8  # bytes at most that `append` may put behind a message


class Envelope:
    """The send buffers of an agent, and its checksums.

    A checksum starts from sender, iteration and exchange, so a message of another one of these is wrong as
    well.

    Parameters
    ----------
    members : Sequence[int]
        The agent and its neighbours.
    max_nbytes : int
        Of a message that the agent packs.
    """

    def __init__(self, members: Sequence[int], max_nbytes: int) -> None:
        # Two send buffers in turn: in one process a neighbour may read the previous message while
        # this agent packs the next one of the same iteration.
        self._buffers = [np.zeros(max_nbytes + TAIL + CHECKSUM, np.uint8) for _ in range(2)]
        self._sealed = np.zeros(CHECKSUM, np.uint8)  # messages that an algorithm made by itself
        self._tags = [j << 16 & 0xFFFFFFFF for j in members]
        self._iteration = self._exchange = 0
        self.buffer = self._buffers[0]  # to pack into
        self._views = [buffer[:0] for buffer in self._buffers]  # the messages packed into each
        self.packed = self._appended = self._views[0]  # the message that was packed last

    def begin(self, k: int) -> None:
        """Go to iteration k."""
        self._iteration, self._exchange = k, 0

    def turn(self) -> U8:
        """Return the other buffer, to pack into."""
        first, second = self._buffers
        self.buffer = second if self.buffer is first else first
        return self.buffer

    def pack(self, size: int) -> U8:
        """Return the message of so many bytes that was packed; the same array while sizes do not change."""
        turn = self.buffer is self._buffers[1]
        if self._views[turn].size != size:
            self._views[turn] = self.buffer[:size]
        self.packed = self._views[turn]
        return self.packed

    def append(self, tail: U8) -> U8:
        """Put bytes behind the message that was packed last; return it with them."""
        size = self.packed.size
        sent = self.buffer[: size + tail.size]
        sent[size:] = tail
        self._appended = sent
        return sent

    def seal(self, payload: U8, travels: bool = True) -> U8:
        """Return a message followed by its CRC-32C, or by as many bytes if it does not travel."""
        size = payload.size
        if payload is self.packed or payload is self._appended:
            buffer = self.buffer
        else:
            if self._sealed.size < size + CHECKSUM:
                self._sealed = np.zeros(size + CHECKSUM, np.uint8)
            buffer = self._sealed
            buffer[:size] = payload
        if travels:
            crc = crc32c(payload, self._turn_tag() ^ self._tags[0])  # type: ignore[arg-type]  # a buffer
            pack_into("<I", buffer, size, crc)  # type: ignore[arg-type]
        return buffer[: size + CHECKSUM]

    def wrong(self, received: Sequence[U8]) -> list[int]:
        """Return the members whose messages have a wrong checksum."""
        turn = self._turn_tag()
        return [
            member
            for member, message in enumerate(received, start=1)
            if crc32c(message, turn ^ self._tags[member]) != RIGHT  # type: ignore[arg-type]
        ]

    def open(self, received: Sequence[U8]) -> list[U8]:
        """Return the messages of an exchange without their checksums."""
        self._exchange += 1
        return [message[:-CHECKSUM] for message in received]

    def _turn_tag(self) -> int:
        """Return what the checksums of an exchange begin with, besides their senders."""
        return (self._iteration ^ self._exchange << 28) & 0xFFFFFFFF
