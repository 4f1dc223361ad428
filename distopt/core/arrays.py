"""The array types that the package passes around, and how they are allocated."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

F64: TypeAlias = NDArray[np.float64]  # vectors of the algorithms
U8: TypeAlias = NDArray[np.uint8]  # bytes of a message
U32: TypeAlias = NDArray[np.uint32]  # random words, and the key of a stream
I64: TypeAlias = NDArray[np.int64]  # integer codes, counters
