"""The Lyapunov functions V1, V2, V3: weights and terms (docs: theory)."""

from dataclasses import dataclass, fields

from distopt.algorithms.base import Algorithm, Facts


@dataclass(frozen=True)
class Lyapunov:
    """V = gap + c1 O1 + c2 O2 + c3 O3 + c4 O4 + c5 (sx^2 + sy^2), with the terms that exist.

    O1 and O2 are the memory errors of x and y, O3 the consensus and O4 the tracking error, each
    summed over agents. A weight of None means that the function has no such term.
    """

    function: str  # "V1", "V2" or "V3"
    certified: bool  # whether the weights are proven for the steps in use
    rho: float  # certified decrease rate of the error terms; 0 where not certified
    memory_x: float | None
    memory_y: float | None
    consensus: float
    tracking: float
    scale: float | None

    def weights(self) -> dict[str, float]:
        """Map the name of each term to its weight; the gap has weight 1."""
        named = {f.name: getattr(self, f.name) for f in fields(self)[3:]}
        return {"gap": 1.0} | {name: w for name, w in named.items() if w is not None}

    def terms(self) -> list[str]:
        """List the names of the terms."""
        return list(self.weights())

    def evaluate(self, **errors: float) -> dict[str, float]:
        """Multiply each term's error by its weight."""
        return {name: weight * errors[name] for name, weight in self.weights().items()}


def lyapunov(algorithm: Algorithm, facts: Facts) -> Lyapunov | None:
    """Return the Lyapunov function of an algorithm with resolved steps, None where it has none."""
    if algorithm.lyapunov is None:
        return None
    L = facts.smoothness or 1.0
    first = algorithm.lyapunov == "V1"
    return Lyapunov(
        function=algorithm.lyapunov,
        certified=False,
        rho=0.0,
        memory_x=L / facts.agents if first else None,
        memory_y=1 / (L * facts.agents) if first else None,
        consensus=L / facts.agents,
        tracking=1 / (L * facts.agents),
        scale=None if first else 1.0,
    )
