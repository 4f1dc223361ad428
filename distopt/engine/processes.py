"""All processes of a run: open their transport, and turn one process's error into everyone's."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias, TypeVar

from distopt.config.build import Parts
from distopt.core.errors import DistoptError
from distopt.transport.base import Transport
from distopt.transport.local import LocalTransport

Engine: TypeAlias = Literal["simulate", "mpi"]
T = TypeVar("T")


class SharedError(Exception):
    """Carries an error that all processes have seen, so each can end on its own."""

    def __init__(self, cause: DistoptError) -> None:
        super().__init__(str(cause))
        self.cause = cause


@contextmanager
def open_transport(engine: Engine, parts: Parts, comm: Any = None) -> Iterator[Transport]:
    """Hold the transport of an engine; under MPI whatever escapes aborts the whole job.

    `comm` is an mpi4py communicator with one rank per agent, by default COMM_WORLD.
    """
    topology = parts.problem.topology
    if engine == "simulate":
        try:
            yield LocalTransport(topology)
        except SharedError as error:
            raise error.cause from None
        return
    from distopt.transport.mpi import MpiTransport, require_ranks

    comm = require_ranks(comm, topology.agents)
    largest = parts.algorithm.max_nbytes(parts.compressor, parts.problem.dimension)
    transport = MpiTransport(comm, topology, largest, parts.run.timeout)
    try:
        yield transport
    except SharedError as error:
        transport.close()
        raise error.cause from None
    except BaseException as error:
        transport.abort(error)
        raise
    transport.close()


def together(transport: Transport, work: Callable[[], T], *, root_only: bool = False) -> T:
    """Do something that may fail on any process; then all raise the first one's error."""
    result: Any = None
    failure: DistoptError | None = None
    try:
        if transport.root or not root_only:
            result = work()
    except DistoptError as error:
        failure = error
    failures = [f for f in transport.share(failure) if f is not None]
    if failures:
        raise SharedError(failures[0])
    return result  # type: ignore[no-any-return]
