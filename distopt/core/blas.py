"""The BLAS threads of this process, which all of its runs have in common."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from threadpoolctl import threadpool_limits

from distopt.core.errors import ConfigError


class BlasThreads:
    """A number of BLAS threads that holds as long as any run in the process needs it.

    The number changes the last bits of products, so a run that ends must not change it for another.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._holders = 0
        self._limits: threadpool_limits | None = None
        self._number = 0

    @property
    def number(self) -> int:
        """The number that is held, 0 if none is."""
        return self._number if self._holders else 0

    @contextmanager
    def held(self, number: int) -> Iterator[None]:
        """Hold the number inside the block; the last block to end restores the former number.

        Raises
        ------
        ConfigError
            If another run of this process holds another number.
        """
        with self._lock:
            if not self._holders:
                self._limits, self._number = threadpool_limits(number), number
            elif number != self._number:
                raise ConfigError(
                    f"run.threads = {number}, but a run in another thread of this process has "
                    f"run.threads = {self._number}, and BLAS threads belong to the process; accepted "
                    f"until it ends: {self._number}."
                )
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if not self._holders and self._limits:
                    self._limits.restore_original_limits()


BLAS = BlasThreads()  # one, as BLAS itself
