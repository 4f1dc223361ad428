"""One rank, one agent: packed bytes in preallocated buffers, upper-case calls only."""

import json
import socket
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from time import perf_counter
from typing import Any

import numpy as np
from mpi4py import MPI

from distopt.algorithms.letter import NOTHING, Letter
from distopt.core.arrays import F64, U8
from distopt.core.errors import ConfigError, DistoptError, TransportError
from distopt.problems.changing import PREFIX
from distopt.problems.topology import Topology
from distopt.transport.base import (
    COMPILE,
    COST,
    END,
    LOST,
    SAVE,
    SET_UP,
    Traffic,
    Transport,
    mean_of,
    send_order,
    slices,
)
from distopt.transport.carrier import Carrier
from distopt.transport.pace import Pace
from distopt.transport.posts import LONG, SECOND, Posts, late_ranks
from distopt.transport.verdict import Report, Verdict, aim, printed
from distopt.transport.watch import HOSTS, RemoteError, Watch, end_job, packed

LETTER = 2  # tag
POLL_SECONDS = 0.01  # between looks for answers at the end
LARGEST = 2**31 - 1  # bytes of a message, the limit of a C int count

# Another rank waits this long for rank 0 to end the job, the next twice as long.
ALARM_SECONDS = 3.0
COMPILE_SECONDS = 900.0  # compiling all kernels may take this long


def require_ranks(comm: MPI.Comm | None, agents: int) -> MPI.Comm:
    """Return the communicator (COMM_WORLD for None), which must have one rank per agent."""
    comm = MPI.COMM_WORLD if comm is None else comm
    if comm.size != agents:
        raise ConfigError(
            f"problem.agents = {agents}, but the MPI job has {comm.size} ranks; one rank is one "
            f"agent: start {agents} ranks or set problem.agents = {comm.size}."
        )
    return comm


class SilenceError(TransportError):
    """A rank has waited too long for others."""


