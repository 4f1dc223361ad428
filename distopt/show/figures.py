"""Figures of comparisons, and what all figures share; drawn with matplotlib's Agg canvas.

Every function returns a `Figure`. Colours are those of Okabe and Ito, which colour-blind readers can
tell apart; from the ninth line on the dashes differ as well. Legends are beside the axes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator

from distopt.core import units as q
from distopt.core.arrays import F64
from distopt.record.reader import RunData
from distopt.studies.compare import Comparison, Effort, Variant
from distopt.studies.rounding import Gaps

COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A8A8A",
)  # fmt: skip
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
INK, PALE = "#222222", "#DDDDDD"
DPI = 144
STYLE: Any = {
    "font.size": 9.5,
    "font.family": "sans-serif",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": "#777777",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": PALE,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
}

AXIS_LABELS = {
    "stationarity": "P = ‖∇f(x̄)‖² + consensus error",
    "nmse": "NMSE of the mean model, training samples",
}
UNITS = {"bytes_per_agent": "B", "seconds": "s"}
ABSCISSAE = {
    "iteration": "iterations",
    "bytes_per_agent": "sent per agent",
    "seconds": "seconds, without diagnostics",
}
BAND: tuple[float, float] = (0.1, 0.9)
BOUNDS = {  # fixed colours and dashes, in every panel
    "RN_STALL": (INK, (0, (5, 1.5))),
    "SR": (COLOURS[1], (0, (5, 1.5))), "SR-ref": (COLOURS[2], (0, (5, 1.5, 1.2, 1.5))),
    "SR-unb": (COLOURS[3], (0, (1.2, 1.2))), "Q": (COLOURS[4], (0, (5, 1.5))),
    "A": (COLOURS[7], (0, (5, 1.5))), "C": (COLOURS[6], (0, (5, 1.5, 1.2, 1.5))),
    "D, heuristic": (COLOURS[5], (0, (1.2, 1.2))),
}  # fmt: skip


def png(figure: Figure) -> bytes:
    """Render a figure."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": "distopt"})
    return buffer.getvalue()


