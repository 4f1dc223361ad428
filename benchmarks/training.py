"""Networks that four agents train together: what is reached with how many bytes (docs: models).

    python benchmarks/training.py digits
    python benchmarks/training.py transformer
    ... --only TEXT    methods whose name has TEXT;    --quick    only prove that it runs

The networks and their data are those of launch/examples: digits sorted by label, and files of text of which
the first agent has four times as many as the last. All methods take the same number of gradients with the
same batches, on a ring in one process, with a step that falls to 0 linearly. Each is tuned alike: of three
step sizes, factors of 2 apart, the one with the least held-out loss on the tuning seed is taken; the seeds
that are reported are others. A seed stands for the start, the split of the digits and the batches. Local
steps, density and outer momentum of ours were chosen before, by hand, on the tuning seed. The transformer
has one step size and one seed so far, on which local steps, density and outer momentum were chosen.
Finished runs are kept in build/training.jsonl, so the same command continues.
"""

import argparse
import json
import sys
from functools import cache
from importlib import import_module
from statistics import mean
from typing import Any, NamedTuple

from power_sgd import PowerSGD, shapes_of
from shared import ROOT, machine_line, show

import distopt
from distopt.studies.results import Column

KEPT = ROOT / "build" / "training.jsonl"
AGENTS = 4


class Task(NamedTuple):
    """A network, and how it is trained."""

    example: str
    made: dict[str, Any]  # arguments of its make_cost
    gradients: int  # an agent
    inner: dict[str, Any]  # optimiser of the methods that send every gradient
    etas: tuple[float, ...]
    local: dict[str, Any]  # ours
    density: float
    local_etas: tuple[float, ...]
    tuning: tuple[int, ...]
    seeds: tuple[int, ...]


TASKS = {
    "digits": Task(
        "digits_jax", {"batch": 32}, 1000, {"inner": "sgd", "beta": 0.9}, (0.05, 0.1, 0.2),
        {"inner": "sgd", "beta": 0.0, "outer_beta": 0.8, "local_steps": 5}, 1 / 60, (0.1, 0.2, 0.4),
        (1,), (11, 12, 13),
    ),
    "transformer": Task(
        "transformer_torch", {"batch": 2}, 1500, {"inner": "adamw"}, (0.002,),
        {"inner": "adamw", "outer_beta": 0.5, "local_steps": 100}, 1 / 10, (0.002,), (1,), (1,),
    ),
}  # fmt: skip


def averaged(task, eta, costs):
    """Return the algorithm that averages all gradients."""
    return distopt.AveragedGradients(eta=eta, horizon=task.gradients, **task.inner)


def power(task, eta, costs):
    """Return PowerSGD."""
    shapes = shapes_of(costs[0])
    return PowerSGD(eta=eta, horizon=task.gradients, shapes=shapes, **task.inner)


def local(task, eta, costs):
    """Return ours."""
    return distopt.DiLoCo(eta=eta, horizon=task.gradients, **task.local)


def methods(task):
    """Name the methods: algorithm, compressor, step sizes, gradients between two messages."""
    steps = task.local["local_steps"]
    return {
        "averaged, float32": (averaged, distopt.Cast(), task.etas, 1),
        "averaged, bfloat16": (averaged, distopt.Cast(dtype="bfloat16"), task.etas, 1),
        "PowerSGD, rank 1": (power, distopt.Identity(), task.etas, 1),
        f"diloco, {steps} local steps, sparse_zoom": (
            local, distopt.SparseZoom(density=task.density), task.local_etas, steps,
        ),
    }  # fmt: skip


@cache
def make_costs(example, seed, **made):
    """Make the agents' costs, once for all runs: JAX compiles each anew."""
    sys.path.append(str(ROOT / "launch" / "examples"))
    make_cost = import_module(example).make_cost
    return [make_cost(i, AGENTS, seed=seed, **made) for i in range(AGENTS)]


def train(task, method, eta, seed, kept):
    """Return what a run reached and sent, from what is kept if it is there."""
    make, compressor, _, steps = method
    key = repr((task.example, task.made, task.gradients, make.__name__, task.inner, eta, seed))
    if make is local:
        key += repr(task.local)
    key += repr(compressor)
    if key not in kept:
        costs = make_costs(task.example, seed, **task.made)
        iterations = task.gradients // steps
        try:
            result = distopt.simulate(
                costs, algorithm=make(task, eta, costs), compressor=compressor, topology="ring",
                iterations=iterations, record_every=iterations, seed=seed,
            )  # fmt: skip
        except distopt.DistoptError as error:
            print(error, flush=True)
            found = {"loss": 1e9, "accuracy": 0.0, "bytes": 0.0, "dimension": 1}
        else:
            found = {
                **result.summary["measures"],
                "bytes": result.summary["bytes_per_agent"],
                "dimension": result.summary["dimension"],
            }
        kept[key] = found
        KEPT.parent.mkdir(exist_ok=True)
        with KEPT.open("a") as file:
            file.write(json.dumps([key, found]) + "\n")
        print(key, found, flush=True)
    return kept[key]


def tuned(task, method, kept):
    """Return the step with the least mean loss on the tuning seeds."""

    def loss(eta):
        return mean(train(task, method, eta, seed, kept)["loss"] for seed in task.tuning)

    return min(method[2], key=loss)


def table(name, task, only, kept):
    """Print what the methods reached."""
    rows, exact = [], None
    for title, method in methods(task).items():
        if only not in title:
            continue
        eta = tuned(task, method, kept)
        runs = [train(task, method, eta, seed, kept) for seed in task.seeds]
        nbytes = mean(run["bytes"] for run in runs)
        if title == "averaged, float32":
            exact = nbytes
        row = {
            "method": title,
            "eta": eta,
            "loss": mean(run["loss"] for run in runs),
            "bytes": nbytes,
            "share": 100 * nbytes / exact if exact else None,
            "bits": 8 * nbytes / runs[0]["dimension"] / task.gradients,
        }
        if "accuracy" in runs[0]:
            row["accuracy"] = mean(100 * run["accuracy"] for run in runs)
            row["least"] = min(100 * run["accuracy"] for run in runs)
        rows.append(row)
    columns = [
        Column("method", "method", words=True),
        Column("eta", "step size", write="{:g}".format),
        Column("accuracy", "accuracy, %", write="{:.2f}".format),
        Column("least", "least of the seeds", write="{:.2f}".format),
        Column("loss", "held-out loss", write="{:.4f}".format),
        Column("bytes", "bytes an agent", write="{:,.0f}".format),
        Column("share", "share, %", write="{:.3g}".format),
        Column("bits", "bits a coordinate and gradient", write="{:.3g}".format),
    ]
    columns = [column for column in columns if rows and column.key in rows[0]]
    show(f"{name}: {task.gradients} gradients an agent, {len(task.seeds)} seeds", columns, rows)


def main():
    """Read the command line and train."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("task", choices=[*TASKS])
    parser.add_argument("--only", default="")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    task, kept = TASKS[given.task], {}
    if given.quick:
        task = task._replace(
            gradients=2 * task.local["local_steps"], etas=task.etas[:1], seeds=task.seeds[:1],
            local_etas=task.local_etas[:1], tuning=task.tuning[:1],
        )  # fmt: skip
    if KEPT.exists():
        kept = dict(json.loads(line) for line in KEPT.read_text().splitlines())
    print(machine_line(), flush=True)
    table(given.task, task, given.only, kept)


if __name__ == "__main__":
    main()
