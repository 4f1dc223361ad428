"""Quantisers whose integer codes may be entropy coded."""

from abc import abstractmethod
from collections.abc import Callable
from functools import lru_cache
from typing import ClassVar, Literal, TypeAlias

import numpy as np

from distopt.compressors.base import CodecState, Compressor
from distopt.compressors.coders.entropy import Coder, FastCoder, RangeCoder, RansCoder
from distopt.compressors.coders.sent import CODES, codes_to_send, keep, kept, new_room
from distopt.core.arrays import F64, U8, U32, Codes
from distopt.core.workspace import Workspace

Entropy: TypeAlias = Literal["none", "range", "rans", "fast"]  # none: the compressor's own format

CODERS: dict[str, Callable[[int, int, bool], Coder]] = {
    "range": RangeCoder,
    "rans": RansCoder,
    "fast": FastCoder,
}


class Coded(Compressor):
    """A compressor that makes one integer of every coordinate.

    A subclass has a field `entropy`: "none" means its own format (`plain_nbytes`, `encode_plain`,
    `decode_add_plain`), another name an entropy coder (docs: compressors/entropy). The integers are the
    same, so C and its guarantees are too. The five methods below define them.
    """

    entropy: str
    alone: bool = False  # with an entropy coder: the vector is all of its message
    code_type: ClassVar[type] = np.int16

    @abstractmethod
    def code_bounds(self) -> tuple[int, int]:
        """Return the lowest and the highest code."""

    def head_nbytes(self, d: int) -> int:
        """Return how many bytes `quantise` writes at most."""
        return 0

    @abstractmethod
    def quantise(self, x: F64, out: U8, key: U32, codes: Codes, work: Workspace) -> int:
        """Fill codes : int[d] from x, write all else that C(x) depends on to out; return its bytes."""

    def read_head(self, payload: U8, d: int, work: Workspace) -> int:
        """Read into `work` what `quantise` wrote; return its bytes, or raise `MessageError`."""
        return 0

    @abstractmethod
    def add_codes(self, codes: Codes, weight: float, acc: F64, work: Workspace) -> None:
        """acc += weight C(x), with what `read_head` has read."""

    @abstractmethod
    def plain_nbytes(self, d: int) -> int:
        """`max_nbytes` of the own format."""

    @abstractmethod
    def encode_plain(self, x: F64, out: U8, key: U32, work: Workspace) -> int:
        """`encode` of the own format."""

    @abstractmethod
    def decode_add_plain(self, payload: U8, weight: float, acc: F64, work: Workspace) -> int:
        """`decode_add` of the own format."""

    @property
    def coder(self) -> Coder:
        """The entropy coder."""
        return make_coder(self.entropy, *self.code_bounds(), self.alone)

    @property
    def ends_message(self) -> bool:
        return self.alone and self.entropy != "none"

    def max_nbytes(self, d: int) -> int:
        if self.entropy == "none":
            return self.plain_nbytes(d)
        return self.head_nbytes(d) + self.coder.max_nbytes(d)

    def new_state(self, d: int) -> CodecState:
        return {} if self.entropy == "none" else self.coder.new_state(d)

    def new_room(self, d: int) -> CodecState:
        return {} if self.entropy == "none" else new_room(d, self.code_type)

    def encode(self, x: F64, out: U8, key: U32, state: CodecState, work: Workspace) -> int:
        if self.entropy == "none":
            return self.encode_plain(x, out, key, work)
        codes = codes_to_send(x.size, self.code_type, state, work)
        head = self.quantise(x, out, key, codes, work)
        return keep(head + self.coder.encode(codes, out[head:], state, work), state)

    def decode_add(
        self, payload: U8, weight: float, acc: F64, key: U32, state: CodecState, work: Workspace
    ) -> int:
        if self.entropy == "none":
            return self.decode_add_plain(payload, weight, acc, work)
        head = self.read_head(payload, acc.size, work)
        if CODES in state:
            codes, nbytes = kept(state)
        else:
            codes = work.array("codes of all", acc.size, self.code_type)
            nbytes = head + self.coder.decode(payload[head:], codes, state, work)
        self.add_codes(codes, weight, acc, work)
        return nbytes


@lru_cache(maxsize=64)
def make_coder(name: str, lowest: int, highest: int, alone: bool = False) -> Coder:
    """Make the entropy coder of a name for codes within bounds."""
    return CODERS[name](lowest, highest, alone)
