"""How a window travels: seven bytes, relative to the moves and to the step, which all know.

int16 log2 |dx|^2 in 64ths of an octave; then a byte each for e <dg, dx> / |dx|^2 (sign and logarithm),
e |dg| / |dx| (logarithm), the two other sums over |dx|^2 (linear from -1 to 1), and the steepest
curvature times e (logarithm). Rounding errors of
some percent add up on the way to the root; the rule's thresholds are wider.
"""

from math import log2, sqrt

import numpy as np

from distopt.algorithms.step_rule import Window
from distopt.core.arrays import F64, U8

WINDOW_NBYTES, DECISION_NBYTES = 7, 1
FINENESS = 64  # of log2 |dx|^2
NONE, LOST = -32768, 32767
SIGNED = 6  # codes an octave, from 2^-17 to 2^4
UNSIGNED = 10  # from 2^-18 to 2^7
DEEPEST_SIGNED, DEEPEST_UNSIGNED = 17, 18


def encode(w: Window, e: float) -> U8:
    """Return the bytes of a window in which the step was e."""
    if w.adrift or not np.isfinite(w[:5]).all():
        first, rest = LOST, (0, 0, 0, 0)
    elif w.moves == 0:
        first, rest = NONE, (0, 0, 0, 0)
    else:
        first = clipped(FINENESS * log2(w.moves), LOST - 1)
        bend = e * w.bend / w.moves
        low = clipped(SIGNED * (log2(abs(bend)) + DEEPEST_SIGNED), 126) + 1 if bend else 0
        rest = (
            max(low, 0) * (1 if bend > 0 else -1),
            logarithm(e * sqrt(w.turns / w.moves)),
            clipped(127 * w.along / w.moves, 127),
            clipped(127 * w.apart / w.moves, 127),
        )
    out = np.empty(WINDOW_NBYTES, np.uint8)
    out[:2] = np.array([first], "<i2").view(np.uint8)
    out[2:6] = np.array(rest).astype(np.uint8)  # modulo 256
    out[6] = logarithm(e * w.steepest) if np.isfinite(w.steepest) else 255
    return out


def decode(payload: U8, e: float) -> F64:
    """Return the fields of the window in seven bytes, float64[7]."""
    first = int(payload[:2].copy().view("<i2")[0])
    steepest = power(int(payload[6])) / e
    if first in {NONE, LOST}:
        return np.array([0.0, 0.0, 0.0, 0.0, 0.0, first == LOST, steepest])
    moves = 2.0 ** (first / FINENESS)
    low, along, apart = payload[[2, 4, 5]].view(np.int8).tolist()
    bend = float(np.sign(low)) * 2.0 ** ((abs(low) - 1) / SIGNED - DEEPEST_SIGNED) if low else 0.0
    turns = power(int(payload[3])) / e
    shares = np.array([1.0, bend / e, turns**2, along / 127, apart / 127])
    return np.append(moves * shares, [0.0, steepest])


def logarithm(value: float) -> int:
    """Return the byte of a number that is not negative."""
    if value == 0.0:
        return 0
    return max(clipped(UNSIGNED * (log2(value) + DEEPEST_UNSIGNED), 254) + 1, 0)


def power(code: int) -> float:
    """Return the number of a byte."""
    return 2.0 ** ((code - 1) / UNSIGNED - DEEPEST_UNSIGNED) if code else 0.0


def clipped(value: float, most: int) -> int:
    """Round to the nearest whole number from -most to most."""
    return round(min(max(value, -most), most))
