"""Edges that fail: iterations and bytes to P <= 1e-4 and 1e-10.

    python benchmarks/changing_graphs.py [--quick]

In every iteration each edge is up with probability p (`topology.up`, docs: topologies). Problems and steps
are those of the suites zoom_pl and zoom_logistic (docs/zooming.md), the step times 0.7 or 0.5 where that
takes fewer iterations on problem seeds 100 and 101. A cell: medians over problem seeds 1 to 5, each with
draws of its own, of iterations, bytes per agent with a broadcast counted once, and over all copies.
"""

import warnings
from pathlib import Path
from statistics import median

from shared import EXPERIMENTS, options, show

from distopt.core.errors import DistoptError
from distopt.engine.run import run
from distopt.studies.results import Column, write_count
from distopt.studies.suite import load_suite

SUITES = {"PL, ring of 10, d = 50": "zoom_pl", "logistic, 20 agents, d = 50": "zoom_logistic"}
METHODS = ("gt", "exact diffusion", "lead norm_sign", "zed")
PROBABILITIES = (1.0, 0.9, 0.7, 0.5, 0.2)
FACTORS, TUNING_SEEDS, SEEDS = (1.0, 0.7, 0.5), (100, 101), (1, 2, 3, 4, 5)
ACCURACIES = (1e-4, 1e-10)
LIMIT = 2000


def effort(config, seed, p, factor):
    """Return {accuracy: (iterations, bytes, bytes of all copies)}, without those not reached."""
    settings = {
        "problem.seed": seed,
        "topology.up": p,
        "topology.up_seed": seed,
        "algorithm.eta": factor * config.algorithm.eta,
        "run.iterations": LIMIT,
        "run.record_every": 5,
        "run.stop.stationarity": ACCURACIES[-1],
    }
    try:
        config = config.with_settings([f"{key}={value}" for key, value in settings.items()])
        rows = run(config, engine="simulate").rows
    except DistoptError:  # it diverged
        return {}
    found = {}
    for accuracy in ACCURACIES:
        row = next((row for row in rows if row["stationarity"] <= accuracy), None)
        if row is not None:
            copies = row["bytes_on_wire"] / config.problem.agents
            found[accuracy] = row["iteration"], row["bytes_per_agent"], copies
    return found


def best_factor(config, p):
    """Choose the factor that takes the fewest iterations on the tuning seeds."""

    def iterations(factor):
        runs = [effort(config, seed, p, factor) for seed in TUNING_SEEDS]
        return sum(found.get(ACCURACIES[-1], (2 * LIMIT,))[0] for found in runs)

    return min(FACTORS, key=iterations)


def summary(runs, accuracy, factor, p):
    """Return medians of one method at one p, by the keys of `columns`."""
    reached = [found[accuracy] for found in runs if accuracy in found]
    if not reached:
        return {}
    k, once, copies = (median(column) for column in zip(*reached, strict=True))
    values = {
        "k": k, "once": once, "copies": copies,
        "slower": f"eta x {factor:g}" if factor != 1 else "",
        "some": f"({len(reached)} of {len(runs)})" if len(reached) < len(runs) else "",
    }  # fmt: skip
    return {f"{name}_{p:g}": value for name, value in values.items()}


def columns(probabilities):
    """Make the columns: iterations, bytes, bytes of all copies at every p."""
    made = [Column("method", "method")]
    for p in probabilities:
        marks = {f"slower_{p:g}": "{}, {}", f"some_{p:g}": "{} {}"}
        made += [
            Column(f"k_{p:g}", f"p = {p:g}", write=write_count),
            Column(f"once_{p:g}", "", write=write_count, join=", "),
            Column(f"copies_{p:g}", "", "B", "", lambda n: f"{n:.0f} B", join=" / ", marks=marks),
        ]
    return made


def main():
    given = options(__doc__)
    warnings.simplefilter("ignore")  # runs that diverge overflow
    seeds = SEEDS[:1] if given.quick else SEEDS
    probabilities = (0.7,) if given.quick else PROBABILITIES
    for title, suite in list(SUITES.items())[: 1 if given.quick else None]:
        cases = load_suite(EXPERIMENTS / f"{suite}.toml", [], Path("unused")).cases
        cases = {case.label: case for case in reversed(cases)}
        rows = {accuracy: [] for accuracy in ACCURACIES}
        for method in METHODS:
            config = cases[method].config
            told = {accuracy: {"method": method} for accuracy in ACCURACIES}
            for p in probabilities:
                factor = 1.0 if given.quick else best_factor(config, p)
                runs = [effort(config, seed, p, factor) for seed in seeds]
                for accuracy in ACCURACIES:
                    told[accuracy] |= summary(runs, accuracy, factor, p)
            for accuracy in ACCURACIES:
                rows[accuracy].append(told[accuracy])
        for accuracy in ACCURACIES:
            show(f"{title}, to P <= {accuracy:g}", columns(probabilities), rows[accuracy])


if __name__ == "__main__":
    main()
