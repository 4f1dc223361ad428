"""The section ``[topology]``: which graph it names, and the topology of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from distopt.core.errors import ConfigError, DataError
from distopt.core.files import locate
from distopt.core.parameters import field_names, nearest, require_known, show
from distopt.core.registry import OWN
from distopt.problems.changing import ChangingTopology
from distopt.problems.directed import UNIFORM, DirectedTopology
from distopt.problems.topologies import REGISTRY
from distopt.problems.topologies.base import GraphKind
from distopt.problems.topologies.directed_file import DirectedFile
from distopt.problems.topologies.edge_file import EdgeFile, MatrixFile
from distopt.problems.topology import OWN_WEIGHTS, WEIGHTS, Topology

if TYPE_CHECKING:
    import networkx


def build_topology(section: dict[str, Any], agents: int, folder: Path) -> Topology:
    """Make the topology that ``[topology]`` describes; a relative file is looked for in `folder` first."""
    return describe_topology(section, agents, folder)[0]


def describe_topology(
    section: dict[str, Any], agents: int, folder: Path
) -> tuple[Topology, dict[str, Any]]:
    """Make the topology that ``[topology]`` describes, and the section with all defaults written out."""
    rest = dict(section)
    weights = rest.pop("weights", None)
    changes = {key: rest.pop(key) for key in ("up", "up_seed") if key in rest}
    name, kind = graph_kind(rest, folder)
    graph = require_graph(kind.graph(agents), agents, name)
    known = (UNIFORM, OWN_WEIGHTS) if graph.is_directed() else WEIGHTS
    if weights is not None and weights not in known:
        where = " on a directed graph" if graph.is_directed() else ""
        raise ConfigError(
            f"topology.weights = {show(weights)} is not acceptable{where}"
            f"{nearest(str(weights), known) or ';'} accepted: {', '.join(map(show, known))}."
        )
    made = topology_of(graph, name, weights)
    shape = REGISTRY.describe(kind)
    if isinstance(kind, EdgeFile | MatrixFile | DirectedFile):
        del shape[REGISTRY.key]
    usual = OWN_WEIGHTS if isinstance(kind, MatrixFile) else known[0]
    shape |= {} if made.rule == usual else {"weights": made.rule}
    return (changing(made, **changes), shape | changes) if changes else (made, shape)


def changing(whole: Topology, up: object = None, up_seed: object = 0) -> Topology:
    """Let the edges of a graph be up with the probability `up` only."""
    number = isinstance(up, int | float) and not isinstance(up, bool)
    if not number or not 0 < up <= 1:  # type: ignore[operator]
        given = "is missing" if up is None else f"= {show(up)} is not acceptable"
        raise ConfigError(
            f"topology.up {given}; accepted: a number > 0 and <= 1, the probability that an edge is up."
        )
    if not isinstance(up_seed, int) or up_seed < 0:
        raise ConfigError(
            f"topology.up_seed = {show(up_seed)} is not acceptable; accepted: a whole number >= 0."
        )
    if whole.directed:
        raise ConfigError(
            f"topology.up = {up} cannot be combined with the directed graph {whole.name}: changing graphs "
            "are undirected here."
        )
    return ChangingTopology(whole, float(up), up_seed)  # type: ignore[arg-type]


def topology_of(
    graph: networkx.Graph, name: str = "custom", weights: str | None = None
) -> Topology:
    """Take a networkx graph with nodes 0 .. n - 1, directed or not."""
    kind = DirectedTopology if graph.is_directed() else Topology
    return kind.from_graph(graph, name, weights)


def require_graph(graph: Any, agents: int, name: str) -> networkx.Graph:
    """Refuse what is not a graph with nodes 0 .. agents - 1, as an own class may return it."""
    import networkx

    if not isinstance(graph, networkx.Graph):
        raise DataError(
            f"{name}: graph() returned {type(graph).__name__}; accepted: a networkx.Graph or DiGraph."
        )
    if set(graph) != set(range(agents)):
        raise DataError(
            f"{name}: graph() returned {len(graph)} nodes ({', '.join(map(str, [*graph][:4]))}, ...), but "
            f"problem.agents = {agents}; accepted: the nodes 0 to {agents - 1}."
        )
    return graph


def graph_kind(section: dict[str, Any], folder: Path) -> tuple[str, GraphKind]:
    """Read ``[topology]`` without its weights: the name of the graph and the object that makes it."""
    rest = dict(section)
    file = rest.get("file")
    if isinstance(file, str):
        rest["file"] = str(locate(file, folder))
        if file.endswith(".py"):
            rest.setdefault(REGISTRY.key, OWN)
    name = rest.setdefault(REGISTRY.key, "file" if "file" in rest else str(REGISTRY.default))
    if "file" in rest and not REGISTRY.takes_file(name):
        if "graph" in section:
            raise ConfigError(
                f"topology.graph = {show(name)} and topology.file = {show(file)} exclude "
                "each other; keep one of them."
            )
        del rest[REGISTRY.key]
        require_known("topology", rest, ["directed", "file", "weights"], " with topology.file")
        if rest.pop("directed", False):
            return "file", DirectedFile(**rest)
        suffix = file.rpartition(".")[2] if isinstance(file, str) else ""
        return "file", (MatrixFile if suffix == "npy" else EdgeFile)(**rest)
    cls, arguments = REGISTRY.select(rest)
    keys = {"file", "class"} if REGISTRY.takes_file(name) else {"file"}
    known = sorted([*keys, "graph", "weights", *field_names(cls)])
    require_known("topology", arguments, known, f' with topology.graph = "{name}"')
    own = REGISTRY.takes_file(name)
    return cls.__name__ if own else name, cls(**arguments)
