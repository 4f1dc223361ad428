"""One rank, one agent: packed bytes in preallocated buffers, upper-case calls only."""

import json
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from time import perf_counter
from typing import Any

import numpy as np
from mpi4py import MPI

from distopt.core.arrays import F64, U8
from distopt.core.errors import ConfigError, DistoptError, TransportError
from distopt.problems.topology import Topology
from distopt.transport.base import LOST, Traffic, Transport, send_order

TAG = 1
SPIN_SECONDS = 2e-3  # poll this long before sleeping between polls, where every rank has a core
SLEEP_SECONDS = 1e-6  # the kernel's timer slack makes it about 50 us
LARGEST = 2**31 - 1  # bytes of a message, the limit of a C int count

ALARM_TAG = 2
LISTEN_SECONDS = 0.01  # how often rank 0 looks for alarms while it waits
GRACE_SECONDS = 0.5  # rank 0 waits this long for others' alarms before it ends the job
ALARM_SECONDS = 3.0  # other failing ranks wait this long for rank 0 to end the job
SETUP_SECONDS = 600.0  # setting up and saving may take this long, even with a short run.timeout


def require_ranks(comm: MPI.Comm | None, agents: int) -> MPI.Comm:
    """Return the communicator (COMM_WORLD for None), which must have one rank per agent."""
    comm = MPI.COMM_WORLD if comm is None else comm
    if comm.size != agents:
        raise ConfigError(
            f"problem.agents = {agents}, but the MPI job has {comm.size} ranks; one rank is one "
            f"agent: start {agents} ranks or set problem.agents = {comm.size}."
        )
    return comm


def packed(item: Any) -> U8:
    """Write an item as JSON, uint8[:]: what another rank sends is data, never code."""
    return np.frombuffer(json.dumps(item).encode(), np.uint8)


class RemoteError(DistoptError):
    """Another rank has failed and is about to say why."""


