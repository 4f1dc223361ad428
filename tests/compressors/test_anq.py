"""anq: its error law in the ball and far outside, its cells, its codes, what its decoder refuses."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distopt.compressors.anq import LARGEST, Anq
from distopt.compressors.base import Local, compress
from distopt.core.errors import ConfigError, MessageError
from distopt.core.randomness import make_key
from distopt.core.workspace import Workspace

SETTINGS = [(0.25, 0.25), (0.4, 0.5), (0.01, 0.02), (2.0**-20, 0.9), (0.98, 2.0**-6)]
EPS = float(np.finfo(np.float64).eps)
numbers = st.lists(st.floats(-3, 3) | st.floats(-LARGEST, LARGEST), min_size=1, max_size=40)


@pytest.mark.parametrize(("absolute", "relative"), SETTINGS)
@given(values=numbers)
def test_the_error_is_within_the_law_everywhere(absolute, relative, values):
    x = np.array(values)
    _, decoded = compress(Anq(absolute=absolute, relative=relative), x)
    # v_q comes from some q roundings, of a relative 2^-53 each and none that cancels; q < 3000.
    assert (np.abs(decoded - x) <= absolute + relative * np.abs(x) + 6000 * EPS * abs(x)).all()


@pytest.mark.parametrize(("absolute", "relative"), SETTINGS)
def test_no_cell_could_be_longer(absolute, relative):
    """At both ends of every cell the error is all that the law allows, in exact arithmetic."""
    v, t = Anq(absolute=absolute, relative=relative).grid
    a, w = Fraction(absolute), Fraction(relative)
    assert v[0] == 0
    assert t[-1] >= LARGEST
    value = Fraction(0)
    for q in range(min(v.size, 30)):
        assert float(value) == pytest.approx(v[q], rel=1e-13)
        end = (value + a) / (1 - w)  # end - value = a + w end
        assert float(end) == pytest.approx(t[q], rel=1e-13)
        value = end + a + w * end  # and from the other side


@given(values=st.lists(st.floats(-50, 50), min_size=1, max_size=40))
def test_a_number_goes_to_the_first_cell_that_reaches_it(values):
    compressor = Anq(absolute=0.3, relative=0.4)
    v, t = compressor.grid
    expected = [np.sign(x) * v[next(q for q in range(v.size) if abs(x) <= t[q])] for x in values]
    for entropy in ("none", "range", "fast"):
        _, decoded = compress(Anq(absolute=0.3, relative=0.4, entropy=entropy), values)
        np.testing.assert_array_equal(decoded, expected)


def test_bits_grow_with_the_logarithm_of_the_size():
    """One bit for what is near zero; every doubling of q, so squaring of |x|, costs two more."""
    compressor = Anq(absolute=0.5, relative=1 / 3)  # rho = 2: v_q = 1.5 (2^q - 1)
    assert compressor.grid[0][:5] == pytest.approx(1.5 * (2.0 ** np.arange(5) - 1))
    for q, bits in [(0, 1), (1, 3), (3, 5), (7, 7), (15, 9), (31, 11)]:
        payload, decoded = compress(compressor, np.full(80, -compressor.grid[0][q]))
        assert (decoded == -compressor.grid[0][q]).all()
        assert len(payload) == 10 * bits


def test_beyond_the_largest_it_saturates():
    compressor = Anq()
    top = compressor.grid[0][-1]
    assert compress(compressor, [1e300, -1e300])[1].tolist() == [top, -top]


@pytest.mark.parametrize(("absolute", "relative"), SETTINGS)
def test_the_local_constant_is_attained(absolute, relative):
    compressor = Anq(absolute=absolute, relative=relative)
    ball = np.append(compressor.grid[1], 1.0)
    ball = ball[ball <= 1.0]
    bound = 1 - compressor.guarantee(1, Local).phi
    assert bound <= (absolute + relative) * (1 + 1e-12)
    errors = abs(compress(compressor, ball)[1] - ball)
    assert errors.max() == pytest.approx(bound, rel=1e-12)
    assert Anq().guarantee(1, Local).phi == pytest.approx(2 / 3)


def test_a_code_beyond_the_last_value_is_refused_before_anything_is_written():
    compressor = Anq()
    top = compressor.grid.shape[1] - 1
    # An Elias-gamma code of q = top + 1: m = 2 q + 1, N zeros, a one, N digits, lowest first.
    for q, known in [(top, True), (top + 1, False)]:
        m = 2 * q + 1
        n = m.bit_length() - 1
        bits = [0] * n + [1] + [m >> i & 1 for i in range(n)]
        payload, acc = np.packbits(bits, bitorder="little"), np.zeros(1)
        arguments = (payload, 1.0, acc, make_key(0, 0, 0), {}, Workspace())
        if known:
            assert compressor.decode_add(*arguments) == payload.size
            assert acc[0] == compressor.grid[0][top]
        else:
            with pytest.raises(MessageError, match="a code is none that the sender can produce"):
                compressor.decode_add(*arguments)
            assert acc[0] == 0


def test_an_error_as_large_as_the_ball_is_refused():
    with pytest.raises(ConfigError, match=r"compressor\.absolute = 0\.6 and .* a sum below 1"):
        Anq(absolute=0.6, relative=0.4)
