"""How kernels are compiled."""

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile with numba: cached on disk, without the GIL, IEEE arithmetic in source order.

    Division by zero gives an infinity, as in numpy: testing every divisor would keep loops from
    vectorising.
    """
    return njit(cache=True, nogil=True, error_model="numpy")(function)  # type: ignore[no-any-return,return-value]
