"""Entropy coders of integer codes: as short as what came before makes them predictable.

A coder is stateful. The sender holds one state per stream and every receiver one per sender and stream,
all made by `new_state(d)`, all advanced by the same messages; then all are equal to the bit. The state is
a few named integer arrays and belongs in `CodecState`, so checkpoints hold it:

    coder = RangeCoder(lowest=-7, highest=7)
    state = coder.new_state(d)                              at the sender and at every receiver
    nbytes = coder.encode(codes, out, state, work)          advances the sender's state
    nbytes = coder.decode(payload, codes, state, work)      advances the receiver's state

`decode` raises `MessageError` for anything that `encode` cannot have written, before it has changed the
state; `codes` is work space until it returns. Codes may be int8, int16, int32 or int64.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from distopt.compressors.base import CodecState
from distopt.compressors.coders.fast_coder import decode_fast, encode_fast, new_fast_state
from distopt.compressors.coders.range_coder import decode_range, encode_range
from distopt.compressors.coders.range_model import BLOCK, CONTEXTS, ROW, new_range_state
from distopt.compressors.coders.rans import SCALE
from distopt.compressors.coders.rans_coder import FEW, decode_rans, encode_rans, new_rans_state
from distopt.compressors.coders.rans_states import PLACES, WHOLE_TABLE, blocks_of
from distopt.compressors.coders.wire import INVALID_CODE, accepted
from distopt.core.arrays import U8, Codes
from distopt.core.workspace import Workspace


@dataclass(frozen=True)
class Coder(ABC):
    """A code of d integers from `lowest` to `highest`.

    Attributes
    ----------
    lowest, highest : int
        What a code may be, -2^63 < lowest <= 0 <= highest < 2^63; a receiver refuses others.
    alone : bool
        Whether the payload is all that a message holds, so that its length says where it ends. Saves
        a quarter of a byte a message; `decode` must then be given exactly the payload.
    """

    lowest: int
    highest: int
    alone: bool = False

    @property
    def bits(self) -> int:
        """Binary digits of a code that is written plainly."""
        return (self.highest - self.lowest).bit_length()

    @abstractmethod
    def max_nbytes(self, d: int) -> int:
        """Return the largest payload of d codes: a little more than plain codes take."""

    @abstractmethod
    def new_state(self, d: int) -> CodecState:
        """Make the state of one end of one stream: named integer arrays."""

    @abstractmethod
    def encode(self, codes: Codes, out: U8, state: CodecState, work: Workspace) -> int:
        """Write codes : int[d] into out : uint8[>= max_nbytes(d)], advance the state; return the bytes."""

    @abstractmethod
    def decode(self, payload: U8, codes: Codes, state: CodecState, work: Workspace) -> int:
        """Fill codes : int[d] from a payload, advance the state; return the bytes that belong to it.

        Raises
        ------
        MessageError
            Before the state is changed; `codes` may hold anything then.
        """


@dataclass(frozen=True)
class RangeCoder(Coder):
    """The adaptive one, for any size: a model of every coordinate's past (docs: compressors, entropy).

    At most 2 bytes more than the model's ideal, and never more than plain codes and 8 bytes.
    """

    def max_nbytes(self, d: int) -> int:
        return (self.bits * d + 7) // 8 + 8 + d // 4096

    def new_state(self, d: int) -> CodecState:
        return new_range_state(d)

    def encode(self, codes: Codes, out: U8, state: CodecState, work: Workspace) -> int:
        return encode_range(
            codes, state["recent"], state["symbols"], state["digits"], self.lowest, self.bits,
            self.alone, work.array("places", BLOCK, np.uint8),
            work.array("table", CONTEXTS * ROW, np.uint64), out[: self.max_nbytes(codes.size)],
        )  # fmt: skip

    def decode(self, payload: U8, codes: Codes, state: CodecState, work: Workspace) -> int:
        status = decode_range(
            payload, state["recent"], state["symbols"], state["digits"], self.lowest, self.highest,
            self.bits, self.alone, work.array("places", BLOCK, np.uint8),
            work.array("table", CONTEXTS * ROW, np.uint64),
            work.array("symbols", CONTEXTS * ROW, np.uint32),
            work.array("digits", 512, np.uint16), codes,
        )  # fmt: skip
        return accepted(status, payload, codes.size)


@dataclass(frozen=True)
class RansCoder(Coder):
    """The range coder's model in less time, for long messages (docs: compressors, entropy).

    56 bytes of each payload are the coder's own, so it is for d >= 50,000 or so. Never more than plain
    codes and 4 bytes.
    """

    def max_nbytes(self, d: int) -> int:
        return 72 + (self.bits * d + 7) // 8

    def new_state(self, d: int) -> CodecState:
        return new_rans_state(d)

    def encode(self, codes: Codes, out: U8, state: CodecState, work: Workspace) -> int:
        d, most = codes.size, self.max_nbytes(codes.size)
        return encode_rans(
            codes, state["recent"], state["symbols"], state["counts"], self.lowest, self.bits,
            work.array("places of all", d, np.uint8), work.array("table", PLACES, np.uint64),
            work.array("starts", (blocks_of(d), PLACES), np.uint16),
            work.array("shares", 4 * PLACES, np.uint16),
            work.array("tally", 1024, np.uint32), work.array("parts", 256, np.uint64),
            work.array("inverses", 256, np.uint64), work.array("few", 4, np.int64),
            work.array("frequencies", 256, np.uint32), work.array("which are large", d, np.int64),
            work.array("large ones", d, np.int64), work.array("symbols", d, np.uint8),
            work.array("section", most + 16 * FEW, np.uint8), out[:most],
        )  # fmt: skip

    def decode(self, payload: U8, codes: Codes, state: CodecState, work: Workspace) -> int:
        d = codes.size
        status = decode_rans(
            payload, state["recent"], state["symbols"], state["counts"], self.lowest, self.highest,
            self.bits, work.array("places of all", d, np.uint8),
            work.array("table", PLACES, np.uint64), work.array("entries", PLACES, np.uint64),
            work.array("slots of contexts", CONTEXTS * WHOLE_TABLE, np.uint8),
            work.array("tally", 1024, np.uint32), work.array("new symbols", PLACES, np.uint32),
            work.array("new counts", 256, np.uint32), work.array("frequencies", 256, np.uint32),
            work.array("slots", SCALE, np.uint8), work.array("parts", 256, np.uint32),
            work.array("few", 4, np.int64), work.array("which are large", d, np.int64),
            work.array("large ones", d, np.int64), work.array("symbols", d, np.uint8), codes,
        )  # fmt: skip
        if self.alone and 0 <= status < payload.size:
            status = INVALID_CODE
        return accepted(status, payload, codes.size)


@dataclass(frozen=True)
class FastCoder(Coder):
    """The fast one, for large messages: frequencies of the previous message, four codes a symbol.

    16 bytes of each payload are the coder's own, so it is for d >= 1000 or so; and it does not look at
    the past of a coordinate. Never more than plain codes and 4 bytes.
    """

    def max_nbytes(self, d: int) -> int:
        return 26 + (self.bits * d + 7) // 8

    def new_state(self, d: int) -> CodecState:
        return new_fast_state(d)

    def encode(self, codes: Codes, out: U8, state: CodecState, work: Workspace) -> int:
        return encode_fast(
            codes, state["counts"], self.lowest, self.bits,
            work.array("symbols", codes.size, np.uint8), work.array("frequencies", 256, np.uint32),
            work.array("tally", 1024, np.uint32), work.array("parts", 256, np.uint64),
            work.array("inverses", 256, np.uint64), work.array("few", 4, np.int64),
            out[: self.max_nbytes(codes.size)],
        )  # fmt: skip

    def decode(self, payload: U8, codes: Codes, state: CodecState, work: Workspace) -> int:
        status = decode_fast(
            payload, state["counts"], self.lowest, self.highest, self.bits,
            work.array("symbols", codes.size, np.uint8), work.array("frequencies", 256, np.uint32),
            work.array("tally", 1024, np.uint32), work.array("slots", SCALE, np.uint8),
            work.array("parts", 256, np.uint32), work.array("few", 4, np.int64), codes,
        )  # fmt: skip
        if self.alone and 0 <= status < payload.size:
            status = INVALID_CODE
        return accepted(status, payload, codes.size)
