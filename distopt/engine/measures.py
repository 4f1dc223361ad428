"""What costs are asked for records, and the further numbers that the user's give (docs: costs).

Those are series named ``measures.NAME``. A cost's ``measures(x)`` is asked at xbar, where the objective is
taken too, and each number is the mean over the agents that give it. One that gives none, or nan, does not
count.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.hosted import Hosted
from distopt.core.arrays import F64
from distopt.core.errors import ConfigError, DataError
from distopt.core.parameters import nearest
from distopt.engine.team import Team
from distopt.problems.costs.guarded import Guarded
from distopt.record.series import MEASURES
from distopt.transport.base import SharedError


class Measures:
    """The measures of a team's costs.

    Attributes
    ----------
    series : list of str
        All that any agent gave at its start.
    """

    def __init__(self, team: Team) -> None:
        self.hosted, self.series = team.hosted, list[str]()
        view = team.parts.algorithm.view
        if team.identity.measured:  # the costs are the user's own
            with team.transport.together():
                told = [[*ask(h, view(h.state).model)] for h in team.hosted]
            shared = team.transport.share([name for names in told for name in names])
            self.series = sorted({MEASURES + name for names in shared for name in names})
        for name in team.parts.run.stop.measures:
            if MEASURES + name not in self.series:
                known = [series.removeprefix(MEASURES) for series in self.series]
                there = f"they give {', '.join(known)}" if known else "they have no measures(x)"
                hint = nearest(name, known) or ";"
                raise SharedError(
                    ConfigError(
                        f"run.stop.measures.{name}: the costs do not give it{hint} {there}."
                    )
                )

    def fill(self, at: Mapping[str, F64], xbar: F64) -> None:
        """Write each agent's numbers at xbar, nan where it has none."""
        if not self.series:
            return
        for i, h in enumerate(self.hosted):
            told = ask(h, xbar)
            if unknown := [name for name in told if MEASURES + name not in self.series]:
                raise h.agent.blame(
                    DataError(f"measures(x) gave {unknown[0]}, which no agent gave at its start.")
                )
            for name in self.series:
                at[name][i] = told.get(name.removeprefix(MEASURES), np.nan)

    def means(self, columns: Mapping[str, F64]) -> dict[str, float]:
        """Return the mean of each series over the agents that gave it; nan if none did."""
        return {name: mean(columns[name]) for name in self.series}


def ask(h: Hosted, x: F64) -> dict[str, float]:
    """Ask an agent's cost at x; of x : float64[repeats, d] at the first row."""
    cost = h.agent.cost
    if not isinstance(cost, Guarded):
        return {}
    with named(h.agent):
        return cost.measures(x.reshape(-1, x.shape[-1])[0])


@contextmanager
def named(agent: Agent) -> Iterator[None]:
    """Add agent and iteration to the error of a cost in the block."""
    try:
        yield
    except DataError as error:
        raise agent.blame(error) from None


def values(agent: Agent, x: F64, out: F64) -> None:
    """out = f_i at each row of x : float64[repeats, d], or at x : float64[d]."""
    together = getattr(agent.cost, "values", None)
    if x.ndim == 2 and together is not None:
        together(x, out)
        return
    with named(agent):
        for r, row in enumerate(x.reshape(-1, agent.dimension)):
            out[r] = agent.cost.value(row)


def gradients(agent: Agent, x: F64, out: F64) -> None:
    """out = gradients of f_i, a row for each row of x."""
    together = getattr(agent.cost, "gradients", None)
    if x.ndim == 2 and together is not None:
        together(x, out)
        return
    rows = x.reshape(-1, agent.dimension), out.reshape(-1, agent.dimension)
    with named(agent):
        for row, target in zip(*rows, strict=True):
            agent.cost.gradient(row, target)


def mean(column: Sequence[float] | F64) -> float:
    """Return the mean of the numbers that are not nan, summed in their order."""
    there = [float(value) for value in column if not np.isnan(value)]
    return sum(there) / len(there) if there else float("nan")
