"""The graph of the agents and its mixing weights (docs: topologies).

Metropolis weights: W_ij = 1 / (1 + max(deg_i, deg_j)) on an edge, W_ii = 1 - sum_j W_ij. Each is
computed from two integers by one formula, so both ends of an edge hold the same bits. Others are given
by a rule, or by the graph itself: a file's third column, a matrix.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from distopt.core.arrays import F64
from distopt.core.errors import ConfigError
from distopt.core.parameters import show
from distopt.problems.distances import diameter_of, distances_from
from distopt.problems.spanning_tree import Tree, lean_tree, tree_from_centre
from distopt.problems.topologies.base import require_one_component
from distopt.problems.topologies.fastest import fastest_weights

if TYPE_CHECKING:
    import networkx

DENSE = 2000  # agents up to which eigenvalues come from the dense matrix
BESIDE = 1e-6  # of a point about which is inverted, from the eigenvalues' bound
RESTARTS, BASIS = 50, 40  # of Lanczos' method, before it inverts


@dataclass(frozen=True)
class Links:
    """The agents with which one agent exchanges messages in an iteration.

    On an undirected graph `hears` and `tells` are equal, and W is symmetric. A directed one has two
    matrices: the rows of R = W sum to one, and so do the columns of C.
    """

    hears: tuple[int, ...]  # ascending
    weights: tuple[
        float, ...
    ]  # W_ij for j in `hears`, bit-identical at both ends of an undirected edge
    tells: tuple[int, ...]  # ascending
    pushes: tuple[float, ...] | None = None  # C_ij for j in `hears`; None: W_ij
    surplus: float = 0.0  # sum_j C_ij over `hears` less sum_j C_ji over `tells`


METROPOLIS: Final = "metropolis"
FASTEST: Final = "fastest"
OWN_WEIGHTS: Final = "own"  # of the graph
WEIGHTS: Final = (METROPOLIS, "max_degree", FASTEST, OWN_WEIGHTS)


class Topology:
    """A connected undirected graph of agents with mixing weights.

    Parameters
    ----------
    agents : int
        n >= 1.
    edges : Iterable[tuple[int, int]]
        Pairs of different agents; order and repetitions do not matter.
    name : str
        As in reports.
    weights : str, or Mapping[tuple[int, int], float]
        ``"metropolis"``; ``"max_degree"``: 1 / (1 + the largest degree); ``"fastest"``: those that average
        fastest; or W_ij of every edge (i, j), i < j. W is symmetric and W_ii = 1 - sum_j W_ij.

    Attributes
    ----------
    rule : str
        One of `WEIGHTS`.
    directed : bool
        Whether messages go one way along an edge.
    alignment : float
        n pi' rho, pi' the left eigenvector of R and rho the right one of C to the eigenvalue 1, each of sum
        one: by how much the agents together descend further than a step. 1 where W is symmetric.
    spectrum : tuple of complex
        Of a directed graph, the eigenvalues of R and C besides their 1.

    Examples
    --------
    >>> path = Topology(3, [(0, 1), (1, 2)])
    >>> path.neighbours(1), path.degree(1)
    ((0, 2), 2)
    >>> round(path.gap, 3)
    0.333
    """

    directed: ClassVar[bool] = False
    changes: ClassVar[bool] = False  # whether some edges are down in some iterations
    cause: str = ""  # what makes it change, for sentences
    share: float = 1.0  # of the iterations in which an edge is up, as a mean
    window: int = 1  # iterations in which every edge is up once at least
    alignment: float = 1.0
    spectrum: tuple[complex, ...] = ()

    def __init__(
        self,
        agents: int,
        edges: Iterable[tuple[int, int]],
        name: str = "custom",
        weights: str | Mapping[tuple[int, int], float] = METROPOLIS,
    ) -> None:
        if agents < 1:
            raise ConfigError(f"A topology needs at least one agent, not {agents}.")
        self.agents = agents
        self.name = name
        self.edges = tuple(sorted({(min(i, j), max(i, j)) for i, j in edges}))
        for i, j in self.edges:
            if i == j or i < 0 or j >= agents:
                raise ConfigError(
                    f"The edge ({i}, {j}) is not possible; accepted: two different agents "
                    f"of 0 to {agents - 1}."
                )
        near: list[list[int]] = [[] for _ in range(agents)]
        for i, j in self.edges:
            near[i].append(j)
            near[j].append(i)
        self._near = tuple(tuple(sorted(js)) for js in near)
        require_one_component(components(self._near), agents, f"The {name} graph")
        self.rule = weights if isinstance(weights, str) else OWN_WEIGHTS
        if self.rule not in WEIGHTS[:3] and isinstance(weights, str):
            raise ConfigError(
                f"The weights {show(weights)} are not known; accepted: {', '.join(WEIGHTS[:3])}, or a "
                "number for every edge."
            )
        self._weights = self._find_weights(weights)
        if self.rule == OWN_WEIGHTS:
            self._require_mixing()

    @classmethod
    def from_graph(
        cls, graph: networkx.Graph, name: str = "custom", weights: str | None = None
    ) -> Topology:
        """Take a networkx graph with nodes 0 .. n - 1.

        `weights` names a rule; ``"own"`` is the edges' attribute ``weight``, the default where all edges
        have it.
        """
        return cls.with_weights(len(graph), list(graph.edges.data("weight")), name, weights)

    @classmethod
    def with_weights(
        cls,
        agents: int,
        edges: Iterable[tuple[int, int, float | None]],
        name: str = "custom",
        weights: str | None = None,
    ) -> Topology:
        """Take edges with a number each, or None; `weights` is as of `from_graph`."""
        own = {(min(i, j), max(i, j)): w for i, j, w in edges}
        there = bool(own) and None not in own.values()
        if weights == OWN_WEIGHTS and not there:
            raise ConfigError(
                f'topology.weights = "own" needs a graph with weights, and {name} has none; accepted: '
                f"{', '.join(WEIGHTS[:3])}."
            )
        if there and weights in {None, OWN_WEIGHTS}:
            return cls(agents, own, name, own)  # type: ignore[arg-type]
        return cls(agents, own, name, weights or METROPOLIS)

    def require_some_left(self, lost: Sequence[int]) -> None:
        """Raise `ConfigError` unless these are agents of the graph, each named once, and not all."""
        if len({*lost}) < len(lost) or not {*lost} < {*range(self.agents)}:
            raise ConfigError(
                f"problem.lost = {[*lost]} is not acceptable; accepted: different agents of 0 to "
                f"{self.agents - 1}, but not all of them."
            )

    def without(self, lost: Sequence[int]) -> Topology:
        """Return the graph of the other agents, who close up: their weights follow from its rule anew.

        Own weights stay, and each agent takes back those of its lost neighbours.

        Raises
        ------
        ConfigError
            If an agent is not there, or the others are no longer connected; they have their old numbers.

        >>> Topology(4, [(0, 1), (1, 2), (2, 3), (3, 0)]).without([1]).edges
        ((0, 2), (1, 2))
        """
        if not lost:
            return self
        self.require_some_left(lost)
        parts = components(self._near, lost)
        if len(parts) > 1:
            raise ConfigError(
                f"problem.lost = {[*lost]} is not possible: without it the {self.name} graph falls apart, "
                f"no path leads from agent {parts[0]} to agent {parts[1]}."
            )
        rest = [i for i in range(self.agents) if i not in lost]
        at = {old: new for new, old in enumerate(rest)}
        own = {(at[i], at[j]): self.weight(i, j) for i, j in self.edges if i in at and j in at}
        return Topology(len(at), own, self.name, own if self.rule == OWN_WEIGHTS else self.rule)

    def _find_weights(
        self, given: str | Mapping[tuple[int, int], float]
    ) -> dict[tuple[int, int], float]:
        """Return W_ij by edge."""
        degree = self.degree
        if not isinstance(given, str):
            if missing := [edge for edge in self.edges if edge not in given]:
                raise ConfigError(
                    f"The edge {missing[0]} has no weight; accepted: one for every edge."
                )
            return {edge: float(given[edge]) for edge in self.edges}
        if given == "max_degree":
            most = max(map(degree, range(self.agents)))
            return dict.fromkeys(self.edges, 1.0 / (1 + most))
        found = {(i, j): 1.0 / (1 + max(degree(i), degree(j))) for i, j in self.edges}
        if given == FASTEST:
            start = np.array(list(found.values()))
            best = fastest_weights(self.agents, self.edges, start)
            return dict(zip(self.edges, best.tolist(), strict=True))
        return found

    def _require_mixing(self) -> None:
        """Refuse weights that do not average: a W with an eigenvalue outside (-1, 1) besides the 1."""
        lowest, second = self._eigenvalues
        if lowest > -1 and second < 1 - 1e-12:
            return
        sums = [sum(links.weights) for links in self._links]
        most = int(np.argmax(sums))
        wrong = lowest if lowest <= -1 else second
        raise ConfigError(
            f"The weights of the {self.name} graph do not average: W has the eigenvalue {wrong:.6g}, and "
            f"all but one must be between -1 and 1 (agent {most}'s weights to others sum to "
            f"{sums[most]:.6g}). Positive weights whose sum is below 1 at every agent do."
        )

    def at(self, k: int) -> Topology:
        """Return the graph of iteration k: this one, as it does not change."""
        return self

    def links(self, i: int) -> Links:
        """Return the links of agent i."""
        return self._links[i]

    @cached_property
    def _links(self) -> list[Links]:
        weight = self.weight
        return [Links(js, tuple(weight(i, j) for j in js), js) for i, js in enumerate(self._near)]

    def neighbours(self, i: int) -> tuple[int, ...]:
        """List the agents that agent i ever hears, ascending."""
        return self.links(i).hears

    def degree(self, i: int) -> int:
        """Count the neighbours of agent i."""
        return len(self._near[i])

    def weight(self, i: int, j: int) -> float:
        """Return W_ij of an edge."""
        return self._weights[min(i, j), max(i, j)]

    def matrix(self) -> F64:
        """Return the mixing matrix W, float64[n, n]: symmetric, rows sum to one."""
        W = np.zeros((self.agents, self.agents))
        for i, j in self.edges:
            W[i, j] = W[j, i] = self.weight(i, j)
        np.fill_diagonal(W, self._own_weights())
        return W

    def described(self) -> str:
        """Write edges and weights, as far as hosts agree on them."""
        edges = json.dumps(self.edges)
        if self.rule != METROPOLIS:  # to the digits in which hosts agree
            edges += json.dumps([float(f"{self.weight(*edge):.6g}") for edge in self.edges])
        return edges

    @cached_property
    def gap(self) -> float:
        """Spectral gap delta = 1 - ||W - 11'/n||_2, in (0, 1]."""
        lowest, second = self._eigenvalues
        return 1.0 - max(second, -lowest)

    @cached_property
    def kappa(self) -> float:
        """||W - I||_2 = 1 - the smallest eigenvalue of W, at most 2."""
        return 1.0 - self._eigenvalues[0]

    @cached_property
    def diameter(self) -> int:
        """Largest number of edges between two agents."""
        return diameter_of(self._near)

    @cached_property
    def tree(self) -> Tree:
        """A spanning tree from the centre of the graph, the same on every process."""
        return tree_from_centre(self._near)

    @cached_property
    def lean_tree(self) -> Tree:
        """A spanning tree of least height in which few agents have children."""
        return lean_tree(self._near)

    @cached_property
    def _eigenvalues(self) -> tuple[float, float]:
        """The smallest and the second largest eigenvalue of W (of one agent: 1 and 0)."""
        if self.agents == 1:
            return 1.0, 0.0
        if self.agents <= DENSE:
            values = np.linalg.eigvalsh(self.matrix())
            return float(values[0]), float(values[-2])
        W = self._sparse()
        own = W.diagonal()
        least = min(own + abs(own) - abs(W).sum(axis=1))  # all are in Gershgorin's discs
        return extreme(W, "SA", 1, least - BESIDE), extreme(W, "LA", 2, 1 + BESIDE)

    def _own_weights(self) -> list[float]:
        return [1.0 - sum(links.weights) for links in self._links]

    def _sparse(self) -> Any:
        from scipy.sparse import coo_array, diags_array

        w = [self.weight(i, j) for i, j in self.edges]
        half = coo_array((w, np.array(self.edges).T), shape=(self.agents, self.agents))
        return (half + half.T + diags_array(self._own_weights())).tocsc()


