"""Final states of every pair in `run_table`, as hashes: what no change of the code may change.

    PYTHONPATH=tests python tests/engine/golden_states.py       adds new pairs to golden_states.json

Remove lines from the file only where a change of numbers is meant, and say so in the commit. The problem
needs nothing but sums and products (no BLAS, no logarithm or power), so all machines give these bits.
"""

import json
from hashlib import sha256
from pathlib import Path

from run_table import PAIRS, SINGLE, configure, play, states

FILE = Path(__file__).with_suffix(".json")
START = Path(__file__).with_name("golden_start.txt")
PROBLEM = {"name": "diagonal", "spread": 0.0, "start": str(START)}
ITERATIONS = 25
# Names in the file, and what they stand for.
ROWS = {f"{a} {m}": (a, m) for a, m in PAIRS} | {
    f"{a} {m} float32": (a, m, "float32") for a, m in SINGLE
}


def make(algorithm, message, dtype="float64"):
    """Make the configuration of one row."""
    return configure(
        algorithm, message, problem=PROBLEM, iterations=ITERATIONS, record_every=25, dtype=dtype
    )


def hashes(job):
    """Hash names, types and bits of the arrays of each agent of this process, in the order of agents."""
    found = {}
    for agent, arrays in states(job).items():
        digest = sha256()
        for name, array in sorted(arrays.items()):
            digest.update(f"{name} {array.dtype} {array.shape} ".encode() + array.tobytes())
        found[agent] = digest.hexdigest()[:16]
    return [found[agent] for agent in sorted(found)]


def write():
    """Run the pairs that are not in the file, in one process, and add what came out."""
    known = json.loads(FILE.read_text())
    found = {
        name: known.get(name) or " ".join(hashes(play(make(*row))[0])) for name, row in ROWS.items()
    }
    FILE.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    write()
