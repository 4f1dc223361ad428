"""The messages of an exchange: sent, tested and counted by compiled code.

For each request, and for each look at it, mpi4py takes about a microsecond, as long as a kernel on a short
vector. So compiled code calls the MPI library itself, by the addresses of its functions. How large its
requests and statuses are and what stands for a communicator, mpi4py knows.
"""

import ctypes
import os
import time
from collections.abc import Callable, Sequence

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from mpi4py import MPI
from numba import types  # type: ignore[attr-defined]
from numba.core import cgutils
from numba.extending import intrinsic

from distopt.core.arrays import I32, I64, U8
from distopt.core.kernel import kernel
from distopt.transport.pace import LONG_SECONDS

TAG, SECOND = 1, 3  # of messages, and of second parts that travel by themselves
YIELDING = "OMPI_MCA_mpi_yield_when_idle"
# What `Posts.table` holds: addresses of functions, handles, and of one turn's requests the addresses.
SEND, TEST, START, COUNT, CLOCK, YIELD = range(6)
COMM, BYTE, TAGGED, SIZE, STATUS_SIZE, RECEIVES, ALL = range(6, 13)
REQUESTS, NEXT, STATUSES, TIME = range(13, 17)
MONOTONIC, LONG_NANOSECONDS = time.CLOCK_MONOTONIC, round(1e9 * LONG_SECONDS)
# What `Posts.told` says: whether all messages have come and gone, and whether a yield was long.
CAME, LONG = range(2)


def _function_at(typing_context, address, arguments):  # type: ignore[no-untyped-def]
    """Compile the call of a C function that returns an int.

    Each argument takes a whole register, of which the function reads as much as it declares.
    """

    def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
        values = cgutils.unpack_tuple(builder, args[1])  # type: ignore[no-untyped-call]
        declared = ir.FunctionType(ir.IntType(32), [value.type for value in values])
        return builder.call(builder.inttoptr(args[0], declared.as_pointer()), values)

    return types.int32(types.int64, arguments), build  # type: ignore[no-untyped-call]


# call(address, arguments): whole numbers, addresses and handles.
call: Callable[..., int] = intrinsic(_function_at)


def handle(item: MPI.Comm | MPI.Datatype) -> int:
    """Return what stands for it in C: an address, or with MPICH a number of 32 bits."""
    found = MPI._handleof(item)
    return found if MPI._sizeof(item) == 8 else ctypes.c_int32(found).value


@kernel
def send(table: I64, payload: U8, targets: I64) -> int:
    """Send a payload to all targets; return the code of the first error, 0 for none."""
    at = table[REQUESTS] + table[RECEIVES] * table[SIZE]
    for j in targets:
        message = np.int64(payload.ctypes.data), np.int64(payload.size), table[BYTE]
        code = call(table[SEND], (*message, j, table[TAGGED], table[COMM], at))
        if code != 0:
            return code
        at += table[SIZE]
    return 0


@kernel
def now(table: I64, clock: I64) -> int:
    """Return nanoseconds."""
    call(table[CLOCK], (np.int64(MONOTONIC), table[TIME]))
    found: int = 1_000_000_000 * clock[0] + clock[1]
    return found


@kernel
def look(table: I64, told: I32, clock: I64, spin: int) -> int:
    """Set told[CAME] to whether all messages have come and gone, told[LONG] to whether a yield was long.

    Look again after each yield, for so many nanoseconds or until a long one. Return the code of an error.
    """
    out = np.int64(told.ctypes.data) + 4 * CAME
    told[LONG] = 0
    began = before = now(table, clock) if spin > 0 else 0
    while True:
        code = call(table[TEST], (table[ALL], table[REQUESTS], out, table[STATUSES]))
        if code != 0 or told[CAME] or spin <= 0:
            return code
        if table[YIELD] != 0:
            call(table[YIELD], ())
        present = now(table, clock)
        told[LONG] = present - before > LONG_NANOSECONDS
        if told[LONG] or present - began > spin:
            spin = 0  # the last look
        before = present


@kernel
def count(table: I64, sizes: I32) -> int:
    """Set sizes to the bytes of the messages that have come; return the code of an error."""
    at, out = table[STATUSES], np.int64(sizes.ctypes.data)
    for j in range(sizes.size):
        code = call(table[COUNT], (at, table[BYTE], out + 4 * j))
        if code != 0:
            return code
        at += table[STATUS_SIZE]
    return 0


@kernel
def start(table: I64) -> int:
    """Wait for the messages of the next turn; return the code of an error."""
    return call(table[START], (table[RECEIVES], table[NEXT]))


@kernel
def send_and_look(table: I64, payload: U8, targets: I64, told: I32, clock: I64, spin: int) -> int:
    """Do both."""
    code = send(table, payload, targets)
    return look(table, told, clock, spin) if code == 0 else code


@kernel
def count_and_start(table: I64, sizes: I32) -> int:
    """Do both."""
    code = count(table, sizes)
    return start(table) if code == 0 else code


