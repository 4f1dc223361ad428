"""Figures of one run and of several, drawn with matplotlib's Agg canvas; no display is needed.

Every function returns a `Figure`. Colours are those of Okabe and Ito, which colour-blind readers can
tell apart; from the ninth line on the dashes differ as well. Legends stand beside the axes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import matplotlib as mpl
import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator

from distopt.core import units as q
from distopt.core.arrays import F64
from distopt.record.history import History
from distopt.studies.compare import Comparison, Effort, Variant

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

LYAPUNOV_TERMS = {
    "lyapunov_gap": "f(x̄) - f*",
    "lyapunov_memory_x": "memory of x",
    "lyapunov_memory_y": "memory of y",
    "lyapunov_consensus": "consensus",
    "lyapunov_tracking": "tracking",
    "lyapunov_scale": "scales",
}


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


# One run


def convergence(history: History) -> Figure:
    """Draw P against iterations, bytes and seconds."""
    with canvas(3, 10.5, 3.0, sharey=True) as (figure, axes):
        for axis, (name, label) in zip(axes, ABSCISSAE.items(), strict=True):
            curve(axis, history[name], history["stationarity"], color=COLOURS[0])
            dress(axis, name, label)
        axes[0].set_ylabel("P = ‖∇f(x̄)‖² + consensus error")
    return figure


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


def objective(history: History) -> Figure:
    """Draw how far the objective is above f*, or above its smallest record where f* is unknown."""
    values, exact = history["objective"], history.meta["minimum_kind"] == "exact"
    below = history.meta["minimum"] if exact else np.nanmin(values)
    with canvas(1, 5.2, 3.0) as (figure, (axis,)):
        curve(axis, history["iteration"], values - below, color=COLOURS[0])
        dress(axis, "iteration", "iterations")
        axis.set_ylabel("f(x̄) - f*" if exact else "f(x̄) - smallest record")
        axis.set_title(f"Objective at the mean, {values[-1]:.6g} at the end")
    return figure


def errors(history: History, names: Mapping[str, str], title: str) -> Figure:
    """Draw some of a run's series, by their legend texts."""
    with canvas(1, 5.2, 3.0) as (figure, (axis,)):
        for number, (name, label) in enumerate(names.items()):
            if name in history.series:
                curve(axis, history["iteration"], history[name], label=label, **line(number))
        dress(axis, "iteration", "iterations")
        axis.set_title(title)
        legend_below(figure, axis)
    return figure


def lyapunov(history: History) -> Figure:
    """Draw the Lyapunov function and each of its terms."""
    with canvas(1, 10.5, 3.6) as (figure, (axis,)):
        function = history.meta["lyapunov"]
        curve(axis, history["iteration"], history["lyapunov"], label=function, color=INK, lw=2.6)
        for number, (name, label) in enumerate(LYAPUNOV_TERMS.items()):
            if name == "lyapunov_gap" and history.meta["minimum_kind"] != "exact":
                label = "f(x̄) - lower bound"
            if name in history.series:
                curve(axis, history["iteration"], history[name], label=label, **line(number))
        dress(axis, "iteration", "iterations")
        certified = str(bool(history.meta["certified"])).lower()
        axis.set_title(f"{function} and its terms, certified = {certified}")
        legend_beside(figure, axis)
    return figure


def topology(history: History) -> Figure:
    """Draw the graph of the agents, edges as strong as their weights."""
    W, n = history.matrix, len(history.matrix)
    graph = nx.Graph()
    graph.add_nodes_from(range(n))
    graph.add_edges_from((int(i), int(j)) for i, j in zip(*np.nonzero(np.triu(W, 1)), strict=True))
    name = history.config.get("topology", {}).get("graph", "file")
    with canvas(1, 4.2, 4.2) as (figure, (axis,)):
        places = positions(graph, name)
        size = float(np.clip(5000 / n, 12, 340))
        widths = [0.6 + 2.4 * W[i, j] for i, j in graph.edges]
        nx.draw_networkx_edges(graph, places, ax=axis, width=widths, edge_color="#9AA7B1")
        nx.draw_networkx_nodes(graph, places, ax=axis, node_size=size, node_color=COLOURS[0])
        if n <= 40:
            nx.draw_networkx_labels(graph, places, ax=axis, font_size=8, font_color="white")
        axis.set_axis_off()
        axis.set_aspect("equal")
        axis.margins(0.12)
        links = "1 edge" if len(graph.edges) == 1 else f"{len(graph.edges)} edges"
        axis.set_title(
            f"{name}: {n} agents, {links}\nspectral gap {history.meta['spectral_gap']:.4g}"
        )
    return figure


