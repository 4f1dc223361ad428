"""Bits packed densely: codes of a fixed width, signs, and streams of codes of any length.

Bit k of a section is bit k % 8 of its byte k // 8, always.

With codes of w = 1 to 16 bits, coordinate i owns bits [w i, w i + w), lowest bit first. So 8 codes are
exactly w bytes, which is what the fast paths use. A section ends with a whole byte; its padding bits
are zero, and readers refuse padding that is not.
"""

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from distopt.compressors.coders.wire import load_u64, store_u64
from distopt.core.arrays import F64, U8, U16
from distopt.core.kernel import kernel
from distopt.core.magnitude import as_number, magnitude

FLAGS = 4096  # bytes of work space for signs: with their part of x in the first-level cache

# numba has no names for the instructions that count zeros (64 for the word 0).


@intrinsic  # type: ignore[untyped-decorator]
def _cttz(typing_context, word):  # type: ignore[no-untyped-def]
    def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.cttz(args[0], context.get_constant(types.boolean, False))

    return types.int64(types.uint64), build


@intrinsic  # type: ignore[untyped-decorator]
def _ctlz(typing_context, word):  # type: ignore[no-untyped-def]
    def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.ctlz(args[0], context.get_constant(types.boolean, False))

    return types.int64(types.uint64), build


@intrinsic  # type: ignore[untyped-decorator]
def high_product(typing_context, one, other):  # type: ignore[no-untyped-def]
    """The highest 64 bits of the product of two uint64."""

    def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        high = builder.lshr(product, ir.Constant(wide, 64))
        return builder.trunc(high, ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), build


@kernel
def trailing_zeros(word: np.uint64) -> int:
    """Return the position of the lowest set bit of a uint64, 64 where there is none."""
    return _cttz(word)  # type: ignore[no-any-return,call-arg]


@kernel
def leading_zeros(word: np.uint64) -> int:
    """Return the number of zero bits above the highest set bit of a uint64."""
    return _ctlz(word)  # type: ignore[no-any-return,call-arg]


@kernel
def put_bits(
    out: U8, at: int, buffer: np.uint64, held: int, value: np.uint64, length: int
) -> tuple[int, np.uint64, int]:
    """Append the lowest `length` bits (1 to 64; those above are zero) of `value` to a stream.

    The stream's bytes before `at` are written; `buffer` holds its next `held` < 64 bits. Return the
    new (at, buffer, held). Start with (at, 0, 0); end with `flush_bits`.
    """
    buffer |= value << np.uint64(held)
    total = held + length
    if total < 64:
        return at, buffer, total
    store_u64(out, at, buffer)
    rest = value >> np.uint64(64 - held) if held > 0 else np.uint64(0)
    return at + 8, rest, total - 64


@kernel
def flush_bits(out: U8, at: int, buffer: np.uint64, held: int) -> int:
    """Write the held bits, padded with zeros to whole bytes; return the byte after them."""
    while held > 0:
        out[at] = np.uint8(buffer & np.uint64(0xFF))
        buffer >>= np.uint64(8)
        at += 1
        held -= 8
    return at


@kernel
def load_bits(payload: U8, bit: int) -> np.uint64:
    """Return at least 57 bits from bit `bit` on; beyond the payload they are zero."""
    at = bit >> 3
    if at + 8 <= payload.size:
        return load_u64(payload, at) >> np.uint64(bit & 7)
    word = np.uint64(0)
    for i in range(at, payload.size):
        word |= np.uint64(payload[i]) << np.uint64(8 * (i - at))
    return word >> np.uint64(bit & 7)


@kernel
def packed_nbytes(count: int, width: int) -> int:
    """Return the bytes that `count` codes of `width` bits take."""
    return (count * width + 7) // 8


