"""Run some pairs of `run_table` on some problems and print hashes of what came out, alone or as a rank.

    PYTHONPATH=tests python tests/engine/bits.py THREADS PINNED

The parent sets what else may matter: processor targets of numba, numpy and OpenBLAS.
"""

import json
import os
import sys
from hashlib import sha256

if __name__ == "__main__" and sys.argv[2] == "1":
    core = int(os.environ.get("OMPI_COMM_WORLD_RANK", os.environ.get("PMI_RANK", "0")))
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core % len(cores)]})

from golden_states import PROBLEM
from run_table import configure, play, play_mpi, states

from distopt.core.blas import BLAS
from distopt.core.rank import this_rank

PAIRS = [
    ("cgt1", "quantize-dithered"), ("cgt2", "uniform"), ("cgt3", "saturating"), ("lead", "rand_k"),
    ("choco", "top_k-quantize"), ("zed", "zoom"), ("gt-fixed", "identity"),
    ("lead-auto", "quantize-dithered"), ("cgt1-auto", "quantize-dithered"),
]  # fmt: skip
PROBLEMS = {
    "no BLAS": PROBLEM,
    "no BLAS, large": PROBLEM | {"dimension": 12_000, "start": "normal"},
    "dense": {"name": "pl", "dimension": 300},
}


def hashed(arrays):
    """Hash names and bits."""
    digest = sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape} ".encode() + array.tobytes())
    return digest.hexdigest()[:12]


def main():
    """Print a JSON table: problem, pair: hashes of states by agent, and of records."""
    threads, found = int(sys.argv[1]), {}
    comm = None
    if this_rank() is not None:
        from mpi4py import MPI

        comm = MPI.COMM_WORLD
    for problem, keys in PROBLEMS.items():
        for pair in PAIRS if problem == "no BLAS" else PAIRS[:3]:
            config = configure(*pair, problem=keys, iterations=25, record_every=5, threads=threads)
            with BLAS.held(threads):
                team, result = play_mpi(config, comm) if comm else play(config)
            parts = [[(i, hashed(a)) for i, a in states(team).items()]]
            if comm:
                parts = comm.gather(parts[0])
            if comm is None or comm.rank == 0:
                rows = [(r["iteration"], r["stationarity"].hex()) for r in result.rows]
                told = dict(pair for part in parts for pair in part)
                found[f"{problem}: {' '.join(pair)}"] = [
                    *(told[i] for i in sorted(told)), sha256(repr(rows).encode()).hexdigest()[:12],
                ]  # fmt: skip
    if found:
        sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
