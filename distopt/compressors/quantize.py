"""Quantisers with a norm as scale: b + 1 bits a coordinate, with or without dither."""

from typing import Annotated, Literal

import numpy as np

from distopt.compressors.base import Guarantee, Local, Relative
from distopt.compressors.coded import Coded, Entropy
from distopt.compressors.coders.bits import above_half, pack, packed_nbytes, padding_is_zero, unpack
from distopt.compressors.coders.wire import INVALID_CODE, PADDING, TOO_SHORT, accepted
from distopt.compressors.fused import AT, FINE, SIZE, Fused, Rows, mix_tile, rest
from distopt.compressors.scales import (
    MAX_NBYTES,
    SLACK,
    ScaleType,
    load_scale,
    max_abs,
    max_abs_difference,
    round_scale,
    store_scale,
    subtract,
    two_norm,
)
from distopt.core.arrays import F64, I64, U8, U16, U32, Codes
from distopt.core.errors import ConfigError, DivergedError
from distopt.core.kernel import kernel
from distopt.core.parameters import Field, parameters
from distopt.core.randomness import TILE, fill_tile
from distopt.core.workspace import Workspace


@parameters("compressor")
class Quantize(Coded):
    """C(x)_i = (s / L) sign(x_i) q_i, L = 2^(bits - 1), s = ||x|| rounded up to a float32.

    Nearest (the default): q_i = floor(L |x_i| / s + 1/2). Dithered: q_i = floor(L |x_i| / s + u_i) with
    u_i uniform on [0, 1), so that E C(x) = x. With `block`, every block of that many coordinates (the
    last may be shorter) has its own scale.

    Class: relative, derived, with n = min(block, d) (docs: compressors/quantize):

    * nearest, norm "inf": r = 1, psi = 1 / (1 + (n - 1) / 4^bits);
    * nearest, norm "two": r = 1, psi = 1 - n / 4^bits, and none where that is not positive;
    * dithered: r = 1 + w, psi = 1 / (1 + w), where w = (sqrt(1 + (n - 1) / L^2) - 1) / 2 with norm
      "inf"; with norm "two" w = n / (4 L^2) if n <= 4 L^2, else sqrt(n) / L - 1.

    Local in the maximum norm with 1 - phi = s / (2 L) nearest and s / L dithered, where that is below
    1, s being 1 with norm "inf" and sqrt(n) with norm "two".

    Wire: one scale per block (docs: compressors, scales), then d codes L + sign(x_i) q_i of bits + 1
    bits (docs: compressors, packed codes); or, with `entropy`, the integers sign(x_i) q_i entropy
    coded (docs: compressors/entropy).

    >>> from distopt.compressors.base import compress
    >>> payload, decoded = compress(Quantize(bits=2), [4.0, -1.1, 0.0])
    >>> payload.hex(" "), decoded.tolist()
    ('00 00 80 40 8c 00', [4.0, -2.0, 0.0])
    """

    candidates = ({"bits": 4}, {"bits": 2, "dithered": True})

    bits: Annotated[int, Field(ge=1, le=15)] = 4  # b; a coordinate costs b + 1 bits
    dithered: bool = False  # unbiased, with random bits
    norm: Literal["inf", "two"] = "inf"
    block: Annotated[int, Field(ge=1)] | None = None  # coordinates per scale; all by default
    scale: ScaleType = "float32"  # how the scales travel
    entropy: Entropy = "none"  # a coder of the codes that learns from earlier messages

    def guarantees(self, d: int) -> tuple[Guarantee, ...]:
        n = min(self.block or d, d)
        slack = SLACK[self.scale] + (n * 2.0**-52 if self.norm == "two" else 0.0)
        levels = 2.0 ** (self.bits - 1) / (1 + slack)  # what ||x|| / step is at least
        found: list[Guarantee] = []
        if self.dithered:
            if self.norm == "inf":
                w = (np.sqrt(1 + (n - 1) / levels**2) - 1) / 2 + slack / levels
            else:
                w = n / (4 * levels**2) if n <= 4 * levels**2 else np.sqrt(n) / levels - 1
            found.append(Relative(r=float(1 + w), psi=float(1 / (1 + w))))
        elif self.norm == "inf":
            found.append(Relative(r=1.0, psi=(1 - slack**2) / (1 + (n - 1) / (4 * levels**2))))
        elif n < 4 * levels**2:
            found.append(Relative(r=1.0, psi=1 - n / (4 * levels**2)))
        step = 1 / 2.0 ** (self.bits - 1)  # in the unit ball; scales up to 1 round to 1 at most
        if self.norm == "two":
            step = float(np.sqrt(n)) / levels
        error = step if self.dithered else step / 2
        if error < 1:
            found.append(Local(p=np.inf, phi=1 - error))
        return tuple(found)

    def check(self, d: int) -> None:
        if not self.guarantees(d):
            n = min(self.block or d, d)
            raise ConfigError(
                f'compressor.bits = {self.bits} with norm = "two" may round every coordinate of a '
                f"vector of size {n} to zero; set compressor.dithered = true, or "
                f'compressor.norm = "inf", or at least {int(np.log2(n) / 2) + 1} bits.'
            )

    def code_bounds(self) -> tuple[int, int]:
        levels = 1 << (self.bits - 1)
        return -levels, levels

    def head_nbytes(self, d: int) -> int:
        return MAX_NBYTES * -(-d // (self.block or d))

    def plain_nbytes(self, d: int) -> int:
        return self.head_nbytes(d) + packed_nbytes(d, self.bits + 1)

    def encode_plain(self, x: F64, out: U8, key: U32, work: Workspace) -> int:
        scales, head = self._store_norms(x, out, work)
        return encode_quantized(
            x, self.bits, self.dithered, self.block or x.size, key, work.array("words", TILE, np.uint32),
            work.array("codes", TILE, np.uint16), scales, head, out,
        )  # fmt: skip

    def decode_add_plain(self, payload: U8, weight: float, acc: F64, work: Workspace) -> int:
        block = self.block or acc.size
        status = decode_quantized(
            payload, self.bits, block, self.scale == "float64", work.array("codes", TILE, np.uint16),
            work.array("scales", -(-acc.size // block)), weight, acc,
        )  # fmt: skip
        return accepted(status, payload, acc.size)

    def quantise(self, x: F64, out: U8, key: U32, codes: Codes, work: Workspace) -> int:
        scales, head = self._store_norms(x, out, work)
        signed_levels(
            x, self.bits, self.dithered, self.block or x.size, key, work.array("words", TILE, np.uint32),
            work.array("codes", TILE, np.uint16), scales, codes,
        )  # fmt: skip
        return head

    def read_head(self, payload: U8, d: int, work: Workspace) -> int:
        blocks = -(-d // (self.block or d))
        scales = work.array("scales", blocks)
        return accepted(load_norms(payload, blocks, self.scale == "float64", scales), payload, d)

    def add_codes(self, codes: Codes, weight: float, acc: F64, work: Workspace) -> None:
        block = self.block or acc.size
        scales = work.array("scales", -(-acc.size // block))
        add_signed_levels(codes, self.bits, block, scales, weight, acc)

    def fused(self, d: int, members: int, work: Workspace) -> Fused:
        if self.entropy != "none":
            return Fused()
        bits, dithered, block = self.bits, self.dithered, self.block or d
        two, wide, blocks = self.norm == "two", self.scale == "float64", -(-d // block)
        words, codes = work.array("words", TILE, np.uint32), work.array("codes", TILE, np.uint16)
        scales, z = work.array("scales", members * blocks), work.array("difference", TILE)

        def encode(x: F64, out: U8, key: U32) -> int:
            head = store_norms(x, two, block, wide, scales, out)
            if head < 0:
                return -1
            return encode_quantized(x, bits, dithered, block, key, words, codes, scales, head, out)

        def encode_difference(x: F64, h: F64, out: U8, key: U32) -> int:
            return encode_quantized_difference(
                x, h, bits, dithered, block, wide, key, words, codes, scales, z, out
            )

        def mix(table: I64, h: F64, weights: F64, scale: float, mixed: F64) -> int:
            return mix_quantized(table, bits, block, wide, codes, scales, scale, h, weights, mixed)

        return Fused(encode, None if two else encode_difference, mix)

    def rows(self, d: int, work: Workspace) -> Rows | None:
        from distopt.compressors.quantize_rows import rows  # its kernels call those below

        if self.entropy != "none":
            return None
        return rows(self.bits, self.dithered, self.block or d, self.norm, self.scale, d, work)

    def _store_norms(self, x: F64, out: U8, work: Workspace) -> tuple[F64, int]:
        """Write the scales; return them and their bytes."""
        block = self.block or x.size
        scales = work.array("scales", -(-x.size // block))
        head = store_norms(x, self.norm == "two", block, self.scale == "float64", scales, out)
        if head < 0:
            raise DivergedError(
                "The 2-norm of a vector is beyond the largest float64, so quantize cannot send it; "
                'compressor.norm = "inf", a smaller algorithm.eta or algorithm.gamma may help.'
            )
        return scales, head


@kernel
def store_norms(x: F64, two: bool, block: int, wide: bool, scales: F64, out: U8) -> int:
    """Fill scales with the rounded norm of each block and write them; return the bytes, or -1."""
    at = 0
    for number in range(-(-x.size // block)):
        part = x[number * block : min((number + 1) * block, x.size)]
        scale = round_scale(two_norm(part) if two else max_abs(part), wide)
        if not np.isfinite(scale):
            return -1
        scales[number] = scale
        at += store_scale(out, at, scale, wide)
    return at


@kernel
def load_norms(payload: U8, count: int, wide: bool, scales: F64) -> int:
    """scales[:count] = the scales that a payload begins with; return their bytes or a status."""
    at = 0
    for number in range(count):
        scales[number], nbytes = load_scale(payload, at, wide)
        if nbytes < 0:
            return nbytes
        at += nbytes
    return at


@kernel
def round_levels(
    x: F64, scale: float, levels: float, dithered: bool, words: U32, codes: U16
) -> None:
    """codes_i = L + sign(x_i) q_i, where q_i is L |x_i| / scale, rounded; |x_i| <= scale.

    Dithered: up with probability f, the fractional part, decided by (word + 1/2) 2^-32 < f. So a value
    on the grid never moves, and the probability is f up to 2^-33.
    """
    if scale == 0.0:
        codes[: x.size] = np.uint16(levels)
        return
    for i in range(x.size):
        # Dividing first keeps grid points exact (L is a power of two), and never overflows.
        level = (abs(x[i]) / scale) * levels
        floor = np.int32(level)
        rest = level - floor
        up = (words[i] + 0.5) * 2.0**-32 < rest if dithered else rest >= 0.5
        q = floor + np.int32(up)
        codes[i] = np.int32(levels) + (-q if x[i] < 0.0 else q)


@kernel
def round_tile(
    x: F64, start: int, bits: int, dithered: bool, block: int, key: U32, words: U32, scales: F64,
    codes: U16,
) -> None:  # fmt: skip
    """codes[: x.size] = the levels of the tile x, whose first coordinate has the index `start`."""
    if dithered:
        fill_tile(key, start // TILE, words)
    first, stop = start, start + x.size
    while first < stop:  # the parts of blocks that lie in this tile
        last = min((first // block + 1) * block, stop)
        a, b = first - start, last - start
        round_levels(
            x[a:b], scales[first // block], np.float64(1 << (bits - 1)), dithered, words[a:b], codes[a:b]
        )  # fmt: skip
        first = last


@kernel
def encode_quantized(
    x: F64, bits: int, dithered: bool, block: int, key: U32, words: U32, codes: U16, scales: F64,
    head: int, out: U8,
) -> int:  # fmt: skip
    """Write d codes from byte `head` on; return the byte after them.

    Work space: words : uint32[TILE], codes : uint16[TILE].
    """
    width = bits + 1
    end = head + packed_nbytes(x.size, width)
    for start in range(0, x.size, TILE):
        stop = min(start + TILE, x.size)
        round_tile(x[start:stop], start, bits, dithered, block, key, words, scales, codes)
        pack(codes, stop - start, width, out, head + packed_nbytes(start, width), end)
    return end


@kernel
def signed_levels(
    x: F64, bits: int, dithered: bool, block: int, key: U32, words: U32, codes: U16, scales: F64,
    signed: Codes,
) -> None:  # fmt: skip
    """signed_i = sign(x_i) q_i; the work space is that of `encode_quantized`."""
    levels = np.int32(1 << (bits - 1))
    for start in range(0, x.size, TILE):
        stop = min(start + TILE, x.size)
        round_tile(x[start:stop], start, bits, dithered, block, key, words, scales, codes)
        for i in range(start, stop):
            signed[i] = np.int32(codes[i - start]) - levels


@kernel
def add_signed_levels(
    signed: Codes, bits: int, block: int, scales: F64, weight: float, acc: F64
) -> None:
    """Add weight (scale / L) signed_i to acc."""
    for first in range(0, acc.size, block):
        stop = min(first + block, acc.size)
        add_levels(signed[first:stop], 0, bits, scales[first // block], weight, acc[first:stop])


@kernel
def add_levels(codes: Codes, zero: int, bits: int, scale: float, weight: float, acc: F64) -> None:
    """Add weight (scale / L) (codes_i - zero) to acc."""
    offset = np.int32(zero)
    step = 1.0 / np.int32(1 << (bits - 1))
    for i in range(acc.size):
        acc[i] += weight * (np.float64(np.int32(codes[i]) - offset) * step * scale)


@kernel
def encode_quantized_difference(
    x: F64, h: F64, bits: int, dithered: bool, block: int, wide: bool, key: U32, words: U32, codes: U16,
    scales: F64, z: F64, out: U8,
) -> int:  # fmt: skip
    """Write x - h; return the bytes, or -1 where a norm is not finite. z : float64[TILE] is work space."""
    d, width, head = x.size, bits + 1, 0
    for number in range(-(-d // block)):
        first, last = number * block, min((number + 1) * block, d)
        scale = round_scale(max_abs_difference(x[first:last], h[first:last]), wide)
        if not np.isfinite(scale):
            return -1
        scales[number] = scale
        head += store_scale(out, head, scale, wide)
    end = head + packed_nbytes(d, width)
    for start in range(0, d, TILE):
        count = min(TILE, d - start)
        subtract(x[start : start + count], h[start : start + count], z)
        round_tile(z[:count], start, bits, dithered, block, key, words, scales, codes)
        pack(codes, count, width, out, head + packed_nbytes(start, width), end)
    return end


@kernel
def head_if_valid(payload: U8, d: int, bits: int, block: int, wide: bool, scales: F64) -> int:
    """Load the scales; return the bytes before the codes, or a negative status if anything is wrong."""
    width = bits + 1
    head = load_norms(payload, -(-d // block), wide, scales)
    if head < 0:
        return head
    if head + packed_nbytes(d, width) > payload.size:
        return TOO_SHORT
    if not padding_is_zero(payload, head, d * width):
        return PADDING
    return INVALID_CODE if above_half(payload, head, d, width) else head


@kernel
def add_tile(
    payload: U8, head: int, start: int, stop: int, bits: int, block: int, codes: U16, scales: F64,
    weight: float, acc: F64,
) -> None:  # fmt: skip
    """Add weight C(x)[start:stop], which begins at a tile, to acc[start:stop]."""
    width, zero = bits + 1, 1 << (bits - 1)
    unpack(payload, head + packed_nbytes(start, width), stop - start, width, codes)
    first = start
    while first < stop:  # the parts of blocks that lie in this tile
        last = min((first // block + 1) * block, stop)
        part = codes[first - start : last - start]
        add_levels(part, zero, bits, scales[first // block], weight, acc[first:last])
        first = last


@kernel
def mix_quantized(
    table: I64, bits: int, block: int, wide: bool, codes: U16, scales: F64, scale: float, h: F64,
    weights: F64, mixed: F64,
) -> int:  # fmt: skip
    """Do as `Fused.mix`; scales : float64[members blocks] is work space."""
    members, d = h.shape
    blocks = -(-d // block)
    for m in range(members):
        if table[m, SIZE] < 0:
            continue
        head = head_if_valid(rest(table, m), d, bits, block, wide, scales[m * blocks :])
        if head < 0:
            return m
        table[m, AT] += head  # from here on that of the codes
    for start in range(0, d, TILE):
        stop = min(start + TILE, d)
        for m in range(members):
            if table[m, SIZE] >= 0:
                add_tile(
                    rest(table, m), 0, start, stop, bits, block, codes, scales[m * blocks :], scale, h[m]
                )  # fmt: skip
        mix_tile(h, weights, start, stop, mixed)
    for m in range(members):
        table[m, AT] += packed_nbytes(d, bits + 1)
    return FINE


@kernel
def decode_quantized(
    payload: U8, bits: int, block: int, wide: bool, codes: U16, scales: F64, weight: float, acc: F64
) -> int:
    """Add weight C(x) to acc; return the bytes consumed or a negative status."""
    head = head_if_valid(payload, acc.size, bits, block, wide, scales)
    if head < 0:
        return head
    for start in range(0, acc.size, TILE):
        stop = min(start + TILE, acc.size)
        add_tile(payload, head, start, stop, bits, block, codes, scales, weight, acc)
    return head + packed_nbytes(acc.size, bits + 1)
