"""The quantisers with a norm as scale: twins, constants that are attained, dither, blocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distopt.compressors.base import Local, Relative, compress
from distopt.compressors.quantize import Quantize
from distopt.compressors.scales import max_abs, round_scale, two_norm
from distopt.compressors.ternary import Ternary
from distopt.core.errors import MessageError
from distopt.core.randomness import make_key, normal, words
from distopt.core.workspace import Workspace

KEY = make_key(11, 2, 1, iteration=5)


def twin(x, bits, dithered, norm="inf", key=KEY):
    """Quantise in exact steps of numpy: C(x) by its definition."""
    levels = 2.0 ** (bits - 1)
    s = round_scale(max_abs(x) if norm == "inf" else two_norm(x), False)
    level = np.abs(x) / s * levels
    u = (words(key, x.size) + 0.5) * 2.0**-32 if dithered else 0.5
    up = (u < level - np.floor(level)) if dithered else level - np.floor(level) >= 0.5
    return np.sign(x) * (np.floor(level) + up) / levels * s


@pytest.mark.parametrize("d", [1, 7, 8, 9, 1024, 3000])
@pytest.mark.parametrize("norm", ["inf", "two"])
@pytest.mark.parametrize("dithered", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 7, 8, 15])
def test_equals_the_definition(bits, dithered, norm, d):
    x = normal(make_key(d, bits, 0), d)
    payload, values = compress_unchecked(Quantize(bits=bits, dithered=dithered, norm=norm), x)
    np.testing.assert_array_equal(values, twin(x, bits, dithered, norm))
    assert len(payload) == 4 + (d * (bits + 1) + 7) // 8


def compress_unchecked(compressor, x):
    """As `compress`, also for settings that `check` refuses because nothing is guaranteed."""
    out, values = np.zeros(compressor.max_nbytes(x.size), np.uint8), np.zeros(x.size)
    payload = out[: compressor.encode(x, out, KEY, {}, Workspace())]
    compressor.decode_add(payload, 1.0, values, KEY, {}, Workspace())
    return payload, values


@pytest.mark.parametrize("block", [1, 3, 8, 1000, 1024, 5000])
def test_a_block_is_a_vector_of_its_own(block):
    x = normal(make_key(3, 0, 0), 2500) * np.repeat([1.0, 1e-3, 40.0, 0.0, 1.0], 500)
    parts = [twin(x[i : i + block], 4, False) if x[i : i + block].any() else x[i : i + block] * 0
             for i in range(0, x.size, block)]  # fmt: skip
    payload, values = compress(Quantize(bits=4, block=block), x)
    np.testing.assert_array_equal(values, np.concatenate(parts))
    assert len(payload) == 4 * len(parts) + (2500 * 5 + 7) // 8
    _, one = compress(Quantize(bits=4, dithered=True, block=10**6), x, KEY)
    np.testing.assert_array_equal(one, compress(Quantize(bits=4, dithered=True), x, KEY)[1])


def test_what_is_on_the_grid_never_moves():
    x = 0.75 / 8 * np.arange(-8, 9)
    for sample in range(200):
        _, values = compress(Quantize(bits=4, dithered=True), x, make_key(sample, 0, 0))
        np.testing.assert_array_equal(values, x)


def test_dither_is_unbiased():
    # 4000 independent means of a Bernoulli variable each: the sum of squared standard scores is
    # chi-square with 64 degrees of freedom; 131 is exceeded with probability 2e-6.
    x = np.concatenate([[1.0], np.linspace(0.01, 0.99, 64) / 2])
    n, step = 4000, 0.5
    total = np.zeros(65)
    for sample in range(n):
        total += compress(Quantize(bits=2, dithered=True), x, make_key(sample, 0, 0))[1]
    f = np.linspace(0.01, 0.99, 64)
    assert total[0] == n
    scores = (total[1:] / n / step - f) / np.sqrt(f * (1 - f) / n)
    assert (scores**2).sum() < 131


@pytest.mark.parametrize("scale", ["float32", "float64"])
@pytest.mark.parametrize("d", [2, 10, 1000])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_nearest_constants_are_attained(bits, d, scale):
    # One entry 1, the others just below (or at) half a step: they round away from what they are.
    x = np.append(1.0, np.full(d - 1, 2.0**-bits))
    compressor = Quantize(bits=bits, scale=scale)
    error = ((compress(compressor, x)[1] - x) ** 2).sum() / (x**2).sum()
    assert error == pytest.approx(1 - compressor.guarantee(d, Relative).psi, rel=1e-6)


def expected_error(x, bits, norm):
    """Return E ||C(x) - x||^2 / ||x||^2 of the dithered quantiser, without sampling."""
    s = round_scale(max_abs(x) if norm == "inf" else two_norm(x), False)
    step = s / 2.0 ** (bits - 1)
    f = np.abs(x) / step % 1.0
    return step**2 * (f * (1 - f)).sum() / (x**2).sum()


@pytest.mark.parametrize("d", [2, 10, 1000, 10**5])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_dithered_constants_are_attained(bits, d):
    levels = 2.0 ** (bits - 1)
    f = 1 / (np.sqrt(1 + (d - 1) / levels**2) + 1)
    worst = np.append(1.0, np.full(d - 1, f / levels))
    r = Quantize(bits=bits, dithered=True).guarantee(d, Relative).r
    assert 1 + expected_error(worst, bits, "inf") == pytest.approx(r, rel=1e-5)


@pytest.mark.parametrize(("bits", "d"), [(1, 4), (1, 100), (4, 256), (4, 10**4), (8, 10**5)])
def test_dithered_constants_in_the_two_norm_are_attained(bits, d):
    r = Quantize(bits=bits, dithered=True, norm="two").guarantee(d, Relative).r
    assert 1 + expected_error(np.ones(d), bits, "two") == pytest.approx(r, rel=1e-5)


@given(
    st.lists(st.floats(-1, 1) | st.floats(-0.01, 0.01), min_size=1, max_size=40),
    st.integers(1, 6),
    st.sampled_from(["inf", "two"]),
)
def test_dithered_constants_hold(values, bits, norm):
    x = np.array(values)
    if np.abs(x).max() > 1e-100:
        r = Quantize(bits=bits, dithered=True, norm=norm).guarantee(x.size, Relative).r
        assert expected_error(x, bits, norm) <= (r - 1) * (1 + 1e-12)


def test_relative_constants_of_an_unbiased_compressor():
    g = Quantize(bits=2, dithered=True).guarantee(50, Relative)
    assert g.psi == pytest.approx(1 / g.r)
    assert Quantize(bits=4, dithered=True).guarantee(100, Relative).r < 1 + 100 / 4**4


def test_which_guarantees_there_are():
    assert [type(g) for g in Quantize(bits=1).guarantees(50)] == [Relative, Local]
    assert [type(g) for g in Quantize(bits=1, dithered=True).guarantees(50)] == [Relative]
    assert Quantize(bits=3).guarantee(50, Local).phi == 1 - 2.0**-3
    assert Quantize(bits=3, dithered=True).guarantee(50, Local).phi == 1 - 2.0**-2
    assert Quantize(bits=1, norm="two").guarantees(50) == ()
    assert Quantize(bits=4, block=10).guarantees(50) == Quantize(bits=4).guarantees(10)


@pytest.mark.parametrize("d", [1, 4, 5, 6, 100, 5119, 5120, 5121, 12_345])
def test_ternary_has_the_values_of_one_bit(d):
    x = normal(make_key(d, 0, 0), d)
    payload, values = compress(Ternary(), x, KEY)
    np.testing.assert_array_equal(values, compress(Quantize(bits=1, dithered=True), x, KEY)[1])
    assert len(payload) == 4 + (d + 4) // 5


@pytest.mark.parametrize("byte", [243, 255])
def test_ternary_refuses_bytes_beyond_five_digits(byte):
    payload = np.array([0, 0, 0, 63, byte, 0], np.uint8)
    with pytest.raises(MessageError, match="a code is none that the sender can produce"):
        Ternary().decode_add(payload, 1.0, np.zeros(10), KEY, {}, Workspace())


def test_ternary_refuses_digits_behind_the_last_coordinate():
    payload = np.array([0, 0, 0, 63, 9], np.uint8)
    assert Ternary().decode_add(payload, 1.0, np.zeros(3), KEY, {}, Workspace()) == 5
    with pytest.raises(MessageError, match="padding"):
        Ternary().decode_add(payload, 1.0, np.zeros(2), KEY, {}, Workspace())


def test_codes_above_the_highest_level_are_refused():
    payload = np.array([0, 0, 0, 63, 0b1011_0001], np.uint8)  # codes 1, 0, 3, 2 of 2 bits
    with pytest.raises(MessageError, match="a code is none"):
        Quantize(bits=1).decode_add(payload, 1.0, np.zeros(4), KEY, {}, Workspace())
