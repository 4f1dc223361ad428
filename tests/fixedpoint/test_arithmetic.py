"""The kernels against their numpy twins, and what must hold for any of them."""

from itertools import pairwise

import fixedpoint_twin as twin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distopt.core.errors import ConfigError, DataError
from distopt.core.randomness import normal, words
from distopt.fixedpoint import (
    Format,
    Rounding,
    decode,
    dot,
    encode,
    matvec,
    matvec_transposed,
    multiply,
    round_integers,
    rounding_key,
    sigmoid,
    sigmoid_table,
)

ROUNDINGS = {
    "RN": Rounding("RN"),
    "RD": Rounding("RD"),
    "RU": Rounding("RU"),
    "RZ": Rounding("RZ"),
    "SR": Rounding("SR"),
    "SR_.1": Rounding("SR_eps", eps=0.1),
    "SR_.99999999": Rounding("SR_eps", eps=0.99999999),
    "signed_.4": Rounding("signed_SR_eps", eps=0.4),
}
FORMATS = [
    Format.parse(q) for q in ("Q3.5", "Q2.0", "Q8.8", "Q1.15", "Q16.0", "Q9.8", "Q1.31", "Q32.0")
]
SIZES = [1, 100, 1023, 1024, 1025, 2047, 2048, 2049, 5000]

every_rounding = pytest.mark.parametrize("rounding", ROUNDINGS.values(), ids=ROUNDINGS)


def compiled(*formats):
    """Pair all modes with formats; 8 bits, which each mode compiles anew, are slow but for two of them."""
    for name, rounding in ROUNDINGS.items():
        for q in formats:
            slow = q.bits <= 8 and rounding.mode not in ("RN", "SR_eps")
            marks = [pytest.mark.slow] if slow else []
            yield pytest.param(rounding, q, id=f"{name}-{q}", marks=marks)


def every_format(*formats):
    return pytest.mark.parametrize(("rounding", "q"), list(compiled(*formats)))


def some(size, q, seed=0):
    """Values within, around and far beyond a format; ties, numbers of the format, zeros."""
    x = normal(rounding_key(seed, 1), size) * q.highest / 2
    x[::5] = np.rint(x[::5] / q.unit) * q.unit
    x[1::5] = (np.rint(x[1::5] / q.unit) + 0.5) * q.unit
    x[2::50] *= 1e6
    x[3::50] = 0.0
    x[4::50] = -0.0
    x[5::50] = 5e-324
    x[6::50] = q.highest
    x[7::50] = q.lowest
    x[8::50] = np.nextafter(q.highest, np.inf)
    x[9::50] = np.nextafter(q.lowest, -np.inf)
    x[10::50] = 1e308
    return x


def integers(size, bits, seed=0):
    """Random int64 of so many bits, with the extremes."""
    w = words(rounding_key(seed, 2), 2 * size).astype(np.uint64)
    p = (w[:size] << np.uint64(32) | w[size:]).view(np.int64) >> np.int64(64 - bits)
    p[::7] = -(1 << (bits - 1))
    p[1::7] = (1 << (bits - 1)) - 1
    p[2::7] >>= bits // 2
    return p


def integer_formats(rounding):
    """All storages for one mode; the others, which each storage compiles anew, take int16 only."""
    some = (Format(3, 5), Format(16, 16)) if rounding.mode == "SR_eps" else ()
    return (Format(8, 8), Format(7, 3), *some)


@every_format(*FORMATS)
def test_encode_equals_twin(rounding, q):
    key = rounding_key(7, 0, 3)
    for size in SIZES:
        x, v = some(size, q), normal(rounding_key(1, 1), size) * (np.arange(size) % 3)
        codes, saturated = encode(x, q, rounding, key, v=v)
        expected, count = twin.encode(x, q, rounding, key, v=v)
        np.testing.assert_array_equal(codes, expected)
        assert saturated == count
        assert codes.dtype == q.dtype


@every_rounding
@pytest.mark.parametrize(
    "drop",
    [0, 1, 16, 17, 33]
    + [pytest.param(drop, marks=pytest.mark.slow) for drop in (3, 8, 15, 31, 32, 40)],
)
def test_round_integers_equals_twin(rounding, drop):
    key = rounding_key(7, 1, 3)
    for q in integer_formats(rounding):
        for bits in (min(q.bits + drop - 1, 63), min(q.bits + drop + 2, 63)):
            p, v = integers(3001, bits), integers(3001, 9, seed=1) % 3 - 1
            result = round_integers(p, q.fraction_bits + drop, q, rounding, key, v=v)
            expected, count = twin.round_integers(p, drop, q, rounding, key, v=v)
            np.testing.assert_array_equal(result.codes, expected)
            assert result.saturated == count


