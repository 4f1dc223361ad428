"""The Python interface: costs as objects, in one process or as one rank of an MPI job."""

import json
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np

from distopt.config.build import Parts
from distopt.core import errors
from distopt.core.arrays import F64
from distopt.core.errors import ConfigError, DistoptError, DistoptWarning
from distopt.engine.arguments import (
    Code,
    Graph,
    Method,
    as_costs,
    as_folder,
    as_topology,
    make_parts,
    require_callable,
)
from distopt.engine.outcome import Result
from distopt.engine.run import execute
from distopt.problems.costs.base import Cost
from distopt.record import checkpoint
from distopt.transport.opening import Engine

LONGEST = 6000  # bytes of an error of the set-up, as JSON
OnRecord: TypeAlias = Callable[[dict[str, Any]], None]


def simulate(
    costs: Sequence[Cost],
    x0: F64 | None = None,
    *,
    algorithm: Method = None,
    topology: Graph = "ring",
    compressor: Code = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    force: bool = False,
    on_record: OnRecord | None = None,
    **run: Any,
) -> Result:
    """Minimise the average of the costs with one agent per cost, all in this process.

    Parameters
    ----------
    costs : Sequence[Cost]
        Agent i's private cost is ``costs[i]``.
    x0 : float64[d] or float64[n, d], optional
        Start of all agents, or one row each; 0 by default.
    algorithm : Algorithm, str or dict, optional
        Such as ``distopt.CompressedTracking1()``, its name ``"cgt1"``, or the keys of [algorithm]; by
        default ``distopt.Zed()``. Parameters left at ``"auto"`` follow the rules of the docs page auto.
    topology : str, dict, Topology or networkx.Graph
        A name of ``distopt list topologies``, the keys of the section [topology], or your own graph.
    compressor : Compressor, str or dict, optional
        Given likewise; by default the algorithm's own, which for most is `Identity`, with a warning.
    out : path, optional
        Run directory to write; without it nothing is written.
    overwrite, resume, force : bool
        Replace a run in `out`, or continue it from its newest checkpoint, instead of refusing it; with
        `force` even one of other costs, graph or parameters, and record what differs.
    on_record : callable, optional
        Called with every new row of the record, a dict, on the first rank only.
    **run
        The keys of the section [run]: iterations, seed, record_every, ``stop={"stationarity": ...}``.

    Returns
    -------
    Result
        ``result.x`` are the agents' models, ``result.rows`` the records, ``result.summary`` the end;
        each of ``result.warnings`` is also a `DistoptWarning`, on the first rank.

    Raises
    ------
    DistoptError
    KeyboardInterrupt
        After Ctrl-C, once the iteration is finished and saved. SIGTERM ends the program likewise.

    Examples
    --------
    >>> import distopt
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
    given = dict(enumerate(as_costs(costs)))
    parts = make_parts(given, x0, as_topology(topology, len(given)), algorithm, compressor, run)
    more = {"overwrite": overwrite, "force": force, "on_record": on_record}
    return begin(parts, "simulate", out, resume, more)


def minimize(
    cost: Cost,
    x0: F64 | None = None,
    *,
    comm: Any = None,
    algorithm: Method = None,
    topology: Graph = "ring",
    compressor: Code = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    force: bool = False,
    on_record: OnRecord | None = None,
    **run: Any,
) -> Result:
    """Minimise the average of all ranks' costs; every rank of the communicator calls this.

    Parameters
    ----------
    cost : Cost
        This rank's private cost; all ranks need the same dimension.
    comm : mpi4py.MPI.Comm, optional
        COMM_WORLD by default; it is duplicated. Rank i is agent i.
    x0, algorithm, topology, compressor, out, overwrite, resume, force, on_record, **run
        As in `simulate`, the same on all ranks.

    Returns
    -------
    Result
        ``result.x[0]`` is this rank's model; records are on rank 0.

    Raises
    ------
    DistoptError
        While setting up, on all ranks; where nobody catches it the first alone prints it. An error
        during the iterations aborts the MPI job, because a rank that left would keep the others waiting.
    """
    from mpi4py import MPI

    world = MPI.COMM_WORLD if comm is None else comm

    def make() -> Parts:
        graph = as_topology(topology, world.size)
        return make_parts({world.rank: cost}, x0, graph, algorithm, compressor, run)

    more = {"overwrite": overwrite, "force": force, "on_record": on_record, "comm": world}
    try:
        return begin(agreed(world, make), "mpi", out, resume, more)
    except DistoptError as error:
        if world.rank:
            silence(error)
        raise


def agreed(comm: Any, make: Callable[[], Parts]) -> Parts:
    """Return what `make` makes on this rank; if it fails on any, all raise the first one's error."""
    made, told = None, np.zeros(LONGEST, np.uint8)
    try:
        made = make()
    except DistoptError as error:
        text = json.dumps([errors.name_of(error), str(error)[: LONGEST // 6 - 40]]).encode()
        told[: len(text)] = np.frombuffer(text, np.uint8)
    table = np.zeros((comm.size, LONGEST), np.uint8)
    comm.Allgather(told, table)
    for row in table:
        if row.any():
            raise errors.named(*json.loads(row.tobytes().rstrip(b"\0")))
    assert made is not None
    return made


def silence(error: BaseException) -> None:
    """Let an error that ends the program print nothing, since another rank prints it."""
    usual = sys.excepthook

    def hook(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        if value is not error:
            usual(kind, value, trace)

    sys.excepthook = hook


def begin(
    parts: Parts, engine: Engine, out: str | Path | None, resume: bool, more: Mapping[str, Any]
) -> Result:
    """Begin or continue a run; `more` goes to `execute`."""
    folder = as_folder(out)
    require_callable(more["on_record"])
    saved = None
    if resume:
        if folder is None:
            raise ConfigError("resume=True needs out, the run directory to continue.")
        saved = checkpoint.latest(folder / "checkpoints", parts.problem.total)
    result = execute(parts, engine, out=folder, saved=saved, **more)
    for sentence in result.warnings if result.root else ():
        # Where simulate or minimize was called.
        warnings.warn(sentence, DistoptWarning, stacklevel=3)
    return result
