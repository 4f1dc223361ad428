"""The bare exchange: as many bytes to and from every neighbour, by the transport and by raw sockets.

An iteration waits for the first; the network itself allows the second. Both are timed in turn in the
same job, so they see the same machine.
"""

import select
import socket
from collections.abc import Sequence
from time import perf_counter

import numpy as np

from distopt.core.arrays import F64, U8
from distopt.core.errors import TransportError
from distopt.transport.base import Transport, send_order

PATIENCE_SECONDS = 60.0
BLOCK_SECONDS = 0.2  # of exchanges between two meetings of the ranks


class RawExchange:
    """Sends and receives over plain TCP sockets, one per neighbour.

    It listens on the address `own`, of this rank's interface; the transport tells the neighbours each
    other's ports.
    """

    def __init__(self, transport: Transport, neighbours: Sequence[int], own: str) -> None:
        (me,) = transport.hosted
        with socket.create_server((own, 0)) as server:
            server.settimeout(PATIENCE_SECONDS)
            ports = [(host, port) for host, port in transport.share(server.getsockname())]
            links: dict[int, socket.socket] = {}
            try:
                for j in (j for j in neighbours if j < me):
                    links[j] = socket.create_connection(ports[j], PATIENCE_SECONDS)
                    links[j].sendall(me.to_bytes(4, "little"))
                for _ in (j for j in neighbours if j > me):
                    link, _ = server.accept()
                    link.settimeout(PATIENCE_SECONDS)
                    links[int.from_bytes(link.recv(4, socket.MSG_WAITALL), "little")] = link
            except OSError as error:
                raise TransportError(
                    f"Raw sockets between the hosts cannot be opened: {error}."
                ) from None
        self.links = [links[j] for j in send_order(me, neighbours, transport.agents)]
        for link in self.links:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.setblocking(False)

    def exchange(self, payload: U8, received: Sequence[U8]) -> None:
        """Send the payload to every neighbour; fill the buffers, of the same size, from them."""
        left = dict.fromkeys(self.links, payload.data)
        room = {link: part.data for link, part in zip(self.links, received, strict=True)}
        while left or room:
            readable, writable, _ = select.select(room, left, [], PATIENCE_SECONDS)
            if not readable and not writable:
                raise TransportError("A neighbour's raw socket was silent for too long.")
            for link in writable:
                advance(left, link, link.send(left[link]))
            for link in readable:
                count = link.recv_into(room[link])
                if count == 0:
                    raise TransportError("A neighbour has closed its raw socket.")
                advance(room, link, count)

    def close(self) -> None:
        """Close all sockets."""
        for link in self.links:
            link.close()


def advance(parts: dict[socket.socket, memoryview], link: socket.socket, count: int) -> None:
    """Take the bytes that have passed a link off its part; nothing stays of one that is through."""
    parts[link] = parts[link][count:]
    if not parts[link]:
        del parts[link]


def time_exchange(
    transport: Transport, raw: RawExchange, nbytes: int, seconds: float
) -> dict[str, float]:
    """Time exchanges of messages of one size, by the transport and by raw sockets in turn.

    All ranks start a block of exchanges together. A block is so long that their unequal start does not
    matter, and has at least two exchanges: as in a run, the next may begin while a slower neighbour
    still finishes the last. It all takes roughly `seconds`.

    Returns
    -------
    dict
        ``nbytes``, ``seconds`` by the transport and ``raw_seconds`` by raw sockets: medians over rounds,
        each the slowest rank's.
    """
    payload = np.zeros(nbytes, np.uint8)
    buffers = [np.empty(nbytes, np.uint8) for _ in raw.links]
    times: list[F64] = []
    began, rounds, block = perf_counter(), 2, 1
    while len(times) < rounds:
        meet(transport)
        start = perf_counter()
        for _ in range(block):
            transport.exchange([payload])
        middle = perf_counter()
        meet(transport)
        again = perf_counter()
        for _ in range(block):
            raw.exchange(payload, buffers)
        end = perf_counter()
        spent = np.array([[middle - start, end - again]])
        times.append(transport.collect(spent).max(axis=0) / block)
        if len(times) == 2 and block == 1:  # these two were to find out how long it takes
            whole = transport.collect(np.array([[(perf_counter() - began) / 2]])).max()
            block = int(min(max(2 * BLOCK_SECONDS / whole, 2), 1000))
            rounds = 2 + int(min(max(seconds / (block * whole), 3), 40))
    by_transport, by_sockets = np.median(times[2:], axis=0).tolist()
    return {"nbytes": nbytes, "seconds": by_transport, "raw_seconds": by_sockets}


def meet(transport: Transport) -> None:
    """Let all processes wait for each other, on the communicator of the diagnostics."""
    transport.collect(np.zeros((len(transport.hosted), 1)))
