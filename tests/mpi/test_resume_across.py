"""A run goes on under the other engine, to the bit: a shard holds an agent, wherever it lived."""

import numpy as np
import pytest
from run_table import assert_equal_states, comparable, configure, play, states

from distopt.engine.run import resume, run
from distopt.record.checkpoint import load
from distopt.record.metrics import read_metrics

pytestmark = pytest.mark.mpi(min_size=4)

ITERATIONS = 50
CASES = [
    ("cgt1", "quantize-range"),
    ("gt", "identity"),
    ("cgt1", "quantize-dithered"),
    ("cgt1-sum", "rand_k"),
    ("cgt2", "uniform-dithered"),
    ("cgt2", "uniform-fast"),
    ("cgt3", "one_bit"),
    ("beer", "rand_k"),
    ("lead", "unbiased_rand_k"),
    ("primal_dual", "ternary"),
    ("choco", "quantize"),
    ("dgd", "identity"),
]
WAYS = ["mpi simulate mpi", "mpi simulate", "simulate mpi", "mpi mpi"]


def rotate():
    """Give the first case all ways and the others one each; the rest is left to the slow tier.

    Under the second MPI the first case and way are enough.
    """
    for i, case in enumerate(CASES):
        for j, way in enumerate(WAYS):
            marks = [pytest.mark.once] if i or j else []
            marks += [pytest.mark.slow] if i and j != i % len(WAYS) else []
            yield pytest.param(*case, way, marks=marks)


@pytest.mark.parametrize(("algorithm", "message", "ways"), list(rotate()))
def test_restart_under_another_engine(algorithm, message, ways, comm, mpi_tmp_path):
    out = mpi_tmp_path / "run"
    in_parts = message == "quantize-range"  # under MPI; in one process a message is whole
    stops = np.linspace(0, ITERATIONS, len(ways.split()) + 1).astype(int)[1:].tolist()
    for engine, last in zip(ways.split(), stops, strict=True):
        if engine == "mpi" or comm.rank == 0:  # the others meet rank 0 in the barrier below
            if last == stops[0]:
                config = configure(algorithm, message, iterations=last, overlap=in_parts)
                run(config, engine=engine, out=out)
            else:
                resume(out, engine=engine, iterations=last)
        comm.barrier()
    whole, expected = play(configure(algorithm, message, iterations=ITERATIONS))
    found, _ = play(configure(algorithm, message, iterations=0))
    load(out / "checkpoints" / f"{ITERATIONS:06d}", found.hosted)
    assert_equal_states(states(found), states(whole))
    rows = read_metrics(out / "metrics.h5").rows()
    assert comparable(rows, "diagnostics_bytes") == comparable(expected.rows, "diagnostics_bytes")
