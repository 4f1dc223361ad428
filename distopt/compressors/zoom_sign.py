"""Zoom-sign: one bit a coordinate, and a scale for each that follows its signs."""

from typing import Annotated

import numpy as np

from distopt.compressors.base import CodecState
from distopt.compressors.coders.bits import FLAGS, pack_signs, padding_is_zero
from distopt.compressors.coders.wire import PADDING, TOO_SHORT, accepted
from distopt.compressors.zooming import (
    OCTAVE,
    UNSET,
    PerBlock,
    new_levels,
    powers,
    read_first_scales,
    write_first_scales,
)
from distopt.core.arrays import F64, I64, U8, U16, U32
from distopt.core.kernel import kernel
from distopt.core.parameters import Field, parameters
from distopt.core.workspace import Workspace

EIGHTHS = powers(8, 8)
LARGEST = 8000  # of |eighths|: 1000 octaves
_3, _7 = np.uint64(3), np.uint64(7)  # signed indices would cost a look at their signs


@parameters("compressor")
class ZoomSign(PerBlock):
    """C(x)_i = sign(x_i) step_i / 2, sign(0) = +1; then, at both ends, step_i *= 2^(grow / 8) if the
    sign is that of the last message, else 2^(-shrink / 8).

    All steps of the vector, or of each block of it (`per_block`), start at
    2^round(log2 max |x_i|), sent once. The constants are measured (docs: zooming), not derived.

    Class: adaptive; nothing is promised for a single vector. Only zed1 and cgt3 take it.

    Wire: first scales where there are none (docs: compressors/zoom_sign), then d bits, 1 = negative;
    coordinate i is bit i % 8 of byte i // 8, padding bits are zero.
    """  # noqa: D205

    grow: Annotated[int, Field(ge=1, le=64)] = 2  # eighths of an octave
    shrink: Annotated[int, Field(ge=1, le=64)] = 3  # eighths of an octave
    per_block: bool = False  # a first scale for each of the cost's `blocks`
    sizes: tuple[Annotated[int, Field(ge=1)], ...] | None = None  # of the blocks; the cost's

    def max_nbytes(self, d: int) -> int:
        return len(self.sizes or (d,)) + (d + 7) // 8

    def new_state(self, d: int) -> CodecState:
        return new_levels(d, self.sizes) | {
            "eighths": np.zeros(d, np.int16),  # 8 log2 step
            "last": np.zeros(d, np.uint8),  # 1 after +, 2 after -, 0 at the start
        }

    def encode(self, x: F64, out: U8, key: U32, state: CodecState, work: Workspace) -> int:
        begun = work.array("levels", state["level"].size, np.int64)
        begun[:] = state["level"]
        at = write_first_scales(x, state["bounds"], state["level"], out)
        start_blocks(begun, state["level"], state["bounds"], state["eighths"])
        nbytes = (x.size + 7) // 8
        pack_signs(x, work.array("flags", FLAGS, np.uint8), out, at)
        advance_signs(
            out[at : at + nbytes], self.grow, self.shrink, state["eighths"], state["last"]
        )
        return at + nbytes

    def decode_add(
        self, payload: U8, weight: float, acc: F64, key: U32, state: CodecState, work: Workspace
    ) -> int:
        level = work.array("levels", state["level"].size, np.int64)
        level[:] = state["level"]
        at = accepted(read_first_scales(payload, level), payload, acc.size)
        nbytes = (acc.size + 7) // 8
        if payload.size < at + nbytes:
            accepted(TOO_SHORT, payload, acc.size)
        if not padding_is_zero(payload, at, acc.size):
            accepted(PADDING, payload, acc.size)
        start_blocks(state["level"], level, state["bounds"], state["eighths"])
        state["level"][:] = level
        bits = payload[at : at + nbytes]
        add_steps(bits, state["bounds"], level, state["eighths"], weight, acc)
        advance_signs(bits, self.grow, self.shrink, state["eighths"], state["last"])
        return at + nbytes


@kernel
def start_blocks(before: I64, now: I64, bounds: I64, eighths: U16) -> None:
    """Give the coordinates of the blocks that start with this message their first step."""
    for b in range(now.size):
        if before[b] == UNSET and now[b] != UNSET:
            eighths[bounds[b] : bounds[b + 1]] = now[b] // OCTAVE * 8


@kernel
def add_steps(bits: U8, bounds: I64, levels: I64, eighths: U16, weight: float, acc: F64) -> None:
    """acc_i += weight (+-step_i / 2), the sign from bit i, of the blocks that have started."""
    for b in range(levels.size):
        if levels[b] == UNSET:
            continue
        for i in range(np.uint64(bounds[b]), np.uint64(bounds[b + 1])):
            level = np.int64(eighths[i])
            negative = np.uint64(bits[i >> _3]) >> (i & _7) << np.uint64(63)
            # The sign and the exponent of +-2^(level // 8 - 1).
            word = np.uint64(((level >> 3) + 1022) << 52) | negative
            acc[i] += weight * (EIGHTHS[np.uint64(level) & _7] * np.uint64(word).view(np.float64))


@kernel
def advance_signs(bits: U8, grow: int, shrink: int, eighths: U16, last: U8) -> None:
    """eighths_i += grow if bit i is the last one of this coordinate, else -shrink."""
    up, down = np.int32(grow), np.int32(-shrink)
    for first in range(0, eighths.size, 8):
        byte = np.uint32(bits[first >> 3])
        steps, signs = eighths[first : first + 8], last[first : first + 8]
        for j in range(steps.size):
            now = np.uint8(np.uint32(1) + (byte >> np.uint32(j) & np.uint32(1)))
            level = np.int32(steps[j]) + (up if signs[j] == now else down)
            steps[j] = min(max(level, np.int32(-LARGEST)), np.int32(LARGEST))
            signs[j] = now
