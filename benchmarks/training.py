"""Networks that four agents train together: what is reached with how many bytes (docs: models).

    python benchmarks/training.py digits
    python benchmarks/training.py transformer
    python benchmarks/training.py small      a transformer of 31,616 parameters: what local steps cost
    python benchmarks/training.py long       the same with 3000 gradients in place of 1500
    ... --only TEXT    methods whose name has TEXT;    --quick    only prove that it runs

The networks and their data are those of launch/examples: digits sorted by label, and files of text of which
the first agent has four times as many as the last. All methods take the same number of gradients with the
same batches, on a ring in one process, with a step that falls to 0 linearly (led, k_gt, dgd and choco: a
constant one).
Each is tuned alike: of its step sizes, factors of 2 apart, the one with the least held-out loss on the
tuning seeds is taken; the seeds that are reported are others. A seed stands for the start, the split of the
digits and the batches. Local steps, density and outer momentum of ours were chosen before, by hand, on the
tuning seeds; the transformer of a million parameters has its step size from the one seed that is reported.
Finished runs are kept in build/training.jsonl, so the same command continues.
"""

import argparse
import json
from collections.abc import Callable
from functools import cache, partial
from statistics import mean
from typing import Any, NamedTuple

from mean_sign import MeanSign
from power_sgd import PowerSGD, shapes_of
from shared import ROOT, example, machine_line, show

import distopt
from distopt.studies.results import Column

KEPT = ROOT / "build" / "training.jsonl"
AGENTS = 4


class Method(NamedTuple):
    """An algorithm, the step sizes to try, and the gradients between two exchanges."""

    make: Callable[..., Any]  # (costs, eta, horizon)
    compressor: Any
    etas: tuple[float, ...]
    steps: int = 1


class Task(NamedTuple):
    """A network, and how it is trained."""

    example: str
    made: dict[str, Any]  # arguments of its make_cost
    gradients: int  # an agent
    methods: dict[str, Method]
    tuning: tuple[int, ...]
    seeds: tuple[int, ...]


def averaged(costs, eta, horizon, **inner):
    """Return the algorithm that averages all gradients."""
    return distopt.AveragedGradients(eta=eta, horizon=horizon, **inner)


def power(costs, eta, horizon, **inner):
    """Return PowerSGD."""
    return PowerSGD(eta=eta, horizon=horizon, shapes=shapes_of(costs[0]), **inner)


def local(steps, outer_beta, code, etas, **inner):
    """Return diloco with local steps."""

    def make(costs, eta, horizon):
        return distopt.DiLoCo(
            eta=eta, horizon=horizon, local_steps=steps, outer_beta=outer_beta, **inner
        )

    return Method(make, code, etas, steps)


def corrected(kind, steps, code, etas):
    """Return led or k_gt, whose corrections make up for what agents have different samples of."""

    def make(costs, eta, horizon):
        return kind(eta=eta, local_steps=steps)

    return Method(make, code, etas, steps)


def untracked(kind, code, etas):
    """Return dgd or choco: gossip that nothing corrects, with a constant step."""

    def make(costs, eta, horizon):
        return kind(eta=eta)

    return Method(make, code, etas)


FLOAT32, BFLOAT16, SPARSE = distopt.Cast(), distopt.Cast(dtype="bfloat16"), distopt.SparseZoom
MOMENTUM, ADAMW = {"inner": "sgd", "beta": 0.9}, {"inner": "adamw"}
PLAIN = {"inner": "sgd", "beta": 0.0}
SHORT = (0.05, 0.1, 0.2)
# Where the least loss was at an end of these:
SHORTER, LONGER = (0.0125, 0.025, 0.05), (0.1, 0.2, 0.4)
SLOW = "diloco, 25 local steps, sparse_zoom"
LED, K_GT = distopt.LocalExactDiffusion, distopt.LocalTracking
DGD, CHOCO = distopt.DecentralizedGradientDescent, distopt.Choco
FOUR = distopt.Blockwise(values=distopt.Quantize(bits=4))
SIGNS = distopt.Blockwise(values=MeanSign())  # a scale for each layer


