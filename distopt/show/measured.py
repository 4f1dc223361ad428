"""The files of `distopt measure`: all numbers, and the figure of seconds against the links' rate."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, LogLocator, NullLocator

from distopt.core import units as q
from distopt.core.files import as_json, write_files
from distopt.show.figures import canvas, legend_beside, line, png
from distopt.studies.measure.break_even import reached
from distopt.studies.measure.model import ExchangeModel
from distopt.studies.measure.summary import Variant, machine
from distopt.studies.suite import Suite


def write_measured(
    variants: Sequence[Variant],
    suite: Suite,
    accuracy: float,
    network: ExchangeModel | None,
    out: Path,
) -> list[Path]:
    """Write the numbers, and the figure where there are several rates; return the paths."""
    whole = {
        "title": suite.title,
        "accuracies": sorted(suite.accuracies, reverse=True),
        "accuracy": accuracy,
        "machine": machine(),
        "network": asdict(network) if network else None,
        "variants": list(variants),
    }
    contents = {"measured.json": (as_json(whole, indent=1) + "\n").encode()}
    if len({r for v in variants for r in reached(v, accuracy)}) > 1:
        contents["measured.png"] = png(seconds_against_rate(variants, accuracy, suite.title))
    return write_files(out, contents)


def seconds_against_rate(variants: Sequence[Variant], accuracy: float, title: str) -> Figure:
    """Draw seconds to an accuracy against the rate of the links, one line per variant.

    Open marks are projected from the pace of the first iterations; the last place on the axis is the
    bed without a limit.
    """
    with canvas(1, 8.2, 4.4) as (figure, (axis,)):
        rates = sorted({r for v in variants for r in reached(v, accuracy)})
        limited = [r for r in rates if np.isfinite(r)]
        place = {r: r for r in limited} | {np.inf: 10 * max(limited, default=1e8)}
        axis.set_xscale("log")
        axis.set_yscale("log")
        for number, v in enumerate(variants):
            known = sorted(reached(v, accuracy).items())
            if not known:
                continue
            style = line(number)
            xs, ys = [place[r] for r, _ in known], [t["seconds"] for _, t in known]
            axis.plot(xs, ys, label=v["variant"], **style)
            for x, y, (_, t) in zip(xs, ys, known, strict=True):
                axis.plot(
                    x, y, "o", ms=4.5, color=style["color"], mew=1.2,
                    mfc="white" if t["projected"] else style["color"],
                )  # fmt: skip
        axis.xaxis.set_major_locator(FixedLocator([place[r] for r in rates]))
        axis.xaxis.set_minor_locator(NullLocator())
        unit = EngFormatter("bit/s", places=None)
        axis.set_xticklabels([unit(r) if np.isfinite(r) else "no limit" for r in rates])
        low, high = axis.get_ylim()
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
        axis.yaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_major_formatter(EngFormatter("s", places=None))
        axis.set_xlabel("rate of every host's link")
        axis.set_ylabel(f"time to P ≤ {q.power(accuracy)}")
        axis.set_title(title)
        legend_beside(figure, axis)
    return figure
