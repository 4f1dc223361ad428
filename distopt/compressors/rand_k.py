"""Rand-k: k coordinates drawn at random from a stream that both ends know, so no index travels."""

import numpy as np

from distopt.compressors.coders.bits import trailing_zeros
from distopt.compressors.sparse import Sparsifier
from distopt.core.arrays import F64, I64, U8, U32
from distopt.core.kernel import kernel
from distopt.core.parameters import parameters
from distopt.core.randomness import TILE, fill_tile
from distopt.core.workspace import Workspace


@parameters("compressor")
class RandK(Sparsifier):
    """C(x)_i = x_i for i in S, a uniformly random set of k indices; else 0.

    Class: relative, r = 1, psi = k / d; with `values` of constants (r', psi') at size k, r = r' and
    psi = psi' k / d, derived (docs: compressors/rand_k).
    Wire: the kept values in ascending order of their indices as `values` encodes them. S is Floyd's
    sample from the words of the key's stream (docs: compressors/rand_k), at both ends alike.

    >>> from distopt.compressors.base import compress
    >>> payload, decoded = compress(RandK(k=1), [0.5, -2.0, 1.0, 3.0])
    >>> payload.hex(" "), decoded.tolist()
    ('00 00 00 00 00 00 00 c0', [0.0, -2.0, 0.0, 0.0])
    """

    def max_indices_nbytes(self, d: int) -> int:
        return 0

    def choose(self, x: F64, out: U8, key: U32, chosen: I64, kept: F64, work: Workspace) -> int:
        words, members = self._sampling(x.size, work)
        sample(x.size, kept.size, key, words, members, chosen)
        gather(x, chosen, kept)
        return 0

    def recall(self, payload: U8, d: int, key: U32, chosen: I64, work: Workspace) -> int:
        words, members = self._sampling(d, work)
        sample(d, self.count(d), key, words, members, chosen)
        return 0

    @staticmethod
    def _sampling(d: int, work: Workspace) -> tuple[U32, I64]:
        return work.array("words", TILE, np.uint32), work.array("members", d // 64 + 1, np.int64)


@kernel
def gather(x: F64, chosen: I64, kept: F64) -> None:
    """kept_j = x[chosen_j]."""
    for j in range(kept.size):
        kept[j] = x[chosen[j]]


@kernel
def sample(d: int, k: int, key: U32, words: U32, members: I64, chosen: I64) -> None:
    """chosen[:k] = a uniformly random subset of 0 .. d - 1, ascending; a function of d, k and key.

    Floyd's method: for j = d - k, ..., d - 1 draw t from 0 .. j; t becomes a member, or j does where t
    is one already. t is drawn exactly uniformly from 32-bit words in their order, by multiplication
    with rejection (Lemire, "Fast random integer generation in an interval"). d <= 2^32.
    Work space: words : uint32[TILE], members : int64[d // 64 + 1].
    """
    members[: d // 64 + 1] = 0
    at, tile = TILE, 0
    for j in range(d - k, d):
        choices = np.uint64(j + 1)
        while True:
            if at == TILE:
                fill_tile(key, tile, words)
                at, tile = 0, tile + 1
            product = np.uint64(words[at]) * choices
            at += 1
            rest = product & np.uint64(0xFFFFFFFF)
            # Of 2^32 words, 2^32 mod choices are rejected; most draws need no division to see that
            # theirs is not.
            if rest >= choices or rest >= (np.uint64(1 << 32) - choices) % choices:
                break
        t = np.int64(product >> np.uint64(32))
        if members[t >> 6] >> (t & 63) & 1:
            t = np.int64(j)
        members[t >> 6] |= np.int64(1) << (t & 63)
    n = 0
    for block in range(d // 64 + 1):
        left = np.uint64(members[block])
        while left != 0:
            chosen[n] = 64 * block + trailing_zeros(left)
            n += 1
            left &= left - np.uint64(1)
