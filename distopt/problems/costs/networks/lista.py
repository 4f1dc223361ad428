"""LISTA: iterative soft-thresholding, unfolded."""

from distopt.core.parameters import parameters
from distopt.problems.costs.networks.family import Network


@parameters("problem")
class LISTA(Network):
    """x^l = sigma(W1^l y / sqrt(n) + W2^l x^(l-1) / sqrt(m); lam), x^0 = 0, F = c x^L.

    One step of iterative soft-thresholding with W1 and W2 set free in every layer, or tied: the
    same in all (docs: networks).
    """
