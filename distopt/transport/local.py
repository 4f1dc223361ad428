"""All agents in one process: messages are passed by reference."""

from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from distopt.algorithms.letter import NOTHING, Letter
from distopt.core.arrays import F64, I64, U8
from distopt.problems.topology import Topology
from distopt.transport.base import Traffic, Transport, slices

PARTS = 16  # of the rows, of which one is copied at a time,
BLOCK = 2**17  # or as many coordinates


class LocalTransport(Transport):
    """Hands payloads over inside this process, and counts them as if they had travelled.

    Parameters
    ----------
    topology : Topology
    """

    travels = False

    def __init__(self, topology: Topology) -> None:
        self.agents = topology.agents
        self.hosted = tuple(range(self.agents))
        self.root = True
        self.traffic, self.told = Traffic(), {}
        self._links = [topology.links(i) for i in self.hosted]
        self._copies = np.array([len(links.tells) for links in self._links])
        self._heard = np.minimum(self._copies, 1)

    def agree_to_stop(self, wish: str) -> str:
        return wish

    def exchange(self, payloads: Sequence[U8]) -> list[Sequence[U8]]:
        began = perf_counter()
        for i, (payload, links) in enumerate(zip(payloads, self._links, strict=True)):
            self.count(payload, len(links.tells), (i,))
        received = [[payloads[j] for j in links.hears] for links in self._links]
        self.traffic.seconds += perf_counter() - began
        return received  # type: ignore[return-value]

    def tally(self, sizes: I64) -> None:
        began = perf_counter()
        traffic, told = self.traffic, self.told
        traffic.nbytes += int(sizes @ self._heard)
        traffic.nbytes_on_wire += int(sizes @ self._copies)
        traffic.messages += int(self._copies.sum())
        for i, nbytes in enumerate(sizes.tolist()):
            told[i,] = told.get((i,), 0) + nbytes
        traffic.seconds += perf_counter() - began

    def deliver(self, letters: Sequence[Letter]) -> list[Sequence[U8]]:
        began = perf_counter()
        for i, letter in enumerate(letters):
            self.count_letter(i, letter)
        received = [
            [letters[j].to(i) if j in letter.hears else NOTHING for j in links.hears]
            for i, (letter, links) in enumerate(zip(letters, self._links, strict=True))
        ]
        self.traffic.seconds += perf_counter() - began
        return received  # type: ignore[return-value]

    def mean(self, rows: Sequence[F64], out: F64) -> None:
        out[:] = rows[0]
        for row in rows[1:]:
            out += row
        out /= self.agents
        self.traffic.diagnostics_nbytes += (rows[0].nbytes + out.nbytes) * (self.agents - 1)

    def scatter(self, rows: Sequence[F64] | F64) -> Iterator[F64]:
        flat = [row.reshape(-1) for row in rows]
        self.traffic.diagnostics_nbytes += flat[0].nbytes * (self.agents - 1)
        return columns(flat)

    def collect(self, rows: F64) -> F64:
        self.traffic.diagnostics_nbytes += rows.nbytes * (self.agents - 1)
        return np.asarray(rows)

    def share(self, item: Any) -> list[Any]:
        return [item]

    def warm_up(self, compile_kernels: Callable[[], None]) -> None:
        compile_kernels()

    def abort(self, error: BaseException) -> None:
        pass  # there are none

    def close(self) -> None:
        pass


def columns(rows: Sequence[F64]) -> Iterator[F64]:
    """Cut the rows of all agents into the `slices`, some of them at a time: a small part of the rows."""
    d = rows[0].size
    width = max(d // PARTS, BLOCK // len(rows), 1)
    start, block = 0, np.empty((len(rows), 0))
    for part in slices(d, len(rows)):
        if part.stop > start + block.shape[1]:
            start, end = part.start, max(part.stop, min(part.start + width, d))
            block = np.array([row[start:end] for row in rows])
        yield block[:, part.start - start : part.stop - start]
