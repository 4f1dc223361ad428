"""Kernels that do several things at once, for compressors that have them.

`Compressor.fused` returns them. Each does what `encode` and `decode_add` do together with the loops around
them, to the bit, tile by tile, so that a vector passes through memory once instead of once a loop, and one
call from Python does what several did. A compressor without them loses speed, nothing else.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from operator import is_

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import carray, types  # type: ignore[attr-defined]
from numba.extending import intrinsic

from distopt.core.arrays import F64, I64, U8, U32
from distopt.core.kernel import kernel

ADDRESS, SIZE, AT = range(3)  # columns of `Mail.table`
FINE = -1  # what a kernel over all members returns if it takes all messages


@intrinsic  # type: ignore[untyped-decorator]
def _pointer(typing_context, address):  # type: ignore[no-untyped-def]
    """An address as a pointer to bytes; numba has no name for it."""

    def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.CPointer(types.uint8)(types.int64), build  # type: ignore[no-untyped-call]


class Mail:
    """The messages of all members of a neighbourhood as one table, which kernels read.

    Member 0 is the agent itself, then its neighbours in order. A kernel moves each member's place
    behind what it has taken. The messages themselves must be held elsewhere.

    Attributes
    ----------
    table : int64[members, 3]
        Address, size in bytes, and the place of the next vector; a size of -1 if there is no message.
    """

    def __init__(self, members: int) -> None:
        self.table = np.zeros((members, 3), np.int64)
        # Messages come in two sets of arrays in turn, which stay the same as long as sizes do: of each a
        # table, and the messages in it.
        self._other = self.table.copy()
        self._posted: list[U8] = []
        self._before: list[U8] = []

    def post(self, messages: Sequence[U8], silent: Collection[int] = ()) -> None:
        """Take the messages of an exchange, where some members have none."""
        self.table, self._other = self._other, self.table
        self._posted, self._before = self._before, self._posted
        table = self.table
        same = not silent and len(messages) == len(self._posted)
        if same and all(map(is_, messages, self._posted)):
            table[:, AT] = 0
            return
        self._posted = [] if silent else list(messages)
        for member, message in enumerate(messages):
            note(message, table, member)
        for member in silent:
            table[member, SIZE] = -1

    def at(self, member: int) -> int:
        """Return the place of the next vector in a member's message."""
        return int(self.table[member, AT])


@kernel
def note(message: U8, table: I64, member: int) -> None:
    """Write where a message is."""
    table[member, ADDRESS] = message.ctypes.data
    table[member, SIZE] = message.size
    table[member, AT] = 0


@kernel
def rest(table: I64, member: int) -> U8:
    """Return the part of a member's message that was not taken yet."""
    at = table[member, AT]
    return carray(_pointer(table[member, ADDRESS] + at), (table[member, SIZE] - at,))  # type: ignore[call-arg]


@kernel
def first_left_over(table: I64) -> int:
    """Return the first member of whose message something is left, or `FINE`."""
    for member in range(table.shape[0]):
        if table[member, SIZE] > table[member, AT]:
            return member
    return FINE


@dataclass(frozen=True)
class Fused:
    """The kernels of a compressor for one agent; None for those that it does not have.

    Attributes
    ----------
    encode : (x, out, key) -> int
        `encode`, refusing numbers that are not finite: returns the bytes, or something negative after
        which `encode` says what is wrong.
    encode_difference : (x, h, out, key) -> int
        The same for x - h.
    mix : (table, h, weights, scale, mixed) -> int
        Decode the next vector of all members, h_m += scale C_m; then mixed = sum_m w_m (h_m - h_0).
        Returns `FINE`, or the member whose message is wrong.
    average : (table, x, weights, total, out) -> int
        out = sum_m w_m C_m - total x, over the neighbours; returns as `mix`.
    """

    encode: Callable[[F64, U8, U32], int] | None = None
    encode_difference: Callable[[F64, F64, U8, U32], int] | None = None
    mix: Callable[[I64, F64, F64, float, F64], int] | None = None
    average: Callable[[I64, F64, F64, float, F64], int] | None = None


@dataclass(frozen=True)
class Rows:
    """The kernels of a compressor for the vectors of all agents of a process, as rows.

    Messages are the rows of uint8[agents, ...]; `at` : int64[agents] says where each goes on, and is moved
    behind what was written or taken. Each kernel returns `FINE`, or the first row that is wrong.

    Attributes
    ----------
    encode : (x, messages, at, keys) -> int
        As `Fused.encode`.
    encode_difference : (x, h, messages, at, keys) -> int
    decode_add : (messages, sizes, at, weight, acc) -> int
        acc += weight C of each row's message.
    average : (messages, at, starts, members, weights, sums, x, out) -> None
        As `Fused.average` for each agent; None if there is none.
    """

    encode: Callable[[F64, U8, I64, U32], int]
    encode_difference: Callable[[F64, F64, U8, I64, U32], int]
    decode_add: Callable[[U8, I64, I64, float, F64], int]
    average: Callable[[U8, I64, I64, I64, F64, F64, F64, F64], None] | None = None


@kernel
def mix_tile(h: F64, weights: F64, start: int, stop: int, mixed: F64) -> None:
    """mixed[start:stop] = sum_m w_m (h_m - h_0) there; h : float64[members, d]."""
    # One-dimensional slices: indexing h[m, k] in the inner loop kept it from vectorising.
    own, out = h[0, start:stop], mixed[start:stop]
    if h.shape[0] == 1:
        out[:] = 0.0
    for m in range(1, h.shape[0]):
        w, other = weights[m], h[m, start:stop]
        if m == 1:
            for k in range(own.size):
                out[k] = w * (other[k] - own[k])
        else:
            for k in range(own.size):
                out[k] += w * (other[k] - own[k])
