"""Arithmetic on codes: every operation is exact in integers and rounds once, in a mode of your choice.

A vector in fixed point is an integer array of codes and its `Format`. Functions return `Rounded`: the
codes, and how many values lay outside the format's range; the nearest end replaces those. Where a
mode is random, the bits come from a key (`rounding_key`) and the global index of a value, so a slice
that starts at ``first`` rounds to the same codes as it does within the whole vector.
"""

from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from distopt.core.arrays import F64, I64, U32
from distopt.core.errors import ConfigError, DataError
from distopt.core.parameters import Field, parameters
from distopt.core.randomness import TILE, make_key
from distopt.core.streams import Stream
from distopt.core.workspace import Workspace
from distopt.fixedpoint import kernels, sums
from distopt.fixedpoint.format import Codes, Format

Integers: TypeAlias = NDArray[np.signedinteger]
Mode: TypeAlias = Literal["RN", "RD", "RU", "RZ", "SR", "SR_eps", "signed_SR_eps"]

_NUMBERS: dict[str, int] = {
    "RN": kernels.RN, "RD": kernels.RD, "RU": kernels.RU, "RZ": kernels.RZ,
    "SR": kernels.SR, "SR_eps": kernels.SR_EPS, "signed_SR_eps": kernels.SIGNED,
}  # fmt: skip


@parameters("rounding")
class Rounding:
    """How a number x between two neighbours of a format, floor and floor + u, becomes one of them.

    With theta = (x - floor) / u the probability of floor + u is (docs: fixed-point, modes)

        RN 1 if theta > 1/2, the even code if theta = 1/2     RD 0     RU 1     RZ 1 if x < 0, else 0
        SR theta     SR_eps clip(theta + sign(x) eps)     signed_SR_eps clip(theta - sign(v) eps)

    and a number of the format stays where it is in every mode. SR_eps and signed_SR_eps are as
    defined by Xia, Massei, Hochstenbach and Koren (2022/2024).

    >>> Rounding("SR_eps", eps=0.25).random
    True
    """

    mode: Mode = "RN"
    eps: Annotated[float, Field(ge=0, lt=1)] = 0.0  # of SR_eps and signed_SR_eps only

    def __post_init__(self) -> None:
        if self.eps and self.mode not in {"SR_eps", "signed_SR_eps"}:
            raise ConfigError(
                f'rounding.eps = {self.eps:g} means nothing with rounding.mode = "{self.mode}"; '
                'accepted with "SR_eps" and "signed_SR_eps".'
            )

    @property
    def random(self) -> bool:
        """Whether the mode takes random bits."""
        return self.number >= kernels.SR

    @property
    def number(self) -> int:
        """Which kernel."""
        return int(_NUMBERS[self.mode])

    def bias(self, width: int) -> int:
        """Return eps as a number of 2^-width."""
        return round(self.eps * (1 << width))


class Rounded(NamedTuple):
    """The result of an operation: codes, and the number of values beyond the format's range."""

    codes: Codes
    saturated: int


def rounding_key(seed: int, site: int, iteration: int = 0, replica: int = 0) -> U32:
    """Name the random bits of one place of rounding in one iteration of one independent run.

    The rank plays no part: all processes that round a value draw the same bits for it.
    """
    return make_key(seed, replica, Stream.ROUNDING + site, iteration)


# Passed to kernels in place of an array that they do not read.
_NO_NUMBERS, _NO_CODES, _NO_KEY = np.zeros(0), np.zeros(0, np.int8), np.zeros(5, np.uint32)
_ONE = np.ones(1, np.int64)