def positions(graph: nx.Graph, name: str) -> Any:
    """Choose where to draw the agents."""
    n = len(graph)
    if name in {"ring", "complete", "exponential"}:
        return nx.circular_layout(graph)
    if name == "star":
        return nx.shell_layout(graph, [[0], list(range(1, n))])
    if name == "path":
        side = int(np.ceil(np.sqrt(n)))  # to and fro, so that a long path fits a square
        return {
            i: (i % side if i // side % 2 == 0 else side - 1 - i % side, -(i // side))
            for i in range(n)
        }
    if n <= 150:
        places = nx.kamada_kawai_layout(graph)
        return upright(places) if name == "grid" else places
    return nx.spring_layout(graph, seed=0)


def upright(places: dict[int, F64]) -> dict[int, F64]:
    """Turn a drawing so that agent 1 is to the right of agent 0."""
    x, y = places[1] - places[0] if len(places) > 1 else (1.0, 0.0)
    turn = np.array([[x, y], [-y, x]]) / np.hypot(x, y)
    return {i: turn @ place for i, place in places.items()}


# Several runs


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


def middle_run(variant: Variant) -> History:
    """Return the run whose number of iterations to the finest accuracy is the median one."""
    accuracy = variant.efforts[-1].accuracy
    known = [(run.reach(accuracy), run.history) for run in variant.runs if run.history]
    known.sort(key=lambda pair: pair[0].iterations if pair[0] else np.inf)
    return known[(len(known) - 1) // 2][1]


def comparison_bars(comparison: Comparison) -> Figure:
    """Draw the bytes that each variant needed for each accuracy."""
    variants, goals = comparison.variants, comparison.accuracies
    count = len(goals)
    height = 1.0 + 0.34 * len(variants)
    with canvas(count, 3.2 + 3.1 * count, height, sharey=True) as (figure, axes):
        for panel, axis in enumerate(axes):
            bars(axis, [variant.efforts[panel] for variant in variants])
            axis.set_title(f"bytes per agent to {comparison.symbol} ≤ {q.power(goals[panel])}")
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


# What they share


def line(number: int) -> dict[str, Any]:
    """Return colour and dashes of the line with this number."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "ls": DASHES[number // len(COLOURS) % len(DASHES)],
    }


def curve(axis: Axes, x: F64, y: F64, **options: Any) -> None:
    """Draw values for a logarithmic axis; where there is no place for one, a gap."""
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


def legend_below(figure: Figure, axis: Axes) -> None:
    """Put the legend under all axes, where it can cover nothing."""
    handles, labels = axis.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(handles), 3))


def figures_of_run(history: History) -> Iterable[tuple[str, str, Figure]]:
    """Draw all figures of a run: file name, caption and figure."""
    yield (
        "convergence",
        "Stationarity P against iterations, bytes that an agent has sent (a broadcast counted once) "
        "and seconds.",
        convergence(history),
    )
    yield (
        "objective",
        "The average cost at the mean of the agents' models, above its minimum.",
        objective(history),
    )
    yield (
        "errors",
        "How far the agents are from each other: of the models (consensus error), and of the "
        "trackers (tracking error), mean over agents.",
        errors(
            history,
            {"consensus_error": "consensus error", "tracking_error": "tracking error"},
            "Consensus and tracking error",
        ),
    )  # fmt: skip
    if {"compression_error_x", "compression_error_y"} & set(history.series):
        yield (
            "compression",
            "What the neighbours do not know yet: squared distance of x and y to their memories.",
            errors(
                history, {"compression_error_x": "of x", "compression_error_y": "of y"},
                "Compression errors",
            ),
        )  # fmt: skip
    if "invariant" in history.series and (history["invariant"] > 0).any():
        yield (
            "invariant",
            "The mean of the trackers minus the mean gradient, relative to the largest gradient: "
            "zero but for rounding as long as all ends of all edges hold the same numbers.",
            errors(history, {"invariant": "relative residual"}, "Tracking invariant"),
        )
    if "lyapunov" in history.series:
        yield (
            "lyapunov",
            "The Lyapunov function that belongs to the algorithm, and the terms that it is the sum "
            "of.",
            lyapunov(history),
        )
