"""Blockwise: compress every part of the vector (a layer) separately; a zero part costs one bit."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator

from distopt.compressors.base import (
    Absolute,
    Adaptive,
    CodecState,
    Compressor,
    Guarantee,
    Local,
    Relative,
)
from distopt.compressors.coders.bits import padding_is_zero
from distopt.compressors.coders.wire import PADDING, TOO_SHORT, accepted
from distopt.compressors.quantize import Quantize
from distopt.compressors.scales import max_abs
from distopt.compressors.sparse import make_compressor
from distopt.core.arrays import F64, U8, U32
from distopt.core.errors import ConfigError
from distopt.core.parameters import Field, parameters
from distopt.core.streams import Stream
from distopt.core.workspace import Workspace

MOST_BLOCKS = Stream.BLOCKS.width >> 16


def make_part(given: Any) -> Compressor:
    """Return the compressor of a block, given as such or as a table."""
    made = make_compressor(given)
    if isinstance(made, Blockwise):
        raise ConfigError(
            "compressor.values is blockwise itself; accepted: a compressor of one block, such as "
            '{ name = "quantize", bits = 4 }.'
        )
    if made.guarantee(1, Adaptive) is not None:
        raise ConfigError(
            "compressor.values is a zooming compressor, which has a scale for each of the cost's blocks "
            "already (per_block); use it without blockwise."
        )
    return made


@parameters("compressor")
class Blockwise(Compressor):
    """C(x) = (C'(x_1), ..., C'(x_B)) for the blocks x_b of x; C' is `values`, and C(0) = 0 for a block.

    The blocks are the cost's own (the layers of a network), or have `block` coordinates each (the last
    may have fewer), or the given `sizes`. A cost without blocks needs one of the two.

    Class: with the constants of `values` for blocks of each size, derived (docs: compressors/blockwise):

    * relative: r = max r_b, psi = min_b 1 - (1 - t_b (1 - (1 - psi_b)^(1/2)))^2, t_b = r_b / r; that is
      min psi_b where all r_b are equal;
    * absolute, p >= 2: C^2 = sum_b C_b^2;
    * local: 1 - phi = max (1 - phi_b) in the maximum norm, (sum (1 - phi_b)^p)^(1/p) in others, where
      that is below 1.

    Wire: B bits, 1 = not all zero, block b is bit b % 8 of byte b // 8, padded with zeros; then the
    payloads of the blocks that are not zero, in their order. Block b draws its random bits from stream
    2^16 (5 + b) above the vector's.

    >>> from distopt.compressors.base import compress
    >>> payload, decoded = compress(Blockwise(sizes=(2, 1, 2)), [4.0, -1.1, 0.0, 0.0, 0.25])
    >>> payload.hex(" "), decoded.tolist()
    ('05 00 00 80 40 d0 00 00 00 80 3e 08 02', [4.0, -1.0, 0.0, 0.0, 0.25])
    """

    values: Annotated[Compressor, BeforeValidator(make_part)] = Field(default_factory=Quantize)
    block: Annotated[int, Field(ge=1)] | None = None  # coordinates of each block; or else
    sizes: tuple[Annotated[int, Field(ge=1)], ...] | None = None  # of the blocks; the cost's

    def __post_init__(self) -> None:
        if self.block is not None and self.sizes is not None:
            raise ConfigError(
                "compressor.block and compressor.sizes are both given; accepted: one of the two, or "
                "none for the blocks of the cost."
            )

    def fitted(self, blocks: Callable[[], Sequence[int] | None]) -> Compressor:
        if self.block is not None or self.sizes is not None:
            return self
        found = blocks()
        if found is None:
            raise ConfigError(
                'compressor.name = "blockwise" finds no blocks: the cost has no attribute blocks (networks '
                "have). Set compressor.block to a number of coordinates, or compressor.sizes to a list."
            )
        return replace(self, sizes=tuple(int(n) for n in np.diff(found)))

    def bounds(self, d: int) -> list[int]:
        """Return the boundaries of the blocks, ascending from 0 to d."""
        return boundaries(self.block, self.sizes, d)

    def check(self, d: int) -> None:
        if self.sizes is not None and sum(self.sizes) != d:
            raise ConfigError(
                f"compressor.sizes add up to {sum(self.sizes)}, but the dimension is {d}."
            )
        count = len(self.bounds(d)) - 1
        if count > MOST_BLOCKS:
            raise ConfigError(
                f"compressor.block = {self.block} makes {count} blocks of {d} coordinates; accepted: "
                f"{-(-d // MOST_BLOCKS)} or more, which makes at most {MOST_BLOCKS}."
            )
        for n in self._sizes(d):
            try:
                self.values.check(n)
            except ConfigError as error:
                nested = str(error).replace("compressor.", "compressor.values.")
                raise ConfigError(f"In a block of {n} coordinates: {nested}") from None
        if not self.guarantees(d):
            raise ConfigError("compressor.values has no guarantee that holds for all blocks.")

    def guarantees(self, d: int) -> tuple[Guarantee, ...]:
        bounds, sizes = self.bounds(d), self._sizes(d)
        counts = np.diff(bounds).tolist()
        found: list[Guarantee] = []
        for kind in map(type, self.values.guarantees(sizes[-1])):
            of = {n: self.values.guarantee(n, kind) for n in sizes}
            if None in of.values():
                continue
            joint = together([of[n] for n in counts])  # type: ignore[misc]
            found += [joint] if joint else []
        return tuple(found)

    def magnitudes(self) -> tuple[float, float]:
        return self.values.magnitudes()

    def max_nbytes(self, d: int) -> int:
        bounds = self.bounds(d)
        sizes = np.diff(bounds).tolist()
        return (len(sizes) + 7) // 8 + sum(self.values.max_nbytes(n) for n in sizes)

    def new_state(self, d: int) -> CodecState:
        return self._of_blocks(self.values.new_state, d)

    def new_room(self, d: int) -> CodecState:
        return self._of_blocks(self.values.new_room, d)

    def _of_blocks(self, make: Callable[[int], CodecState], d: int) -> CodecState:
        """Name what is made for each block."""
        return {
            f"{b}.{name}": array
            for b, n in enumerate(np.diff(self.bounds(d)).tolist())
            for name, array in make(n).items()
        }

    def encode(self, x: F64, out: U8, key: U32, state: CodecState, work: Workspace) -> int:
        bounds = self.bounds(x.size)
        at = (len(bounds) + 6) // 8
        out[:at] = 0
        for b in range(len(bounds) - 1):
            part = x[bounds[b] : bounds[b + 1]]
            if max_abs(part) > 0.0:
                out[b // 8] |= 1 << b % 8
                at += self.values.encode(
                    part, out[at:], block_key(key, b, work), block_state(state, b), work
                )
        return at

    def decode_add(
        self, payload: U8, weight: float, acc: F64, key: U32, state: CodecState, work: Workspace
    ) -> int:
        # All blocks are decoded before the first one is added: one of them may be damaged.
        bounds = self.bounds(acc.size)
        count = len(bounds) - 1
        at = (count + 7) // 8
        if payload.size < at:
            accepted(TOO_SHORT, payload, acc.size)
        if not padding_is_zero(payload, 0, count):
            accepted(PADDING, payload, acc.size)
        values = work.array("blocks", acc.size, acc.dtype.type)
        values.fill(0.0)
        for b in range(count):
            if payload[b // 8] >> b % 8 & 1:
                part = values[bounds[b] : bounds[b + 1]]
                at += self.values.decode_add(
                    payload[at:], 1.0, part, block_key(key, b, work), block_state(state, b), work
                )
        values *= weight
        acc += values
        return at

    def _sizes(self, d: int) -> list[int]:
        """Return the different sizes of blocks, ascending."""
        return sorted(set(np.diff(self.bounds(d)).tolist()))


@lru_cache(maxsize=64)
def boundaries(block: int | None, sizes: tuple[int, ...] | None, d: int) -> list[int]:
    """Return where blocks begin, and d."""
    if sizes is not None:
        return [0, *np.cumsum(sizes).tolist()]
    return [*range(0, d, block or d), d]


def block_key(key: U32, b: int, work: Workspace) -> U32:
    """Return the key of block b."""
    other = work.array("block key", 5, np.uint32)
    other[:] = key
    other[4] += np.uint32(Stream.BLOCKS + (b << 16))
    return other


def block_state(state: CodecState, b: int) -> CodecState:
    """Return the adaptive state of block b."""
    if not state:
        return state
    start = f"{b}."
    return {name[len(start) :]: array for name, array in state.items() if name.startswith(start)}


def together(each: Sequence[Guarantee]) -> Guarantee | None:
    """Combine the guarantees, of one class, of the blocks of a vector."""
    relative = [g for g in each if isinstance(g, Relative)]
    if relative:
        r = max(g.r for g in relative)
        return Relative(r, min(rescaled(g, r) for g in relative))
    absolute = [g for g in each if isinstance(g, Absolute)]
    if absolute:
        p = absolute[0].p
        C = float(np.sqrt(sum(g.C**2 for g in absolute)))
        return Absolute(p, C) if p >= 2 and all(g.p == p for g in absolute) else None
    errors = [(g.p, 1 - g.phi) for g in each if isinstance(g, Local)]
    p = errors[0][0]
    error = max(e for _, e in errors) if np.isinf(p) else sum(e**p for _, e in errors) ** (1 / p)
    return Local(p, 1 - error) if error < 1 and all(q == p for q, _ in errors) else None


def rescaled(g: Relative, r: float) -> float:
    """Return psi for a larger r: C/r - x = t (C/r_b - x) - (1 - t) x with t = r_b / r."""
    if g.r == r:
        return g.psi
    shrinking = g.r / r * g.psi / (1 + (1 - g.psi) ** 0.5)  # t (1 - sqrt(1 - psi_b))
    return float(shrinking * (2 - shrinking))
