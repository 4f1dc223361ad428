"""The layout of a network's weights in one flat vector."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from distopt.core.arrays import F64
from distopt.core.randomness import make_key, normal
from distopt.core.streams import Stream


@dataclass(frozen=True)
class Layout:
    """Shapes of the weights: float64[inputs, m] matrices one after the other, then thresholds.

    Weights are stored transposed, inputs as rows, so that a layer is Phi C with the samples as rows
    of Phi, and so that the parts W1 (of y) and W2 (of the previous layer) of a layer's C are both
    contiguous.
    """

    m: int  # targets, and width of the layers
    n: int  # measurements
    layers: int
    injects: bool = True  # y enters every layer (unfolded networks), not only the first
    tied: bool = False  # one matrix for all layers, but for the first where y enters only there
    learned: bool = False  # thresholds are unknowns: one of each layer, a single one where tied

    @cached_property
    def inputs(self) -> list[int]:
        """Rows of each matrix."""
        if self.injects:
            return [self.n + self.m] * (1 if self.tied else self.layers)
        hidden = min(1, self.layers - 1) if self.tied else self.layers - 1
        return [self.n] + [self.m] * hidden

    @cached_property
    def used_by(self) -> list[int]:
        """Number of the matrix that each layer uses."""
        if not self.tied:
            return list(range(self.layers))
        return [0] * self.layers if self.injects else [min(l, 1) for l in range(self.layers)]

    @property
    def thresholds(self) -> int:
        """Number of learned thresholds."""
        return (1 if self.tied else self.layers) if self.learned else 0

    @cached_property
    def parts(self) -> list[tuple[str, int]]:
        """Names and sizes of the parts of the vector, in their order."""
        m, n, found = self.m, self.n, []
        for l, rows in enumerate(self.inputs, start=1):
            number = "" if self.tied and (self.injects or l > 1) else f"[{l}]"
            if self.injects:
                found += [(f"W1{number}", n * m), (f"W2{number}", m * m)]
            else:
                found.append((f"W{number}", rows * m))
        if self.learned:
            found.append(("thresholds", self.thresholds))
        return found

    @cached_property
    def blocks(self) -> list[int]:
        """Boundaries of the parts, ascending from 0 to d."""
        return [0, *np.cumsum([size for _, size in self.parts]).tolist()]

    @property
    def dimension(self) -> int:
        """Length d of the vector."""
        return self.blocks[-1]

    def matrices(self, w: F64) -> list[F64]:
        """Return views of the matrices, float64[inputs, m] each."""
        found, first = [], 0
        for rows in self.inputs:
            found.append(w[first : first + rows * self.m].reshape(rows, self.m))
            first += rows * self.m
        return found

    def threshold_part(self, w: F64) -> F64:
        """Return a view of the learned thresholds, float64[thresholds]."""
        return w[w.size - self.thresholds :]

    def start(self, seed: int, gain: float, threshold: float) -> F64:
        """Return weights N(0, gain^2), a pure function of the seed, and constant thresholds."""
        w = np.empty(self.dimension)
        for l, C in enumerate(self.matrices(w)):
            C[:] = gain * normal(make_key(seed, l, Stream.WEIGHTS), C.size).reshape(C.shape)
        self.threshold_part(w)[:] = threshold
        return w
