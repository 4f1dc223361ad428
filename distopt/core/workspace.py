"""Work arrays that are made once and used again, so an iteration allocates nothing."""

from math import prod
from threading import local

import numpy as np


class Workspace:
    """Work arrays by purpose.

    An agent owns one and passes it to its compressor and its memories. An array is the caller's until
    the next request for the same purpose and type, and its content is arbitrary. Agents that work in
    turn may share a workspace, threads may not.

    >>> work = Workspace()
    >>> work.array("codes", 3, np.int16) is work.array("codes", 3, np.int16)
    True
    """

    def __init__(self) -> None:
        self._arrays: dict[tuple[str, type], np.ndarray] = {}

    def array(
        self, purpose: str, shape: int | tuple[int, ...], dtype: type = np.float64
    ) -> np.ndarray:
        """Return the array of a purpose in this shape, C-contiguous."""
        found = self._arrays.get((purpose, dtype))
        if found is not None and found.size == shape:  # as a rule, so it comes first
            return found
        size = shape if isinstance(shape, int) else prod(shape)
        if found is None or found.size < size:
            found = self._arrays[purpose, dtype] = np.empty(size, dtype)
        part = found if found.size == size else found[:size]
        return part if isinstance(shape, int) else part.reshape(shape)


class ThreadWorkspace(local, Workspace):
    """A workspace with arrays of its own in every thread, for a cost that several runs share."""

    def __reduce__(self) -> tuple[type["ThreadWorkspace"], tuple[()]]:
        return ThreadWorkspace, ()  # a copy starts empty
