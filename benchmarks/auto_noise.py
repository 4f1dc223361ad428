"""Steps with mini-batches: the objective with searched steps against fixed ones (docs: auto).

    python benchmarks/auto_noise.py [--part seen|reported|new] [--only TEXT] [--algorithm zed] [--quick]

The mean objective at iterations 570 to 600, the median over three seeds of the batches; of the fixed steps,
each half a decade from the next, the best on the first of these seeds.
"""

import warnings
from pathlib import Path
from statistics import mean, median

import auto_families as families
import auto_problems as problems
from shared import example, options, show

import distopt
from distopt.core.errors import DistoptError
from distopt.studies.results import Column

ITERATIONS, SEEDS = 600, (1, 2, 3)
FIXED = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
CANCER = {"name": "logistic", "dataset": "breast_cancer", "split": "sorted"}
DIGITS = {"name": "logistic", "dataset": "digits", "split": "sorted"}
SYNTHETIC = {"name": "logistic", "dataset": "synthetic"}
CONVOLUTIONAL = {"name": "convolutional network in JAX"}
CASES = {  # name: problem (a configuration's, or a family and its keywords), agents, graph, batch
    "seen": {
        "logistic, breast_cancer, lam 0.01": (CANCER | {"lam": 0.01}, 6, "ring", 8),
        "logistic, synthetic, sorted": (
            SYNTHETIC | {"split": "sorted", "sorted_fraction": 0.8}, 8, "ring", 4
        ),
        "logistic, digits, lam 0.01": (DIGITS | {"lam": 0.01}, 5, "complete", 16),
        "LISTA": ({"name": "lista"}, 4, "ring", 8),
        "FFNN": ({"name": "ffnn"}, 4, "ring", 8),
        "ADMM-CSNet": ({"name": "admm_csnet"}, 4, "ring", 8),
        "digits, " + CONVOLUTIONAL["name"]: (CONVOLUTIONAL, 4, "ring", 32),
    },
    "reported": {
        "logistic, breast_cancer, lam 0.1": (CANCER | {"lam": 0.1}, 5, "path", 32),
        "logistic, synthetic, iid": (SYNTHETIC | {"split": "iid"}, 16, "exponential", 2),
        "logistic, digits, lam 0.1": (DIGITS | {"lam": 0.1}, 8, "star", 4),
        "LISTA, other seed": ({"name": "lista", "seed": 5}, 6, "complete", 2),
        "FFNN, other seed": ({"name": "ffnn", "seed": 5}, 5, "path", 4),
        "ADMM-CSNet, other seed": ({"name": "admm_csnet", "seed": 5}, 6, "star", 4),
        "digits, " + CONVOLUTIONAL["name"] + ", smaller batches": (CONVOLUTIONAL, 5, "path", 8),
    },
    "new": {
        "Student-t regression": ((problems.robust, families.STUDENT), 8, "ring", 4),
        "Poisson regression": ((problems.poisson, {}), 6, "path", 4),
        "softmax regression": ((problems.softmax, {}), 8, "star", 3),
        "sum of cosines": ((families.cosines, {}), 9, "ring", 2),
        "tanh network": ((problems.network, {}), 6, "ring", 5),
        "ReLU network": ((problems.relu, {}), 6, "star", 5),
        "largest of planes": ((problems.max_affine, {}), 5, "complete", 4),
        "perceptron": ((families.perceptron, {}), 7, "path", 4),
        "tanh network, 100 times smaller": ((problems.network, {"seed": 2, "scale": 0.01}), 6, "ring", 5),
        "Student-t regression, units 1 to 100": (
            (problems.robust, families.STUDENT | {"seed": 3, "units": 100.0}), 8, "ring", 4
        ),
    },
}  # fmt: skip


def own_costs(problem, agents, batch):
    """Return the costs of the example, which has batches of its own, or of a family."""
    if problem is CONVOLUTIONAL:
        make_cost = example("digits_jax").make_cost
        return [make_cost(i, agents, batch=batch) for i in range(agents)]
    family, keys = problem
    stack = families.make(family, **{"seed": 1, "agents": agents} | keys)
    return [problems.Sampled(stack, i) for i in range(agents)]


def play(case, algorithm, eta, iterations, seed):
    """Return the mean objective of the last records, and the largest and last step."""
    problem, agents, graph, batch = case
    numbers = {"name": algorithm, "eta": eta}
    settings = {"iterations": iterations, "record_every": 10, "seed": seed, "series": "light"}
    message = {"name": "quantize", "bits": 2, "dithered": True} if algorithm == "lead" else None
    try:
        if problem is CONVOLUTIONAL or isinstance(problem, tuple):
            costs = own_costs(problem, agents, batch)
            if problem is not CONVOLUTIONAL:
                settings["batch"] = batch
            result = distopt.simulate(
                costs, topology=graph, algorithm=numbers, compressor=message, **settings
            )
        else:
            tables = {
                "problem": problem | {"agents": agents}, "topology": {"graph": graph},
                "algorithm": numbers, "run": settings | {"batch": batch},
            }  # fmt: skip
            tables |= {"compressor": message} if message else {}
            result = distopt.run(distopt.make_config(tables, Path()), engine="simulate")
    except DistoptError:
        return float("inf"), 0.0, 0.0
    steps = [row.get("step", eta) for row in result.rows]
    return mean(row["objective"] for row in result.rows[-4:]), max(steps), steps[-1]


def measure(name, case, asked):
    """Return a row of the table."""
    iterations, seeds = (20, SEEDS[:1]) if asked.quick else (ITERATIONS, SEEDS)
    found = [play(case, asked.algorithm, "auto", iterations, seed) for seed in seeds]
    fixed = {}
    for eta in FIXED[:2] if asked.quick else FIXED:
        fixed[eta] = play(case, asked.algorithm, eta, iterations, SEEDS[0])[0]
    best = min(fixed, key=fixed.get)
    auto, largest, last = (median(numbers) for numbers in zip(*found, strict=True))
    return {
        "problem": name, "graph": f"{case[2]} {case[1]}, batches of {case[3]}", "auto": auto,
        "step": f"{largest:.2g}, {last:.2g}", "fixed": fixed[best], "at": best,
    }  # fmt: skip


COLUMNS = (
    Column("problem", "problem", words=True),
    Column("graph", "graph", words=True),
    Column("auto", "objective, auto", write="{:.4f}".format),
    Column("step", "largest and last step"),
    Column("fixed", "best fixed", write="{:.4f}".format),
    Column("at", "its step"),
)


def main():
    asked = options(
        __doc__,
        part={"choices": tuple(CASES), "default": None},
        only={"default": ""},
        algorithm={"default": "zed"},
    )
    warnings.simplefilter("ignore", distopt.DistoptWarning)
    for part, cases in CASES.items():
        if asked.part in {None, part}:
            chosen = {name: case for name, case in cases.items() if asked.only in name}
            show(part, COLUMNS, [measure(name, case, asked) for name, case in chosen.items()])


if __name__ == "__main__":
    main()
