"""The kernels of quantize for the vectors of many agents at once, one row an agent."""

import numpy as np

from distopt.compressors.fused import FINE, Rows
from distopt.compressors.quantize import decode_quantized, encode_quantized, store_norms
from distopt.compressors.scales import subtract
from distopt.core.arrays import F64, I64, U8, U16, U32
from distopt.core.kernel import kernel
from distopt.core.randomness import TILE
from distopt.core.workspace import Workspace


def rows(
    bits: int, dithered: bool, block: int, norm: str, scale: str, d: int, work: Workspace
) -> Rows:
    """Return the kernels for the parameters of `Quantize`."""
    two, wide = norm == "two", scale == "float64"
    words, codes = work.array("words", TILE, np.uint32), work.array("codes", TILE, np.uint16)
    scales, z = work.array("scales", -(-d // block)), work.array("one difference", d)

    def encode(x: F64, messages: U8, at: I64, keys: U32) -> int:
        return encode_rows(
            x, two, bits, dithered, block, wide, keys, words, codes, scales, messages, at
        )

    def encode_difference(x: F64, h: F64, messages: U8, at: I64, keys: U32) -> int:
        return encode_differences(
            x, h, two, bits, dithered, block, wide, keys, words, codes, scales, z, messages, at
        )

    def decode_add(messages: U8, sizes: I64, at: I64, weight: float, acc: F64) -> int:
        return decode_rows(messages, sizes, at, bits, block, wide, codes, scales, weight, acc)

    return Rows(encode, encode_difference, decode_add)


@kernel
def encode_rows(
    x: F64, two: bool, bits: int, dithered: bool, block: int, wide: bool, keys: U32, words: U32,
    codes: U16, scales: F64, messages: U8, at: I64,
) -> int:  # fmt: skip
    """Do as `Rows.encode`."""
    for i in range(x.shape[0]):
        out = messages[i, at[i] :]
        head = store_norms(x[i], two, block, wide, scales, out)
        if head < 0:
            return i
        at[i] += encode_quantized(
            x[i], bits, dithered, block, keys[i], words, codes, scales, head, out
        )
    return FINE


@kernel
def encode_differences(
    x: F64, h: F64, two: bool, bits: int, dithered: bool, block: int, wide: bool, keys: U32, words: U32,
    codes: U16, scales: F64, z: F64, messages: U8, at: I64,
) -> int:  # fmt: skip
    """Do as `Rows.encode_difference`; z : float64[d] is work space."""
    for i in range(x.shape[0]):
        subtract(x[i], h[i], z)
        out = messages[i, at[i] :]
        head = store_norms(z, two, block, wide, scales, out)
        if head < 0:
            return i
        at[i] += encode_quantized(
            z, bits, dithered, block, keys[i], words, codes, scales, head, out
        )
    return FINE


@kernel
def decode_rows(
    messages: U8, sizes: I64, at: I64, bits: int, block: int, wide: bool, codes: U16, scales: F64,
    weight: float, acc: F64,
) -> int:  # fmt: skip
    """Do as `Rows.decode_add`."""
    for i in range(acc.shape[0]):
        payload = messages[i, at[i] : sizes[i]]
        nbytes = decode_quantized(payload, bits, block, wide, codes, scales, weight, acc[i])
        if nbytes < 0:
            return i
        at[i] += nbytes
    return FINE
