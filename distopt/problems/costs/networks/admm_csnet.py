"""ADMM-CSNet: the alternating direction method of multipliers for the lasso, unfolded."""

from distopt.core.parameters import Field, parameters
from distopt.problems.costs.networks.family import Network


@parameters("problem")
class ADMMCSNet(Network):
    """ADMM for the lasso with W1 and W2 set free; z^0 = u^0 = 0, F = c z^L.

        x^l = W1^l y / sqrt(n) + W2^l (z^(l-1) - u^(l-1)) / sqrt(m)
        z^l = sigma(x^l + u^(l-1); lam)
        u^l = u^(l-1) + gamma (x^l - z^l)

    gamma is `multiplier_step`; 0 makes the network LISTA (docs: networks).
    """

    multiplier_step: float = Field(default=1.0, ge=0)

    def _gamma(self) -> float:
        return self.multiplier_step