def components(near: Sequence[Sequence[int]], lost: Sequence[int] = ()) -> list[int]:
    """Return the first agent of each connected part of a graph, without the lost agents."""
    gone, first = {*lost}, []
    left = [[] if i in gone else [j for j in js if j not in gone] for i, js in enumerate(near)]
    for i in range(len(near)):
        if i not in gone:
            first.append(i)
            gone |= distances_from(left, i).keys()
    return first


def extreme(W: Any, which: str, k: int, beside: float) -> float:
    """Return the k-th largest ("LA") or smallest ("SA") eigenvalue of a sparse symmetric W.

    Where they lie apart, as in graphs that mix well, multiplying finds them. In long graphs they crowd
    together; inverting about a point just outside pulls them apart, and the factors of W are sparse there.
    """
    from scipy.sparse.linalg import ArpackNoConvergence, eigsh

    n = W.shape[0]
    v0 = np.cos(np.arange(n, dtype=np.float64))  # the same answer at every call
    among: dict[str, Any] = {"k": k, "v0": v0, "return_eigenvectors": False}
    try:
        found = eigsh(W, which=which, tol=1e-10, maxiter=RESTARTS, ncv=min(BASIS, n), **among)
    except ArpackNoConvergence:
        found = eigsh(W, sigma=beside, **among)
    return float(min(found) if which == "LA" else max(found))
