"""Figures of one run: convergence, errors, Lyapunov terms, the graph of its agents."""

from collections.abc import Iterator, Mapping
from typing import Any

import networkx as nx
import numpy as np
from matplotlib.figure import Figure

from distopt.core.arrays import F64
from distopt.record.reader import RunData
from distopt.show.figures import (
    ABSCISSAE,
    AXIS_LABELS,
    COLOURS,
    INK,
    canvas,
    curve,
    dress,
    legend_below,
    legend_beside,
    line,
)

LYAPUNOV_TERMS = {
    "lyapunov_gap": "f(x̄) - f*",
    "lyapunov_memory_x": "memory of x",
    "lyapunov_memory_y": "memory of y",
    "lyapunov_consensus": "consensus",
    "lyapunov_tracking": "tracking",
    "lyapunov_scale": "scales",
}


ERRORS = {  # title, and the legend of each series
    "errors": (
        "Consensus and tracking error",
        {"consensus_error": "consensus error", "tracking_error": "tracking error"},
    ),
    "compression": (
        "Compression errors",
        {"compression_error_x": "of x", "compression_error_y": "of y"},
    ),
    "invariant": ("Tracking invariant", {"invariant": "relative residual"}),
}
CAPTIONS = {
    "topology": "Who talks with whom; edges are as wide as their weights.",
    "convergence": "Stationarity P against iterations, bytes that an agent has sent (a broadcast counted "
    "once) and seconds.",
    "objective": "The average cost at the mean of the agents' models, above its minimum.",
    "errors": "How far the agents are from each other: of the models (consensus error), and of the "
    "trackers (tracking error), mean over agents.",
    "compression": "What the neighbours do not know yet: squared distance of x and y to their memories.",
    "invariant": "The mean of the trackers minus the mean gradient, relative to the largest gradient: "
    "zero but for rounding as long as all ends of all edges hold the same numbers.",
    "lyapunov": "The Lyapunov function that belongs to the algorithm, and its terms.",
    "regimes": "Shares of the coordinates of all repeats with a step eta |g_i| of at least the gap u, "
    "between u/2 and u, up to u/2, and zero.",
}
REGIMES = {
    "regime_large": "step >= u",
    "regime_middle": "u/2 < step < u",
    "regime_small": "0 < step <= u/2: RN stalls",
    "regime_zero": "step = 0",
}


def convergence(history: RunData) -> Figure:
    """Draw P against iterations, bytes and seconds."""
    with canvas(3, 10.5, 3.0, sharey=True) as (figure, axes):
        for axis, (name, label) in zip(axes, ABSCISSAE.items(), strict=True):
            curve(axis, history[name], history["stationarity"], color=COLOURS[0])
            dress(axis, name, label)
        axes[0].set_ylabel(AXIS_LABELS["stationarity"])
    return figure


def objective(history: RunData) -> Figure:
    """Draw how far the objective is above f*, or above its smallest record where f* is unknown."""
    values, exact = history["objective"], history.meta["minimum_kind"] == "exact"
    below = history.meta["minimum"] if exact else np.nanmin(values)
    with canvas(1, 5.2, 3.0) as (figure, (axis,)):
        curve(axis, history["iteration"], values - below, color=COLOURS[0])
        dress(axis, "iteration", "iterations")
        axis.set_ylabel("f(x̄) - f*" if exact else "f(x̄) - smallest record")
        axis.set_title(f"Objective at the mean, {values[-1]:.6g} at the end")
    return figure


def errors(history: RunData, names: Mapping[str, str], title: str) -> Figure:
    """Draw some of a run's series, by their legend texts."""
    with canvas(1, 5.2, 3.0) as (figure, (axis,)):
        for number, (name, label) in enumerate(names.items()):
            if name in history.series:
                curve(axis, history["iteration"], history[name], label=label, **line(number))
        dress(axis, "iteration", "iterations")
        axis.set_title(title)
        legend_below(figure, axis)
    return figure


def lyapunov(history: RunData) -> Figure:
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


def topology(history: RunData) -> Figure:
    """Draw the graph of the agents, edges as strong as their weights."""
    W, n = history.matrix, len(history.matrix)
    graph = nx.from_numpy_array(np.triu(W, 1) != 0)
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


def regimes(history: RunData) -> Figure:
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
        legend_below(figure, axis, columns=2)
    return figure


def of_run(history: RunData) -> Iterator[tuple[str, str, Figure]]:
    """Draw all figures of a run: file name, caption and figure; the graph comes first."""
    known = set(history.series)
    yield "topology", CAPTIONS["topology"], topology(history)
    yield "convergence", CAPTIONS["convergence"], convergence(history)
    yield "objective", CAPTIONS["objective"], objective(history)
    for name, (title, lines) in ERRORS.items():
        drawn = known & set(lines)
        if name == "invariant" and drawn and not (history["invariant"] > 0).any():
            continue
        if drawn:
            yield name, CAPTIONS[name], errors(history, lines, title)
    if "lyapunov" in known:
        yield "lyapunov", CAPTIONS["lyapunov"], lyapunov(history)
    if "regime_large" in known:
        yield "regimes", CAPTIONS["regimes"], regimes(history)
