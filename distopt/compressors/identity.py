"""Identity: the vector itself, 64 bits a coordinate, or 32 where the state is in float32."""

import numpy as np

from distopt.compressors.base import Absolute, CodecState, Compressor, Guarantee, Local, Relative
from distopt.compressors.coders.wire import (
    accepted,
    add_numbers,
    load,
    store,
    width,
)
from distopt.compressors.fused import AT, FINE, SIZE, Fused, Rows, rest
from distopt.core.arrays import F64, I64, U8, U32
from distopt.core.kernel import kernel
from distopt.core.magnitude import INFINITE, magnitude
from distopt.core.parameters import parameters
from distopt.core.workspace import Workspace


@parameters("compressor")
class Identity(Compressor):
    """C(x) = x.

    Class: relative with r = 1, psi = 1 (no error), so it belongs to the other classes too.
    Wire: d little-endian float64; float32 in a run with ``run.dtype = "float32"``.

    >>> from distopt.compressors.base import compress
    >>> payload, decoded = compress(Identity(), [1.0])
    >>> payload.hex(" "), decoded.tolist()
    ('00 00 00 00 00 00 f0 3f', [1.0])
    """

    candidates = ({},)

    def guarantees(self, d: int) -> tuple[Guarantee, ...]:
        return Relative(r=1.0, psi=1.0), Absolute(p=np.inf, C=0.0), Local(p=np.inf, phi=1.0)

    def max_nbytes(self, d: int) -> int:
        return 8 * d

    def encode(self, x: F64, out: U8, key: U32, state: CodecState, work: Workspace) -> int:
        out[: x.nbytes] = x.view(np.uint8)
        return x.nbytes

    def decode_add(
        self, payload: U8, weight: float, acc: F64, key: U32, state: CodecState, work: Workspace
    ) -> int:
        return accepted(add_numbers(payload, weight, acc), payload, acc.size)

    def fused(self, d: int, members: int, work: Workspace) -> Fused:
        return Fused(encode=encode_finite, average=average)

    def rows(self, d: int, work: Workspace) -> Rows:
        return Rows(encode_rows, encode_differences, decode_rows, average_rows)


TILE = 2048  # coordinates that stay in the first-level cache over all members


@kernel
def encode_finite(x: F64, out: U8, key: U32) -> int:
    """Write x; return the bytes, or -1 if a number is not finite."""
    largest = np.int64(0)
    for i in range(x.size):
        store(out, width(x) * i, x, x[i])
        largest = max(largest, magnitude(x[i]))
    return width(x) * x.size if largest < INFINITE else -1


@kernel
def average(table: I64, x: F64, weights: F64, total: float, out: F64) -> int:
    """Do as `Fused.average`."""
    for member in range(1, table.shape[0]):
        size = table[member, SIZE]
        if 0 <= size < table[member, AT] + width(x) * x.size:
            return member
    for start in range(0, x.size, TILE):
        own, part = x[start : start + TILE], out[start : start + TILE]
        for k in range(own.size):
            part[k] = own[k] * -total
        for member in range(1, table.shape[0]):
            if table[member, SIZE] < 0:
                continue
            w, payload = weights[member], rest(table, member)[width(x) * start :]
            largest = np.int64(0)
            for k in range(own.size):
                largest = max(largest, magnitude(load(payload, width(x) * k, x)))
            if largest >= INFINITE:
                return member
            for k in range(own.size):
                part[k] += w * load(payload, width(x) * k, x)
    for member in range(1, table.shape[0]):
        table[member, AT] += width(x) * x.size
    return FINE


@kernel
def encode_rows(x: F64, messages: U8, at: I64, keys: U32) -> int:
    """Do as `Rows.encode`."""
    for i in range(x.shape[0]):
        nbytes = encode_finite(x[i], messages[i, at[i] :], keys[i])
        if nbytes < 0:
            return i
        at[i] += nbytes
    return FINE


@kernel
def encode_differences(x: F64, h: F64, messages: U8, at: I64, keys: U32) -> int:
    """Do as `Rows.encode_difference`."""
    for i in range(x.shape[0]):
        out, finite = messages[i, at[i] :], True
        for k in range(x.shape[1]):
            z = x[i, k] - h[i, k]
            store(out, width(x) * k, x, z)
            finite &= abs(z) < np.inf
        if not finite:
            return i
        at[i] += width(x) * x.shape[1]
    return FINE


@kernel
def decode_rows(messages: U8, sizes: I64, at: I64, weight: float, acc: F64) -> int:
    """Do as `Rows.decode_add`."""
    for i in range(acc.shape[0]):
        nbytes = add_numbers(messages[i, at[i] : sizes[i]], weight, acc[i])
        if nbytes < 0:
            return i
        at[i] += nbytes
    return FINE


@kernel
def average_rows(
    messages: U8, at: I64, starts: I64, members: I64, weights: F64, sums: F64, x: F64, out: F64
) -> None:
    """Do as `Rows.average`."""
    for i in range(x.shape[0]):
        own, mean, total = x[i], out[i], sums[i]
        for k in range(own.size):
            mean[k] = own[k] * -total
        for m in range(starts[i], starts[i + 1]):
            w, payload = weights[m], messages[members[m], at[members[m]] :]
            for k in range(own.size):
                mean[k] += w * load(payload, width(x) * k, x)
    for i in range(x.shape[0]):
        at[i] += width(x) * x.shape[1]
