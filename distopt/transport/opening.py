"""Open the transport that an engine needs."""

from typing import Any, Literal, TypeAlias

from distopt.algorithms.envelope import CHECKSUM
from distopt.config.build import Parts
from distopt.transport.base import Transport
from distopt.transport.local import LocalTransport

Engine: TypeAlias = Literal["simulate", "mpi"]


def open_transport(engine: Engine, parts: Parts, comm: Any = None) -> Transport:
    """Open a transport, to be held by ``with``: under MPI whatever escapes aborts the whole job.

    `comm` is an mpi4py communicator with one rank per agent, by default COMM_WORLD.
    """
    topology = parts.problem.topology
    if engine == "simulate":
        return LocalTransport(topology)
    from distopt.transport.mpi import MpiTransport, require_ranks

    largest = parts.algorithm.max_nbytes(parts.compressor, parts.problem.dimension)
    largest += CHECKSUM * parts.run.checked
    comm = require_ranks(comm, topology.agents)
    run = parts.run
    return MpiTransport(comm, topology, largest, run.timeout, run.setup_timeout)
