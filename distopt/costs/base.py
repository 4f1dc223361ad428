"""The contract of a cost: two functions and a size; everything else is optional knowledge."""

from typing import Protocol, runtime_checkable

from distopt.arrays import F64


@runtime_checkable
class Cost(Protocol):
    """The private cost f_i of one agent, R^d -> R, differentiable, possibly nonconvex.

    `value` and `gradient` must not change `x` and must be deterministic. Optional attributes, each
    used where it exists and never guessed as zero where it does not:

    smoothness : float
        A Lipschitz constant of the gradient (a bound; used by ``"auto"`` and the Lyapunov functions).
    lower_bound : float
        A number that the cost never goes below.
    start : float64[d]
        The natural start point (``problem.start = "zeros"`` uses it instead of 0 where it exists).
    blocks : list[int]
        Boundaries of the named parts (layers) of x, ascending from 0 to d.
    hvp(x, v, out) : method
        out = Hessian(x) v.
    """

    dimension: int

    def value(self, x: F64) -> float:
        """Return f_i(x) for x : float64[d]."""
        ...

    def gradient(self, x: F64, out: F64) -> None:
        """Write the gradient of f_i at x : float64[d] into out : float64[d]."""
        ...
