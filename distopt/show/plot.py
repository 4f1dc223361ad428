"""Draw runs: any series against iterations, bytes, seconds or gradients, seeds as median and spread.

`plot` is for users' own figures, and the program's figures of several runs are made of the same
parts. A line is the median over the runs of a label at equal x, between two records along a straight
line (of logarithms where all values are positive). A run that has ended keeps its last value; the
median ends where half of them have.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple, TypeAlias

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from distopt.core.arrays import F64
from distopt.core.errors import ConfigError
from distopt.core.parameters import nearest
from distopt.record.reader import Recorded, RunData
from distopt.record.series import MEASURES, SERIES
from distopt.show.figures import PALE, SVG, curve, dress, far_apart, line
from distopt.show.render import latex
from distopt.studies.best import best_minima
from distopt.studies.compare import find_runs

One: TypeAlias = str | Path | RunData | Recorded
Runs: TypeAlias = One | Iterable[One] | Mapping[str, One | Iterable[One]]
Band: TypeAlias = tuple[float, float]


class Abscissa(NamedTuple):
    """What can be drawn along."""

    series: str
    label: str
    unit: str = ""
    log: bool = False  # savings are factors: equal ones are equally far apart


ABSCISSAE = {
    "iterations": Abscissa("iteration", "iterations"),
    "bytes": Abscissa("bytes_per_agent", "bytes sent per agent", "B", log=True),
    "wire bytes": Abscissa("bytes_on_wire", "bytes on wire, all agents", "B", log=True),
    "seconds": Abscissa("seconds", "time of the algorithm", "s"),
    "gradients": Abscissa("gradients", "gradients per agent"),
}
GAP = "gap"  # the objective above the best minimum known
LABELS = {
    "stationarity": r"$P = \|\nabla f(\bar x)\|^2$ + consensus error",
    "nmse": "NMSE of the mean model, training samples",
    "objective": r"objective $f(\bar x)$",
    "step": r"step $\eta$",
    GAP: r"$f(\bar x) - f_{\mathrm{best}}$",
    "gradient_norm": r"$\|\nabla f(\bar x)\|$",
}
SEEN_ALONE = {name for name, known in SERIES.items() if known.by_run}
BANDS: tuple[Band, ...] = ((0.0, 1.0), (0.25, 0.75))  # all runs, and the middle half of them
POINTS = 400  # of a median and its bands
HUGE = 1e300  # stands for values that are not finite
SIZES = {"one-column": (3.5, 2.5), "two-column": (7.16, 2.6)}  # inches
NARROW = 2.0  # a panel below so many
PAPER: Any = {
    "font.size": 8.0,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": PALE,
    "grid.linewidth": 0.4,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "legend.fontsize": 7.0,
    **SVG,
}


def plot(
    runs: Runs,
    x: str = "bytes",
    y: str = "stationarity",
    ax: Axes | None = None,
    *,
    band: Sequence[Band] = BANDS,
    size: str | tuple[float, float] = "one-column",
    legend: bool = True,
) -> Axes:
    """Draw a series of runs, a line for each label.

    Parameters
    ----------
    runs : run, sequence of runs, or dict
        A run is a directory, a `RunData` or a `Result`; a folder of runs, such as a suite's, is all of
        them. Labels are the keys of a dict, whose values are one run or several (seeds); else the names
        of the folders, where ``seed-1``, ``seed-2`` and so on belong to the folder around them.
    x : str
        "iterations", "bytes", "wire bytes", "seconds", "gradients", or the name of a series.
    y : str
        The name of a series, or "gap": the objective above the best minimum known.
    ax : Axes, optional
        Where to draw; by default on a new figure of `size`, ``ax.figure``.
    band : sequence of pairs
        Quantiles between which several runs of a label lie: by default all runs, and the middle half.
    size : str or (float, float)
        "one-column", "two-column" (of a paper), or inches.
    legend : bool

    Returns
    -------
    Axes
        Fonts, sizes and LaTeX (``text.usetex``) are as matplotlib's settings have them; the new figure
        has smaller type and thinner lines where these settings are matplotlib's own.

    Raises
    ------
    DistoptError
        If a run cannot be read or lacks the series.
    """
    groups = grouped(runs)
    if ax is None:
        figure = paper_figure(
            groups, (x,), y, band=band, size=size, legend=legend, new=shown_figure
        )
        return figure.axes[0]
    draw_runs(ax, groups, x, y, band)
    ax.set_ylabel(label_of(y))
    if legend:
        ax.legend()
    return ax


def paper_figure(
    groups: Mapping[str, Sequence[RunData]],
    xs: Sequence[str],
    y: str,
    *,
    band: Sequence[Band] = BANDS,
    size: str | tuple[float, float] = "one-column",
    legend: bool = True,
    new: Callable[[tuple[float, float]], Figure] | None = None,
) -> Figure:
    """Draw a panel for each x beside each other, the legend above them, in the size of a paper.

    `new` makes the figure, by default one that nobody keeps.
    """
    if isinstance(size, str) and size not in SIZES:
        raise ConfigError(
            f'size = "{size}" is not known{nearest(size, SIZES) or "."} Known: {", ".join(SIZES)}, '
            "or (width, height) in inches."
        )
    width, height = SIZES[size] if isinstance(size, str) else size
    with mpl.rc_context(paper_settings()):
        columns = max(int(width / 1.7), 1)
        rows = -(-len(groups) // columns) if legend else 0
        figure = (new or plain_figure)((width, height + 0.16 * rows))
        axes = figure.subplots(1, len(xs), squeeze=False, sharey=True)[0]
        for axis, x in zip(axes, xs, strict=True):
            draw_runs(axis, groups, x, y, band)
            if width < NARROW * len(xs):
                make_room(axis)
        axes[0].set_ylabel(label_of(y))
        handles, labels = axes[0].get_legend_handles_labels()
        if legend and handles:
            columns = min(columns, len(handles))
            figure.legend(handles, labels, loc="outside upper center", ncols=columns)
    return figure


def make_room(axis: Axes) -> None:
    """Let what is written below a narrow panel fit."""
    axis.set_xlabel(fill(axis.get_xlabel(), 16))
    low, high = axis.get_xlim()
    if axis.get_xscale() == "log" and high > 100 * low:
        axis.xaxis.set_major_locator(LogLocator(numticks=3))


def paper_settings() -> Any:
    """Return those of `PAPER` that the user has left at matplotlib's own values."""
    return {k: v for k, v in PAPER.items() if mpl.rcParams[k] == mpl.rcParamsDefault[k]}


