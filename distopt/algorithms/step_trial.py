"""A step size on trial: the agents check together whether the method calms down."""

from collections.abc import Generator, Sequence
from typing import ClassVar, TypeAlias

import numpy as np

from distopt.core.arrays import F64, U8

Verdict: TypeAlias = Generator[U8, Sequence[U8], bool]


class StepTrial:
    """The first 128 iterations with a step size, watched by all agents together.

    After iterations 4, 8, 16, ..., 128 of a trial the agents agree by max-consensus on the largest |e|
    since the last such moment, in half octaves: one byte a round, `diameter` rounds, counted as the
    algorithm's. e is the vector about to be compressed, about the size of the last moves. The step is
    too large if that does not shrink: if, compared with the moment before, it is more than 3 half
    octaves larger at iteration 8, more than 1 at 16, or not smaller at 32, 64, 128. Measured
    (docs: zooming).

    Parameters
    ----------
    restarts : int
        How many trials may fail; after that the step stays as it is.
    x0 : float64[d]
        Kept to begin again.
    """

    LAST: ClassVar[int] = 128
    TOLERATED: ClassVar[dict[int, int]] = {8: 3, 16: 1}  # half octaves of growth
    TINY: ClassVar[int] = -127  # half octaves: 2^-63.5

    def __init__(self, restarts: int, x0: F64) -> None:
        self.x0 = x0.copy()
        self.left = np.array([restarts], np.int64)
        self.used = np.zeros(1, np.int64)
        self.done = np.zeros(1, np.int64)  # iterations of this trial
        self.rounds = np.zeros(1, np.int64)  # of a max-consensus
        self.largest = np.zeros(1)  # |e| since the last moment
        self.before = np.zeros(1, np.int64)  # what all agreed on at the last moment

    def arrays(self) -> dict[str, np.ndarray]:
        """Name the arrays that must be kept between iterations."""
        return dict(vars(self))

    def take_over(self, other: "StepTrial", diameter: int) -> None:
        """Go on with another graph where `other` was."""
        for name, array in self.arrays().items():
            array[...] = getattr(other, name)
        self.rounds[0] = diameter

    @property
    def goes_on(self) -> bool:
        """Whether the step is still on trial."""
        return bool(self.left[0] > 0 and self.done[0] < self.LAST)

    def fails(self, e: F64) -> Verdict:
        """Note one iteration's e; return whether all agents must begin again."""
        self.largest[0] = max(self.largest[0], np.max(e), -np.min(e))
        self.done[0] += 1
        n = int(self.done[0])
        if n < 4 or n & (n - 1):
            return False
        now = half_octaves(float(self.largest[0]))
        for _ in range(int(self.rounds[0])):
            received = yield np.array([now], np.int8).view(np.uint8)
            now = max(now, *(int(payload.view(np.int8)[0]) for payload in received))
        growth, self.before[0], self.largest[0] = now - int(self.before[0]), now, 0.0
        if n == 4 or now <= self.TINY or growth <= self.TOLERATED.get(n, -1):
            return False
        self.left[0] -= 1
        self.used[0] += 1
        self.done[0] = 0
        return True


def half_octaves(size: float) -> int:
    """Return floor(2 log2 size) from -127 to 127, and -127 for 0; the same on every machine."""
    mantissa, exponent = np.frexp(size)
    level = 2 * (int(exponent) - 1) + int(mantissa >= np.sqrt(0.5))
    return max(min(level, 127), StepTrial.TINY) if size > 0 else StepTrial.TINY