def encode(
    x: F64, format: Format, rounding: Rounding | None = None, key: U32 | None = None, *,
    first: int = 0, v: F64 | None = None, overflow: Literal["saturate", "refuse"] = "saturate",
    out: Codes | None = None, checked: bool = False, work: Workspace | None = None,
) -> Rounded:  # fmt: skip
    """Round float64 to codes.

    Deterministic modes are exact. The random ones see x rounded to 16 bits below u (32 bits for formats
    of more than 16 bits): the probability is right to 2^-17 (2^-33).

    Parameters
    ----------
    x : float64[...], C-contiguous
    format : Format
    rounding : Rounding
        RN by default.
    key : uint32[5]
        Of the random bits, for random modes.
    first : int
        Global index of x[0].
    v : float64[...]
        The direction of signed_SR_eps, shaped as x.
    overflow : "saturate" or "refuse"
    out : Codes, optional
        Where the codes go.
    checked : bool
        The caller has checked that x is finite, so x is read only once. An x that is not is refused even
        then, but parts of `out` may have been written.
    work : Workspace, optional
        Of the caller, so nothing is allocated.

    Raises
    ------
    DataError
        Naming index and value, before anything is written: not finite; or outside, if refused.

    >>> encode(np.array([0.3, -7.0]), Format(3, 5))
    Rounded(codes=array([  10, -128], dtype=int8), saturated=1)
    """
    rounding = rounding or Rounding()
    flat = _flat(x, "x", np.float64)
    codes = _result(out, x.shape, format)
    if not checked and out is not None:
        _refuse_nonfinite(x, kernels.first_nonfinite(flat))
    if overflow == "refuse":
        _refuse_nonfinite(x, kernels.first_nonfinite(flat))
        bad = kernels.first_outside(flat, format.lowest, format.highest)
        if bad >= 0:
            raise DataError(
                f"Entry {_place(x, bad)} is {flat[bad]:.9g}, outside {format} = "
                f"[{format.lowest:g}, {format.highest:.9g}]; use more integer bits, scale the data, or "
                'let it saturate (overflow = "saturate").'
            )
    wide = format.bits > 16
    work = work or Workspace()
    words = work.array("two tiles", 2 * TILE, np.uint32)
    kernel = (kernels.ENCODE_WIDE if wide else kernels.ENCODE_NARROW)[rounding.number]
    saturated = kernel(
        flat, format.fraction_bits, format.bits, rounding.bias(32 if wide else 16),
        _direction(rounding, v, x.shape, _NO_NUMBERS), _checked_key(rounding, key), first,
        words, words.view(np.uint16), work.array("sub-units", kernels.HALVES, np.uint32),
        codes.reshape(-1),
    )  # fmt: skip
    if saturated < 0:
        _refuse_nonfinite(x, -1 - saturated)
    return Rounded(codes, saturated)


def decode(codes: Codes, format: Format, out: F64 | None = None) -> F64:
    """Return the numbers that codes stand for, float64, exactly.

    >>> decode(np.array([10, -128], np.int8), Format(3, 5))
    array([ 0.3125, -4.    ])
    """
    out = np.empty(codes.shape) if out is None else out
    kernels.decode(_flat(codes, "codes"), format.unit, out.reshape(-1))
    return out


def round_integers(
    p: Integers, fraction_bits: int, format: Format, rounding: Rounding | None = None,
    key: U32 | None = None, *, first: int = 0, v: Integers | None = None, out: Codes | None = None,
    work: Workspace | None = None,
) -> Rounded:  # fmt: skip
    """Round p 2^-fraction_bits to codes: a sum of products, or codes of another format.

    Parameters
    ----------
    p : int8, int16, int32 or int64[...], C-contiguous
    fraction_bits : int
        Fraction bits that p has; a product of codes has the sum of those of its factors.
    format, rounding, key, first, out, work
        As in `encode`.
    v : integers[...]
        The direction of signed_SR_eps; only its sign counts.

    >>> round_integers(np.array([20, 24, -24], np.int32), 4, Format(8, 0))
    Rounded(codes=array([ 1,  2, -2], dtype=int8), saturated=0)
    """
    return multiply(
        p, _ONE, fraction_bits, format, rounding, key, first=first, v=v, out=out, work=work
    )


