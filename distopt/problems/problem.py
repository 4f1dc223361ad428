"""A problem: the costs of all agents, who talks with whom, and where they start."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from distopt.core.arrays import F64, read_npy
from distopt.core.errors import ConfigError, DataError, Mistakes
from distopt.core.files import locate, read_text, reason
from distopt.core.parameters import field_names, make, nearest, show, validated
from distopt.core.randomness import make_key, normal
from distopt.core.registry import as_table
from distopt.core.streams import Stream
from distopt.problems.costs import REGISTRY
from distopt.problems.costs.base import Cost, Family
from distopt.problems.graph_section import read_section
from distopt.problems.topology import Topology


class ProblemConfig(BaseModel):
    """The keys of ``[problem]`` that every family of costs has; the family adds its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(description="the family of costs")]
    agents: Annotated[int, Field(ge=1, description="how many agents share the problem")]
    seed: Annotated[
        int, Field(ge=0, lt=2**64, description="key of data, splits and start vectors")
    ] = 0
    start: Annotated[
        str,
        Field(description='"zeros", "normal" (seeded, differs by agent), or a .npy or .txt file'),
    ] = "zeros"
    lost: Annotated[
        tuple[int, ...], Field(description="agents that take part no more; the others close up")
    ] = ()


@dataclass(frozen=True, eq=False)
class Problem:
    """n private costs, a topology and a rule for the start points.

    Attributes
    ----------
    family : Family
        Makes the costs.
    topology : Topology
        Its `agents` is n.
    topology_table : dict
        ``[topology]`` with all defaults written out and files as absolute paths.
    seed : int
        Of data, splits and start vectors (not of the run's random bits).
    start : str
        ``"zeros"``: a cost's own `start` where it has one, else 0. ``"normal"``: independent
        standard normal entries, a pure function of (seed, agent). Else a file: one vector
        float64[d] for all agents, or float64[total, d] with a row for each.
    whole : Topology
        The graph with the lost agents, of `total` agents; data are split among these.
    lost : tuple of int
        Numbers in `whole` of agents that take part no more, ascending.
    """

    family: Family
    whole: Topology
    topology_table: dict[str, Any]
    seed: int = 0
    start: str = "zeros"
    lost: tuple[int, ...] = ()

    @cached_property
    def topology(self) -> Topology:
        """The graph of the agents that take part."""
        return self.whole.without(self.lost)

    @property
    def agents(self) -> int:
        """Number of agents n that take part."""
        return self.topology.agents

    @property
    def total(self) -> int:
        """Number of agents, lost ones included."""
        return self.whole.agents

    def member(self, i: int) -> int:
        """Return the number of agent i in the whole graph."""
        return self._members[i]

    @cached_property
    def _members(self) -> list[int]:
        """The numbers in the whole graph of the agents that take part."""
        lost = set(self.lost)
        return [j for j in range(self.total) if j not in lost]

    @property
    def name(self) -> str:
        """Name of the family of costs."""
        return REGISTRY.name_of(type(self.family))

    @cached_property
    def dimension(self) -> int:
        """Number of unknowns d."""
        return int(self.family.dimension_for(self.total, self.seed))

    @cached_property
    def blocks(self) -> list[int] | None:
        """Boundaries of the named parts (layers) of x, where the costs have any."""
        return self.family.blocks_for(self.total, self.seed)

    @cached_property
    def minimum(self) -> float | None:
        """Smallest value of the average cost where it is known, else None."""
        return None if self.lost else self.family.minimum(self.total, self.seed)

    def cost(self, i: int) -> Cost:
        """Build f_i, and nothing of the other agents."""
        cost = self.family.cost(self.member(i), self.total, self.seed)
        if cost.dimension != self.dimension:
            raise DataError(
                f"The cost of agent {i} has dimension {cost.dimension}, but the problem has "
                f"{self.dimension}; all agents need the same."
            )
        return cost

    def start_point(self, i: int, cost: Cost) -> F64:
        """Return x_i at iteration 0 in a new array, float64[d]."""
        d = cost.dimension
        if self.start == "zeros":
            natural = getattr(cost, "start", None)
            return np.zeros(d) if natural is None else np.array(natural, dtype=np.float64)
        if self.start == "normal":
            return normal(make_key(self.seed, self.member(i), Stream.START), d)
        rows = read_start(Path(self.start))
        if rows.shape not in {(d,), (self.total, d)}:
            raise DataError(
                f'problem.start = "{self.start}" holds an array of shape {rows.shape}; accepted: '
                f"({d},) for all agents, or ({self.total}, {d}) with a row for each."
            )
        return np.array(rows if rows.ndim == 1 else rows[self.member(i)])

    def table(self) -> dict[str, Any]:
        """Return ``[problem]`` with all defaults written out and files as absolute paths."""
        common = {"name": self.name, "agents": self.total, "seed": self.seed, "start": self.start}
        lost = {"lost": list(self.lost)} if self.lost else {}
        return common | lost | as_table(self.family)


