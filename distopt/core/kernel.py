"""How kernels are compiled, and loaded."""

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit
from numba.core.caching import FunctionCache
from numba.core.runtime import rtsys  # type: ignore[attr-defined]

F = TypeVar("F", bound=Callable[..., Any])


class KernelCache(FunctionCache):
    """A kernel's machine code on disk, which is loaded without what only compiling needs.

    Of numba's preparations machine code needs its run time alone. The rest, some 170 modules with scipy's
    BLAS among them, numba imports when it really compiles.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what was compiled for argument types, ready to be called; None if nothing was."""
        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)  # type: ignore[no-untyped-call]


def kernel(function: F) -> F:
    """Compile with numba: cached on disk, without the GIL, IEEE arithmetic in source order.

    Division by zero gives an infinity, as in numpy: testing every divisor would keep loops from
    vectorising.
    """
    compiled: Any = njit(nogil=True, error_model="numpy")(function)
    compiled._cache = KernelCache(function)  # type: ignore[no-untyped-call]
    return compiled  # type: ignore[no-any-return]