@pytest.mark.parametrize(
    ("rounding", "types"),
    [
        pytest.param(
            rounding, ("int8", "int8"), marks=[pytest.mark.slow] * (name in ("RD", "RU", "RZ"))
        )
        for name, rounding in ROUNDINGS.items()
    ]
    + [
        pytest.param(rounding, ("int32", "int16"), marks=[pytest.mark.slow] * (name[:2] != "SR"))
        for name, rounding in ROUNDINGS.items()
    ],
    ids=str,
)
def test_multiply_equals_twin(rounding, types):
    q, key = Format(4, 8), rounding_key(0, 2)
    a, b = (integers(2500, 8 * np.dtype(t).itemsize, seed=i).astype(t) for i, t in enumerate(types))
    v = np.sign(a).astype(np.int64)
    p = a.astype(np.int64) * b
    result = multiply(a, b, 15, q, rounding, key, v=v)
    expected, count = twin.round_integers(p, 7, q, rounding, key, v=v)
    np.testing.assert_array_equal(result.codes, expected)
    assert result.saturated == count
    step = np.array([3], types[1])
    np.testing.assert_array_equal(
        multiply(a, step, 15, q, rounding, key, v=v).codes,
        twin.round_integers(a.astype(np.int64) * 3, 7, q, rounding, key, v=v)[0],
    )


@every_rounding
def test_added_fraction_bits_are_exact_and_saturate(rounding):
    p = np.array([-9, -8, 0, 3, 7, 8], np.int64)
    result = round_integers(p, 2, Format(2, 8), rounding, rounding_key(0, 0), v=p)
    assert result.codes.tolist() == [-512, -512, 0, 192, 448, 511]
    assert result.saturated == 2


@every_format(*FORMATS)
def test_numbers_of_the_format_never_move(rounding, q):
    codes = integers(4000, q.bits).astype(q.dtype)
    x = decode(codes, q)
    for iteration in range(5):
        key = rounding_key(1, 0, iteration)
        for v in (x, -x):
            again, saturated = encode(x, q, rounding, key, v=v)
            np.testing.assert_array_equal(again, codes)
            assert saturated == 0
        for drop in (1, 16, 20) if q in (Format(8, 8), Format(1, 15)) else ():
            p = codes.astype(np.int64) << drop
            again, saturated = round_integers(p, q.fraction_bits + drop, q, rounding, key, v=-p)
            np.testing.assert_array_equal(again, codes)
            assert saturated == 0


