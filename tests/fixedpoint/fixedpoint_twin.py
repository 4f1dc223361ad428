"""Plain-numpy twins of the kernels: slow, and written from the definitions."""

import numpy as np

from distopt.core.randomness import TILE, words
from distopt.fixedpoint import Format, Rounding


def random_bits(key, first, count, width):
    """The `width` random bits of the values first, ..., first + count - 1 of a stream."""
    tiles = -(-(first + count) // TILE) + 1
    stream = words(key, tiles * TILE)
    bits = stream.view(np.uint16) if width == 16 else stream
    return bits[first : first + count].astype(np.int64)


def round_fractions(floor, frac, width, rounding: Rounding, positive, direction, r):
    """Codes of floor + frac / 2^width for int64 arrays; r holds `width` random bits each."""
    half, one = 1 << (width - 1), 1 << width
    bias = round(rounding.eps * one)
    up = {
        "RN": (frac > half) | ((frac == half) & (floor % 2 == 1)),
        "RD": np.zeros(floor.shape, bool),
        "RU": np.ones(floor.shape, bool),
        "RZ": ~positive,
        "SR": r < frac,
        "SR_eps": r < np.clip(frac + np.where(positive, bias, -bias), 0, one),
        "signed_SR_eps": r < np.clip(frac - np.sign(direction).astype(int) * bias, 0, one),
    }[rounding.mode]
    return floor + (up & (frac != 0))


def encode(x, format: Format, rounding, key, first=0, v=None):
    """Codes and saturations of a float64 vector."""
    width = 16 if format.bits <= 16 else 32
    scale = 2.0**format.fraction_bits
    inside = np.clip(x, format.lowest, format.highest) * scale
    saturated = int(((x > format.highest) | (x < format.lowest)).sum())
    v = np.zeros(x.size) if v is None else v
    if rounding.random:
        p = np.rint(inside * 2.0**width).astype(np.int64)
        r = random_bits(key, first, x.size, width)
        codes = round_fractions(
            p >> width, p & ((1 << width) - 1), width, rounding, p >= 0, np.sign(v).astype(int), r
        )
    else:
        function = {"RN": np.rint, "RD": np.floor, "RU": np.ceil, "RZ": np.trunc}[rounding.mode]
        codes = function(inside).astype(np.int64)
    return codes.astype(format.dtype), saturated


def round_integers(p, drop, format: Format, rounding, key, first=0, v=None):
    """Codes and saturations of p 2^-drop in units of the format."""
    width = 16 if drop <= 16 else 32
    floor = p >> drop
    frac = p - (floor << drop)
    v = np.zeros(p.size, np.int64) if v is None else v
    saturated = int((p > (format.highest_code << drop)).sum())
    saturated += int((p < (format.lowest_code << drop)).sum())
    if rounding.random:
        r = random_bits(key, first, p.size, width)
        frac = frac << (width - drop) if drop <= width else frac >> (drop - width)
        q = round_fractions(floor, frac, width, rounding, p >= 0, v, r)
    else:
        q = round_fractions(floor, frac, max(drop, 1), rounding, p >= 0, v, frac)
    return np.clip(q, format.lowest_code, format.highest_code).astype(format.dtype), saturated
