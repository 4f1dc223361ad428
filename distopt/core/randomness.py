"""Counter-based random words: every draw is a pure function of where it is used, never of history.

The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as
1, 2, 3"). A stream is named by a `key`, uint32[5]: the two halves of the seed, the iteration, the
agent, and the purpose (`distopt.core.streams`). Word i of a stream needs no word before it, so results
do not depend on the number of ranks, threads or the order of arrival.

Words are laid out in tiles of 1024 that come from 256 Philox blocks: word ``i`` of a tile is lane
``i // 256`` of block ``i % 256``. Planar lanes let the compiler vectorise the rounds.
"""

import numpy as np
from numba import njit

from distopt.core.arrays import F64, U32
from distopt.core.kernel import kernel

TILE = 1024  # words that one call of `fill_tile` makes
BLOCKS = TILE // 4


def make_key(seed: int, agent: int, stream: int, iteration: int = 0) -> U32:
    """Name a stream: uint32[5] = seed low, seed high, iteration, agent, stream."""
    words = [seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF, iteration, agent, stream]
    return np.array(words, dtype=np.uint32)


@njit(inline="always")
def fill_blocks(key: U32, tile: int, first: int, count: int, out: U32) -> None:
    """Do a part of `fill_tile`: the words of the blocks first, ..., first + count - 1 of the tile."""
    mask = np.uint64(0xFFFFFFFF)
    # Read once, since for all the compiler knows `out` may overlap `key`.
    seed_low, seed_high = key[0], key[1]
    iteration, agent, stream = key[2], key[3], key[4]
    for j in range(count):
        b = first + j
        c0 = np.uint64(np.uint32(tile * 256 + b))
        c1 = np.uint64(iteration)
        c2 = np.uint64(agent)
        c3 = np.uint64(stream)
        k0 = np.uint64(seed_low)
        k1 = np.uint64(seed_high)
        for _ in range(10):
            p0 = np.uint64(0xD2511F53) * c0
            p1 = np.uint64(0xCD9E8D57) * c2
            c0 = (p1 >> np.uint64(32)) ^ c1 ^ k0
            c1 = p1 & mask
            c2 = (p0 >> np.uint64(32)) ^ c3 ^ k1
            c3 = p0 & mask
            k0 = (k0 + np.uint64(0x9E3779B9)) & mask
            k1 = (k1 + np.uint64(0xBB67AE85)) & mask
        out[b] = np.uint32(c0)
        out[256 + b] = np.uint32(c1)
        out[512 + b] = np.uint32(c2)
        out[768 + b] = np.uint32(c3)


@kernel
def fill_tile(key: U32, tile: int, out: U32) -> None:
    """out[1024] = words 1024 tile, ..., 1024 tile + 1023 of the stream `key`."""
    fill_blocks(key, tile, 0, BLOCKS, out)


def words(key: U32, count: int) -> U32:
    """Return the first `count` words of a stream, uint32[count]; for set-up, not for iterations."""
    tiles = -(-count // TILE)
    out = np.empty(tiles * TILE, np.uint32)
    for tile in range(tiles):
        fill_tile(key, tile, out[tile * TILE : (tile + 1) * TILE])
    return out[:count]


def uniform(key: U32, count: int) -> F64:
    """Return `count` numbers uniform on [0, 1), float64, 53 bits each."""
    pairs = words(key, 2 * count).astype(np.uint64)
    bits = (pairs[:count] << np.uint64(21)) ^ (pairs[count:] >> np.uint64(11))
    return bits.astype(np.float64) * 2.0**-53


def normal(key: U32, count: int) -> F64:
    """Return `count` standard normal numbers, float64, by the Box-Muller transform."""
    half = -(-count // 2)
    u = uniform(key, 2 * half)
    radius = np.sqrt(-2.0 * np.log1p(-u[:half]))
    angle = 2.0 * np.pi * u[half:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]