@every_format(*(Format.parse(text) for text in ("Q3.5", "Q8.8", "Q2.0", "Q10.20", "Q1.31")))
@settings(max_examples=settings().max_examples // 5)
@given(
    x=st.lists(st.floats(-1e300, 1e300) | st.floats(-5, 5), min_size=1, max_size=20),
    seed=st.integers(0, 2**64 - 1),
)
def test_result_is_a_neighbour(rounding, q, x, seed):
    x = np.array(x)
    codes, _ = encode(x, q, rounding, rounding_key(seed, 0), v=x[::-1].copy())
    inside = np.clip(x, q.lowest, q.highest) / q.unit
    # The random modes see x rounded to 16 bits below u, which may be the neighbour above.
    sub = 2.0**-17 if rounding.random else 0.0
    assert (codes >= np.floor(inside - sub)).all()
    assert (codes <= np.ceil(inside + sub)).all()
    np.testing.assert_array_equal(
        encode(x, q, rounding, rounding_key(seed, 0), v=x[::-1].copy()).codes, codes
    )


@every_format(Format(3, 5), Format(5, 5), Format(12, 12))
@settings(max_examples=settings().max_examples // 2)
@given(cuts=st.lists(st.integers(0, 6000), max_size=6), first=st.integers(0, 5000))
def test_slices_round_as_the_whole(rounding, q, cuts, first):
    borders = [0, *sorted(cuts), 6000]
    key = rounding_key(5, 3, 1)
    p = integers(6000, 28)
    x = some(6000, q)
    whole = encode(x, q, rounding, key, first=first, v=x)
    wholes = {
        drop: round_integers(p, drop, Format(9, 0), rounding, key, first=first, v=p)
        for drop in (4, 17)
    }
    total = 0
    for a, b in pairwise(borders):
        part = encode(x[a:b], q, rounding, key, first=first + a, v=x[a:b])
        np.testing.assert_array_equal(part.codes, whole.codes[a:b])
        total += part.saturated
        for drop, expected in wholes.items():
            part = round_integers(
                p[a:b], drop, Format(9, 0), rounding, key, first=first + a, v=p[a:b]
            )
            np.testing.assert_array_equal(part.codes, expected.codes[a:b])
    assert total == whole.saturated


@pytest.mark.parametrize("rounding", [Rounding("SR"), Rounding("SR_eps", 0.25)], ids=str)
def test_saturations_do_not_depend_on_neighbours(rounding):
    q, key = Format(5, 5), rounding_key(5, 3)
    edge = [
        q.highest + q.unit * 2.0**-18,
        q.lowest - q.unit * 2.0**-18,
    ]  # the limits, seen to 16 bits
    assert [encode(np.array([x]), q, rounding, key).saturated for x in edge] == [1, 1]
    assert encode(np.array([*edge, 1.0]), q, rounding, key).saturated == 2
    assert encode(np.array([*edge, 100.0]), q, rounding, key).saturated == 3
    limits = np.array([q.highest, q.lowest])
    assert encode(limits, q, rounding, key).saturated == 0


def test_streams_differ():
    x = np.full(100, 0.5)
    q, sr = Format(8, 0), Rounding("SR")
    keys = [rounding_key(*k) for k in [(0, 0), (1, 0), (0, 1), (0, 0, 1), (0, 0, 0, 1), (2**32, 0)]]
    results = {encode(x, q, sr, key).codes.tobytes() for key in keys}
    assert len(results) == len(keys)


def test_ties_go_to_the_even_code():
    q = Format(6, 2)
    assert encode(np.arange(-6, 7) / 8, q).codes.tolist() == [
        -3,
        -2,
        -2,
        -2,
        -1,
        0,
        0,
        0,
        1,
        2,
        2,
        2,
        3,
    ]
    p = np.arange(-6, 7)
    assert round_integers(p, 3, q).codes.tolist() == [-3, -2, -2, -2, -1, 0, 0, 0, 1, 2, 2, 2, 3]


def test_directed_modes_are_exact():
    q, tiny = Format(8, 8), 5e-324
    x = np.array([tiny, -tiny, 1 + 2**-52, -1 - 2**-52])
    assert encode(x, q, Rounding("RU")).codes.tolist() == [1, 0, 257, -256]
    assert encode(x, q, Rounding("RD")).codes.tolist() == [0, -1, 256, -257]
    assert encode(x, q, Rounding("RZ")).codes.tolist() == [0, 0, 256, -256]


@every_format(Format(3, 5), Format(5, 5), Format(12, 12))
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 2047, 4999])
@pytest.mark.parametrize("saturating", [True, False])
def test_nonfinite_input_is_refused_before_anything_is_written(rounding, q, bad, at, saturating):
    x = some(5000, q) if saturating else np.zeros(5000)  # a tile may be looked at for other reasons
    x[at] = bad
    out = np.full(5000, 77, q.dtype)
    with pytest.raises(DataError, match=f"Entry {at} is {bad}, which is not a fixed-point number"):
        encode(x, q, rounding, rounding_key(0, 0), v=np.ones(5000), out=out)
    assert (out == 77).all()
    with pytest.raises(DataError, match=f"Entry {at} is {bad}"):
        encode(x, q, rounding, rounding_key(0, 0), v=np.ones(5000), out=out, checked=True)
    with pytest.raises(DataError, match=rf"Entry \(1, {at}\) is {bad}"):
        encode(np.stack([np.ones(5000), x]), q, rounding, rounding_key(0, 0), v=np.ones((2, 5000)))


def test_values_outside_are_counted_or_refused():
    x = np.array([0.0, 3.96875, 4.0, -4.0, -4.01, 1e300])
    assert encode(x, Format(3, 5)).saturated == 3
    with pytest.raises(DataError, match=r"Entry 2 is 4, outside Q3.5 = \[-4, 3.96875\]"):
        encode(x, Format(3, 5), overflow="refuse")


