"""Figures of networks: PL* at the start, along a run and against the width; what a network recovers."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from distopt.core import units as q
from distopt.core.arrays import F64
from distopt.problems.costs.networks.data import dictionary
from distopt.show.figures import COLOURS, INK, canvas, curve, dress, legend_below, line
from distopt.studies.diagnosis import Diagnosis, network
from distopt.studies.trials import Trials

# What `along_run` draws beside the NMSE: titles, and the quantities under them.
ALONG = {
    "Tangent kernel K = J J'": {
        "kernel_largest": "largest eigenvalue of K",
        "pl_ratio": "PL ratio r'Kr / r'r",
        "kernel_smallest": "smallest eigenvalue of K",
        "kernel_resolution": "rounding errors in it",
    },
    "Norms of Hessians": {
        "loss_curvature": "of the loss",
        "sample_curvature": "of a sample's outputs",
        "output_curvature": "of single outputs",
        "curvature_bound": "explicit bound for a sample",
    },
    "Distances": {
        "moved": "distance moved from the start",
        "allowed_radius": "radius that the condition allows",
        "needed_radius": "radius that descent is known to need",
    },
}


def along_run(found: Diagnosis) -> Figure:
    """Draw NMSE with the PL* rate, eigenvalues, curvature and radii against iterations."""
    at = found.series("iteration")
    with canvas(4, 15.0, 4.1) as (figure, axes):
        iterations, nmse = found.curve
        curve(axes[0], iterations, nmse, label="training samples", color=COLOURS[0])
        points(axes[0], at, found.series("nmse_held_out"), "other samples", 1)
        if np.isfinite(found.eta):
            label = f"PL* rate, exp(-eta mu t), mu = {q.small(found.rate)}"
            curve(axes[0], iterations, found.bound(iterations), label=label, color=INK, ls="--")
        finish(axes[0], "NMSE")
        for axis, (words, names) in zip(axes[1:], ALONG.items(), strict=True):
            for number, (name, label) in enumerate(names.items()):
                values = found.series(name)
                if np.isfinite(values).any():
                    points(axis, at, values, label, number)
            finish(axis, words)
        figure.suptitle(found.title, x=0.01, ha="left", fontsize=10.5)
    return figure


def at_start(found: Diagnosis) -> Figure:
    """Draw the spectrum of the tangent kernel and the other quantities of one point."""
    row = found.rows[0]
    with canvas(3, 13.0, 3.7, width_ratios=(1.3, 1, 1)) as (figure, axes):
        K = found.spectrum
        if K.size:
            curve(
                axes[0], np.arange(1.0, K.size + 1), K[::-1], label="eigenvalues", color=COLOURS[0]
            )
            axes[0].axhline(
                row["kernel_resolution"], color="#777777", ls=":", label="rounding errors"
            )
        else:
            for name, label in (("kernel_largest", "largest"), ("kernel_smallest", "smallest")):
                axes[0].axhline(row[name], label=f"{label} eigenvalue", color=COLOURS[0])
        axes[0].axhline(row["pl_ratio"], color=COLOURS[1], ls="--", label="PL ratio r'Kr / r'r")
        finish(axes[0], "Tangent kernel K = J J'", "number of the eigenvalue, largest first")
        norms = {
            "of the loss": row["loss_curvature"],
            "of single outputs": row["output_curvature"],
            "of a sample's outputs": row["sample_curvature"],
            "explicit bound": row["curvature_bound"],
        }
        bars(axes[1], "Norms of Hessians", norms)
        condition = {
            "norm of the weights": float(np.linalg.norm(found.start)),
            "radius allowed": row["allowed_radius"],
            "radius needed": row["needed_radius"],
        }
        bars(axes[2], "Sufficient condition", condition)
        figure.suptitle(f"{found.title}, at the start", x=0.01, ha="left", fontsize=10.5)
    return figure


def recovered(found: Diagnosis) -> Figure:
    """Draw targets and the network's outputs for them, training samples above others."""
    f, row = network(found.config), found.rows[-1]
    few = len(found.pictures["training, target"])
    patches = f.data == "patches"
    height = 5.4 if patches else 4.2
    with canvas(few, 12.0, height, rows=4 if patches else 2) as (figure, axes):
        for first, kind in enumerate(("training", "other")):
            target, given = found.pictures[f"{kind}, target"], found.pictures[f"{kind}, network"]
            for s in range(few):
                share = float(np.sum((given[s] - target[s]) ** 2) / np.sum(target[s] ** 2))
                if patches:
                    pair = [axes[(2 * first + half) * few + s] for half in range(2)]
                    pictures(pair, found, target[s], given[s], f"NMSE {q.three_digits(share)}")
                else:
                    axis = axes[first * few + s]
                    signal(axis, target[s], given[s])
                    axis.set_title(f"{kind}: NMSE {q.three_digits(share)}", size=9)
            if patches:
                axes[2 * first * few].set_ylabel(f"{kind}:\ntarget", size=9)
                axes[(2 * first + 1) * few].set_ylabel("network", size=9)
        if not patches:
            legend_below(figure, axes[0])
        figure.suptitle(
            f"{found.title}, iteration {row['iteration']}: NMSE {q.small(row['nmse'])} in training, "
            f"{q.small(row['nmse_held_out'])} on other samples", x=0.01, ha="left", fontsize=10.5,
        )  # fmt: skip
    return figure