def shown_figure(size: tuple[float, float]) -> Figure:
    """Make a figure; one that a notebook or window shows, and pyplot keeps, where that is in use."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None:
        return plain_figure(size)
    made: Figure = pyplot.figure(figsize=size, layout="constrained")
    return made


def plain_figure(size: tuple[float, float]) -> Figure:
    """Make a figure that goes with its last user."""
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def grouped(runs: Runs) -> dict[str, list[RunData]]:
    """Read runs and put those of one label together."""
    found: dict[str, list[RunData]] = {}
    if isinstance(runs, Mapping):
        items = [
            (str(label), run) for label, some in runs.items() for run in find_runs(listed(some))
        ]
    else:
        items = [(run.label, run) for run in find_runs(listed(runs))]
    for label, run in items:
        if run.history:
            found.setdefault(label, []).append(run.history)
    return found


def listed(runs: One | Iterable[One]) -> list[One]:
    """Make a list of one run or several."""
    single = isinstance(runs, str | Path | RunData) or hasattr(runs, "run_dir")
    return [runs] if single else list(runs)  # type: ignore[list-item,arg-type]


def abscissa(x: str, some: Iterable[RunData]) -> Abscissa:
    """Find what x names, in all runs."""
    known = ABSCISSAE.get(x) or (Abscissa(x, label_of(x)) if x in SERIES else None)
    if known is None:
        hint = nearest(x, [*ABSCISSAE, *SERIES]) or "."
        raise ConfigError(
            f'x = "{x}" is nothing that can be drawn along{hint} Known: {", ".join(ABSCISSAE)}, and '
            "the names of series."
        )
    for run in some:
        run[known.series]  # or a sentence
    return known


def label_of(y: str) -> str:
    """Return the label of an axis of some series."""
    if y in LABELS:
        return LABELS[y]
    unit = SERIES[y].units if y in SERIES else "1"
    return y.removeprefix(MEASURES).replace("_", " ") + (f" [{unit}]" if unit != "1" else "")


def draw_runs(
    axis: Axes,
    groups: Mapping[str, Sequence[RunData]],
    x: str,
    y: str,
    band: Sequence[Band] = BANDS,
) -> None:
    """Draw the lines of all labels, coloured in their order, and give the axes their scales."""
    everything = [run for some in groups.values() for run in some]
    along = abscissa(x, everything)
    if along.log:
        axis.set_xscale("log")
    log = not y.startswith(MEASURES) or far_apart(values_of(run, y) for run in everything)
    lowest = best_minima(everything) if y == GAP else []
    best = {id(run): least for run, least in zip(everything, lowest, strict=False)}
    for number, (label, some) in enumerate(groups.items()):
        look = line(number, marked=len(groups) > 1)
        if not some:
            continue
        curves = [(run[along.series], values_of(run, y)) for run in some]
        if y == GAP:
            curves = [(x, best[id(run)].above(f)) for run, (x, f) in zip(some, curves, strict=True)]
        name = latex(label) if mpl.rcParams["text.usetex"] else label.replace("$", r"\$")
        if len(curves) == 1:
            curve(axis, *curves[0], log=log, label=name, **look)
            continue
        at, table = common(curves)
        if along.log:
            at, table = at[at > 0], table[:, at > 0]
        # Beyond, half of them have ended.
        most = at <= np.median([along_x[-1] for along_x, _ in curves])
        curve(axis, at[most], np.median(table, axis=0)[most], log=log, label=name, **look)
        for low, high in band:
            ends = np.clip(np.quantile(table, (low, high), axis=0), -1e250, 1e250)
            axis.fill_between(at, ends[0], ends[1], color=look["color"], alpha=0.13, lw=0)
    dress(axis, along.label, along.unit, whole=along.series == "iteration", log=log)


def values_of(run: RunData, y: str) -> F64:
    """Return the values of y in a run."""
    values = run["objective" if y == GAP else y]
    if values.ndim > 1:
        raise ConfigError(
            f"y = {y} has several numbers a record; its mean over the runs is drawn as well."
        )
    return values


def common(curves: Sequence[tuple[F64, F64]]) -> tuple[F64, F64]:
    """Bring curves to the same x: those, float64[m], and a row of values for each, float64[runs, m]."""
    at = np.unique(np.concatenate([x for x, _ in curves]))
    if at.size > POINTS:
        at = at[np.linspace(0, at.size - 1, POINTS).round().astype(int)]
    values = [np.nan_to_num(y, nan=HUGE, posinf=HUGE, neginf=-HUGE) for _, y in curves]
    if all((y > 0).all() for y in values):
        rows = [
            10 ** np.interp(at, x, np.log10(y)) for (x, _), y in zip(curves, values, strict=True)
        ]
    else:
        rows = [np.interp(at, x, y) for (x, _), y in zip(curves, values, strict=True)]
    return at, np.array(rows)
