import numpy as np
import pytest

from distopt.core.errors import ConfigError
from distopt.fixedpoint import Format, Rounding


@pytest.mark.parametrize(
    ("text", "dtype", "lowest", "highest"),
    [
        ("Q1.7", "int8", -1.0, 1 - 2**-7),
        ("Q8.8", "int16", -128.0, 128 - 2**-8),
        ("Q2.0", "int8", -2.0, 1.0),
        ("q7.9", "int16", -64.0, 64 - 2**-9),
        ("Q1.31", "int32", -1.0, 1 - 2**-31),
        ("Q32.0", "int32", -(2.0**31), 2.0**31 - 1),
        ("Q1.8", "int16", -1.0, 1 - 2**-8),
    ],
)
def test_formats(text, dtype, lowest, highest):
    q = Format.parse(text)
    assert (q.dtype.name, q.lowest, q.highest) == (dtype, lowest, highest)
    assert str(q) == text.upper()
    info = np.iinfo(q.dtype)
    assert info.min <= q.lowest_code < q.highest_code <= info.max


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: Format.parse("8.8"),
            '"8.8" is not a fixed-point format; accepted: Q, integer bits',
        ),
        (lambda: Format.parse("Q17.16"), "Q17.16 has 33 bits, sign included; accepted: 2 to 32"),
        (lambda: Format(1, 0), "Q1.0 has 1 bits"),
        (
            lambda: Format(integer_bits=0, fraction_bits=8),
            r"format.integer_bits = 0 is not acceptable; accepted: a number >= 1",
        ),
        (
            lambda: Format(integer_bits=40, fraction_bits=0),
            r"format.integer_bits = 40 is not acceptable",
        ),
        (lambda: Rounding("SR_eps", eps=1.0), r"rounding.eps = 1.0 is not acceptable"),
        (lambda: Rounding("SR_eps", eps=-0.1), r"rounding.eps = -0.1 is not acceptable"),
        (lambda: Rounding("SR", eps=0.1), 'eps = 0.1 means nothing with rounding.mode = "SR"'),
        (lambda: Rounding(mode="nearest"), 'rounding.mode = "nearest" is not'),
    ],
)
def test_refusals(make, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make()
