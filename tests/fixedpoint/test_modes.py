"""The law of every mode: exhaustively over all random words, and in its moments."""

import fixedpoint_twin as twin
import numpy as np
import pytest

from distopt.fixedpoint import Format, Rounding, encode, round_integers, rounding_key

Q = Format(12, 0)
KEY = rounding_key(2024, 0)
DRAWS = 1 << 21
TIMES = 10  # every one of 2^16 random words occurs at least so often in the DRAWS


@pytest.fixture(scope="module")
def place():
    """place[k, r] is where in the stream the random word r stands for the time number k."""
    bits = twin.random_bits(KEY, 0, DRAWS, 16)
    order, counts = np.argsort(bits, kind="stable"), np.bincount(bits, minlength=1 << 16)
    assert counts.min() >= TIMES
    return order[np.cumsum(counts) - counts + np.arange(TIMES)[:, None]]


def outcomes(p, drop, rounding, place, v):
    """Yield for each of p the codes of p 2^-drop for all random words 0, ..., 2^16 - 1, in order."""
    values, directions = np.zeros(DRAWS, np.int64), np.zeros(DRAWS, np.int64)
    for batch, signs in zip(batched(p, TIMES), batched(v, TIMES), strict=True):
        for at, value, sign in zip(place, batch, signs, strict=False):
            values[at], directions[at] = value, sign
        codes = round_integers(values, drop, Q, rounding, KEY, v=directions).codes
        yield from codes[place[: len(batch)]]


def batched(items, size):
    return [items[i : i + size] for i in range(0, len(items), size)]


@pytest.mark.parametrize("drop", range(1, 9))
def test_all_residues_and_all_random_words(place, drop):
    """P(up) is theta, or clip(theta + sign eps) with eps a multiple of 2^-16, exactly."""
    r = np.arange(1 << 16)
    p = [((-3, 2)[frac % 2] << drop) + frac for frac in range(1 << drop)]
    for rounding in (
        Rounding("SR"),
        Rounding("SR_eps", eps=0.1),
        Rounding("signed_SR_eps", eps=0.4),
    ):
        for value, codes in zip(p, outcomes(p, drop, rounding, place, [1] * len(p)), strict=True):
            floor, frac = value >> drop, value % (1 << drop)
            bias = {"SR": 0, "SR_eps": 6554 if value > 0 else -6554, "signed_SR_eps": -26214}
            t = (frac << (16 - drop)) + bias[rounding.mode]
            np.testing.assert_array_equal(codes, floor + ((r < t) & (frac != 0)))


@pytest.mark.parametrize("eps", [0.1, 0.4])
def test_biased_step_equals_signed_iterate(place, eps):
    """x - SR_eps(y) and signed_SR_eps(x - y; v = y) have one distribution for x on the grid."""
    y = list(range(-63, 64))
    steps = list(outcomes(y, 6, Rounding("SR_eps", eps=eps), place, y))
    for x in (-5, 0, 9):
        p = [(x << 6) - value for value in y]
        fused = outcomes(p, 6, Rounding("signed_SR_eps", eps=eps), place, y)
        for one, other in zip(steps, fused, strict=True):
            assert_same_counts(x - one, other)


def assert_same_counts(a, b):
    for one, other in zip(
        np.unique(a, return_counts=True), np.unique(b, return_counts=True), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def moments(rounding, theta, sign):
    """Mean and mean square of (fl(x) - x) / u for |x| at theta above a number; docs: fixed-point."""
    away = {
        "SR": theta,
        "SR_eps": min(theta + rounding.eps, 1),
        "signed_SR_eps": max(theta - sign * rounding.eps, 0)
        if sign > 0
        else min(theta + rounding.eps, 1),
        "RN": float(theta > 0.5),
        "RD": float(sign < 0),
        "RU": float(sign > 0),
        "RZ": 0.0,
    }[rounding.mode]
    return sign * (away - theta), away * (1 - theta) ** 2 + (1 - away) * theta**2, away


CELLS = [
    (Rounding(mode, eps=eps), theta, sign)
    for mode, eps, thetas in [
        ("SR", 0.0, (0.1, 0.5, 0.95)),
        ("SR_eps", 0.1, (0.3, 0.95)),
        ("SR_eps", 0.25, (0.3, 0.8)),
        ("SR_eps", 0.4, (0.05, 0.3, 0.7)),
        ("signed_SR_eps", 0.1, (0.3,)),
        ("signed_SR_eps", 0.4, (0.3, 0.7)),
        ("RN", 0.0, (0.4,)),
        ("RZ", 0.0, (0.4,)),
        ("RU", 0.0, (0.4,)),
    ]
    for theta in thetas
    for sign in (1, -1)
]


def test_there_are_thirty_cells():
    assert len(CELLS) >= 30


@pytest.mark.parametrize("number", range(len(CELLS)))
@pytest.mark.parametrize(
    "q", [Format(3, 5), pytest.param(Format(3, 20), marks=pytest.mark.slow)], ids=str
)
def test_moments(number, q):
    """Within 4 standard errors (and 2^-16 for theta itself) at 2e6 draws; a fixed seed."""
    rounding, theta, sign = CELLS[number]
    draws = 2_000_000
    x = np.full(draws, sign * (2 + theta) * q.unit)
    codes = encode(x, q, rounding, rounding_key(number, 1), v=np.ones(draws)).codes
    error = codes - x / q.unit
    bias, square, up = moments(rounding, theta, sign)
    spread = np.sqrt(up * (1 - up))  # of the error; of its square |1 - 2 theta| times that
    assert abs(error.mean() - bias) <= 4 * spread / np.sqrt(draws) + 2.0**-16
    assert (
        abs((error**2).mean() - square)
        <= 4 * spread * abs(1 - 2 * theta) / np.sqrt(draws) + 2.0**-16
    )