class MpiTransport(Transport):
    """Exchanges with neighbouring ranks on one communicator, and sends diagnostics on another.

    Receives are posted one exchange ahead, into two sets of buffers in turn, so a neighbour that is
    early finds its receive waiting. Waiting polls: a blocking MPI call could neither notice a silent
    neighbour nor let a signal be handled. Between polls it yields the core at first and later sleeps
    in short steps; with more ranks than cores it sleeps from the start, since a busy wait keeps the
    awaited rank from running (4 ranks on 2 cores, 30 us of work each: 300 us an exchange with MPICH
    against 410 yielding and 6000 spinning; about the same as yielding with Open MPI).

    A failing rank sends an alarm to rank 0 on a third communicator and waits for it to end the job.
    Rank 0 checks for alarms whenever it waits, saves its records, and prints the first cause, so the
    job ends with one sentence. If rank 0 cannot, the failing rank prints it.

    Parameters
    ----------
    comm : MPI.Comm
        Its size must be the number of agents; it is duplicated, never used.
    topology : Topology
    max_nbytes : int
        The largest message that any agent can send.
    timeout : float
        Seconds that a neighbour may stay silent.
    """

    def __init__(self, comm: MPI.Comm, topology: Topology, max_nbytes: int, timeout: float) -> None:
        if max_nbytes > LARGEST:
            raise ConfigError(
                f"A message of this compressor can take {max_nbytes} bytes at this dimension; "
                f"MPI carries at most {LARGEST}."
            )
        self.agents = comm.size
        self.hosted = (comm.rank,)
        self.root = comm.rank == 0
        self.traffic = Traffic()
        self.timeout = timeout
        self._patience = max(timeout, SETUP_SECONDS)
        self.exchanges = 0
        self._comm = comm.Dup()
        self._diagnostics = comm.Dup()
        self._alarms = comm.Dup()
        links = topology.links(comm.rank)
        self._neighbours = links.hears
        self._order = send_order(comm.rank, links.tells, comm.size)
        self._spin_seconds = 0.0 if self._crowded() else SPIN_SECONDS
        self._hosts = ["?"] * comm.size
        self._hosts = self.share(socket.gethostname())
        self._statuses = [MPI.Status() for _ in range(len(self._neighbours) + len(self._order))]
        self._buffers = [
            [np.zeros(max_nbytes, np.uint8) for _ in self._neighbours] for _ in range(2)
        ]
        self._receives = [
            [
                self._comm.Recv_init([buffer, max_nbytes, MPI.BYTE], source=j, tag=TAG)
                for j, buffer in zip(self._neighbours, buffers, strict=True)
            ]
            for buffers in self._buffers
        ]
        self._turn = 0
        MPI.Prequest.Startall(self._receives[0])

    def _crowded(self) -> bool:
        """Whether this host has more ranks than cores, or shares its cores with other hosts' ranks."""
        if os.environ.get("DISTOPT_BUSY_WAIT") == "0":
            return True
        node = self._diagnostics.Split_type(MPI.COMM_TYPE_SHARED)
        ranks = node.size
        node.Free()
        return ranks > (os.cpu_count() or 1)

    def exchange(self, payloads: Sequence[U8]) -> list[Sequence[U8]]:
        began = perf_counter()
        (payload,) = payloads
        turn, self._turn = self._turn, self._turn ^ 1
        message = [payload, payload.size, MPI.BYTE]
        requests: list[MPI.Request] = [*self._receives[turn]]
        requests += [self._comm.Isend(message, dest=j, tag=TAG) for j in self._order]
        self.count(payload, len(self._order))
        self._wait(requests, self._statuses)
        received = [
            buffer[: status.Get_count(MPI.BYTE)]
            for buffer, status in zip(self._buffers[turn], self._statuses, strict=False)
        ]
        MPI.Prequest.Startall(self._receives[self._turn])
        self.exchanges += 1
        self.traffic.seconds += perf_counter() - began
        return [received]

    def _wait(
        self,
        requests: list[MPI.Request],
        statuses: list[MPI.Status] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Wait for all requests; raise `TransportError` naming who is silent after the timeout.

        Without statuses it is a collective operation, which does not show who is missing.
        """
        testall = MPI.Request.Testall
        if testall(requests, statuses):
            return
        timeout = self.timeout if timeout is None else timeout
        began, listened = perf_counter(), 0.0
        while not testall(requests, statuses):
            waited = perf_counter() - began
            if waited < self._spin_seconds:
                os.sched_yield()
                continue
            time.sleep(SLEEP_SECONDS)
            if self.root and waited - listened > LISTEN_SECONDS:
                listened = waited
                if self._alarms.Iprobe(tag=ALARM_TAG):
                    raise RemoteError("Another rank has failed.")
            if waited > timeout:
                raise TransportError(
                    self._silence(requests) if statuses is not None else self._absence(timeout)
                )

    def _absence(self, timeout: float) -> str:
        me = self.hosted[0]
        return (
            f"Agent {me} (host {self._hosts[me]}) waited {timeout:g} s after exchange "
            f"{self.exchanges} for all agents to record or save together; one of them hangs. "
            "run.timeout sets how long to wait."
        )

    def _silence(self, requests: list[MPI.Request]) -> str:
        me = self.hosted[0]
        pending = [not request.Get_status() for request in requests]
        silent = [j for j, late in zip(self._neighbours, pending, strict=False) if late]
        stuck = [
            j
            for j, late in zip(self._order, pending[len(self._neighbours) :], strict=False)
            if late
        ]
        who = " and ".join(f"agent {j} (host {self._hosts[j]})" for j in silent or stuck)
        what = "heard nothing from" if silent or not stuck else "cannot get its message through to"
        return (
            f"Agent {me} (host {self._hosts[me]}) {what} {who or 'some rank'} for "
            f"{self.timeout:g} s in exchange {self.exchanges}; run.timeout sets how long to wait."
        )

    def mean(self, rows: Sequence[F64], out: F64) -> None:
        # Each rank sums one slice of the coordinates in the order of the agents, where an MPI library's
        # own reduction could take any order; memory stays O(d) on every rank.
        n, d = self.agents, out.size
        counts = np.array([d // n + (i < d % n) for i in range(n)])
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        mine = int(counts[self.hosted[0]])
        parts = np.empty((n, mine))
        self._wait(
            [
                self._diagnostics.Ialltoallv(
                    [rows[0], counts, starts, MPI.DOUBLE],
                    [parts, [mine] * n, [mine * i for i in range(n)], MPI.DOUBLE],
                )
            ]
        )
        total = parts[0]
        for part in parts[1:]:
            total += part
        total /= n
        self._wait(
            [self._diagnostics.Iallgatherv([total, mine], [out, counts, starts, MPI.DOUBLE])]
        )
        self.traffic.diagnostics_nbytes += 8 * (d - mine) + 8 * mine * (n - 1)

    def collect(self, rows: F64) -> F64:
        out = np.empty((self.agents, rows.shape[1]))
        self._wait([self._diagnostics.Iallgather(np.ascontiguousarray(rows), out)])
        self.traffic.diagnostics_nbytes += rows.nbytes * (self.agents - 1)
        return out

    def share(self, item: Any) -> list[Any]:
        content = packed(item)
        sizes = np.empty(self.agents, np.int64)
        ask = self._diagnostics.Iallgather(np.array([content.size]), sizes)
        self._wait([ask], timeout=self._patience)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        parts = np.empty(starts[-1], np.uint8)
        gather = self._diagnostics.Iallgatherv(
            [content, content.size, MPI.BYTE], [parts, sizes, starts[:-1], MPI.BYTE]
        )
        self._wait([gather], timeout=self._patience)
        self.traffic.diagnostics_nbytes += content.size * (self.agents - 1)
        return [json.loads(parts[a:b].tobytes()) for a, b in pairwise(starts)]

    def warm_up(self, compile_kernels: Callable[[], None]) -> None:
        node = self._diagnostics.Split_type(MPI.COMM_TYPE_SHARED)
        if node.rank == 0:
            compile_kernels()
        self._wait([node.Ibarrier()], timeout=self._patience)
        if node.rank:
            compile_kernels()  # which finds them in the cache
        node.Free()

    def abort(self, error: BaseException) -> None:
        """End the whole job with exit code 1; one rank prints the cause, once."""
        if isinstance(error, MPI.Exception):  # what a library says whose peer has died
            me = self.hosted[0]
            error = TransportError(
                f"Agent {me} (host {self._hosts[me]}) lost a connection: {error}."
            )
        if isinstance(error, DistoptError) and not os.environ.get("DISTOPT_DEBUG"):
            text = f"distopt: {error}\n"
        else:
            text = "".join(traceback.format_exception(error))
        # A rank that hears nothing comes after the cause of its neighbour's silence, and the first to
        # hear nothing was the nearest.
        own = (isinstance(error, TransportError), self.exchanges, self._alarms.rank, text)
        causes = [] if isinstance(error, RemoteError) else [own]
        message = packed(own)
        began = time.monotonic()
        if self.root:
            while time.monotonic() - began < GRACE_SECONDS:
                causes += self._heard()
                time.sleep(SLEEP_SECONDS)
        else:
            others = [j for j in range(self.agents) if j != self._alarms.rank]
            sent = [self._alarms.Isend(message, dest=j, tag=ALARM_TAG) for j in others]
            # Where rank 0 cannot end the job, the failing rank with the first cause does.
            while time.monotonic() - began < ALARM_SECONDS * (1 + (min(causes) != own)):
                MPI.Request.Testall(sent)
                causes += self._heard()
                time.sleep(LISTEN_SECONDS)
        lost, *_, text = min(causes)
        sys.stderr.write(text)
        sys.stderr.flush()
        self._comm.Abort(LOST if lost else 1)

    def _heard(self) -> list[tuple[bool, int, int, str]]:
        """Take the alarms that have come: as in `abort`."""
        heard, status = [], MPI.Status()
        while self._alarms.Iprobe(tag=ALARM_TAG, status=status):
            content = np.empty(status.Get_count(MPI.BYTE), np.uint8)
            self._alarms.Recv(content, source=status.Get_source(), tag=ALARM_TAG)
            with suppress(ValueError, TypeError):  # a damaged alarm is one that did not come
                late, exchanges, rank, text = json.loads(content.tobytes())
                heard.append((bool(late), int(exchanges), int(rank), str(text)))
        return heard

    def close(self) -> None:
        for request in self._receives[self._turn]:
            request.Cancel()
            request.Wait()
        for receives in self._receives:
            for request in receives:
                request.Free()
        self._receives = [[], []]
        self._comm.Free()
        self._diagnostics.Free()
        self._alarms.Free()
