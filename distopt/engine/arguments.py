"""What a Python caller gives, as the parts of a run; a mistake is a sentence that says what is accepted."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from distopt.algorithms import REGISTRY as ALGORITHMS
from distopt.algorithms.base import Algorithm
from distopt.compressors import REGISTRY as COMPRESSORS
from distopt.compressors.base import Compressor
from distopt.config.build import Parts, fit, located, make_member, unnamed
from distopt.config.run import StopConfig, make_run
from distopt.core.arrays import F64
from distopt.core.errors import ConfigError
from distopt.core.parameters import field_names, show
from distopt.core.registry import Registry
from distopt.problems.costs.base import Cost
from distopt.problems.given import GivenProblem
from distopt.problems.graph_section import build_topology, topology_of
from distopt.problems.topology import Topology

Table: TypeAlias = Mapping[str, Any]
Method: TypeAlias = Algorithm | str | Table | None
Code: TypeAlias = Compressor | str | Table | None
Graph: TypeAlias = str | Topology | Table


def make_parts(
    costs: Mapping[int, Cost],
    x0: F64 | None,
    topology: Topology,
    algorithm: Method,
    compressor: Code,
    run: Table,
) -> Parts:
    """Put the parts of a run together; the costs are by agent."""
    method = (
        as_member(ALGORITHMS, Algorithm, algorithm) or ALGORITHMS.get(str(ALGORITHMS.default))()
    )
    code = as_member(COMPRESSORS, Compressor, compressor)
    require_own_keys(run, method)
    settings = make_run(run)
    problem = GivenProblem(costs, as_start(x0), topology)
    fitted = fit(code or method.own_compressor(), problem, method, settings)
    return Parts(problem, method, fitted, settings, remarks=unnamed(method, named=code is not None))


def as_costs(costs: object) -> list[Any]:
    """List the costs of all agents."""
    if isinstance(costs, Iterable) and not isinstance(costs, str | Mapping | type):
        return list(costs)
    raise ConfigError(f"costs is {described(costs)}; accepted: a list with a cost for every agent.")


def as_start(x0: object) -> F64 | None:
    """Make an array of a start."""
    if x0 is None:
        return None
    wanted = "accepted: real numbers, float64[d] for all agents or float64[n, d]"
    try:
        given = np.asarray(x0)
        start = given.astype(np.float64) if not np.iscomplexobj(given) else None
    except (TypeError, ValueError):
        start = None
    if start is None:
        raise ConfigError(f"x0 is {described(x0)}; {wanted}.")
    if not np.isfinite(start).all():
        raise ConfigError(f"x0 holds numbers that are not finite; {wanted}.")
    return start


def as_topology(topology: object, agents: int) -> Topology:
    """Make a named graph, or check the size of a given one."""
    if isinstance(topology, str):
        topology = {"graph": topology}
    if isinstance(topology, Mapping):
        return build_topology(dict(topology), agents, Path())
    if not isinstance(topology, Topology):
        topology = of_networkx(topology)
    if topology.agents != agents:
        raise ConfigError(
            f"The topology has {topology.agents} agents, but there are {agents} costs."
        )
    return topology


def of_networkx(graph: object) -> Topology:
    """Take a networkx graph."""
    import networkx

    if not isinstance(graph, networkx.Graph):
        raise ConfigError(
            f'topology is {described(graph)}; accepted: a name such as "ring", the keys of [topology] '
            "in a dict, a distopt.Topology, or a networkx.Graph or DiGraph."
        )
    if set(graph) != set(range(len(graph))):
        raise ConfigError(
            "The nodes of the topology are not 0, 1, 2 and so on, as the agents are; "
            "networkx.convert_node_labels_to_integers numbers them."
        )
    return topology_of(graph)


def as_member(registry: Registry, kind: type, given: object) -> Any:
    """Return a part of a kind: as given, or made of its name or the keys of its section."""
    if given is None or isinstance(given, kind):
        return given
    if isinstance(given, str):
        given = {registry.key: given}
    if isinstance(given, Mapping):
        return make_member(registry, located(dict(given), Path()))
    own = given if isinstance(given, type) and issubclass(given, kind) else None
    example = own.__name__ if own else registry.get(next(iter(registry))).__name__
    raise ConfigError(
        f"{registry.section} is {described(given)}; accepted: an object, {example}(...), a name of "
        f"`distopt list {registry.kind}` in quotes, or the keys of [{registry.section}] in a dict."
    )


def as_folder(out: object) -> Path | None:
    """Make a path of a run directory."""
    if out is None or isinstance(out, str | Path):
        return None if out is None else Path(out)
    raise ConfigError(f"out is {described(out)}; accepted: the path of a folder.")


def require_callable(on_record: Callable[[dict[str, Any]], None] | None) -> None:
    """Refuse what cannot be called with a row."""
    if on_record is not None and not callable(on_record):
        raise ConfigError(f"on_record is {described(on_record)}; accepted: a function of a row.")


def require_own_keys(run: Table, algorithm: Algorithm) -> None:
    """Say where a key belongs that is not one of [run]."""
    name = ALGORITHMS.name_of(type(algorithm))
    for key, value in run.items():
        if key in StopConfig.model_fields and key != "stop":
            raise ConfigError(
                f"{key} belongs to the stopping tests; accepted: stop={{{show(key)}: {show(value)}}}."
            )
        if key in field_names(type(algorithm)):
            raise ConfigError(
                f"{key} belongs to the algorithm; accepted: "
                f'algorithm={{"name": "{name}", {show(key)}: {show(value)}}}.'
            )


def described(given: object) -> str:
    """Say what was given."""
    if isinstance(given, type):
        return f"the class {given.__name__}"
    if isinstance(given, str):
        return show(given)
    return f"of type {type(given).__name__}"