def multiply(
    a: Integers, b: Integers, fraction_bits: int, format: Format, rounding: Rounding | None = None,
    key: U32 | None = None, *, first: int = 0, v: Integers | None = None, out: Codes | None = None,
    work: Workspace | None = None,
) -> Rounded:  # fmt: skip
    """Round the products a_i b_i 2^-fraction_bits to codes, each once.

    Parameters
    ----------
    a : integers[...], C-contiguous
    b : integers, shaped as a, or with one entry for all
    fraction_bits : int
        Of the exact product: those of a and those of b together.
    format, rounding, key, first, v, out, work
        As in `round_integers`.
    """
    rounding = rounding or Rounding()
    flat, factor = _flat(a, "a"), _flat(b, "b")
    if factor.size not in {1, flat.size}:
        raise DataError(f"A product of {flat.size} by {factor.size} codes; give as many, or one.")
    drop = fraction_bits - format.fraction_bits
    if drop < 0:
        # Fraction bits are added, not dropped: nothing rounds. The one factor 2^-drop joins b.
        factor = factor.astype(np.int64) << -drop
        drop = 0
    if drop > 62:
        raise ConfigError(f"Products with {fraction_bits} fraction bits do not fit an int64.")
    _refuse_overflow(flat, factor, 1)
    width = 16 if drop <= 16 else 32
    codes = _result(out, a.shape, format)
    work = work or Workspace()
    words = work.array("words", TILE, np.uint32)
    random = words.view(np.uint16) if width == 16 else words
    saturated = kernels.ROUND_INTEGERS[rounding.number](
        flat, factor, drop, format.bits, rounding.bias(width),
        _direction(rounding, v, a.shape, _NO_CODES), _checked_key(rounding, key), first,
        words, random, width, work.array("products", kernels.HALVES, np.int64), codes.reshape(-1),
    )  # fmt: skip
    return Rounded(codes, saturated)


def dot(a: Integers, b: Integers) -> int:
    """Return sum_i a_i b_i, exactly; its fraction bits are those of a and b together."""
    _refuse_overflow(a, b, a.size)
    return int(sums.dot(a, b))


def matvec(a: Integers, x: Integers, out: I64 | None = None) -> I64:
    """Return a x, exactly: int64[n] for a : codes[n, d], C-contiguous, and x : codes[d]."""
    out = np.empty(a.shape[0], np.int64) if out is None else out
    if a.dtype == np.int8 and x.dtype == np.int8:
        sums.matvec_int8(a, x, out)
    else:
        _refuse_overflow(a, x, a.shape[1])
        sums.matvec(a, x, out)
    return out


def matvec_transposed(a: Integers, r: Integers, out: I64 | None = None) -> I64:
    """Return a' r, exactly: int64[d] for a : codes[n, d], C-contiguous, and r : codes[n].

    The sum over the rows of several processes is the sum of their results, for any split.
    """
    out = np.empty(a.shape[1], np.int64) if out is None else out
    _refuse_overflow(a, r, a.shape[0])
    sums.matvec_transposed(a, r, out)
    return out


SIGMOID_BITS = 30  # fraction bits of the table


