"""Zoom: integer codes on a grid whose step follows the codes already exchanged."""

from typing import Annotated, Literal

import numpy as np

from distopt.compressors.base import CodecState
from distopt.compressors.coders.entropy import Coder, FastCoder, RangeCoder, RansCoder
from distopt.compressors.coders.sent import CODES, codes_to_send, keep, kept, new_room
from distopt.compressors.coders.wire import accepted
from distopt.compressors.zooming import (
    OCTAVE,
    PerBlock,
    add_codes,
    new_levels,
    quantise,
    read_first_scales,
    write_first_scales,
    zoom,
)
from distopt.core.arrays import F64, I64, U8, U32, Codes
from distopt.core.parameters import Field, parameters
from distopt.core.workspace import Workspace

LEVEL = "sent level"  # levels of the blocks in the message whose codes a sender keeps
HIGHEST = 32767  # of |q|; a larger one saturates
TALL = 511  # |q| from which the step grows
ACTIVITY = 0.44
CAP = 6  # of |q| in the mean that moves the step
LARGE = 1 << 16  # coordinates from which "auto" takes rans
CODERS: dict[tuple[str, bool], Coder] = {
    (name, alone): coder(lowest=-HIGHEST, highest=HIGHEST, alone=alone)
    for name, coder in (("range", RangeCoder), ("rans", RansCoder), ("fast", FastCoder))
    for alone in (False, True)
}


@parameters("compressor")
class Zoom(PerBlock):
    """C(x)_i = sign(q_i) (|q_i| + offset) step, q_i = sign(x_i) floor(|x_i| / step + rounding), C = 0
    for q_i = 0; then, at both ends, log2 step += gain (mean_i min(|q_i|, 6) - activity), and 1 at least if
    a |q_i| is 511 or more.

    The vector has one step, or each of its blocks has one (`per_block`). It starts at
    2^round(log2 max |x_i|), sent once. The constants are measured (docs: zooming), not derived. The
    activity "auto" is 0.44, but 2 / d for d < 5, where codes are few, a byte holds more of them than
    that, and agents with the same errors would not settle.

    Class: adaptive; nothing is promised for a single vector. Only zed and zed1 take it.

    Wire: first scales where there are none (docs: compressors/zoom), then the codes, entropy
    coded with a model learned from earlier messages (docs: compressors/entropy).
    """  # noqa: D205

    # Mean of min(|q|, 6) to zoom in on.
    activity: Annotated[float, Field(gt=0, lt=6)] | Literal["auto"] = "auto"
    rounding: Annotated[float, Field(ge=0.5, lt=1)] = 0.55  # 0.5 is to the nearest
    offset: Annotated[float, Field(ge=0, lt=0.5)] = 0.05  # of a decoded magnitude
    gain: Annotated[float, Field(ge=2**-12, le=4)] = 1.0  # of what moves the step
    entropy: Literal["auto", "range", "rans", "fast"] = "auto"  # the coder of the codes
    alone: bool = True  # the vector is all of its message, whose length says where it ends
    per_block: bool = False  # a scale for each of the cost's `blocks`
    sizes: tuple[Annotated[int, Field(ge=1)], ...] | None = None  # of the blocks; the cost's

    @property
    def ends_message(self) -> bool:
        return self.alone

    def max_nbytes(self, d: int) -> int:
        return len(self.sizes or (d,)) + self.coder(d).max_nbytes(d)

    def new_state(self, d: int) -> CodecState:
        return new_levels(d, self.sizes) | self.coder(d).new_state(d)

    def new_room(self, d: int) -> CodecState:
        return new_room(d, np.int16) | {LEVEL: new_levels(d, self.sizes)["level"]}

    def encode(self, x: F64, out: U8, key: U32, state: CodecState, work: Workspace) -> int:
        bounds, level = state["bounds"], state["level"]
        codes = codes_to_send(x.size, np.int16, state, work)
        at = write_first_scales(x, bounds, level, out)
        quantise(x, bounds, level, self.rounding, HIGHEST, codes)
        if LEVEL in state:
            state[LEVEL][:] = level
        self.follow(codes, bounds, level)
        return keep(at + self.coder(x.size).encode(codes, out[at:], state, work), state)

    def decode_add(
        self, payload: U8, weight: float, acc: F64, key: U32, state: CodecState, work: Workspace
    ) -> int:
        bounds = state["bounds"]
        if CODES in state:
            codes, nbytes = kept(state)
            add_codes(codes, bounds, state[LEVEL], self.offset, weight, acc)
            return nbytes
        level = work.array("levels", state["level"].size, np.int64)
        level[:] = state["level"]
        codes = work.array("codes of all", acc.size, np.int16)
        at = accepted(read_first_scales(payload, level), payload, acc.size)
        at += self.coder(acc.size).decode(payload[at:], codes, state, work)
        add_codes(codes, bounds, level, self.offset, weight, acc)
        self.follow(codes, bounds, level)
        state["level"][:] = level
        return at

    def follow(self, codes: Codes, bounds: I64, levels: I64) -> None:
        """Move the steps by the codes of a message, as both ends must."""
        activity = self.zoomed_in_on(codes.size)
        zoom(codes, bounds, levels, activity, CAP, round(self.gain * OCTAVE), TALL)

    def coder(self, d: int) -> Coder:
        """Return the coder of vectors of size d."""
        auto = "rans" if d >= LARGE else "range"
        return CODERS[auto if self.entropy == "auto" else self.entropy, self.alone]

    def zoomed_in_on(self, d: int) -> int:
        """Return the activity for vectors of size d, in units of a level."""
        activity = max(ACTIVITY, 2 / d) if self.activity == "auto" else self.activity
        return round(activity * OCTAVE)
