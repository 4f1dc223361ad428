"""The fully connected network with which the unfolded ones are compared."""

from distopt.core.parameters import parameters
from distopt.problems.costs.networks.family import Network
from distopt.problems.costs.networks.layout import Layout


@parameters("problem")
class FFNN(Network):
    """x^1 = sigma(W^1 y / sqrt(n); lam), x^l = sigma(W^l x^(l-1) / sqrt(m); lam), F = c x^L.

    It has as many unknowns as an unfolded network of L layers at L + 1 + (L - 1) n / m layers: 8
    for L = 6 and n = m / 5. `tied` shares the matrix from the second layer on (docs: networks).
    """

    @property
    def layout(self) -> Layout:
        return Layout(self.m, self.n, self.layers, False, self.tied, self.learn_threshold)