def pictures(axes: list[Axes], found: Diagnosis, target: F64, given: F64, words: str) -> None:
    """Draw a patch and the network's output for it, on the same scale of grey."""
    f = network(found.config)
    B, edge = dictionary(f.dictionary, f.m, found.config.problem.seed), math.isqrt(f.m)
    pixels = [(B @ x).reshape(edge, edge) for x in (target, given)]
    low, high = float(pixels[0].min()), float(pixels[0].max())
    for axis, picture in zip(axes, pixels, strict=True):
        axis.imshow(picture, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        axis.set_xticks([])
        axis.set_yticks([])
        axis.grid(visible=False)
    axes[1].set_title(words, size=9, loc="center")


def signal(axis: Axes, target: F64, given: F64) -> None:
    """Draw a sparse target as stems and the network's answer as dots."""
    places = np.arange(target.size)
    axis.vlines(places, 0, target, color=INK, lw=1.4, label="target")
    axis.plot(places, given, "o", ms=2.6, color=COLOURS[1], label="network")
    axis.grid(axis="x", visible=False)
    axis.set_xticks([0, target.size - 1])


def against_width(trials: Trials) -> Figure:
    """Draw the threshold, lambda_min and the Hessian norm against the width, for each network."""
    sweep = trials.sweep
    s = sweep.section
    with canvas(4, 15.0, 4.1) as (figure, axes):
        for number, label in enumerate(sweep.networks):
            look = line(number) | {"marker": "o", "ms": 4}
            reached = [trials.threshold(label, m) for m in s.widths]
            known = [float(T) if T else np.nan for T in reached]
            axes[0].plot(s.widths, known, label=label, **look)
            none = [m for m, T in zip(s.widths, reached, strict=True) if not T]
            if none:
                axes[0].plot(
                    none, [s.samples[0] / 2] * len(none), ls="", marker="v", ms=12 - 2.5 * number,
                    color=look["color"], mfc="none",
                )  # fmt: skip
            for seed in s.seeds:
                climbed = [t for t in trials.of(label, max(s.widths)) if t.seed == seed]
                nmse = [t.descent.nmse for t in climbed]
                axes[1].plot([t.samples for t in climbed], nmse, **look)
            starts(axes[2], trials, label, "kernel_smallest", look)
            starts(axes[3], trials, label, "output_curvature", look)
        axes[1].axhline(s.target, color="#777777", lw=0.9, ls=":")
        goal = f"NMSE {q.power(s.target)}, {s.epochs:,} epochs"
        at = f"T = {s.samples[0]}"
        for axis, words, label, ticks in (
            (axes[0], f"Largest T to {goal}", "width m", s.widths),
            (axes[1], f"NMSE at m = {max(s.widths)}, by seed", "samples T", s.samples),
            (axes[2], f"Smallest eigenvalue of K, {at}", "width m", sweep.measured),
            (axes[3], f"Hessian norm of an output, {at}", "width m", sweep.measured),
        ):
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_title(words, size=9.5)
            axis.set_xlabel(label)
            axis.set_xticks(ticks, [str(tick) for tick in ticks])
            axis.xaxis.set_minor_locator(NullLocator())
        axes[0].set_yticks(s.samples, [str(T) for T in s.samples])
        axes[0].yaxis.set_minor_locator(NullLocator())
        axes[0].set_ylim(0.4 * s.samples[0], 1.3 * s.samples[-1])
        legend_below(figure, axes[0], columns=len(sweep.networks))
        if any(trials.threshold(n, m) is None for n in sweep.networks for m in s.widths):
            axes[0].annotate(
                "triangle: not even the smallest T", (0.03, 0.93), xycoords="axes fraction",
                size=8, color="#777777",
            )  # fmt: skip
    return figure


def starts(axis: Axes, trials: Trials, label: str, name: str, look: dict[str, Any]) -> None:
    """Draw the median over the seeds of one quantity of the start points."""
    sweep = trials.sweep
    found = []
    for m in sweep.measured:
        values = [
            trials.starts[label, m, seed][name]
            for seed in sweep.section.seeds
            if (label, m, seed) in trials.starts
        ]
        found.append(float(np.median(values)) if values else np.nan)
    axis.plot(sweep.measured, found, **look)


# What they share


def points(axis: Axes, x: F64, y: F64, label: str, number: int) -> None:
    """Draw a line with a dot at each point."""
    curve(axis, x, y, label=label, marker="o", ms=4, **line(number))


def bars(axis: Axes, title: str, values: dict[str, float]) -> None:
    """Draw numbers of very different size with their names, on a logarithmic axis."""
    known = {name: v for name, v in values.items() if math.isfinite(v) and v > 0}
    least, most = min(known.values()), max(known.values())
    axis.set_xscale("log")
    for place, (name, value) in enumerate(known.items()):
        axis.barh(place, value, left=0, height=0.6, color=COLOURS[place])
        axis.text(value * 1.3, place, q.small(value), va="center", size=8.5)
        axis.text(least / 8, place - 0.42, name, va="bottom", size=8.5, color=INK)
    axis.set_xlim(least / 10, most * (most / least) ** 0.25 * 10)
    axis.set_yticks([])
    axis.grid(axis="y", visible=False)
    axis.set_ylim(len(known) - 0.5, -0.85)
    axis.set_title(title)
    axis.xaxis.set_minor_locator(NullLocator())


def finish(axis: Axes, words: str, label: str = "iterations") -> None:
    """Give an axis its title, scales and a legend under it."""
    dress(axis, label, whole=True)
    axis.set_title(words)
    axis.legend(loc="upper left", bbox_to_anchor=(0.0, -0.2), fontsize=8.5)
