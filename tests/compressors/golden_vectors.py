"""The inputs of the golden files: exact on every machine, made of integers and powers of two."""

import numpy as np

from distopt.compressors.base import compress
from distopt.core.randomness import make_key, words

KEY = make_key(seed=2024, agent=3, stream=1, iteration=17)


def golden_vectors():
    """Map names to vectors of size 21: three groups of 8, the last one not full."""
    steps = words(make_key(7, 0, 0), 21).astype(np.int64) - (1 << 31)
    return {
        "zero": np.zeros(21),
        "mixed": steps * 2.0**-29,
        "wide": steps * 2.0**-31 * 2.0 ** (np.arange(21) - 10),
        "ties": (steps >> 29) * 0.5,
    }


def entry(compressor, x):
    """Describe what one vector gives: the payload in hexadecimal, and the exact decoded values."""
    payload, decoded = compress(compressor, x, KEY)
    return {"payload": payload.hex(), "decoded": [value.hex() for value in decoded.tolist()]}
