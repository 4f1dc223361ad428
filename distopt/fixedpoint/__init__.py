"""Fixed-point arithmetic with deterministic and stochastic rounding (docs: fixed-point)."""

from distopt.fixedpoint.arithmetic import (
    Rounded,
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
from distopt.fixedpoint.format import Codes, Format

__all__ = [
    "Codes", "Format", "Rounded", "Rounding", "decode", "dot", "encode", "matvec",
    "matvec_transposed", "multiply", "round_integers", "rounding_key", "sigmoid", "sigmoid_table",
]  # fmt: skip
