"""How far the mean tracker is from the mean gradient after many iterations of a 2-bit run.

    python benchmarks/invariant.py [--iterations 60000] [--quick]

The invariant mean y = mean g holds exactly in exact arithmetic, for every compressor and step. What
rounding leaves of it is relative to the largest local gradient, as in the record (series invariant).
"""

import argparse
import sys
from pathlib import Path

from distopt.config.build import make_config
from distopt.engine.run import run

BOUND = 1e-12


def worst(memory, iterations):
    config = make_config(
        {
            "problem": {"name": "pl", "agents": 10, "dimension": 20},
            "topology": {"graph": "ring"},
            "algorithm": {
                "name": "cgt1",
                "eta": 0.004,
                "gamma": 0.4,
                "alpha": 0.7,
                "memory": memory,
            },
            "compressor": {"name": "quantize", "bits": 2, "dithered": True},
            "run": {"iterations": iterations, "record_every": max(iterations // 20, 1)},
        },
        Path(),
    )
    result = run(config, engine="simulate")
    return max(row["invariant"] for row in result.rows), result.rows[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--iterations", type=int, default=60_000)
    parser.add_argument("--quick", action="store_true", help="2,000 iterations")
    options = parser.parse_args()
    iterations = 2000 if options.quick else options.iterations
    print(f"pl, ring of 10, d = 20, cgt1, quantize 2 bits dithered, {iterations} iterations")
    print("| memory | largest invariant | at the end | P at the end |\n|---|---|---|---|")
    reached = {}
    for memory in ("replicas", "sum"):
        reached[memory], last = worst(memory, iterations)
        print(
            f"| {memory} | {reached[memory]:.1e} | {last['invariant']:.1e} "
            f"| {last['stationarity']:.1e} |",
            flush=True,
        )
    met = reached["replicas"] <= BOUND
    print(f"replicas <= {BOUND:g}: {'yes' if met else 'NO'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