@contextmanager
def canvas(
    columns: int, width: float, height: float, rows: int = 1, **options: Any
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Make rows of axes in our style; they come as one list."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, list(figure.subplots(rows, columns, squeeze=False, **options).flat)


# Several runs


def of_comparison(c: Comparison) -> dict[str, Figure]:
    """Draw all figures of a comparison, by name; first those of variants in fixed point, if any are."""
    drawn = {"runs": runs(c.gaps), "bounds": bounded(c.gaps)} if c.gaps else {}
    drawn |= {"curves": comparison_curves(c), "bytes": comparison_bars(c)}
    return {name: figure for name, figure in drawn.items() if figure}


def comparison_curves(comparison: Comparison) -> Figure:
    """Draw the measure against iterations, bytes and seconds; thin lines are further seeds."""
    with canvas(3, 12.5, 3.9, sharey=True) as (figure, axes):
        for axis, (name, label) in zip(axes, ABSCISSAE.items(), strict=True):
            if name == "bytes_per_agent":  # savings are factors: equal ones are equally far apart
                axis.set_xscale("log")
            for number, variant in enumerate(comparison.variants):  # coloured as its bar
                chosen = middle_run(variant) if variant.histories else None
                for history in variant.histories:
                    main = history is chosen
                    curve(
                        axis, history[name], history[comparison.measure],
                        label=variant.label if main else None,
                        **line(number) | ({} if main else {"lw": 0.7, "alpha": 0.35}),
                    )  # fmt: skip
            for accuracy in comparison.accuracies:
                axis.axhline(accuracy, color="#777777", lw=0.8, ls=(0, (1, 2)), zorder=1)
            dress(axis, name, label)
        axes[0].set_ylabel(AXIS_LABELS[comparison.measure])
        legend_beside(figure, axes[0])
    return figure


def middle_run(variant: Variant) -> RunData:
    """Return the run whose number of iterations to the finest accuracy is the median one."""
    accuracy = variant.efforts[-1].accuracy
    known = [(run.reach(accuracy), run.history) for run in variant.runs if run.history]
    known.sort(key=lambda pair: pair[0].iterations if pair[0] else np.inf)
    return known[(len(known) - 1) // 2][1]


def comparison_bars(comparison: Comparison) -> Figure:
    """Draw the bytes that each variant needed for each accuracy."""
    variants, goals = comparison.variants, list(comparison.accuracies.values())
    count = len(goals)
    height = 1.0 + 0.34 * len(variants)
    with canvas(count, 3.2 + 3.1 * count, height, sharey=True) as (figure, axes):
        for panel, axis in enumerate(axes):
            bars(axis, [variant.efforts[panel] for variant in variants])
            axis.set_title(f"bytes per agent to {comparison.symbol} ≤ {goals[panel]}")
        axes[0].set_yticks(range(len(variants)), [variant.label for variant in variants])
        axes[0].invert_yaxis()
    return figure


def bars(axis: Axes, efforts: Sequence[Effort]) -> None:
    """Draw one panel of bars with their numbers beside them."""
    largest = max((e.bytes_per_agent or 0.0 for e in efforts), default=0.0)
    for place, e in enumerate(efforts):
        if e.bytes_per_agent is None:
            axis.text(0.01 * largest, place, "not reached", va="center", color="#777777", size=8.5)
            continue
        axis.barh(place, e.bytes_per_agent, height=0.66, color=COLOURS[place % len(COLOURS)])
        text = q.nbytes(e.bytes_per_agent)
        if e.to_baseline is not None:
            text += f" ({q.share(e.to_baseline)})"
        axis.text(e.bytes_per_agent + 0.015 * largest, place, text, va="center", size=8.5)
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    axis.set_xlim(0, 1.42 * largest or 1.0)  # room for the numbers
    axis.xaxis.set_major_locator(MaxNLocator(4) if largest else NullLocator())
    axis.xaxis.set_major_formatter(EngFormatter("B", places=None))


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


def draw(axis: Axes, gaps: Gaps, **options: Any) -> None:
    """Draw the mean, and the band where there are several runs."""
    curve(axis, gaps.iterations, gaps.mean, **options)
    if gaps.values.shape[1] > 1:
        low, high = (np.maximum(gaps.quantile(q), 1e-300) for q in BAND)
        colour = options.get("color", INK)
        axis.fill_between(gaps.iterations, low, high, color=colour, alpha=0.15, lw=0)


def finish(axis: Axes) -> None:
    """Give the axes scales; cut off what is more than seven powers of ten below the start."""
    dress(axis, "iteration", "iterations")
    low, high = axis.get_ylim()
    axis.set_ylim(max(low, high * 1e-7), high)


# What they share


def line(number: int) -> dict[str, Any]:
    """Return colour and dashes of the line with this number."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "ls": DASHES[number // len(COLOURS) % len(DASHES)],
    }


def curve(axis: Axes, x: F64, y: F64, **options: Any) -> None:
    """Draw values on a logarithmic axis, with gaps where a value has no place on it."""
    seen = (y > 1e-250) & (y < 1e250)
    if axis.get_xscale() == "log":
        seen &= x > 0
    axis.plot(x, np.where(seen, y, np.nan), **options)


def dress(axis: Axes, name: str, label: str) -> None:
    """Give an axis pair its scales, ticks and label."""
    values = np.concatenate([np.asarray(one.get_ydata(), float) for one in axis.lines])
    positive = values[np.isfinite(values) & (values > 0)]
    if positive.size:
        low, high = np.log10(positive.min()), np.log10(positive.max())
        margin = max(0.05 * (high - low), 0.1)
        axis.set_yscale("log")
        axis.set_ylim(10 ** (low - margin), 10 ** (high + margin))
        axis.yaxis.set_minor_locator(NullLocator())
        if high - low < 2:  # too few powers of ten to read anything off
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.yaxis.set_major_formatter(lambda value, _: q.power(value))
        else:
            axis.yaxis.set_major_locator(LogLocator(numticks=8))
    axis.set_xlabel(label)
    if axis.get_xscale() == "linear":
        axis.set_xlim(left=0)
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=name == "iteration"))
    if name in UNITS:
        axis.xaxis.set_major_formatter(EngFormatter(UNITS[name], places=None))


def legend_beside(figure: Figure, axis: Axes) -> None:
    """Put the legend to the right of all axes."""
    handles, labels = axis.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside right center")


def legend_below(figure: Figure, axis: Axes, columns: int = 3) -> None:
    """Put the legend under all axes, where it can cover nothing."""
    handles, labels = axis.get_legend_handles_labels()
    if handles:
        columns = min(len(handles), columns)
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)
