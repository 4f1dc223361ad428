"""Compressors without a scale: uniform, saturating, one_bit; and norm_sign beside one_bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distopt.compressors.base import Absolute, Local, Relative, compress
from distopt.compressors.norm_sign import NormSign
from distopt.compressors.one_bit import OneBit
from distopt.compressors.saturating import Saturating
from distopt.compressors.uniform import Uniform
from distopt.core.errors import DivergedError
from distopt.core.randomness import make_key, normal, words

moderate = st.lists(st.floats(-300, 300), min_size=1, max_size=50)


@given(moderate, st.sampled_from([0.25, 1.0, 0.3, 7.0]))
def test_uniform_is_the_nearest_grid_point(values, delta):
    x = np.array(values)
    _, decoded = compress(Uniform(delta=delta), x)
    level = x / delta
    expected = np.floor(level) + (level - np.floor(level) >= 0.5)
    np.testing.assert_array_equal(decoded, expected * delta)
    assert np.abs(decoded - x).max() <= delta / 2 * (1 + 1e-12)


def test_uniform_breaks_ties_upwards_and_just_below_a_half_goes_down():
    x = [0.5, -0.5, 1.5, -1.5, 0.49999999999999994, -0.49999999999999994, 2.0**52 + 1]
    assert compress(Uniform(), x)[1].tolist() == [1, 0, 2, -1, 0, 0, 2.0**52 + 1]


def test_dithered_uniform_equals_its_definition_and_keeps_the_grid():
    key = make_key(4, 0, 0)
    x = np.concatenate([normal(make_key(1, 0, 0), 2000) * 9, np.arange(-5.0, 6.0)])
    level = x / 0.5
    u = (words(key, x.size) + 0.5) * 2.0**-32
    expected = (np.floor(level) + (u < level - np.floor(level))) * 0.5
    _, decoded = compress(Uniform(delta=0.5, dithered=True), x, key)
    np.testing.assert_array_equal(decoded, expected)
    np.testing.assert_array_equal(decoded[2000:], x[2000:])


def test_uniform_takes_any_integer_of_63_bits():
    x = [2.0**63 - 1024, -(2.0**63 - 1024), 2.0**62, 1.0, -1.0, 2.0**57, -(2.0**58), 0.0]
    payload, decoded = compress(Uniform(), x)
    assert decoded.tolist() == x
    assert len(payload) <= Uniform().max_nbytes(8)


@pytest.mark.parametrize("x", [2.0**63, -(2.0**63), 1e300])
def test_uniform_says_what_to_do_beyond(x):
    with pytest.raises(
        DivergedError, match=r"entry 2 is .* 2\^63 steps of compressor\.delta = 1;.*mu"
    ):
        compress(Uniform(), [0.0, 1.0, x, x])


def test_uniform_costs_few_bits_for_small_integers():
    assert len(compress(Uniform(), np.zeros(800))[0]) == 100
    assert len(compress(Uniform(), np.tile([0.0, 1.0], 400))[0]) == 200


def test_uniform_guarantees():
    assert Uniform(delta=3.0).guarantees(50) == (Absolute(p=np.inf, C=1.5),)
    assert Uniform(delta=1.0).guarantee(50, Local) == Local(p=np.inf, phi=0.5)
    assert Uniform(delta=0.5, dithered=True).guarantee(100, Absolute) == Absolute(p=2, C=2.5)
    assert Uniform(delta=0.5, dithered=True).guarantee(100, Local) == Local(p=np.inf, phi=0.5)
    assert Uniform(delta=1.0, dithered=True).guarantee(100, Local) is None


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16])
@given(moderate)
def test_saturating_equals_its_definition(bits, values):
    x = np.array(values) / 200
    levels = 2.0 ** (bits - 1)
    expected = np.clip(np.floor(x * levels), -levels, levels - 1) / levels + 2.0**-bits
    payload, decoded = compress(Saturating(bits=bits), x)
    np.testing.assert_array_equal(decoded, expected)
    assert len(payload) == (bits * x.size + 7) // 8
    inside = np.abs(x) <= 1
    assert (np.abs(decoded - x)[inside] <= 2.0**-bits).all()


@pytest.mark.parametrize("bits", [1, 2, 16])
def test_saturating_far_outside(bits):
    top = 1 - 2.0**-bits
    assert compress(Saturating(bits=bits), [1e300, -1e300])[1].tolist() == [top, -top]


def test_the_local_constant_is_attained():
    for compressor in (OneBit(), Saturating(bits=1), Saturating(bits=4), NormSign()):
        error = abs(compress(compressor, [1.0, 1.0])[1] - 1.0).max()
        assert error == 1 - compressor.guarantee(2, Local).phi


def test_signs_of_zeros_are_plus():
    assert compress(OneBit(), [0.0, -0.0, 5e-324, -5e-324])[1].tolist() == [0.5, 0.5, 0.5, -0.5]
    assert compress(NormSign(), [2.0, 0.0, -0.0, -1.0])[1].tolist() == [1, 1, 1, -1]
    assert Saturating(bits=1).guarantees(3) == OneBit().guarantees(3)


@pytest.mark.parametrize("unit", [1.0, 1e300, 1e-300, 2.0**-127, 2.0**129])
def test_norm_sign_of_any_size(unit):
    x = normal(make_key(2, 0, 0), 5000) * unit
    payload, decoded = compress(NormSign(), x)
    half = np.abs(x).max() / 2
    assert len(payload) == (4 if 2.0**-126 <= half < 2.0**127 else 12) + 625
    assert (np.sign(decoded) == np.sign(x)).all()
    assert half <= decoded.max() <= half * (1 + 2.0**-23)


def test_norm_sign_attains_its_constant():
    x = np.append(1.0, np.zeros(49))
    g = NormSign().guarantee(50, Relative)
    error = ((compress(NormSign(), x)[1] / g.r - x) ** 2).sum()
    assert error == pytest.approx(1 - g.psi, rel=1e-12)
    assert ((compress(NormSign(), x)[1] - x) ** 2).sum() == 50 / 4
