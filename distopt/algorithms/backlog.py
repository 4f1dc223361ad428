"""What the edges of an agent miss on a graph that changes, and how it comes late.

Messages are differences to memories that both ends of an edge hold, so an edge that was down delivers, when
it is up again, all that it has missed, oldest first: each message behind its size, the present one last.
Both ends know from the topology which these are. An agent packs a message once for all neighbours, so it
keeps one log of its own latest messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from distopt.algorithms.letter import Letter
from distopt.core.arrays import U8
from distopt.problems.changing import PREFIX, ChangingTopology

if TYPE_CHECKING:
    from distopt.algorithms.agent import Agent


class Backlog:
    """The log of one agent, and what has come late to it.

    Parameters
    ----------
    agent : Agent
    topology : ChangingTopology
    delivers : bool
        Whether missed messages are delivered; vectors sent whole need none.
    """

    def __init__(self, agent: Agent, topology: ChangingTopology, delivers: bool) -> None:
        self._agent, self._topology = agent, topology
        rows = topology.window if delivers else 0
        self._log = np.zeros((rows, agent.max_nbytes), np.uint8)  # row k modulo `window`
        self._sizes = np.zeros(rows, "<u4")
        self.late: list[tuple[int, int, U8]] = []  # member, iteration, message

    def arrays(self) -> dict[str, np.ndarray]:
        """Name the arrays that a checkpoint must hold."""
        return {"backlog.log": self._log, "backlog.sizes": self._sizes} if self._sizes.size else {}

    def letter(self, payload: U8) -> Letter:
        """Address the message of this iteration, and what each edge has missed before."""
        agent, k = self._agent, self._agent.iteration
        js = agent.links.tells
        if not self._sizes.size:
            return Letter(payload, js, js)
        row = k % len(self._log)
        self._log[row, : payload.size], self._sizes[row] = payload, payload.size
        return Letter(payload, js, js, tuple(self._bundle(j, k, payload) for j in js))

    def _bundle(self, j: int, k: int, payload: U8) -> U8:
        """Put all that agent j has missed in front of a message."""
        parts: list[U8] = []
        for before in self._topology.missed(self._agent.index, j, k):
            row = before % len(self._log)
            parts += [self._sizes[row : row + 1].view(np.uint8), self._log[row, : self._sizes[row]]]
        return np.concatenate([*parts, payload]) if parts else payload

    def take(self, received: Sequence[U8]) -> Sequence[U8]:
        """Return the messages of this iteration, and keep for the next mixing what came late.

        Raises
        ------
        MessageError
            If a size is not that of a message.
        """
        if not self._sizes.size:
            return received
        agent = self._agent
        messages = list(received)
        for m, j in enumerate(agent.neighbours):
            if j not in agent.links.hears:
                continue
            for before in self._topology.missed(j, agent.index, agent.iteration):
                rest = messages[m][PREFIX:]
                size = int.from_bytes(messages[m][:PREFIX].tobytes(), "little")
                if size > rest.size:
                    raise agent.message_error(
                        m + 1,
                        f"what it missed at iteration {before} needs {size} bytes of {rest.size}",
                    )
                self.late.append((m + 1, before, rest[:size]))
                messages[m] = rest[size:]
        return messages
