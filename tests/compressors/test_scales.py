"""Norms, their rounding upwards and their bytes."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from distopt.compressors.coders.wire import INVALID_SCALE, TOO_SHORT
from distopt.compressors.norm_sign import NormSign
from distopt.compressors.quantize import Quantize
from distopt.compressors.scales import (
    is_escaped,
    load_scale,
    max_abs,
    round_scale,
    store_scale,
    two_norm,
)
from distopt.core.errors import DivergedError, MessageError
from distopt.core.randomness import make_key, normal
from distopt.core.workspace import Workspace

positive = st.floats(0, allow_infinity=False, allow_nan=False)
LARGEST = float(np.finfo(np.float32).max)


@given(positive)
@example(2.0**-126)
@example(np.nextafter(2.0**-126, 0))
@example(LARGEST)
@example(np.nextafter(LARGEST, np.inf))
@example(np.nextafter(LARGEST, 0))
@example(1.0 + 2.0**-52)
@example(1.0)
def test_scales_are_rounded_up_by_little_and_come_back(norm):
    for wide in (False, True):
        scale = round_scale(norm, wide)
        assert norm <= scale <= norm * (1 + 2.0**-23)
        if not wide and not is_escaped(norm):
            assert scale == float(np.float32(scale))
            assert float(np.nextafter(np.float32(scale), np.float32(-1))) < norm or norm == 0
        else:
            assert scale == norm
        out = np.full(16, 0xA5, np.uint8)
        nbytes = store_scale(out, 2, scale, wide)
        assert nbytes == (8 if wide else 12 if is_escaped(norm) else 4)
        assert (out[2 + nbytes :] == 0xA5).all()
        assert load_scale(out, 2, wide) == (scale, nbytes)
        for size in range(2, 2 + nbytes):
            assert load_scale(out[:size], 2, wide)[1] == TOO_SHORT


@pytest.mark.parametrize("bad", [-1.0, -1e-42, np.nan, np.inf, -np.inf])
def test_bad_scales_are_refused(bad):
    narrow = np.array([bad], "<f4").view(np.uint8)
    wide = np.array([bad], "<f8").view(np.uint8)
    escaped = np.concatenate([np.array([-0.0], "<f4").view(np.uint8), wide])
    assert load_scale(narrow, 0, False)[1] == INVALID_SCALE
    assert load_scale(escaped, 0, False)[1] == INVALID_SCALE
    assert load_scale(wide, 0, True)[1] == INVALID_SCALE
    payload = np.append(narrow, np.uint8(0))
    with pytest.raises(MessageError, match="a scale is negative or not finite"):
        NormSign().decode_add(payload, 1.0, np.zeros(8), make_key(0, 0, 0), {}, Workspace())


@pytest.mark.parametrize("d", [1, 7, 8, 9, 1000])
@pytest.mark.parametrize("unit", [1.0, 1e-300, 1e300, 5e-324])
def test_norms_equal_exact_arithmetic(d, unit):
    x = normal(make_key(d, 0, 0), d) * unit
    assert max_abs(x) == np.abs(x).max()
    exact = math.hypot(*x)
    assert two_norm(x) == pytest.approx(exact, rel=1e-14)
    assert two_norm(x) >= np.abs(x).max()


def test_norms_of_zero_and_one():
    assert max_abs(np.array([-0.0])) == two_norm(np.array([-0.0])) == 0.0
    for v in (3e-324, 1e-200, 0.1, 7.7, 1e308):
        assert two_norm(np.array([0.0, -v])) == v


def test_a_two_norm_beyond_float64_is_an_error_at_the_sender():
    compressor, x = Quantize(norm="two", dithered=True), np.full(9, 1e308)
    out = np.zeros(compressor.max_nbytes(9), np.uint8)
    with pytest.raises(DivergedError, match=r'2-norm .* beyond the largest float64.*norm = "inf"'):
        compressor.encode(x, out, make_key(0, 0, 0), {}, Workspace())
