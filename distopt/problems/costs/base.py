"""The contracts: a cost is two functions and a size, a family makes the costs of all agents."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Protocol, Self

from distopt.core.arrays import F64
from distopt.core.rank import this_rank


class Cost(Protocol):
    """The private cost f_i of one agent, R^d -> R, differentiable, possibly nonconvex.

    `value` and `gradient` must not change `x` and must be deterministic. Optional attributes, each
    used where it exists and never taken for zero where it does not:

    smoothness : float
        A Lipschitz constant of the gradient (a bound), for ``"auto"`` and the Lyapunov functions.
    lower_bound : float
        A number that the cost never goes below.
    start : float64[d]
        The natural start point (``problem.start = "zeros"`` uses it instead of 0 where it exists).
    blocks : list[int]
        Boundaries of the named parts (layers) of x, ascending from 0 to d.
    values(x, out), gradients(x, out) : methods
        The same at many points at once, the rows of x : float64[points, d].
    energy : float
        The value of the objective for the answer 0, against which it is measured: the series
        ``nmse`` is mean f_i / mean energy_i.
    hvp(x, v, out) : method
        out = Hessian(x) v.
    samples : int, and batch_gradient(x, index, out) : method
        Of a mean over samples: their number, and out = the gradient of the mean over the samples
        index : int64[b] alone (all else, such as a regulariser, whole). For ``run.batch``.
    batch : int
        Samples of a gradient where ``run.batch`` is 0.
    wide : bool
        Whether it takes float64 only. Else a run with ``run.dtype = "float32"`` asks for gradients with x
        and out in float32, and for all else, such as values, with float64.
    measures(x) : method
        Further numbers at x by name, such as ``{"accuracy": 0.93}`` on held-out samples: series of the
        record (``measures.accuracy``, at the mean of the models, averaged over the agents that gave it).
    """

    dimension: int

    def value(self, x: F64) -> float:
        """Return f_i(x) for x : float64[d]."""
        ...

    def gradient(self, x: F64, out: F64) -> None:
        """Write the gradient of f_i at x : float64[d] into out : float64[d]."""
        ...


class Family(ABC):
    """All agents' costs of one problem; its fields are the family's own keys of ``[problem]``.

    A family holds parameters only. `cost` builds one agent's cost and keeps nothing of the others';
    everything random in it is a pure function of (seed, agent), so every host builds the same.
    """

    @abstractmethod
    def cost(self, agent: int, agents: int, seed: int) -> Cost:
        """Build f_i of one agent.

        Parameters
        ----------
        agent, agents : int
            i and n, 0 <= i < n.
        seed : int
            ``problem.seed``.
        """

    def dimension_for(self, agents: int, seed: int) -> int:
        """Return d, by building the cost of `agent_here` where the family has no cheaper way."""
        return self.cost(agent_here(agents), agents, seed).dimension

    def blocks_for(self, agents: int, seed: int) -> list[int] | None:
        """Return the costs' `blocks` where they have any, by building that of `agent_here`."""
        return getattr(self.cost(agent_here(agents), agents, seed), "blocks", None)

    def minimum(self, agents: int, seed: int) -> float | None:
        """Return min f of f = (1/n) sum_i f_i where it is known to rounding, else None."""
        return None

    def located(self, folder: Path) -> Self:
        """Return this family with its relative files looked for in `folder`, then where we are."""
        return self


def agent_here(agents: int) -> int:
    """Return the agent of this rank, so that no other's cost is built; 0 outside a job."""
    rank = this_rank() or 0
    return rank if rank < agents else 0
