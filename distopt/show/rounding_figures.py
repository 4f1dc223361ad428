"""Figures of runs in fixed point: means and quantiles of many repeats, bounds, regimes."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distopt.record.history import History
from distopt.show.figures import COLOURS, INK, canvas, curve, dress, legend_beside, line
from distopt.studies.rounding import Gaps

BAND: tuple[float, float] = (0.1, 0.9)
REGIMES = {
    "regime_large": "step >= u",
    "regime_middle": "u/2 < step < u",
    "regime_small": "0 < step <= u/2: RN stands still",
    "regime_zero": "step = 0",
}
BOUNDS = {  # colours and dashes of their own, whatever else a panel shows
    "RN_STALL": (INK, (0, (5, 1.5))),
    "SR": (COLOURS[1], (0, (5, 1.5))), "SR-ref": (COLOURS[2], (0, (5, 1.5, 1.2, 1.5))),
    "SR-unb": (COLOURS[3], (0, (1.2, 1.2))), "Q": (COLOURS[4], (0, (5, 1.5))),
    "A": (COLOURS[7], (0, (5, 1.5))), "C": (COLOURS[6], (0, (5, 1.5, 1.2, 1.5))),
    "D, heuristic": (COLOURS[5], (0, (1.2, 1.2))),
}  # fmt: skip


def of_comparison(found: list[Gaps]) -> dict[str, Figure]:
    """Draw the figures of a comparison whose variants are in fixed point, if any are."""
    drawn = {"runs": runs(found), "bounds": bounded(found)} if found else {}
    return {name: figure for name, figure in drawn.items() if figure}


def runs(found: list[Gaps]) -> Figure:
    """Draw the mean of f - f* over the runs of every variant, and the band of 80 % of them."""
    with canvas(1, 10.5, 4.4) as (figure, (axis,)):
        for number, gaps in enumerate(found):
            draw(axis, gaps, label=gaps.label, **line(number))
        finish(axis)
        known = all(gaps.history.meta["minimum_kind"] == "exact" for gaps in found)
        axis.set_ylabel(f"{'f - f*' if known else 'f'}, mean and 10 % to 90 % of the runs")
        legend_beside(figure, axis)
    return figure


def bounded(found: list[Gaps]) -> Figure | None:
    """Draw every variant that bounds apply to with them, a panel each; None if there is none."""
    panels = [(gaps, gaps.bounds) for gaps in found if gaps.bounds]
    if not panels:
        return None
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    with canvas(columns, 4.0 * columns + 1.4, 3.4 * rows, rows=rows, sharey=True) as (figure, axes):
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        seen: dict[str, Any] = {}
        limits = []
        for axis, (gaps, bounds) in zip(axes, panels, strict=False):
            draw(axis, gaps, color=COLOURS[0])
            for name, values in bounds.items():
                colour, dashes = BOUNDS[name]
                curve(axis, gaps.iterations, values, color=colour, ls=dashes)
                seen[name] = axis.lines[-1]
            finish(axis)
            limits.append(axis.get_ylim())
            axis.set_title(gaps.label)
        lows, highs = zip(*limits, strict=True)
        axes[0].set_ylim(min(lows), max(highs))
        for axis in axes[::columns]:
            axis.set_ylabel("f - f*")
        handles = [axes[0].lines[0], *seen.values()]
        figure.legend(handles, ["mean of the runs", *seen], loc="outside right center")
    return figure


def regimes(history: History) -> Figure:
    """Draw the share of the coordinates in each regime."""
    with canvas(1, 5.2, 3.0) as (figure, (axis,)):
        names = [name for name in REGIMES if name in history.series]
        counts = np.array([history[name][1:] for name in names])
        shares = counts / np.maximum(counts.sum(axis=0), 1)
        colours = [COLOURS[0], COLOURS[5], COLOURS[1], "#DDDDDD"]
        axis.stackplot(
            history["iteration"][1:], shares, colors=colours, labels=[REGIMES[n] for n in names]
        )
        axis.set_ylim(0, 1)
        axis.set_xlim(left=0)
        axis.set_xlabel("iterations")
        axis.set_title("Coordinates by the size of their step")
        figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def draw(axis: Axes, gaps: Gaps, **options: Any) -> None:
    """Draw the mean, and the band where there are several runs."""
    curve(axis, gaps.iterations, gaps.mean, **options)
    if gaps.values.shape[1] > 1:
        low, high = (np.maximum(gaps.quantile(q), 1e-300) for q in BAND)
        colour = options.get("color", INK)
        axis.fill_between(gaps.iterations, low, high, color=colour, alpha=0.15, lw=0)


def finish(axis: Axes) -> None:
    """Give the axes scales; what is more than seven powers of ten below the start is cut off."""
    dress(axis, "iteration", "iterations")
    low, high = axis.get_ylim()
    axis.set_ylim(max(low, high * 1e-7), high)
