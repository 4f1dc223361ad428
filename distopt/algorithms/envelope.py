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
    local : bool
        Whether all who read a message have read it before the agent's next iteration, as within one
        process.
    """

    def __init__(self, members: Sequence[int], max_nbytes: int, local: bool) -> None:
        # Two send buffers in turn: a neighbour may read the previous message while this agent packs the
        # next one. They are made when they are first needed, which the second never is where an
        # iteration has one exchange within a process.
        self._buffers: list[U8] = []
        self._size, self._local, self._next = max_nbytes + TAIL + CHECKSUM, local, 0
        self._sealed = np.zeros(CHECKSUM, np.uint8)  # messages that an algorithm made by itself
        self._tags = [j << 16 & 0xFFFFFFFF for j in members]
        self._iteration = self._exchange = 0
        self.buffer = np.zeros(0, np.uint8)  # to pack into
        self._views: list[U8] = []  # the messages packed into each
        self._at = 0
        self.packed = self._appended = self.buffer  # the message that was packed last

    def begin(self, k: int) -> None:
        """Go to iteration k."""
        self._iteration, self._exchange = k, 0
        if self._local:
            self._next = 0

    def turn(self) -> U8:
        """Return the other buffer, to pack into."""
        if self._next == len(self._buffers):
            self._buffers.append(np.zeros(self._size, np.uint8))
            self._views.append(self._buffers[-1][:0])
        self._at, self._next = self._next, 1 - self._next
        self.buffer = self._buffers[self._at]
        return self.buffer

    def pack(self, size: int) -> U8:
        """Return the message of so many bytes that was packed; the same array while sizes do not change."""
        if self._views[self._at].size != size:
            self._views[self._at] = self.buffer[:size]
        self.packed = self._views[self._at]
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
