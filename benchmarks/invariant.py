"""How far the mean tracker is from the mean gradient after many iterations of a 2-bit run.

    python benchmarks/invariant.py [--iterations 60000] [--quick]

The invariant mean y = mean g holds exactly in exact arithmetic, for every compressor and step. What
rounding leaves of it is relative to the largest local gradient, as in the record (series invariant).
"""

import sys
from pathlib import Path

from shared import options, show

from distopt.config.build import make_config
from distopt.core import units
from distopt.engine.run import run
from distopt.studies.results import Column

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
    given = options(__doc__, iterations={"type": int, "default": 60_000})
    iterations = 2000 if given.quick else given.iterations
    rows = []
    for memory in ("replicas", "sum"):
        largest, last = worst(memory, iterations)
        end, P = last["invariant"], last["stationarity"]
        rows.append({"memory": memory, "largest": largest, "end": end, "P": P})
    columns = [
        Column("memory", "memory"),
        Column("largest", "largest", write=units.small),
        Column("end", "at the end", write=units.small),
        Column("P", "P at the end", write=units.small),
    ]
    met = rows[0]["largest"] <= BOUND
    title = f"pl, ring of 10, d = 20, cgt1, quantize 2 bits dithered, {iterations} iterations"
    show(title, columns, rows, [f"replicas <= {BOUND:g}: {'yes' if met else 'NO'}"])
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
