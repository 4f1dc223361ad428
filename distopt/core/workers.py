"""Threads that compute independent things side by side."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import numpy as np

R = TypeVar("R")


class Workers:
    """The calling thread, and threads of a pool.

    What they compute must not depend on each other, so results do not depend on how many there are.
    Kernels and numpy's large operations let go of the interpreter; all else takes turns.

    Parameters
    ----------
    number : int
        At least 2.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        # How floating-point errors are treated is a matter of each thread.
        treat = partial(np.seterr, **np.geterr())
        self._pool = ThreadPoolExecutor(number - 1, "distopt-worker", initializer=treat)

    def map(
        self, places: Sequence[int], function: Callable[..., R], *columns: Sequence[Any]
    ) -> list[R]:
        """Return function(a, b, ...) of each row of the columns; row i is worker places[i]'s.

        A worker goes through its rows in order, and the error that is raised is that of the first worker
        that had one.
        """
        results: list[Any] = [None] * len(places)

        def work(worker: int) -> None:
            for i, place in enumerate(places):
                if place == worker:
                    results[i] = function(*(column[i] for column in columns))

        others = [self._pool.submit(work, worker) for worker in sorted({*places} - {0})]
        try:
            work(0)
        finally:  # nobody may still be at work when this ends
            errors = [other.exception() for other in others]
        for error in errors:
            if error is not None:
                raise error
        return results

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()
