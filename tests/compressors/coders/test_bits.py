"""Packed codes, signs, Elias-gamma codes and indices against plain Python and numpy twins."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distopt.compressors.coders.bits import (
    FLAGS,
    above_half,
    add_signs,
    flush_bits,
    leading_zeros,
    pack,
    pack_signs,
    padding_is_zero,
    put_bits,
    trailing_zeros,
    unpack,
)
from distopt.compressors.coders.gamma import read_gamma, write_gamma
from distopt.compressors.coders.indices import indices_nbytes, read_indices, write_indices
from distopt.compressors.coders.wire import INVALID_CODE, INVALID_INDEX, PADDING, TOO_SHORT
from distopt.core.randomness import make_key, words

SIZES = [1, 7, 8, 9, 40, 100, 1000, 1024]


def bits_of(codes, width):
    """The twin: the bits of all codes, lowest first, packed by numpy."""
    return np.packbits([c >> j & 1 for c in codes for j in range(width)], bitorder="little")


def draw(count, limit, seed=0):
    return (words(make_key(seed, count, 0), count) % limit).astype(np.int64)


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("width", range(1, 17))
def test_packed_codes_equal_numpy(width, count):
    codes = draw(count, 1 << width)
    expected = bits_of(codes, width)
    out = np.full(expected.size + 20, 0xA5, np.uint8)
    pack(codes.astype(np.uint16), count, width, out, 3, 3 + expected.size)
    np.testing.assert_array_equal(out[3 : 3 + expected.size], expected)
    assert (out[:3] == 0xA5).all()
    assert (out[3 + expected.size :] == 0xA5).all()
    assert padding_is_zero(out, 3, count * width)
    for payload in (out, out[: 3 + expected.size].copy()):  # followed by other bytes, and not
        found = np.zeros(count, np.uint16)
        unpack(payload, 3, count, width, found)
        np.testing.assert_array_equal(found, codes)


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("width", range(2, 17))
def test_above_half_sees_every_code(width, count):
    half = 1 << (width - 1)
    codes = draw(count, half + 1)
    junk = [0xFF] * 9

    def packed():
        return np.concatenate([junk[:2], bits_of(codes, width), junk]).astype(np.uint8)

    assert not above_half(packed(), 2, count, width)
    for at in {0, count // 2, count - 1}:
        good, codes[at] = codes[at], half + 1 + at % (half - 1)
        assert above_half(packed(), 2, count, width)
        codes[at] = good


@pytest.mark.parametrize("bits", [1, 3, 8, 13])
def test_padding_that_is_not_zero_is_seen(bits):
    payload = np.zeros(2, np.uint8)
    assert padding_is_zero(payload, 0, bits)
    for bit in range(bits, (bits + 7) // 8 * 8):
        payload[:] = 0
        payload[bit // 8] = 1 << bit % 8
        assert not padding_is_zero(payload, 0, bits)


@pytest.mark.parametrize("d", [*SIZES, FLAGS - 1, FLAGS, FLAGS + 9])
def test_signs_equal_numpy(d):
    x = draw(d, 5).astype(float) - 2
    x[x == 0] *= -1  # minus zero is not negative
    flags, out = np.full(FLAGS, 7, np.uint8), np.full(d // 8 + 9, 0xA5, np.uint8)
    assert pack_signs(x, flags, out, 2) == np.abs(x).max()
    expected = np.packbits(x < 0, bitorder="little")
    np.testing.assert_array_equal(out[2 : 2 + expected.size], expected)
    assert (out[2 + expected.size :] == 0xA5).all()
    acc = np.ones(d)
    add_signs(out, 2, 3.0, 0.25, acc)
    np.testing.assert_array_equal(acc, np.where(x < 0, 0.25, 1.75))


def test_positions_of_bits():
    for position in range(64):
        word = np.uint64(1 << position)
        assert trailing_zeros(word) == position
        assert leading_zeros(word) == 63 - position
        assert trailing_zeros(np.uint64((1 << 64) - (1 << position))) == position
        assert leading_zeros(np.uint64((1 << position + 1) - 1)) == 63 - position
    assert trailing_zeros(np.uint64(0)) == leading_zeros(np.uint64(0)) == 64


@given(
    st.lists(
        st.integers(0, 64).flatmap(
            lambda n: st.tuples(st.integers(0, max(0, (1 << n) - 1)), st.just(n))
        ),
        max_size=20,
    )
)
def test_streams_of_bits(pieces):
    out, at, buffer, held = np.full(200, 0xA5, np.uint8), 1, np.uint64(0), 0
    for value, length in pieces:
        at, buffer, held = put_bits(out, at, np.uint64(buffer), held, np.uint64(value), length)
    end = flush_bits(out, at, np.uint64(buffer), held)
    total = sum(value << sum(n for _, n in pieces[:i]) for i, (value, _) in enumerate(pieces))
    nbytes = (sum(n for _, n in pieces) + 7) // 8
    assert bytes(out[1:end]) == total.to_bytes(nbytes, "little")


def gamma(q):
    """The twin: the bits of one Elias-gamma code as text, first bit first."""
    m = 2 * q + 1 if q >= 0 else -2 * q
    digits = f"{m:b}"
    return "0" * (len(digits) - 1) + "1" + digits[:0:-1]


codes = st.integers(-(2**63) + 1, 2**63 - 1) | st.integers(-5, 5)


@given(st.lists(codes, min_size=1, max_size=30))
def test_elias_gamma_equals_its_twin(integers):
    q = np.array(integers, np.int64)
    out = np.full(16 * q.size + 8, 0xA5, np.uint8)
    nbytes = flush_bits(out, *write_gamma(q, q.size, out, 0, np.uint64(0), 0))
    text = "".join(gamma(v) for v in integers)
    assert nbytes == (len(text) + 7) // 8
    expected = np.packbits([int(b) for b in text], bitorder="little")
    np.testing.assert_array_equal(out[:nbytes], expected)
    for payload in (out, out[:nbytes].copy()):
        found = np.zeros(q.size, np.int64)
        assert read_gamma(payload, 0, found, q.size) == len(text)
        np.testing.assert_array_equal(found, q)
    assert read_gamma(out[: len(text) // 8], 0, found, q.size) == TOO_SHORT or len(text) % 8 == 0


def test_elias_gamma_lengths():
    lengths = {0: 1, 1: 3, -1: 3, 3: 5, -3: 5, 4: 7, 7: 7, -7: 7, 8: 9, 2**63 - 1: 127}
    assert {q: len(gamma(q)) for q in lengths} == lengths


def test_elias_gamma_refuses_more_than_63_zeros():
    payload = np.zeros(40, np.uint8)
    assert read_gamma(payload, 0, np.zeros(1, np.int64), 1) == INVALID_CODE
    assert read_gamma(payload[:7], 0, np.zeros(1, np.int64), 1) == TOO_SHORT


@st.composite
def subsets(draw):
    d = draw(st.integers(1, 40) | st.integers(1, 5000))
    k = draw(st.integers(1, min(d, 60)))
    return d, sorted(draw(st.sets(st.integers(0, d - 1), min_size=k, max_size=k)))


@given(subsets())
def test_indices_come_back_and_are_never_dear(case):
    d, chosen = case
    k = len(chosen)
    out = np.full(8 * k + 80, 0xA5, np.uint8)
    nbytes = write_indices(np.array(chosen), k, d, out)
    assert nbytes <= indices_nbytes(d, k) <= (k * (d - 1).bit_length() + 7) // 8
    for payload in (out, out[:nbytes].copy()):
        found = np.zeros(k, np.int64)
        assert read_indices(payload, k, d, found) == nbytes
        np.testing.assert_array_equal(found, chosen)
    if nbytes:
        assert read_indices(out[: nbytes - 1].copy(), k, d, found) < 0


def test_all_sets_of_a_small_size_have_codes_of_their_own():
    for d in range(1, 11):
        for k in range(1, d + 1):
            seen = set()
            for mask in range(1 << d):
                chosen = [i for i in range(d) if mask >> i & 1]
                if len(chosen) == k:
                    out = np.zeros(64, np.uint8)
                    seen.add(bytes(out[: write_indices(np.array(chosen), k, d, out)]))
            assert len(seen) == math.comb(d, k)


def test_damaged_indices_stay_below_d():
    d, k = 1000, 37
    chosen = np.zeros(k, np.int64)
    statuses = set()
    for seed in range(3000):
        noise = words(make_key(seed, 0, 0), 60).astype(np.uint8)
        status = read_indices(noise, k, d, chosen)
        statuses.add(min(status, 0))
        if status >= 0:
            assert (np.diff(chosen) > 0).all()
            assert chosen[0] >= 0
            assert chosen[-1] < d
    assert statuses <= {0, INVALID_INDEX, PADDING, TOO_SHORT}
    assert INVALID_INDEX in statuses


@pytest.mark.parametrize(("d", "k"), [(10**6, 10**4), (10**6, 10**5), (1000, 100), (128, 4)])
def test_sparse_indices_cost_little(d, k):
    bits = 8 * indices_nbytes(d, k) / k
    assert bits <= np.log2(d / k) + 2 + 8 / k
