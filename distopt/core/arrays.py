"""The array types that the package passes around, and how they are allocated."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

F64: TypeAlias = NDArray[np.float64]  # vectors of the algorithms
U8: TypeAlias = NDArray[np.uint8]  # bytes of a message
U16: TypeAlias = NDArray[np.uint16]
U32: TypeAlias = NDArray[np.uint32]  # random words, and the key of a stream
U64: TypeAlias = NDArray[np.uint64]
I64: TypeAlias = NDArray[np.int64]  # integer codes, counters
Codes: TypeAlias = NDArray[Any]  # integer codes: int8, int16, int32 or int64
