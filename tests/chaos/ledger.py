"""What was sent, in memory that processes share: a checksum of every message of every iteration."""

import mmap
from math import prod
from typing import Any
from zlib import crc32

import numpy as np

ITERATIONS, AGENTS = 30, 4


class Ledger:
    """CRC32 of all that each agent received from each neighbour in each iteration.

    Parameters
    ----------
    file : int
        Descriptor of a file to keep it in; -1: memory that forked processes share.
    wanted : uint64[iterations, agents, agents], optional
        What it should become.

    Attributes
    ----------
    sums : uint64[iterations, agents, agents]
    wrong : uint64[agents]
        How many iterations of a process differed from `wanted`, also if they were done again later.
    """

    SHAPE = (ITERATIONS, AGENTS, AGENTS)
    NBYTES = 8 * (prod(SHAPE) + AGENTS)

    def __init__(self, file: int = -1, wanted: np.ndarray | None = None) -> None:
        whole = np.frombuffer(mmap.mmap(file, self.NBYTES), np.uint64)
        self.sums, self.wrong = whole[:-AGENTS].reshape(self.SHAPE), whole[-AGENTS:]
        self.wanted = wanted

    def listen(self, team: Any) -> None:
        """Enter what this process exchanges from now on; `team` is the module distopt.engine.team."""
        original = team.iterate
        team.goes_together = lambda *of: False  # a crowd has no messages that could be noted

        def iterate(algorithm: Any, hosted: Any, transport: Any, k: int, workers: Any) -> None:
            if transport.agents != AGENTS:  # two agents that compile the kernels
                return original(algorithm, hosted, transport, k, workers)
            exchange, mine = transport.exchange, [h.agent.index for h in hosted]
            found = np.zeros(self.SHAPE[1:], np.uint64)

            def note(payloads: Any) -> Any:
                received = exchange(payloads)
                for i, messages in zip(mine, received, strict=True):
                    for n, message in enumerate(messages):
                        found[i, n] = crc32(message, int(found[i, n]))
                return received

            transport.exchange = note
            try:
                original(algorithm, hosted, transport, k, workers)
            finally:
                del transport.exchange
            self.sums[k, mine] = found[mine]
            if self.wanted is not None:
                self.wrong[mine[0]] += np.any(found[mine] != self.wanted[k, mine])
            return None

        team.iterate = iterate
