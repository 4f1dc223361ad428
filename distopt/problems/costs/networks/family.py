"""The three families of networks: keys, data and start weights."""

from dataclasses import replace
from typing import Literal

import numpy as np

from distopt.core.arrays import F64, I64
from distopt.core.parameters import Field, parameters
from distopt.problems.costs.base import Family
from distopt.problems.costs.networks.activation import Form, SoftThreshold
from distopt.problems.costs.networks.data import (
    HELD_OUT,
    Data,
    Dictionary,
    bernoulli_gaussian,
    measure,
    patch_targets,
    sensing,
    share,
    side,
)
from distopt.problems.costs.networks.layout import Layout
from distopt.problems.costs.networks.network import NetworkCost, Shape


@parameters("problem")
class Network(Family):
    """Keys of `[problem]` that lista, admm_csnet and ffnn have in common (docs: networks).

    `samples` is their number in total, split over the agents; agent i's loss is the mean over its
    samples. `output_scale` c is ``"auto"`` (1 / sqrt(m)) or a number.
    """

    m: int = Field(default=50, ge=1)
    n: int = Field(default=10, ge=1)
    layers: int = Field(default=6, ge=1)
    samples: int = Field(default=40, ge=1)
    threshold: float = Field(default=1.0, ge=0)
    learn_threshold: bool = False
    tied: bool = False
    output_scale: float | Literal["auto"] = "auto"
    gain: float = Field(default=1.0, gt=0)  # standard deviation of the start weights
    activation: Form = "softplus"
    sharpness: float = Field(default=1.0, gt=0, le=1e150)
    data: Data = "synthetic"
    dictionary: Dictionary = "dct"
    sparsity: float = Field(default=0.1, gt=0, le=1)
    snr: float = 10.0

    @property
    def layout(self) -> Layout:
        """The layout of the weights in the vector."""
        return Layout(self.m, self.n, self.layers, True, self.tied, self.learn_threshold)

    @property
    def shape(self) -> Shape:
        """The network, apart from weights and data."""
        scale = self.m**-0.5 if self.output_scale == "auto" else self.output_scale
        activation = SoftThreshold(self.activation, self.sharpness)
        return Shape(self.layout, activation, self.threshold, scale)

    def cost(self, agent: int, agents: int, seed: int) -> NetworkCost:
        return self._made(share(self.samples, agents, agent), seed)

    def held_out(self, samples: int, seed: int) -> NetworkCost:
        """Build the same cost on samples that no agent trains on."""
        return self._made(np.arange(HELD_OUT, HELD_OUT + samples), seed)

    def dimension_for(self, agents: int, seed: int) -> int:
        if self.data == "patches":
            side(self.m)
        return self.layout.dimension

    def blocks_for(self, agents: int, seed: int) -> list[int]:
        return self.layout.blocks

    def _made(self, index: I64, seed: int) -> NetworkCost:
        Y, X = self._samples(index, seed)
        start = self.layout.start(seed, self.gain, self.threshold)
        return NetworkCost(self.shape, Y, X, start)

    def _samples(self, index: I64, seed: int) -> tuple[F64, F64]:
        """Return measurements and targets, float64[T, n] and float64[T, m]."""
        if self.data == "patches":
            X = patch_targets(self.m, index, seed, self.sparsity, self.dictionary)
        else:
            X = bernoulli_gaussian(self.m, index, seed, self.sparsity)
        return measure(X, sensing(self.m, self.n, seed), index, seed, self.sparsity, self.snr), X


@parameters("problem")
class LISTA(Network):
    """x^l = sigma(W1^l y / sqrt(n) + W2^l x^(l-1) / sqrt(m); lam), x^0 = 0, F = c x^L.

    One step of iterative soft-thresholding with W1 and W2 set free in every layer, or tied: the
    same in all (docs: networks).
    """


@parameters("problem")
class ADMMCSNet(Network):
    """ADMM for the lasso, unfolded, with W1 and W2 set free; z^0 = u^0 = 0, F = c z^L.

        x^l = W1^l y / sqrt(n) + W2^l (z^(l-1) - u^(l-1)) / sqrt(m)
        z^l = sigma(x^l + u^(l-1); lam)
        u^l = u^(l-1) + gamma (x^l - z^l)

    gamma is `multiplier_step`; 0 makes the network LISTA (docs: networks).
    """

    multiplier_step: float = Field(default=1.0, ge=0)

    @property
    def shape(self) -> Shape:
        return replace(super().shape, gamma=self.multiplier_step)


@parameters("problem")
class FFNN(Network):
    """x^1 = sigma(W^1 y / sqrt(n); lam), x^l = sigma(W^l x^(l-1) / sqrt(m); lam), F = c x^L.

    Fully connected, to compare the unfolded ones with. It has as many unknowns as an unfolded network
    of L layers at L + 1 + (L - 1) n / m layers: 8 for L = 6 and n = m / 5. `tied` shares the matrix
    from the second layer on (docs: networks).
    """

    @property
    def layout(self) -> Layout:
        return Layout(self.m, self.n, self.layers, False, self.tied, self.learn_threshold)
