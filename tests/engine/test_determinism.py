"""Bits depend neither on the engine nor the MPI nor the cores; and where on the processor and its threads.

States of problems without BLAS are the same everywhere. Products with dense matrices, and norms in records,
are BLAS's: they are the same wherever its kernels and number of threads are.
"""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

HERE = Path(__file__).parent
PROGRAM = HERE / "bits.py"
MPICH = HERE.parents[1] / ".venv-mpich" / "bin" / "python"
FLAGS = ["--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]
TARGETS = {
    "this processor": {},
    "a plain one": {
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "OPENBLAS_CORETYPE": "Nehalem",
        "NPY_DISABLE_CPU_FEATURES": " ".join(f for f in __cpu_dispatch__ if __cpu_features__[f]),
    },
}
STARTS = {
    "one process": [sys.executable],
    "Open MPI": [str(Path(sys.executable).with_name("mpirun")), *FLAGS, "-n", "4", sys.executable],
    "MPICH": [str(MPICH.with_name("mpirun")), "-n", "4", str(MPICH)],
}


@cache
def bits(start, threads, pinned, target):
    """Run all pairs; return hashes of states and records by problem and pair."""
    if start == "MPICH" and not MPICH.exists():
        pytest.skip("there is no .venv-mpich")
    done = subprocess.run(
        [*STARTS[start], str(PROGRAM), str(threads), str(int(pinned))],
        capture_output=True, text=True, timeout=1800, check=False,
        env=os.environ | {"PYTHONPATH": str(HERE.parent)} | TARGETS[target],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("start", STARTS)
def test_bits(start, pinned, threads, target):
    found = bits(start, threads, pinned, target)
    assert found == bits("one process", threads, False, target)
    everywhere = bits("one process", 1, False, "this processor")
    for name, (*states, record) in found.items():
        # The large problem starts from normal numbers, of which numpy's sine, cosine and logarithm give
        # other last bits to other processors.
        if name.startswith("no BLAS:") or (
            name.startswith("no BLAS") and target == "this processor"
        ):
            assert states == everywhere[name][:-1], name
        assert len(states) == 4
        assert record
