"""The Python interface: costs as objects, in one process or as one rank of an MPI job."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distopt.algorithms.base import Algorithm
from distopt.compressors.base import Compressor
from distopt.config.build import Parts, fit
from distopt.config.run import make_run
from distopt.core.arrays import F64
from distopt.core.errors import ConfigError
from distopt.engine.outcome import Result
from distopt.engine.run import execute
from distopt.problems.costs.base import Cost
from distopt.problems.given import GivenProblem
from distopt.problems.topology import Topology, build_topology
from distopt.record import checkpoint
from distopt.transport.opening import Engine


def simulate(
    costs: Sequence[Cost],
    x0: F64 | None = None,
    *,
    algorithm: Algorithm,
    topology: str | Topology = "ring",
    compressor: Compressor | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
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
        A name of ``distopt list topologies``, or your own graph.
    compressor : Compressor, optional
        By default the algorithm's own, which for most is `Identity`.
    out : path, optional
        Run directory to write; without it nothing is written.
    resume : bool
        Continue from the newest checkpoint in `out` instead of refusing it.
    force : bool
        Continue even a run of other costs, another graph or other parameters, and record what differs.
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
    return _minimise("simulate", problem, algorithm, compressor, out, resume, force, run, None)


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
    force: bool = False,
    **run: Any,
) -> Result:
    """Minimise the average of all ranks' costs; every rank of the communicator calls this.

    Parameters
    ----------
    cost : Cost
        This rank's private cost; all ranks need the same dimension.
    comm : mpi4py.MPI.Comm, optional
        COMM_WORLD by default; it is duplicated. Rank i is agent i.
    x0, algorithm, topology, compressor, out, resume, force, **run
        As in `simulate`, the same on all ranks.

    Returns
    -------
    Result
        ``result.x[0]`` is this rank's model; records are on rank 0.

    Raises
    ------
    DistoptError
        While setting up. An error during the iterations aborts the MPI job, because a rank that left
        would keep the others waiting.
    """
    from mpi4py import MPI

    world = MPI.COMM_WORLD if comm is None else comm
    graph = as_topology(topology, world.size)
    problem = GivenProblem({world.rank: cost}, x0, graph)
    return _minimise("mpi", problem, algorithm, compressor, out, resume, force, run, world)


def as_topology(topology: str | Topology, agents: int) -> Topology:
    """Make a named graph, or check the size of a given one."""
    if not isinstance(topology, Topology):
        table = {"graph": topology} if isinstance(topology, str) else dict(topology)
        return build_topology(table, agents, Path())
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
    force: bool,
    run: Mapping[str, Any],
    comm: Any,
) -> Result:
    compressor = fit(compressor or algorithm.own_compressor(), problem, algorithm)
    parts = Parts(problem, algorithm, compressor, make_run(run))
    folder = None if out is None else Path(out)
    saved = None
    if resume:
        if folder is None:
            raise ConfigError("resume=True needs out, the run directory to continue.")
        saved = checkpoint.latest(folder / "checkpoints", problem.agents)
    return execute(parts, engine, comm=comm, out=folder, saved=saved, force=force)
