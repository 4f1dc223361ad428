"""The section ``[topology]``: which graph it names, and the topology of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from distopt.core.errors import ConfigError, DataError
from distopt.core.files import locate
from distopt.core.parameters import field_names, make, nearest, require_known, show
from distopt.core.registry import OWN
from distopt.problems.changing import ChangingTopology, DrawnTopology, ScheduledTopology
from distopt.problems.directed import UNIFORM, DirectedTopology
from distopt.problems.topologies import REGISTRY
from distopt.problems.topologies.base import GraphKind
from distopt.problems.topologies.directed_file import DirectedFile
from distopt.problems.topologies.edge_file import EdgeFile, MatrixFile
from distopt.problems.topologies.schedule_file import ScheduleFile, read_schedule, table_of
from distopt.problems.topology import OWN_WEIGHTS, WEIGHTS, Topology

if TYPE_CHECKING:
    import networkx


CHANGES: Final = ("up", "asleep", "up_seed", "schedule")  # keys of graphs that change


def build_topology(section: dict[str, Any], agents: int, folder: Path) -> Topology:
    """Make the topology that ``[topology]`` describes; a relative file is looked for in `folder` first."""
    return describe_topology(section, agents, folder)[0]


def describe_topology(
    section: dict[str, Any], agents: int, folder: Path
) -> tuple[Topology, dict[str, Any]]:
    """Make the topology that ``[topology]`` describes, and the section with all defaults written out."""
    return read_section(section, folder).build(agents)


@dataclass(frozen=True)
class GraphSection:
    """What ``[topology]`` says, for any number of agents."""

    name: str
    kind: GraphKind
    weights: Any  # None: the usual ones
    changes: dict[str, Any]  # the keys `CHANGES` that are given

    def build(self, agents: int) -> tuple[Topology, dict[str, Any]]:
        """Make the topology, and the section with all defaults written out."""
        graph = self.kind.graph(agents)
        require_graph(graph, agents, self.name)
        directed = not isinstance(graph, list) and graph.is_directed()
        known = (UNIFORM, OWN_WEIGHTS) if directed else WEIGHTS
        if self.weights is not None and self.weights not in known:
            where = " on a directed graph" if directed else ""
            raise ConfigError(
                f"topology.weights = {show(self.weights)} is not acceptable{where}"
                f"{nearest(str(self.weights), known) or ';'} accepted: {', '.join(map(show, known))}."
            )
        if isinstance(graph, list):
            edges = [(i, j, None) for i, j in graph]
            made = Topology.with_weights(agents, edges, self.name, self.weights)
        else:
            made = topology_of(graph, self.name, self.weights)
        shape = REGISTRY.describe(self.kind)
        if isinstance(self.kind, EdgeFile | MatrixFile | DirectedFile | ScheduleFile):
            del shape[REGISTRY.key]
        usual = OWN_WEIGHTS if isinstance(self.kind, MatrixFile) else known[0]
        shape |= {} if made.rule == usual else {"weights": made.rule}
        if not self.changes:
            return made, shape
        return changing(made, **self.changes), shape | self.changes


def read_section(section: dict[str, Any], folder: Path) -> GraphSection:
    """Read ``[topology]``, whose relative files are looked for in `folder` first."""
    rest = dict(section)
    weights = rest.pop("weights", None)
    changes: dict[str, Any] = {key: rest.pop(key) for key in CHANGES if key in rest}
    if isinstance(changes.get("schedule"), str):
        changes["schedule"] = str(locate(changes["schedule"], folder))
    name, kind = graph_kind(rest, folder, changes.get("schedule"))
    return GraphSection(name, kind, weights, changes)


def changing(whole: Topology, **changes: Any) -> ChangingTopology:
    """Let the edges of a graph be up in some iterations only, as the keys `CHANGES` say."""
    given = " and ".join(f"topology.{key} = {show(value)}" for key, value in changes.items())
    if whole.directed:
        raise ConfigError(
            f"{given} cannot be combined with the directed graph {whole.name}: changing graphs are "
            "undirected here."
        )
    if "schedule" not in changes:
        return drawn(whole, **changes)
    if len(changes) > 1:
        raise ConfigError(f"{given} exclude each other; keep the schedule or the others.")
    return scheduled(whole, changes["schedule"])


def drawn(
    whole: Topology, up: object = None, asleep: object = None, up_seed: object = 0
) -> DrawnTopology:
    """Let edges be up with the probability `up` only, and agents sleep with the probability `asleep`."""
    if up is None and asleep is None:
        raise ConfigError(
            f"topology.up_seed = {show(up_seed)} says nothing alone; add topology.up or topology.asleep."
        )
    if up is not None and not (is_number(up) and 0 < up <= 1):
        raise ConfigError(
            f"topology.up = {show(up)} is not acceptable; accepted: a number > 0 and <= 1, the probability "
            "that an edge is up."
        )
    if asleep is not None and not (is_number(asleep) and 0 <= asleep < 1):
        raise ConfigError(
            f"topology.asleep = {show(asleep)} is not acceptable; accepted: a number >= 0 and < 1, the "
            "probability that an agent is asleep."
        )
    if not isinstance(up_seed, int) or up_seed < 0:
        raise ConfigError(
            f"topology.up_seed = {show(up_seed)} is not acceptable; accepted: a whole number >= 0."
        )
    return DrawnTopology(whole, 1.0 if up is None else float(up), float(asleep or 0), up_seed)


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a number, and not a truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def scheduled(whole: Topology, file: object) -> ScheduledTopology:
    """Let edges be up when a file says so; its edges are those of the graph."""
    if not isinstance(file, str):
        raise ConfigError(
            f"topology.schedule = {show(file)} is not acceptable; accepted: the name of a file in quotes."
        )
    schedule, edges = read_schedule(Path(file), whole.agents), {*whole.edges}
    for (i, j), times in schedule.items():
        if (i, j) not in edges:
            raise DataError(
                f"{file} has the edge ({i}, {j}) up in iteration {times[0]}, but the {whole.name} graph "
                "has none there; accepted: its edges, or neither topology.graph nor topology.file: then "
                "the graph is that of all edges of the schedule."
            )
    if missing := sorted(edges - {*schedule}):
        raise DataError(
            f"{file} never has the edge {missing[0]} of the {whole.name} graph up; accepted: every edge in "
            "one iteration at least."
        )
    return ScheduledTopology(whole, table_of(schedule, whole.edges), file)


def topology_of(
    graph: networkx.Graph, name: str = "custom", weights: str | None = None
) -> Topology:
    """Take a networkx graph with nodes 0 .. n - 1, directed or not."""
    kind = DirectedTopology if graph.is_directed() else Topology
    return kind.from_graph(graph, name, weights)


def require_graph(graph: Any, agents: int, name: str) -> None:
    """Refuse what is not a graph with nodes 0 .. agents - 1, as an own class may return it."""
    if isinstance(graph, list):
        for edge in graph:
            if not (isinstance(edge, tuple) and [*map(type, edge)] == [int, int]):
                raise DataError(
                    f"{name}: graph() returned a list with {edge!r}; accepted: pairs such as (0, 1)."
                )
        return
    import networkx

    if not isinstance(graph, networkx.Graph):
        raise DataError(
            f"{name}: graph() returned {type(graph).__name__}; accepted: a networkx.Graph or DiGraph, or a "
            "list of edges."
        )
    if set(graph) != set(range(agents)):
        raise DataError(
            f"{name}: graph() returned {len(graph)} nodes ({', '.join(map(str, [*graph][:4]))}, ...), but "
            f"problem.agents = {agents}; accepted: the nodes 0 to {agents - 1}."
        )


def graph_kind(
    section: dict[str, Any], folder: Path, schedule: Any = None
) -> tuple[str, GraphKind]:
    """Read ``[topology]`` without weights and `CHANGES`: the name of the graph and what makes it."""
    rest = dict(section)
    if schedule is not None and not {"graph", "file"} & {*rest}:
        require_known("topology", rest, ["schedule", "weights"], " with topology.schedule alone")
        return "schedule", ScheduleFile(schedule)
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
        suffix = file.rpartition(".")[2] if isinstance(file, str) else ""
        if rest.pop("directed", False):
            if suffix == "npy":
                raise ConfigError(
                    f"topology.directed = true takes no matrix, but topology.file = {show(file)}: a "
                    'directed graph has two, R and C; accepted: an edge file, with lines such as "0 3".'
                )
            return "file", DirectedFile(**rest)
        return "file", (MatrixFile if suffix == "npy" else EdgeFile)(**rest)
    cls, arguments = REGISTRY.select(rest)
    keys = {"file", "class"} if REGISTRY.takes_file(name) else {"file"}
    known = sorted([*keys, "graph", "weights", *field_names(cls)])
    made = make(cls, "topology", arguments, known, f' with topology.graph = "{name}"')
    return cls.__name__ if REGISTRY.takes_file(name) else name, made
