"""The Python interface: costs as objects, in one process or as one rank of an MPI job."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distopt.algorithms.base import Algorithm
from distopt.compressors.base import Compressor
from distopt.config.build import RunConfig, make_run
from distopt.core.arrays import F64
from distopt.core.errors import ConfigError
from distopt.engine.agreement import together
from distopt.engine.run import GIVEN, Engine, execute, open_transport, prepare_folder, raise_signal
from distopt.engine.session import Result
from distopt.problems.costs.base import Cost
from distopt.problems.topology import Topology, build_topology
from distopt.record import checkpoint


class GivenProblem:
    """Costs that exist already: all of them, or under MPI this rank's only.

    Parameters
    ----------
    costs : Mapping[int, Cost]
        By agent.
    x0 : float64[d] or float64[n, d], optional
        Start of all agents, or one row each; 0 by default.
    topology : Topology
    """

    minimum = None

    def __init__(self, costs: Mapping[int, Cost], x0: F64 | None, topology: Topology) -> None:
        self.costs = costs
        self.topology = topology
        self.dimension = next(iter(costs.values())).dimension
        n, d = topology.agents, self.dimension
        for i, cost in costs.items():
            if cost.dimension != d:
                raise ConfigError(
                    f"The cost of agent {i} has dimension {cost.dimension}, another has {d}; all "
                    "agents need the same."
                )
        self.x0 = np.zeros(d) if x0 is None else np.array(x0, dtype=np.float64)
        if self.x0.shape not in {(d,), (n, d)}:
            raise ConfigError(f"x0 has shape {self.x0.shape}; accepted: ({d},) or ({n}, {d}).")

    def cost(self, i: int) -> Cost:
        """Return the given cost of agent i."""
        return self.costs[i]

    def start_point(self, i: int, cost: Cost) -> F64:
        """Return agent i's start."""
        return (self.x0 if self.x0.ndim == 1 else self.x0[i]).copy()

    def table(self) -> dict[str, Any]:
        """Describe the problem as far as a file can."""
        return {"name": GIVEN, "agents": self.topology.agents}

    def topology_table(self) -> dict[str, Any]:
        """Describe the graph."""
        return {"graph": self.topology.name}


def simulate(
    costs: Sequence[Cost],
    x0: F64 | None = None,
    *,
    algorithm: Algorithm,
    topology: str | Topology = "ring",
    compressor: Compressor | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    **run: Any,
) -> Result:
    """Minimise the average of the costs with one agent per cost, all in this process.

    Parameters
    ----------
    costs : Sequence[Cost]
        Agent i's private cost is ``costs[i]``.
    x0 : float64[d] or float64[n, d], optional
        Start of all agents, or one row each; 0 by default.
    algorithm : Algorithm
        Such as ``distopt.CompressedTracking1()``; parameters left at ``"auto"`` follow the rules of
        the docs page auto.
    topology : str or Topology
        A name of ``distopt list topologies``, or a graph of your own.
    compressor : Compressor, optional
        The algorithm's own by default, which is none (`Identity`) for most.
    out : path, optional
        Run directory to write; without it nothing is written.
    resume : bool
        Continue from the newest checkpoint in `out` instead of refusing it.
    **run
        The keys of the section [run]: iterations, seed, record_every, ``stop={"stationarity": ...}``.

    Returns
    -------
    Result
        ``result.x`` are the agents' models, ``result.rows`` the records, ``result.summary`` the end.

    Raises
    ------
    DistoptError
        With a sentence.
    KeyboardInterrupt
        After Ctrl-C, once the iteration is finished and saved. SIGTERM ends the program likewise.

    Examples
    --------
    >>> import numpy as np, distopt
    >>> class Parabola:
    ...     dimension, smoothness = 2, 1.0
    ...     def __init__(self, target): self.target = target
    ...     def value(self, x): return 0.5 * float(np.sum((x - self.target) ** 2))
    ...     def gradient(self, x, out): np.subtract(x, self.target, out=out)
    >>> result = distopt.simulate(
    ...     [Parabola(i) for i in range(4)],
    ...     algorithm=distopt.CompressedTracking1(eta=0.1, gamma=0.5, alpha=1.0),
    ...     compressor=distopt.Quantize(bits=4), iterations=300)
    >>> np.round(result.x[0], 3)
    array([1.5, 1.5])
    """
    graph = as_topology(topology, len(costs))
    problem = GivenProblem(dict(enumerate(costs)), x0, graph)
    return _minimise("simulate", problem, algorithm, compressor, out, resume, run, None)


def minimize(
    cost: Cost,
    x0: F64 | None = None,
    *,
    comm: Any = None,
    algorithm: Algorithm,
    topology: str | Topology = "ring",
    compressor: Compressor | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    **run: Any,
) -> Result:
    """Minimise the average of all ranks' costs; every rank of the communicator calls this.

    Parameters
    ----------
    cost : Cost
        This rank's private cost; all ranks need the same dimension.
    comm : mpi4py.MPI.Comm, optional
        COMM_WORLD by default; it is duplicated. Rank i is agent i.
    x0, algorithm, topology, compressor, out, resume, **run
        As in `simulate`, the same on all ranks.

    Returns
    -------
    Result
        ``result.x[0]`` is this rank's model; records are on rank 0.

    Raises
    ------
    DistoptError
        While setting up. An error during the iterations aborts the MPI job, as any rank that left
        would keep the others waiting.
    """
    from mpi4py import MPI

    world = MPI.COMM_WORLD if comm is None else comm
    graph = as_topology(topology, world.size)
    problem = GivenProblem({world.rank: cost}, x0, graph)
    return _minimise("mpi", problem, algorithm, compressor, out, resume, run, world)


def as_topology(topology: str | Topology, agents: int) -> Topology:
    """Make a named graph, or check the size of a given one."""
    if isinstance(topology, str):
        return build_topology({"graph": topology}, agents, Path())
    if topology.agents != agents:
        raise ConfigError(
            f"The topology has {topology.agents} agents, but there are {agents} costs."
        )
    return topology


def _minimise(
    engine: Engine,
    problem: GivenProblem,
    algorithm: Algorithm,
    compressor: Compressor | None,
    out: str | Path | None,
    resume: bool,
    run: Mapping[str, Any],
    comm: Any,
) -> Result:
    cost = next(iter(problem.costs.values()))
    compressor = compressor or algorithm.own_compressor()
    compressor = compressor.fitted(lambda: getattr(cost, "blocks", None))
    settings: RunConfig = make_run(run)
    algorithm.accept(compressor, problem.dimension)
    folder = None if out is None else Path(out)
    place, done = None, 0
    if resume:
        if folder is None:
            raise ConfigError("resume=True needs out, the run directory to continue.")
        place, done, _ = checkpoint.latest(folder / "checkpoints", problem.topology.agents)
    with open_transport(engine, problem, algorithm, compressor, settings, comm) as transport:
        if folder is not None and not resume:
            together(transport, lambda: prepare_folder(folder, overwrite=False), root_only=True)
        result = execute(
            problem, algorithm, compressor, settings, transport, out=folder, place=place, done=done
        )
    return raise_signal(result)
