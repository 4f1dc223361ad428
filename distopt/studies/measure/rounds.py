"""Exchanges one after the other, and what the busiest agent sends in each: for it all others wait.

Most methods have one exchange an iteration, in which all agents send the same number of bytes. Messages
along a tree are many exchanges, in each of which few agents send.
"""

from array import array
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from distopt.algorithms.letter import Letter
from distopt.core.arrays import U8
from distopt.problems.topology import Topology
from distopt.transport.base import Transport


class Waits(NamedTuple):
    """What exchanges took of those who wait for each other."""

    exchanges: int  # in which anybody sends anything
    copies: float  # messages that the busiest agent of an exchange sends, on average
    message: float  # bytes of one


class Rounds:
    """Listens to a transport from here on, and notes what the busiest hosted agent sends each time."""

    def __init__(self, transport: Transport, topology: Topology) -> None:
        self._transport, self._sent = transport, array("q")
        self._copies = [len(topology.links(i).tells) for i in transport.hosted]
        self._exchange, self._first = transport.exchange, transport.first
        self._deliver = transport.deliver
        transport.exchange = self.exchange  # type: ignore[method-assign]
        transport.first = self.first  # type: ignore[method-assign]
        transport.deliver = self.deliver  # type: ignore[method-assign]

    def exchange(self, payloads: Sequence[U8]) -> list[Sequence[U8]]:
        """Exchange as ever, and note."""
        self._note((p.size * c, c) for p, c in zip(payloads, self._copies, strict=True))
        return self._exchange(payloads)

    def first(self, payload: U8, cut: int) -> Sequence[U8]:
        """Begin an exchange in two parts as ever, and note it as one."""
        (copies,) = self._copies
        self._note([(payload.size * copies, copies)])
        return self._first(payload, cut)

    def deliver(self, letters: Sequence[Letter]) -> list[Sequence[U8]]:
        """Deliver as ever, and note."""
        self._note(
            (sum(letter.to(j).size for j in letter.tells), len(letter.tells)) for letter in letters
        )
        return self._deliver(letters)

    def _note(self, sent: Iterable[tuple[int, int]]) -> None:
        """Note the most that an agent sends in an exchange: bytes of all copies, copies."""
        self._sent.extend(max(sent))

    def __len__(self) -> int:
        """Return the exchanges so far."""
        return len(self._sent) // 2

    def waits(self, first: int = 0) -> Waits:
        """Put together what all processes noted, from the exchange `first` on; all call this together."""
        told: list[Any] = self._transport.share(self._sent[2 * first :].tolist())
        sent = np.array(told, np.int64).reshape(len(told), -1, 2)
        tells = sent[..., 1]
        # As `max` of pairs.
        busiest = (sent[..., 0] * (tells.max(initial=0) + 1) + tells).argmax(axis=0)
        nbytes, copies = np.take_along_axis(sent, busiest[None, :, None], axis=0)[0].T
        exchanges, messages = int((copies > 0).sum()), int(copies.sum())
        return Waits(exchanges, messages / max(exchanges, 1), int(nbytes.sum()) / max(messages, 1))
