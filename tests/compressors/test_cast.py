"""Shorter floating-point formats against numpy's casts and a twin for bfloat16."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distopt.compressors.base import compress
from distopt.compressors.cast import Cast
from distopt.core.errors import DivergedError, MessageError
from distopt.core.randomness import make_key, normal
from distopt.core.workspace import Workspace


def bfloat16(x):
    """Round to 8 significant bits (fewer below 2^-126), to nearest, ties to even, in one step."""
    _, exponent = np.frexp(x)
    unit = np.ldexp(1.0, np.maximum(exponent - 8, -133))
    return np.rint(x / unit) * unit


TWINS = {
    "float32": lambda x: x.astype(np.float32).astype(float),
    "float16": lambda x: x.astype(np.float16).astype(float),
    "bfloat16": bfloat16,
}
LIMITS = {"float32": 3.4e38, "float16": 65_504.0, "bfloat16": 3.38e38}


@pytest.mark.parametrize("dtype", TWINS)
@given(mantissa=st.floats(-2, 2), exponent=st.integers(-160, 127), bits=st.integers(1, 52))
def test_rounds_once_to_nearest_even(dtype, mantissa, exponent, bits):
    # Short mantissas fall on ties; one more last bit falls next to them.
    short = np.round(mantissa * 2.0 ** (bits % 13)) * 2.0 ** -(bits % 13) * 2.0**exponent
    x = np.array([short, np.nextafter(short, 9), np.nextafter(short, -9), mantissa * 2.0**exponent])
    x = np.clip(x, -LIMITS[dtype], LIMITS[dtype])
    with np.errstate(over="ignore", under="ignore"):
        np.testing.assert_array_equal(compress(Cast(dtype=dtype), x)[1], TWINS[dtype](x))


def test_bfloat16_does_not_round_twice():
    # Just above the tie 1 + 2^-8: through float32 it would fall onto the tie and then to 1.
    x = [1 + 2.0**-8 + 2.0**-40]
    assert compress(Cast(dtype="bfloat16"), x)[1] == [1 + 2.0**-7]


@pytest.mark.parametrize("dtype", TWINS)
def test_every_16_bit_code_or_many_numbers_come_back(dtype):
    x = normal(make_key(0, 0, 0), 5000) * 2.0 ** np.tile(np.arange(-14, 11), 200)
    exact = TWINS[dtype](x)
    np.testing.assert_array_equal(compress(Cast(dtype=dtype), exact)[1], exact)


def test_all_finite_float16_codes_decode_as_numpy_decodes_them():
    codes = np.arange(1 << 16).astype("<u2")
    values = codes.view(np.float16).astype(float)
    finite = np.isfinite(values)
    acc = np.zeros(finite.sum())
    payload = codes[finite].view(np.uint8)
    key = make_key(0, 0, 0)
    used = Cast(dtype="float16").decode_add(payload, 1.0, acc, key, {}, Workspace())
    assert used == payload.size
    np.testing.assert_array_equal(acc, values[finite])


@pytest.mark.parametrize(
    ("dtype", "largest", "beyond"),
    [("float16", 65_519.99, 65_520.0), ("float32", 3.4028235e38, 3.4028236e38),
     ("bfloat16", 3.39e38, 3.4e38)],
)  # fmt: skip
def test_overflow_is_an_error_at_the_sender(dtype, largest, beyond):
    compress(Cast(dtype=dtype), [0.0, largest])
    for x in (beyond, -beyond, 1e300):
        with pytest.raises(DivergedError, match=rf"entry 1 is .*, but the largest {dtype} is"):
            compress(Cast(dtype=dtype), [0.0, x, x])


def test_float16_names_the_way_out():
    with pytest.raises(DivergedError, match=r'compressor\.dtype = "bfloat16" or "float32"'):
        compress(Cast(dtype="float16"), [1e6])


@pytest.mark.parametrize("dtype", TWINS)
def test_infinity_on_the_wire_is_refused(dtype):
    codes = {"float32": 0x7F800000, "float16": 0x7C00, "bfloat16": 0x7F80}
    wire = "<u4" if dtype == "float32" else "<u2"
    for code in (codes[dtype], codes[dtype] + 1):
        payload = np.array([0, code], wire).view(np.uint8)
        with pytest.raises(MessageError, match="a number is not finite"):
            Cast(dtype=dtype).decode_add(
                payload, 1.0, np.zeros(2), make_key(0, 0, 0), {}, Workspace()
            )