@cache
def sigmoid_table(format: Format) -> NDArray[np.int32]:
    """Return rint(2^30 / (1 + exp(-k u))) for every code k of a format of at most 16 bits.

    Made in integers with 96 fraction bits, not with a mathematical library, whose last bits differ
    between machines.
    """
    if format.bits > 16:
        raise ConfigError(
            f"A table of the sigmoid over {format} would have 2^{format.bits} entries; accepted: "
            "formats of at most 16 bits."
        )
    one = 1 << 96
    step, term, n = 0, one, 0  # step = exp(-u) by its series
    while term:
        step += term if n % 2 == 0 else -term
        n += 1
        term = (term >> format.fraction_bits) // n
    count = 1 << (format.bits - 1)
    table = np.empty(2 * count, np.int32)
    power = one  # exp(-k u)
    for k in range(count + 1):
        value = (((one << 98) // (one + power)) + (1 << 67)) >> 68
        if k < count:
            table[count + k] = value
        table[count - k] = (1 << SIGMOID_BITS) - value
        power = (power * step) >> 96
    table[count] = 1 << (SIGMOID_BITS - 1)
    table.setflags(write=False)
    return table


def sigmoid(
    codes: Codes, source: Format, format: Format, rounding: Rounding | None = None,
    key: U32 | None = None, *, first: int = 0, out: Codes | None = None,
) -> Rounded:  # fmt: skip
    """Round 1 / (1 + exp(-x)) to codes, once, for codes x of a format of at most 16 bits.

    >>> sigmoid(np.array([0, 127, -128], np.int8), Format(3, 5), Format(1, 7))
    Rounded(codes=array([ 64, 126,   2], dtype=int8), saturated=0)
    """
    table = sigmoid_table(source)
    values = np.empty(codes.size, np.int32)
    flat = _flat(codes, "codes")
    if flat.dtype != source.dtype:
        raise DataError(f"Codes of {source} are {source.dtype}, not {flat.dtype}.")
    sums.look_up(table, flat, source.lowest_code, values)
    return round_integers(
        values.reshape(codes.shape), SIGMOID_BITS, format, rounding, key, first=first, out=out
    )


def _flat(x: np.ndarray, name: str, dtype: type | None = None) -> np.ndarray:
    """View an array as a vector; it must be contiguous and of the right kind."""
    if dtype is not None and x.dtype != dtype:
        raise DataError(f"{name} has type {x.dtype}; accepted: {np.dtype(dtype)}.")
    if dtype is None and x.dtype.kind != "i":
        raise DataError(f"{name} has type {x.dtype}; accepted: int8, int16, int32, int64.")
    if not x.flags.c_contiguous:
        raise DataError(f"{name} is not C-contiguous; numpy.ascontiguousarray copies it.")
    return x.reshape(-1)


def _result(out: Codes | None, shape: Sequence[int], format: Format) -> Codes:
    """Make the array of codes, or check the one that was given."""
    if out is None:
        return np.empty(shape, format.dtype)
    if out.dtype != format.dtype or out.shape != tuple(shape) or not out.flags.c_contiguous:
        raise DataError(
            f"out is {out.dtype}{list(out.shape)}; codes of {format} here are C-contiguous "
            f"{format.dtype}{list(shape)}."
        )
    return out


def _direction(rounding: Rounding, v: Any, shape: Sequence[int], nothing: Any) -> Any:
    """Return v as a vector where the mode takes one."""
    if rounding.number != kernels.SIGNED:
        return nothing
    if v is None or v.shape != tuple(shape):
        raise ConfigError(
            'rounding.mode = "signed_SR_eps" rounds against the sign of a vector v; give v, shaped '
            f"as the rounded array ({list(shape)})."
        )
    return _flat(v, "v", np.float64 if nothing.dtype == np.float64 else None)


def _checked_key(rounding: Rounding, key: U32 | None) -> U32:
    """Return the key of a random mode."""
    if not rounding.random:
        return _NO_KEY
    if key is None:
        raise ConfigError(
            f'rounding.mode = "{rounding.mode}" takes random bits; give key = '
            "rounding_key(seed, site, iteration)."
        )
    return key


def _place(x: np.ndarray, index: int) -> int | tuple[int, ...]:
    """Say where a flat index is."""
    if x.ndim == 1:
        return index
    return tuple(int(i) for i in np.unravel_index(index, x.shape))


def _refuse_nonfinite(x: F64, index: int) -> None:
    """Raise if there is an index."""
    if index >= 0:
        raise DataError(
            f"Entry {_place(x, index)} is {x.reshape(-1)[index]}, which is not a fixed-point number."
        )


def _refuse_overflow(a: Integers, b: Integers, count: int) -> None:
    """Raise if `count` products of codes may exceed an int64; looks at the codes only if needed."""
    if 8 * (a.itemsize + b.itemsize) - 2 + count.bit_length() <= 63 or not (a.size and b.size):
        return
    largest = _magnitude(a) * _magnitude(b) * count
    if largest >= 2**63:
        raise DataError(
            f"A sum of {count} products of codes as large as {_magnitude(a)} and {_magnitude(b)} may not "
            "fit an int64; use formats of fewer bits."
        )


def _magnitude(a: Integers) -> int:
    return max(int(a.max()), -int(a.min()))
