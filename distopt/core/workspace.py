"""Work arrays that are made once and used again, so that an iteration allocates nothing."""

from math import prod
from threading import local

import numpy as np


class Workspace(local):
    """Work arrays by purpose, in every thread its own.

    An agent owns one and hands it to its compressor and its memories; a cost owns one as well. Whoever
    asks for an array may use it until somebody asks again for the same purpose and type; what lies in
    it then is arbitrary. Agents that work in turn may share one.

    >>> work = Workspace()
    >>> work.array("codes", 3, np.int16) is work.array("codes", 3, np.int16)
    True
    """

    def __init__(self) -> None:
        self._arrays: dict[tuple[str, type], np.ndarray] = {}

    def __reduce__(self) -> tuple[type["Workspace"], tuple[()]]:
        return Workspace, ()  # a copy starts empty

    def array(
        self, purpose: str, shape: int | tuple[int, ...], dtype: type = np.float64
    ) -> np.ndarray:
        """Return the array of a purpose in this shape, C-contiguous."""
        size = shape if isinstance(shape, int) else prod(shape)
        found = self._arrays.get((purpose, dtype))
        if found is None or found.size < size:
            found = self._arrays[purpose, dtype] = np.empty(size, dtype)
        part = found if found.size == size else found[:size]
        return part if isinstance(shape, int) else part.reshape(shape)
