"""Raw sockets carry what the transport does: every neighbour's payload, whole, whatever its size."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from distopt.core.errors import TransportError
from distopt.studies.measure.exchange import RawExchange

AGENTS = 3


class Shared:
    """What `RawExchange` asks of a transport, between threads."""

    agents = AGENTS

    def __init__(self, agent: int, items: list[Any], barrier: threading.Barrier) -> None:
        self.hosted, self.items, self.barrier = (agent,), items, barrier

    def share(self, item: Any) -> list[Any]:
        self.items[self.hosted[0]] = item
        self.barrier.wait()
        return self.items


def together(act) -> list[Any]:
    """Run `act(agent, raw)` on all agents of a complete graph, each in a thread."""
    items, barrier = [None] * AGENTS, threading.Barrier(AGENTS)

    def one(agent: int) -> Any:
        neighbours = [j for j in range(AGENTS) if j != agent]
        transport: Any = Shared(agent, items, barrier)
        with closing(RawExchange(transport, neighbours, "127.0.0.1")) as raw:
            return act(agent, raw)

    with ThreadPoolExecutor(AGENTS) as pool:
        return list(pool.map(one, range(AGENTS)))


@pytest.mark.parametrize("nbytes", [1, 333, 3_000_001])
def test_every_neighbour_gets_the_payload(nbytes: int) -> None:
    def exchange(agent: int, raw: RawExchange) -> list[int]:
        buffers = [np.zeros(nbytes, np.uint8) for _ in raw.links]
        for turn in range(3):
            raw.exchange(np.full(nbytes, 10 * agent + turn, np.uint8), buffers)
        return sorted(int(b[0]) for b in buffers if np.ptp(b) == 0)

    assert together(exchange) == [[12, 22], [2, 22], [2, 12]]


def test_a_neighbour_that_leaves_is_an_error() -> None:
    def leave(agent: int, raw: RawExchange) -> None:
        if agent == 0:
            return
        with pytest.raises((TransportError, ConnectionError)):
            raw.exchange(np.zeros(9, np.uint8), [np.zeros(9, np.uint8) for _ in raw.links])

    together(leave)