@kernel
def padding_is_zero(payload: U8, at: int, bits: int) -> bool:
    """Tell whether the bits that pad a section of `bits` bits at byte `at` are zero."""
    return bits % 8 == 0 or payload[at + bits // 8] >> np.uint8(bits % 8) == 0


@kernel
def pack(codes: U16, count: int, width: int, out: U8, at: int, end: int) -> None:
    """Write codes[:count] from byte `at` on; the section that they belong to ends before `end`.

    Whole groups of 8 leave by one or two stores of 8 bytes, which reach beyond the group: later
    groups overwrite that, and near `end` single bytes are stored.
    """
    w = np.uint64(width)
    half = np.uint64(4 * width)
    store = 8 if width <= 8 else 16
    group = 0
    while 8 * group + 8 <= count and at + store <= end:
        low = np.uint64(0)
        high = np.uint64(0)
        first = np.uint64(8 * group)
        for j in range(4):
            shift = w * np.uint64(j)
            low |= np.uint64(codes[first + np.uint64(j)]) << shift
            high |= np.uint64(codes[first + np.uint64(4 + j)]) << shift
        if width <= 8:
            store_u64(out, at, low | high << half)
        elif width < 16:
            store_u64(out, at, low | high << half)
            store_u64(out, at + 8, high >> (np.uint64(64) - half))
        else:
            store_u64(out, at, low)
            store_u64(out, at + 8, high)
        at += width
        group += 1
    buffer = np.uint64(0)
    held = 0
    for i in range(8 * group, count):
        buffer |= np.uint64(codes[i]) << np.uint64(held)
        held += width
        while held >= 8:
            out[at] = np.uint8(buffer & np.uint64(0xFF))
            at += 1
            buffer >>= np.uint64(8)
            held -= 8
    if held > 0:
        out[at] = np.uint8(buffer)


@kernel
def unpack(payload: U8, at: int, count: int, width: int, codes: U16) -> None:
    """codes[:count] = the codes that start at byte `at`; the caller has checked the length."""
    w = np.uint64(width)
    mask = (np.uint64(1) << w) - np.uint64(1)
    # Codes 4 to 7 of a group start inside byte width // 2 of it, at bit 0 or 4.
    second = width // 2
    offset = np.uint64(4 * (width % 2))
    half = np.uint64(4 * width)
    reach = 8 if width <= 8 else second + 8
    group = 0
    while 8 * group + 8 <= count and at + reach <= payload.size:
        low = load_u64(payload, at)
        high = low >> half if width <= 8 else load_u64(payload, at + second) >> offset
        first = np.uint64(8 * group)
        for j in range(4):
            shift = w * np.uint64(j)
            codes[first + np.uint64(j)] = (low >> shift) & mask
            codes[first + np.uint64(4 + j)] = (high >> shift) & mask
        at += width
        group += 1
    buffer = np.uint64(0)
    held = 0
    for i in range(8 * group, count):
        while held < width:
            buffer |= np.uint64(payload[at]) << np.uint64(held)
            at += 1
            held += 8
        codes[i] = buffer & mask
        buffer >>= w
        held -= width


@kernel
def above_half(payload: U8, at: int, count: int, width: int) -> bool:
    """Tell whether a code of the section at byte `at` is above 2^(width - 1).

    That is one with its highest bit and a lower bit set. The sum of a code's lower bits and as many
    ones carries into the place of the highest bit iff a lower bit is set: many codes in one addition.
    """
    lanes = 8 if width <= 8 else 4
    highest = np.uint64(0)
    for j in range(lanes):
        highest |= np.uint64(1) << np.uint64(j * width + width - 1)
    lower = np.uint64(0)
    for j in range(lanes):
        lower |= ((np.uint64(1) << np.uint64(width - 1)) - np.uint64(1)) << np.uint64(j * width)
    found = np.uint64(0)
    bit, end = 8 * at, 8 * at + count * width
    step = lanes * width
    while bit + step <= end and (bit >> 3) + 8 <= payload.size:
        word = load_u64(payload, bit >> 3) >> np.uint64(bit & 7)
        found |= ((word & lower) + lower) & word & highest
        bit += step
    while bit < end:
        word = load_bits(payload, bit)
        if bit + step > end:
            word &= (np.uint64(1) << np.uint64(end - bit)) - np.uint64(1)
        found |= ((word & lower) + lower) & word & highest
        bit += step
    return bool(found != 0)


@kernel
def pack_signs(x: F64, flags: U8, out: U8, at: int) -> float:
    """Write one bit per coordinate, x_i < 0, from byte `at` on, in ceil(d / 8) bytes.

    Return max |x_i|, found in the same pass over memory. flags : uint8[FLAGS] is work space.
    """
    eights = flags.view(np.uint64)
    largest = np.int64(0)
    for start in range(0, x.size, FLAGS):
        part = x[start : start + FLAGS]
        for i in range(part.size):
            flags[i] = np.uint8(part[i] < 0.0)
            largest = max(largest, magnitude(part[i]))
        for i in range(part.size, (part.size + 7) // 8 * 8):
            flags[i] = 0
        nbytes = (part.size + 7) // 8
        packed = out[at : at + nbytes]
        for byte in range(nbytes):
            # The product moves the lowest bit of byte j of the eight to bit 56 + j.
            spread = eights[byte] * np.uint64(0x0102040810204080)
            packed[byte] = np.uint8(spread >> np.uint64(56))
        at += nbytes
    return as_number(largest)


@kernel
def add_signs(payload: U8, at: int, size: float, weight: float, acc: F64) -> None:
    """Add weight v to acc, where v_i = -size if bit i of the section at `at` is set, else +size."""
    plus = np.float64(size).view(np.uint64)
    whole = acc.size // 8
    for byte in range(whole):
        bits = np.uint64(payload[at + byte])
        for j in range(8):
            sign = (bits >> np.uint64(j)) << np.uint64(63)
            acc[8 * byte + j] += weight * np.uint64(plus | sign).view(np.float64)
    for i in range(8 * whole, acc.size):
        sign = (np.uint64(payload[at + whole]) >> np.uint64(i - 8 * whole)) << np.uint64(63)
        acc[i] += weight * np.uint64(plus | sign).view(np.float64)