def small(gradients, local_steps):
    """Return a task of the small transformer: averaging, and what local steps change."""
    etas = (0.008,)  # of 0.004, 0.008 and 0.016 the best of averaging and of 50 local steps, seed 1
    methods = {"averaged, float32": Method(partial(averaged, **ADAMW), FLOAT32, etas)}
    for steps in local_steps:
        many = f"{steps} local step{'s' * (steps > 1)}"
        methods[f"diloco, {many}, float32"] = local(steps, 0.0, FLOAT32, etas, **ADAMW)
    methods[SLOW] = local(25, 0.0, SPARSE(density=0.03), etas, **ADAMW)
    made = {"batch": 2, "width": 32, "layers": 2, "tested": 512}
    return Task("transformer_torch", made, gradients, methods, (1,), (2,))


TASKS = {
    "digits": Task(
        "digits_jax", {"batch": 32}, 1000,
        {
            "averaged, float32": Method(partial(averaged, **MOMENTUM), FLOAT32, SHORT),
            "averaged, bfloat16": Method(partial(averaged, **MOMENTUM), BFLOAT16, SHORT),
            "PowerSGD, rank 1": Method(partial(power, **MOMENTUM), distopt.Identity(), SHORT),
            "diloco, 2 local steps, sparse_zoom": local(2, 0.6, SPARSE(density=0.0054), SHORT, **PLAIN),
            "led, 5 local steps, float32": corrected(LED, 5, FLOAT32, SHORT),
            "k_gt, 5 local steps, float32": corrected(K_GT, 5, FLOAT32, SHORT),
            "averaged, 1 bit, error feedback": Method(partial(averaged, **MOMENTUM), SIGNS, SHORTER),
            "averaged every 10th step, bfloat16": local(10, 0.0, BFLOAT16, SHORT, **MOMENTUM),
            "dgd, float64": untracked(DGD, distopt.Identity(), LONGER),
            "choco, 4 bits": untracked(CHOCO, FOUR, LONGER),
        },
        (1, 2, 3), (11, 12, 13, 14, 15),
    ),
    "transformer": Task(
        "transformer_torch", {"batch": 2}, 1500,
        {
            "averaged, float32": Method(partial(averaged, **ADAMW), FLOAT32, (0.001, 0.002)),
            SLOW: local(25, 0.0, SPARSE(density=0.03), (0.001, 0.002), **ADAMW),
        },
        (2,), (2,),
    ),
    "small": small(1500, (1, 10, 25, 50)),
    "long": small(3000, (25,)),
}  # fmt: skip


@cache
def make_costs(name, seed, **made):
    """Make the agents' costs, once for all runs: JAX compiles each anew."""
    make_cost = example(name).make_cost
    return [make_cost(i, AGENTS, seed=seed, **made) for i in range(AGENTS)]


def train(task, method, eta, seed, kept):
    """Return what a run reached and sent, from what is kept if it is there."""
    costs = make_costs(task.example, seed, **task.made)
    iterations = task.gradients // method.steps
    algorithm = method.make(costs, eta, iterations * method.steps)
    key = repr((task.example, task.made, task.gradients, algorithm, method.compressor, seed))
    if key not in kept:
        try:
            result = distopt.simulate(
                costs, algorithm=algorithm, compressor=method.compressor, topology="ring",
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

    return min(method.etas, key=loss) if len(method.etas) > 1 else method.etas[0]


def table(name, task, only, kept):
    """Print what the methods reached."""
    rows, exact = [], None
    for title, method in task.methods.items():
        if only not in title:
            continue
        eta = tuned(task, method, kept)
        runs = [train(task, method, eta, seed, kept) for seed in task.seeds]
        nbytes = mean(run["bytes"] for run in runs)
        loss = mean(run["loss"] for run in runs)
        if title == "averaged, float32":
            exact = nbytes, loss
        row = {
            "method": title,
            "eta": eta,
            "loss": loss,
            "bytes": nbytes,
            "share": 100 * nbytes / exact[0] if exact else None,
            "more": 100 * (loss / exact[1] - 1) if exact else None,
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
        Column("more", "above averaging, %", write="{:.1f}".format),
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
        quick = {title: m._replace(etas=m.etas[:1]) for title, m in task.methods.items()}
        steps = max(m.steps for m in quick.values())
        task = task._replace(gradients=2 * steps, methods=quick, seeds=task.seeds[:1])
    if KEPT.exists():
        kept = dict(json.loads(line) for line in KEPT.read_text().splitlines())
    print(machine_line(), flush=True)
    table(given.task, task, given.only, kept)


if __name__ == "__main__":
    main()