class MpiTransport(Transport):
    """Exchanges with neighbouring ranks on one communicator, and sends diagnostics on another.

    Waiting polls: a blocking MPI call could neither notice a silent neighbour nor let a signal be
    handled. Between polls it yields the core at first and later sleeps in short steps (`Pace`).

    A rank that fails, or has waited too long, calls the others on a third communicator. They look for
    calls whenever they wait and between iterations, and answer with what they do. Rank 0 saves its
    records, and prints the first cause or who has not answered, so the job ends with one sentence. If
    rank 0 cannot, the next rank does.

    Parameters
    ----------
    comm : MPI.Comm
        Its size must be the number of agents; it is duplicated, never used.
    topology : Topology
    max_nbytes : int
        The largest message that any agent can send.
    timeout : float
        Seconds that a neighbour may stay silent.
    patience : float
        Seconds that a rank may take longer than others to set up, or to save.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        topology: Topology,
        max_nbytes: int,
        timeout: float,
        patience: float = 300.0,
    ) -> None:
        if max_nbytes > LARGEST:
            raise ConfigError(
                f"A message of this compressor can take {max_nbytes} bytes at this dimension; "
                f"MPI carries at most {LARGEST}."
            )
        self.agents = comm.size
        self.hosted = (comm.rank,)
        self.root = comm.rank == 0
        self.traffic, self.told = Traffic(), {}
        self.timeout, self.patience = timeout, patience
        self.exchanges = 0
        self._waits: tuple[int, ...] = ()  # for whom, when a wait ended early
        self._waited = 0.0  # seconds, when this rank gave up
        self._carrier: Carrier | None = None
        told: Any = comm.Get_attr(HOSTS)
        self._hosts: list[str] = told or ["unknown"] * comm.size
        self._comm, self._pace = comm, Pace()
        self._watch = Watch(comm, lambda: self.earliest, shared=True)
        self.begin(COST)
        self._comm = self._meet(comm)
        self._diagnostics = comm.Dup()
        self._watch = Watch(comm.Dup(), lambda: self.earliest)
        links = topology.links(comm.rank)
        self._neighbours = links.hears
        self._order = send_order(comm.rank, links.tells, comm.size)
        self._hosts = ["?"] * comm.size
        self._hosts = self.share(socket.gethostname())
        self.hosts = len(set(self._hosts))
        self._statuses = [MPI.Status() for _ in range(len(self._neighbours) + len(self._order))]
        self._posts = Posts(self._comm, self._neighbours, self._order, max_nbytes)
        self._second: Posts | None = None  # of messages in two parts
        # On a graph that changes, a letter may hold all that an edge has missed.
        self._letter_nbytes = max_nbytes + (topology.window - 1) * (max_nbytes + PREFIX)
        self._letters: dict[int, U8] = {}  # buffers of those from whom letters have come

    def _meet(self, comm: MPI.Comm) -> MPI.Comm:
        """Duplicate the communicator once all ranks have come, or end the job."""
        # No Idup: with MPICH 5.0.2 ranks once waited in it for ever, while others left a barrier.
        request = comm.Ibarrier()
        try:
            self._until(request.Test)
        except DistoptError as missing:
            self.abort(missing)
        return comm.Dup()

    def exchange(self, payloads: Sequence[U8]) -> list[Sequence[U8]]:
        began = perf_counter()
        (payload,) = payloads
        posts, pace = self._posts, self._pace
        done = posts.send(payload, round(1e9 * pace.spin()))
        if posts.told[LONG]:
            pace.felt(perf_counter() - began)
        self.count(payload, len(self._order), self.hosted)
        if not done:
            self._until(posts.done, posts.late, began)
        received = posts.take()
        self.exchanges += 1
        self.traffic.seconds += perf_counter() - began
        return [received]

    def in_parts(self, max_nbytes: int, moved: bool) -> None:
        self._end_parts()
        self._second = Posts(self._comm, self._neighbours, self._order, max_nbytes, SECOND)
        if moved and MPI.Query_thread() == MPI.THREAD_MULTIPLE:
            self._carrier = Carrier()

    def _end_parts(self) -> None:
        """Release what messages in two parts need, if a run on this transport had them."""
        if self._second:
            self._end_receives(self._second)
            self._second.free()
            self._second = None
        if self._carrier:
            self._carrier.close()
            self._carrier = None

    def _end_receives(self, posts: Posts) -> None:
        """End the receives that are posted for one more exchange.

        Empty messages do so in a way that all MPI libraries know well; to cancel a receive is another
        matter. All ranks call this together.
        """
        if not posts.send(NOTHING, 0):
            self._until(posts.done, posts.late)

    def first(self, payload: U8, cut: int) -> Sequence[U8]:
        assert self._second is not None
        began, posts, second = perf_counter(), self._posts, self._second
        done = posts.send(payload[:cut], 0)
        came = second.send(payload[cut:], 0)
        self.count(payload, len(self._order), self.hosted)
        if not done:
            self._until(posts.done, posts.late, began)
        received = posts.take()
        if self._carrier and not came and not second.done():
            self._carrier.begin(second)
        self.traffic.seconds += perf_counter() - began
        return received

    def rest(self) -> Sequence[U8]:
        assert self._second is not None
        began, second = perf_counter(), self._second
        if self._carrier:
            self._carrier.end()
        if not second.done():
            self._until(second.done, second.late, began)
        received = second.take()
        self.exchanges += 1
        self.traffic.seconds += perf_counter() - began
        return received

    def deliver(self, letters: Sequence[Letter]) -> list[Sequence[U8]]:
        began = perf_counter()
        (letter,) = letters
        received, heard = [NOTHING] * len(self._neighbours), []
        for m, j in enumerate(self._neighbours):
            if j in letter.hears:
                if j not in self._letters:
                    self._letters[j] = np.zeros(self._letter_nbytes, np.uint8)
                heard.append((m, j, self._letters[j]))
        requests = [self._comm.Irecv(room, source=j, tag=LETTER) for _, j, room in heard]
        order = [j for j in self._order if j in letter.tells]
        requests += [
            self._comm.Isend([letter.to(j), letter.to(j).size, MPI.BYTE], dest=j, tag=LETTER)
            for j in order
        ]
        self.count_letter(self.hosted[0], letter)
        self._wait(requests, self._statuses[: len(requests)], [j for _, j, _ in heard], order)
        for (m, _, room), status in zip(heard, self._statuses, strict=False):
            received[m] = room[: status.Get_count(MPI.BYTE)]
        self.exchanges += 1
        self.traffic.seconds += perf_counter() - began
        return [received]

    def agree_to_stop(self, wish: str) -> str:
        watch = self._watch
        if wish:
            watch.stop(wish)
        watch.look()
        if watch.waiting:
            self._until(lambda: not watch.waiting)
        return watch.reason if watch.last is not None and self.earliest >= watch.last else ""

    @property
    def _limit(self) -> tuple[float, str]:
        """How long to wait for what this rank does, and the key that says so."""
        if self.iteration is not None and self.task not in {SAVE, END}:
            return self.timeout, "run.timeout"
        longer = COMPILE_SECONDS if self.task == COMPILE else self.patience
        return max(self.timeout, longer), "run.setup_timeout"

    def _wait(
        self,
        requests: list[MPI.Request],
        statuses: list[MPI.Status] | None = None,
        sources: Sequence[int] = (),
        targets: Sequence[int] = (),
    ) -> None:
        """Wait for receives from `sources` and sends to `targets`; without statuses, for all ranks."""
        testall = MPI.Request.Testall
        if not testall(requests, statuses):
            late = None if statuses is None else (lambda: late_ranks(requests, sources, targets))
            self._until(lambda: testall(requests, statuses), late)

    def _until(
        self,
        done: Callable[[], bool],
        late: Callable[[], tuple[int, ...]] | None = None,
        began: float | None = None,
    ) -> None:
        """Wait, or go on with what `began`; `late` tells for whose messages.

        Raises
        ------
        SilenceError
            After the timeout.
        RemoteError
            If another rank has failed.
        """
        began, pace, limit = began or perf_counter(), self._pace, self._limit[0]
        while not done():
            if not pace.rest(began):
                continue
            try:
                self._watch.look()
                if (waited := perf_counter() - began) > limit:
                    self._waited = limit
                    raise SilenceError(f"Agent {self.hosted[0]} has waited {waited:g} s.")
            except DistoptError:
                self._waits = late() if late else ()
                raise

    def mean(self, rows: Sequence[F64], out: F64) -> None:
        # Each rank sums one slice of the coordinates in the order of the agents, where an MPI library's
        # own reduction could take any order; memory stays O(d) on every rank.
        (parts,) = self.scatter(rows)
        total = mean_of(parts)
        cut = slices(out.size, self.agents)
        sizes, starts = [s.stop - s.start for s in cut], [s.start for s in cut]
        whole = [out, sizes, starts, MPI.DOUBLE]
        self._wait([self._diagnostics.Iallgatherv([total, total.size, MPI.DOUBLE], whole)])
        self.traffic.diagnostics_nbytes += total.nbytes * (self.agents - 1)

    def scatter(self, rows: Sequence[F64] | F64) -> list[F64]:
        n, d, (me,) = self.agents, rows[0].size, self.hosted
        cut = slices(d, n)
        sizes, starts = [s.stop - s.start for s in cut], [s.start for s in cut]
        mine = sizes[me]
        parts: F64 = np.empty((n, mine), rows[0].dtype)
        number = MPI.FLOAT if parts.itemsize == 4 else MPI.DOUBLE
        sent = [np.ascontiguousarray(rows[0]), sizes, starts, number]
        got = [parts, [mine] * n, [mine * i for i in range(n)], number]
        self._wait([self._diagnostics.Ialltoallv(sent, got)])
        self.traffic.diagnostics_nbytes += parts.itemsize * (d - mine)
        return [parts]

    def collect(self, rows: F64) -> F64:
        out = np.empty((self.agents, rows.shape[1]))
        self._wait([self._diagnostics.Iallgather(np.ascontiguousarray(rows), out)])
        self.traffic.diagnostics_nbytes += rows.nbytes * (self.agents - 1)
        return out

    def share(self, item: Any) -> list[Any]:
        content = packed(item)
        sizes = np.empty(self.agents, np.int64)
        ask = self._diagnostics.Iallgather(np.array([content.size]), sizes)
        self._wait([ask])
        starts = np.concatenate([[0], np.cumsum(sizes)])
        parts = np.empty(starts[-1], np.uint8)
        gather = self._diagnostics.Iallgatherv(
            [content, content.size, MPI.BYTE], [parts, sizes, starts[:-1], MPI.BYTE]
        )
        self._wait([gather])
        self.traffic.diagnostics_nbytes += content.size * (self.agents - 1)
        return [json.loads(parts[a:b].tobytes()) for a, b in pairwise(starts)]

    def warm_up(self, compile_kernels: Callable[[], None]) -> None:
        self.begin(COMPILE)

        def compile_all() -> None:
            compile_kernels()
            self._posts.compile()

        node = self._diagnostics.Split_type(MPI.COMM_TYPE_SHARED)
        if node.rank == 0:
            compile_all()
        self._wait([node.Ibarrier()])
        if node.rank:
            compile_all()  # which finds them in the cache
        node.Free()
        self.begin(SET_UP)

    def abort(self, error: BaseException) -> None:
        """End the whole job with exit code 1; one rank prints the cause, once."""
        if self._carrier:
            self._carrier.end()
        me, verdict, began = self.hosted[0], Verdict(self._hosts), time.monotonic()
        own = verdict.reports[me] = self._report(error)
        self._watch.alarm(own)
        while True:
            for report in self._watch.alarms():
                verdict.reports.setdefault(report.rank, report)
            spent = time.monotonic() - began
            turn = 0 if self.root else 1 + sorted(verdict.reports.keys() - {0}).index(me)
            if verdict.settled(spent) and spent >= ALARM_SECONDS * turn:
                break
            time.sleep(POLL_SECONDS)
        sys.stderr.write(verdict.text())
        sys.stderr.flush()
        end_job(LOST if verdict.lost else 1)

    def _report(self, error: BaseException) -> Report:
        """Say what this rank was doing when it failed, gave up or was called."""
        silent, me = isinstance(error, RemoteError | SilenceError), self.hosted[0]
        if isinstance(error, MPI.Exception):  # what a library says whose peer has died
            error = TransportError(
                f"Agent {me} (host {self._hosts[me]}) lost a connection: {error}."
            )
        who = f"Agent {me} (host {self._hosts[me]}) was to {aim(self.task, self.iteration)}"
        return Report(
            rank=me,
            exchanges=self.exchanges,
            task=self.task,
            iteration=self.iteration,
            key=self._limit[1],
            waits=self._waits,
            seconds=self._waited,
            error="" if silent else printed(error, who),
            network=isinstance(error, TransportError),
            left=isinstance(error, SystemExit),
        )

    def close(self) -> None:
        self.begin(END, self.earliest)
        self._end_receives(self._posts)
        self._end_parts()
        # Some may still wait here for answers to their wish to stop. A wish that comes too late to matter
        # must be heard all the same, or it would wait for whoever gets the communicator's place next.
        watch, wished = self._watch, np.empty(self.agents, np.uint8)
        meeting = self._diagnostics.Iallgather(np.array([watch.wished], np.uint8), wished)
        self._until(lambda: meeting.Test() and not watch.waiting and watch.has_heard(wished))
        self._posts.free()
        self._letters.clear()
        self._comm.Free()
        self._diagnostics.Free()
        watch.free()
