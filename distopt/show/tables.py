"""What `distopt diagnose` and `distopt threshold` print: tables, and the sentences under them."""

import numpy as np
from rich.table import Table

from distopt.core import units as q
from distopt.show.network_figures import title
from distopt.studies.diagnosis import Diagnosis
from distopt.studies.sweep import Results

SHOWN = {
    "nmse": "NMSE, training samples",
    "nmse_held_out": "NMSE, other samples",
    "gradient_norm": "gradient norm",
    "pl_ratio": "PL ratio r'Kr / r'r",
    "kernel_smallest": "smallest eigenvalue of K",
    "kernel_largest": "largest eigenvalue of K",
    "pl_constant": "mu of the loss",
    "loss_curvature": "Hessian norm of the loss",
    "output_curvature": "Hessian norm, single output",
    "sample_curvature": "Hessian norm, a sample's outputs",
    "curvature_bound": "explicit bound of it",
    "moved": "distance moved",
    "allowed_radius": "radius allowed",
    "needed_radius": "radius needed",
}
MOST = 8  # points side by side


def of_diagnosis(found: Diagnosis) -> tuple[list[Table], list[str]]:
    """Return the table of a diagnosis, with at most `MOST` of its points, and remarks."""
    count = len(found.rows)
    chosen = sorted({int(k) for k in np.linspace(0, count - 1, min(count, MOST))})
    table = new_table(title(found), ["iteration"])
    for k in chosen:
        table.add_column(str(found.rows[k]["iteration"]), justify="right", no_wrap=True)
    for name, words in SHOWN.items():
        table.add_row(words, *[q.small(found.rows[k][name], 3) for k in chosen])
    remarks = []
    if count > len(chosen):
        remarks.append(f"{len(chosen)} of {count} points; the others are in the file.")
    doubtful = [k for k in range(count) if not found.rows[k]["kernel_reliable"]]
    remarks += [f"Iteration {found.rows[k]['iteration']}: {found.told[k]}." for k in doubtful[:3]]
    if len(doubtful) > 3:
        remarks.append(f"So it is at {len(doubtful) - 3} more points.")
    ratio = found.rows[0]["needed_radius"] / max(found.rows[0]["allowed_radius"], 1e-300)
    holds = found.rows[0]["condition_holds"]
    remarks.append(
        "The sufficient condition holds at the start."
        if holds
        else f"The sufficient condition does not hold at the start: the needed radius is {q.small(ratio)} "
        "times the allowed one. That says nothing about whether training converges (docs: networks)."
    )
    if np.isfinite(found.eta):
        iterations, nmse = found.curve
        above = int((nmse > found.bound(iterations) * (1 + 1e-12)).sum())
        remarks.append(
            f"The rate exp(-eta mu t) with the smallest measured mu = {q.small(found.rate)} is exceeded at "
            f"{above} of {nmse.size} records."
        )
    return [table], remarks


def of_sweep(results: Results) -> tuple[list[Table], list[str]]:
    """Return the table of a sweep and remarks."""
    s = results.sweep.settings
    goal = f"NMSE {q.power(s.target)} within {s.epochs:,} epochs"
    table = new_table(s.title or f"Samples trained to {goal}", ["network", "m", "unknowns"])
    for T in s.samples:
        table.add_column(f"T = {T}", justify="right", no_wrap=True)
    table.add_column("largest T", justify="right")
    for label in results.sweep.networks:
        for m in s.widths:
            trials = results.of(label, m)
            cells = []
            for T in s.samples:
                reached = [
                    "pass" if t.passed else q.small(t.descent.nmse)
                    for t in trials
                    if t.samples == T
                ]
                cells.append("pass" if set(reached) == {"pass"} else ", ".join(reached))
            best = results.threshold(label, m)
            unknowns = results.sweep.family(label, m).layout.dimension
            table.add_row(label, str(m), str(unknowns), *cells, str(best or "none"))
    remarks = [
        f"Gradient descent on all samples, step {s.first:g}/beta0 halved until it is stable. Pass: {goal}; "
        "else the best NMSE of each seed. The largest T is that up to which all seeds pass."
    ]
    return [table], remarks


def new_table(title: str, names: list[str]) -> Table:
    """Begin a table whose first columns have these names."""
    table = Table(title=title, title_justify="left", title_style="bold", pad_edge=False)
    for number, name in enumerate(names):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    return table
