"""Philox against its published answers, the layout of tiles, and the derived draws."""

import numpy as np
import pytest

from distopt.core.randomness import BLOCKS, TILE, fill_tile, make_key, normal, uniform, words

# Counter, key and output of philox4x32 with 10 rounds, from the file kat_vectors of Random123.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000",
     "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
     "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
]  # fmt: skip


def numbers(text):
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "output"), KNOWN)
def test_known_answers(counter, key, output):
    block, *rest = numbers(counter)
    out = np.zeros(TILE, np.uint32)
    fill_tile(np.array(numbers(key) + rest, np.uint32), block // BLOCKS, out)
    assert out[block % BLOCKS :: BLOCKS].tolist() == numbers(output)


def philox(counter, key):
    """The twin: one block in plain Python."""
    c, k = list(counter), list(key)
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [q >> 32 ^ c[1] ^ k[0], q & 0xFFFFFFFF, p >> 32 ^ c[3] ^ k[1], p & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


@pytest.mark.parametrize("tile", [0, 1, 977, (1 << 24) - 1])
def test_tiles_are_planar_lanes_of_blocks(tile):
    seed = 0x0123456789ABCDEF
    out = np.zeros(TILE, np.uint32)
    fill_tile(make_key(seed, agent=5, stream=7, iteration=9), tile, out)
    for block in (0, 1, 100, 255):
        expected = philox([tile * BLOCKS + block, 9, 5, 7], [0x89ABCDEF, 0x01234567])
        assert out[block::BLOCKS].tolist() == expected


def test_words_do_not_depend_on_how_many_are_taken():
    key = make_key(1, 2, 3)
    np.testing.assert_array_equal(words(key, 5), words(key, 3000)[:5])


def test_streams_differ_in_every_part_of_the_key():
    keys = [make_key(0, 0, 0), make_key(1, 0, 0), make_key(1 << 32, 0, 0), make_key(0, 1, 0),
            make_key(0, 0, 1), make_key(0, 0, 0, iteration=1)]  # fmt: skip
    assert len({tuple(words(key, 4).tolist()) for key in keys}) == len(keys)


def test_bits_of_words_are_balanced():
    # Each of 32 counts is binomial(40000, 1/2); six standard deviations: 32 x 2e-9.
    bits = np.unpackbits(words(make_key(0, 0, 0), 40_000).view(np.uint8).reshape(-1, 4), axis=1)
    assert (abs(bits.sum(axis=0, dtype=np.int64) - 20_000) < 6 * 100).all()


def test_uniform_and_normal_have_their_moments():
    # Six standard errors of each moment: a false alarm has a probability of about 2e-9.
    n = 100_000
    u, g = uniform(make_key(1, 0, 0), n), normal(make_key(2, 0, 0), n)
    assert (u >= 0).all()
    assert (u < 1).all()
    assert abs(u.mean() - 0.5) < 6 * np.sqrt(1 / 12 / n)
    assert abs(u.var() - 1 / 12) < 6 * np.sqrt(1 / 180 / n)
    assert np.isfinite(g).all()
    assert abs(g.mean()) < 6 / np.sqrt(n)
    assert abs(g.var() - 1) < 6 * np.sqrt(2 / n)
    assert normal(make_key(2, 0, 0), 7).size == 7
