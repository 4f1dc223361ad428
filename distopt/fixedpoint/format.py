"""Fixed-point formats Q I.F: which numbers exist, and the integers that stand for them."""

import re
from typing import Annotated, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from distopt.core.errors import ConfigError
from distopt.core.parameters import Field, parameters

Codes: TypeAlias = NDArray[np.signedinteger]  # int8, int16 or int32, as `Format.dtype` says

_NAME = re.compile(r"[Qq](\d{1,3})\.(\d{1,3})")


@parameters("format")
class Format:
    """Q I.F: the numbers k 2^-F with -2^(I+F-1) <= k < 2^(I+F-1); the sign bit counts in I.

    A number is stored as its code k, in the smallest of int8, int16 and int32 that holds I + F bits.

    >>> q = Format(3, 5)
    >>> str(q), q.bits, q.unit, q.lowest, q.highest, q.dtype.name
    ('Q3.5', 8, 0.03125, -4.0, 3.96875, 'int8')
    >>> Format.parse("Q3.5") == q
    True
    """

    integer_bits: Annotated[int, Field(ge=1, le=32)]  # I, with the sign
    fraction_bits: Annotated[int, Field(ge=0, le=31)]  # F

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 32:
            raise ConfigError(
                f"format = {self} has {self.bits} bits, sign included; accepted: 2 to 32, which "
                "an int8, int16 or int32 holds."
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a format from a text such as ``"Q8.8"``."""
        match = _NAME.fullmatch(text.strip())
        if match is None:
            raise ConfigError(
                f'format = "{text}" is not a fixed-point format; accepted: Q, integer bits with the '
                'sign, a point, fraction bits, such as "Q8.8" or "Q1.7".'
            )
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"Q{self.integer_bits}.{self.fraction_bits}"

    @property
    def bits(self) -> int:
        """W = I + F."""
        return self.integer_bits + self.fraction_bits

    @property
    def unit(self) -> float:
        """Gap between neighbours, u = 2^-F."""
        return 2.0**-self.fraction_bits

    @property
    def lowest_code(self) -> int:
        """-2^(W-1)."""
        return -(1 << (self.bits - 1))

    @property
    def highest_code(self) -> int:
        """2^(W-1) - 1."""
        return (1 << (self.bits - 1)) - 1

    @property
    def lowest(self) -> float:
        """Smallest number, -2^(I-1)."""
        return self.lowest_code * self.unit

    @property
    def highest(self) -> float:
        """Largest number, 2^(I-1) - u."""
        return self.highest_code * self.unit

    @property
    def dtype(self) -> np.dtype[np.signedinteger]:
        """Type of the codes."""
        name: Literal["int8", "int16", "int32"]
        name = "int8" if self.bits <= 8 else "int16" if self.bits <= 16 else "int32"
        return np.dtype(name)
