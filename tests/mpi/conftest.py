"""The communicator of the MPI tests."""

import pytest


@pytest.fixture(scope="session")
def comm():
    """A communicator of all ranks that nobody else uses."""
    from mpi4py import MPI

    return MPI.COMM_WORLD.Dup()