def test_refusals():
    q, sr, x = Format(3, 5), Rounding("SR"), np.ones(4)
    key = rounding_key(0, 0)
    for call, sentence in {
        lambda: encode(x, q, sr): 'mode = "SR" takes random bits; give key',
        lambda: encode(
            x, q, Rounding("signed_SR_eps", eps=0.1), key
        ): "give v, shaped as the rounded array",
        lambda: sigmoid_table(Format(9, 8)): "2.17 entries; accepted: formats of at most 16 bits",
    }.items():
        with pytest.raises(ConfigError, match=sentence):
            call()
    big = np.full(4, -(2**31), np.int32)
    for call, sentence in {
        lambda: encode(x.astype(np.float32), q): "x has type float32; accepted: float64",
        lambda: encode(np.ones((4, 4))[:, 1], q): "not C-contiguous",
        lambda: encode(x, q, out=np.zeros(4, np.int16)): r"out is int16\[4\]; codes of Q3.5 here",
        lambda: round_integers(x, 3, q): "a has type float64; accepted: int8",
        lambda: multiply(big, big[:3], 3, q): "product of 4 by 3 codes",
        lambda: dot(big, big): "may not fit an int64",
        lambda: matvec(big.reshape(1, 4), big): "may not fit an int64",
        lambda: sigmoid(big, q, q): "Codes of Q3.5 are int8, not int32",
    }.items():
        with pytest.raises(DataError, match=sentence):
            call()


@pytest.mark.parametrize(
    "types",
    [("int8", "int8"), ("int8", "int16"), ("int16", "int16"), ("int16", "int8"), ("int32", "int8")],
)
@pytest.mark.parametrize("shape", [(1, 1), (7, 33), (40, 1000), (2, 70000)])
def test_products_are_exact(types, shape):
    n, d = shape
    a = integers(n * d, 8 * np.dtype(types[0]).itemsize).astype(types[0]).reshape(n, d)
    x = integers(d, 8 * np.dtype(types[1]).itemsize, seed=1).astype(types[1])
    r = integers(n, 8 * np.dtype(types[1]).itemsize, seed=2).astype(types[1])
    exact = a.astype(np.int64) @ x.astype(np.int64)
    np.testing.assert_array_equal(matvec(a, x), exact)
    np.testing.assert_array_equal(
        matvec_transposed(a, r), a.T.astype(np.int64) @ r.astype(np.int64)
    )
    assert dot(a[0], x) == exact[0]
    half = n // 2  # partial sums add up to the same bits
    parts = matvec_transposed(a[:half], r[:half]) + matvec_transposed(a[half:], r[half:])
    np.testing.assert_array_equal(parts, matvec_transposed(a, r))


def test_extreme_codes_do_not_overflow():
    a = np.full((2, 200_000), -128, np.int8)
    assert matvec(a, a[0]).tolist() == [200_000 * 2**14] * 2
    b = np.full(100_000, -(2**15), np.int16)
    assert dot(b, b) == 100_000 * 2**30


@pytest.mark.parametrize("text", ["Q3.5", "Q8.8", "Q1.15", "Q16.0", "Q4.4", "Q2.0"])
def test_sigmoid_table(text):
    q = Format.parse(text)
    table = sigmoid_table(q)
    x = np.arange(q.lowest_code, q.highest_code + 1) * q.unit
    z = np.exp(-np.abs(x))
    expected = np.where(x >= 0, 1 / (1 + z), z / (1 + z)) * 2.0**30
    assert np.abs(table - expected).max() <= 0.5 + 1e-6  # float64 errs by 2^30 2^-52
    assert (np.diff(table) >= 0).all()
    np.testing.assert_array_equal(table[1:] + table[:0:-1], 2**30)
    codes = np.arange(q.lowest_code, q.highest_code + 1).astype(q.dtype)
    rounded = sigmoid(codes, q, Format(1, 7)).codes
    np.testing.assert_array_equal(rounded, np.minimum(np.rint(table / 2.0**23), 127))


@every_format(Format(3, 5), Format(5, 5))
@pytest.mark.parametrize("first", [0, 2048, 100])
def test_long_vectors_round_as_short_ones(rounding, q, first):
    """Beyond 131072 values the random words of the next tile are made ahead."""
    key, size = rounding_key(2, 1), 64 * 2048 + 3 * 2048 + 17
    x, v = some(size, q), normal(rounding_key(1, 1), size)
    if first == 2048:  # with and without saturations
        x = np.clip(x, -3.0, 3.0)
    codes, saturated = encode(x, q, rounding, key, first=first, v=v)
    expected, count = twin.encode(x, q, rounding, key, first=first, v=v)
    np.testing.assert_array_equal(codes, expected)
    assert saturated == count
    x[-3000] = np.nan
    with pytest.raises(DataError, match=f"Entry {size - 3000} is nan"):
        encode(x, q, rounding, key, first=first, v=v)