class Posts:
    """The messages of one exchange after the other, with the same ranks.

    Receives are posted one exchange ahead, into two sets of buffers in turn, so a neighbour that is early
    finds its receive waiting.

    Parameters
    ----------
    comm : MPI.Comm
    sources, targets : Sequence[int]
        Ranks that are heard, and told.
    max_nbytes : int
        Of a message.
    tag : int
    """

    def __init__(
        self,
        comm: MPI.Comm,
        sources: Sequence[int],
        targets: Sequence[int],
        max_nbytes: int,
        tag: int = TAG,
    ) -> None:
        self.sources, self.targets = tuple(sources), tuple(targets)
        n, both = len(sources), len(sources) + len(targets)
        self.buffers = [[np.zeros(max_nbytes, np.uint8) for _ in sources] for _ in range(2)]
        self._receives = [
            [
                comm.Recv_init([buffer, max_nbytes, MPI.BYTE], source=j, tag=tag)
                for j, buffer in zip(sources, buffers, strict=True)
            ]
            for buffers in self.buffers
        ]
        self._size = MPI._sizeof(MPI.Request)
        self._requests = np.zeros((2, both, self._size), np.uint8)
        for turn, receives in enumerate(self._receives):
            for m, request in enumerate(receives):
                found = ctypes.string_at(MPI._addressof(request), self._size)
                self._requests[turn, m] = np.frombuffer(found, np.uint8)
        self._statuses = np.zeros((both, MPI._sizeof(MPI.Status)), np.uint8)
        self._targets, self._sizes = np.array(targets, np.int64), np.zeros(n, np.int32)
        self.told, self.clock = np.zeros(2, np.int32), np.zeros(2, np.int64)
        self._tables = [self._table(comm, turn, tag) for turn in range(2)]
        # By turn: the buffers, as long as the messages that came last, and the sizes of these.
        self._views: list[list[U8]] = [[], []]
        self._came: list[list[int]] = [[-1], [-1]]
        self._turn = 0
        self._sent: U8 | None = None
        MPI.Prequest.Startall(self._receives[0])

    def _table(self, comm: MPI.Comm, turn: int, tag: int) -> I64:
        """Return what compiled code must know of a turn."""
        library, system = ctypes.CDLL(MPI.__file__), ctypes.CDLL(None)
        functions = [
            library.MPI_Isend, library.MPI_Testall, library.MPI_Startall, library.MPI_Get_count,
            system.clock_gettime, system.sched_yield,
        ]  # fmt: skip
        addresses = [ctypes.cast(function, ctypes.c_void_p).value for function in functions]
        if os.environ.get(YIELDING) == "1":  # Open MPI yields in a look that finds nothing
            addresses[YIELD] = 0
        places = [self._requests[turn], self._requests[1 - turn], self._statuses, self.clock]
        sizes = [self._size, self._statuses.shape[1], len(self.sources), len(self._requests[0])]
        numbers = [*addresses, handle(comm), handle(MPI.BYTE), tag, *sizes]
        return np.array([*numbers, *(place.ctypes.data for place in places)], np.int64)

    def compile(self) -> None:
        """Compile or load what the first exchange would, by one of no messages."""
        table, nothing = self._tables[0].copy(), self._statuses[:0].ravel()
        table[[RECEIVES, ALL]] = 0
        send_and_look(table, nothing, self._targets[:0], self.told, self.clock, 0)
        look(table, self.told, self.clock, 0)
        count_and_start(table, self._sizes[:0])

    def check(self, code: int) -> None:
        """Raise what an error of MPI says."""
        if code != MPI.SUCCESS:
            raise MPI.Exception(code)

    def send(self, payload: U8, spin: int) -> bool:
        """Send a payload, which must stay unchanged; return whether all messages have come and gone.

        Wait for that up to so many nanoseconds, while others have the core.
        """
        self._sent, table = payload, self._tables[self._turn]
        code = send_and_look(table, payload, self._targets, self.told, self.clock, spin)
        self.check(code)
        return bool(self.told[CAME])

    def done(self) -> bool:
        """Return whether all messages have come and gone."""
        if not self.told[CAME]:
            self.check(look(self.table, self.told, self.clock, 0))
        return bool(self.told[CAME])

    @property
    def table(self) -> I64:
        """What compiled code must know of the present messages."""
        return self._tables[self._turn]

    def take(self) -> list[U8]:
        """Return what has come, valid until the next call, and wait for the next messages."""
        turn, self._turn = self._turn, 1 - self._turn
        self.check(count_and_start(self._tables[turn], self._sizes))
        came = self._sizes.tolist()
        if came != self._came[turn]:
            self._came[turn] = came
            self._views[turn] = [b[:n] for b, n in zip(self.buffers[turn], came, strict=True)]
        return self._views[turn]

    def late(self) -> tuple[int, ...]:
        """Return who has not sent its message, or else not taken this rank's."""
        turn, n = self._turn, len(self.sources)
        handles = self._requests[turn, n:].view(f"u{self._size}").ravel().tolist()
        sends = [MPI.Request.fromhandle(found) for found in handles]
        return late_ranks([*self._receives[turn], *sends], self.sources, self.targets)

    def free(self) -> None:
        """Release requests and buffers, once the messages of all exchanges have come and gone."""
        for receives in self._receives:
            for request in receives:
                request.Free()
        self.buffers, self._views = [], [[], []]


def late_ranks(
    requests: Sequence[MPI.Request], sources: Sequence[int], targets: Sequence[int]
) -> tuple[int, ...]:
    """Return who has not sent its message, or else not taken this rank's."""
    pending = [not request.Get_status() for request in requests]
    n = len(sources)
    silent = [j for j, late in zip(sources, pending[:n], strict=True) if late]
    stuck = [j for j, late in zip(targets, pending[n:], strict=True) if late]
    return tuple(silent or stuck)