def build_problem(problem: dict[str, Any], topology: dict[str, Any], folder: Path) -> Problem:
    """Make the problem that ``[problem]`` and ``[topology]`` describe.

    Parameters
    ----------
    problem, topology : dict
        The two sections, as read from TOML.
    folder : Path
        Relative files are looked for there first, then in the current folder.

    Raises
    ------
    ConfigError, DataError
        A sentence about the key, or about the file that it names.
    """
    mistakes = Mistakes("The configuration")
    with mistakes.noted():
        config, family = read_problem(problem)
        family = family.located(folder)
        start = check_start(config.start, folder)
    with mistakes.noted():
        section = read_section(topology, folder)
    mistakes.tell()
    made, shape = section.build(config.agents)
    made.without(config.lost)  # refuse what is not possible
    return Problem(family, made, shape, config.seed, start, tuple(sorted(config.lost)))


def read_problem(table: dict[str, Any]) -> tuple[ProblemConfig, Family]:
    """Read ``[problem]``: the keys that all families have, and the family that it names."""
    name = table.get("name")
    if not isinstance(name, str):
        raise ConfigError(f"problem.name is missing or not a string. Known: {', '.join(REGISTRY)}.")
    cls = REGISTRY.get(name)
    common, own = ProblemConfig.model_fields, field_names(cls)
    known, where = sorted([*common, *own]), f' with problem.name = "{name}"'
    mistakes = Mistakes("[problem]")  # both name a key that neither knows, in the same words
    with mistakes.noted():
        shared = {key: value for key, value in table.items() if key not in own}
        config = validated(ProblemConfig, "problem", shared, known, where)
    with mistakes.noted():
        others = {key: value for key, value in table.items() if key not in common}
        family: Family = make(cls, "problem", others, known, where)
    mistakes.tell()
    return config, family


def check_start(start: str, folder: Path) -> str:
    """Return ``problem.start`` with a file as its absolute path; the file must be readable."""
    if start in {"zeros", "normal"}:
        return start
    path = locate(start, folder)
    if path.suffix not in {".npy", ".txt"}:
        raise ConfigError(
            f"problem.start = {show(start)} is not acceptable{nearest(start, ['zeros', 'normal'])} "
            'Accepted: "zeros", "normal", or a .npy or .txt file.'
        )
    read_start(path)
    return str(path)


def read_start(path: Path) -> F64:
    """Read a start file: .npy, or .txt with one vector or one row per agent."""
    if path.suffix == ".npy":
        rows = read_npy(path, "problem.start")
    else:
        text = read_text(path, "problem.start")
        try:
            rows = np.loadtxt(io.StringIO(text)) if text.strip() else np.empty(0)
        except ValueError as error:
            raise DataError(f'problem.start = "{path}" cannot be read: {reason(error)}.') from None
    if not rows.size:
        raise DataError(f'problem.start = "{path}" holds no numbers.')
    if not np.isfinite(rows).all():
        raise DataError(f'problem.start = "{path}" holds numbers that are not finite.')
    return np.atleast_1d(rows)
