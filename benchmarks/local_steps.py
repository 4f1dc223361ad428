"""Where local steps pay: rounds and gradients of led and k_gt by graph and conditioning.

    python benchmarks/local_steps.py           the tables of docs/algorithms/led.md and k_gt.md
    python benchmarks/local_steps.py --quick   only prove that it runs

Rounds (iterations, a message each) and gradients an agent until P <= 1e-6, medians over the seeds 1, 2, 3;
steps "auto", uncompressed messages.
"""

from itertools import product
from pathlib import Path
from statistics import median

from shared import machine_line, options, show

from distopt.config.build import make_config
from distopt.engine.run import run
from distopt.studies.results import Column

AGENTS, SEEDS, LOCAL = 16, (1, 2, 3), (1, 2, 5, 10)
QUADRATIC = {"name": "quadratic", "dimension": 20}
LOGISTIC = {"name": "logistic", "split": "sorted"}
PROBLEMS = {
    "quadratic, condition 10": QUADRATIC | {"condition": 10.0},
    "quadratic, condition 1000": QUADRATIC | {"condition": 1000.0},
    "logistic, synthetic": LOGISTIC | {"dataset": "synthetic"},
    "logistic, breast_cancer": LOGISTIC | {"dataset": "breast_cancer"},
}
GRAPHS = ("ring", "torus", "exponential", "complete")


def played(name, local, problem, graph, seed, most):
    """Return rounds and gradients of a run that reaches the accuracy, infinite for one that does not."""
    tables = {
        "problem": problem | {"agents": AGENTS, "seed": seed},
        "topology": {"graph": graph},
        "algorithm": {"name": name, "local_steps": local},
        "run": {"iterations": most, "record_every": 5, "stop": {"stationarity": 1e-6}},
    }
    result = run(make_config(tables, Path()), engine="simulate")
    if result.summary["stationarity"] > 1e-6:
        return float("inf"), float("inf")
    return result.summary["iterations"], result.rows[-1]["gradients"]


def cell(rounds, gradients, most):
    """Write a median of both."""
    return f"{rounds:.0f} ({gradients:.0f})" if rounds < float("inf") else f"> {most}"


def main():
    given = options(__doc__, only={"choices": ["led", "k_gt"], "action": "append"})
    most, seeds, counts = (20, (1,), LOCAL[:2]) if given.quick else (5000, SEEDS, LOCAL)
    print(machine_line())
    heads = [Column("problem", "problem"), Column("graph", "graph")]
    heads += [Column(str(count), f"K = {count}") for count in counts]
    for name in given.only or ("led", "k_gt"):
        rows = []
        for (label, problem), graph in product(PROBLEMS.items(), GRAPHS):
            row = {"problem": label, "graph": graph}
            for count in counts:
                found = [played(name, count, problem, graph, seed, most) for seed in seeds]
                row[str(count)] = cell(*map(median, zip(*found, strict=True)), most)
            rows.append(row)
        show(f"{name}: rounds (gradients an agent)", heads, rows)


if __name__ == "__main__":
    main()
