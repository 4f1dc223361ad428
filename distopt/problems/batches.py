"""Mini-batches of an agent's samples, a pure function of (seed, agent, iteration).

A cost that is a mean over samples has two attributes (docs: costs, mini-batches):

    samples : int
    batch_gradient(x, index, out) : out = the gradient of the mean over the samples `index` : int64[b]

Nothing of a batch is kept between iterations, so runs agree to the bit under every engine and after a
resume, and a checkpoint needs nothing about batches.
"""

import numpy as np

from distopt.compressors.rand_k import sample
from distopt.core.arrays import I64
from distopt.core.errors import ConfigError
from distopt.core.randomness import TILE, make_key
from distopt.core.streams import Stream
from distopt.problems.costs.base import Cost


class Batches:
    """Draws one agent's batches: uniformly random subsets, without replacement, ascending.

    Every sample is in a batch with the same probability size / samples, so the gradient of the batch's
    mean is an unbiased estimate of the gradient; size = samples gives all of them, in their order.

    Parameters
    ----------
    samples, size : int
        1 <= size <= samples.
    seed, agent : int
        ``run.seed`` and the agent's number.
    """

    def __init__(self, samples: int, size: int, seed: int, agent: int) -> None:
        self.samples, self.size = samples, size
        self._key = make_key(seed, agent, Stream.BATCH)
        self._words = np.empty(TILE, np.uint32)
        self._members = np.empty(samples // 64 + 1, np.int64)
        self._chosen = np.empty(size + 1, np.int64)

    def begin(self, step: int) -> None:
        """Go to a step: 0 is the start, k + 1 is iteration k."""
        self._key[2], self._key[4] = step, Stream.BATCH

    def draw(self) -> I64:
        """Return the next batch of this step, int64[size]; valid until the next call."""
        sample(self.samples, self.size, self._key, self._words, self._members, self._chosen)
        self._key[4] += np.uint32(1)
        return self.latest

    @property
    def latest(self) -> I64:
        """The batch that was drawn last, int64[size]."""
        return self._chosen[: self.size]


def require_batches(cost: Cost, size: int, agent: int, key: str = "run.batch") -> None:
    """Raise `ConfigError` unless a cost has mini-batches of this size; 0 asks for none."""
    if size == 0:
        return
    if size < 0 or not isinstance(size, int):
        raise ConfigError(
            f"{key} = {size!r} of agent {agent} is not a number of samples; accepted: 0 or more."
        )
    samples = getattr(cost, "samples", None)
    if samples is None or not hasattr(cost, "batch_gradient"):
        raise ConfigError(
            f"{key} = {size} needs costs that are means over samples, and that of agent {agent} is "
            "not (it has no samples and batch_gradient); accepted: 0, which takes exact gradients."
        )
    if size > samples:
        raise ConfigError(
            f"{key} = {size} is more than the {samples} samples of agent {agent}; accepted: 1 to "
            f"{samples}, or 0 for exact gradients."
        )
