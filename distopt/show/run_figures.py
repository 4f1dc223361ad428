"""Figures of one run: convergence, errors, Lyapunov terms, the graph of its agents."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import networkx as nx
import numpy as np
from matplotlib.axes import Axes

from distopt.core import units as q
from distopt.core.arrays import F64
from distopt.record.reader import RunData
from distopt.record.series import MEASURES
from distopt.show.figures import COLOURS, INK, Sheet, curve, dress, far_apart, line
from distopt.show.plot import LABELS, draw_runs
from distopt.studies.best import Best

LYAPUNOV_TERMS = {
    "lyapunov_memory_x": "memory of x",
    "lyapunov_memory_y": "memory of y",
    "lyapunov_consensus": "consensus",
    "lyapunov_tracking": "tracking",
    "lyapunov_scale": "scales",
}
TITLES = {
    "compression": "Compression error",
    "invariant": "Tracking invariant",
}
ERRORS = {  # the legend of each series
    "errors": {"consensus_error": "consensus error", "tracking_error": "tracking error"},
    "compression": {"compression_error_x": "of x", "compression_error_y": "of y"},
    "invariant": {"invariant": "relative residual"},
}
NAMES = {  # of what the lines are of, in captions
    "consensus_error": "of the models (consensus error)",
    "tracking_error": "of the trackers (tracking error)",
    "compression_error_x": "x",
    "compression_error_y": "the tracker y",
}
CAPTIONS = {
    "topology": "Who talks with whom; edges are as wide as their weights.",
    "convergence": "Stationarity P against iterations, bytes sent per agent (a broadcast counted once; "
    "logarithmic) and seconds of the algorithm.",
    "measures": "What the costs measure besides their values, at the mean of the agents' models.",
    "errors": "How far the agents are from each other: {}, mean over agents.",
    "compression": "What the neighbours do not know yet: squared distance of {} to what they remember, "
    "mean over agents.",
    "step": "The step that the search chose, in {}.",
    "invariant": "The mean of the trackers minus the mean gradient, relative to the largest gradient: "
    "zero but for rounding as long as all ends of all edges hold the same numbers.",
    "regimes": "Shares of the coordinates of all repeats with a step eta |g_i| of at least the gap u, "
    "between u/2 and u, up to u/2, and zero.",
}
DRAWN = 500  # agents; a graph of more is neither drawn in time nor of use
REGIMES = {
    "regime_large": "step >= u",
    "regime_middle": "u/2 < step < u",
    "regime_small": "0 < step <= u/2: RN stalls",
    "regime_zero": "step = 0",
}


def of_run(run: RunData, best: Best) -> list[Sheet]:
    """Return all figures of a run, the graph first; objectives are drawn above the best minimum known."""
    known = set(run.series)
    found = [topology(run), convergence(run), objective(run, best)]
    if names := [name for name in run.series if name.startswith(MEASURES)]:
        found.append(measures(run, names))
    if "step" in known:
        found.append(step(run))
    for name in ERRORS:
        if name == "invariant" and "invariant" in known and not (run["invariant"] > 0).any():
            continue
        if known & set(ERRORS[name]):
            found.append(errors(run, name))
    if "lyapunov" in known:
        found.append(lyapunov(run, best))
    if "regime_large" in known:
        found.append(regimes(run))
    return found


def convergence(run: RunData) -> Sheet:
    """Draw P against iterations, bytes and seconds."""

    def panel(axis: Axes, x: str) -> None:
        draw_runs(axis, {"": [run]}, x, "stationarity")
        axis.set_ylabel(LABELS["stationarity"])

    panels = [partial(panel, x=x) for x in ("iterations", "bytes", "seconds")]
    return Sheet("convergence", CAPTIONS["convergence"], panels, (3.6, 3.0), share=True)


def objective(run: RunData, best: Best) -> Sheet:
    """Draw how far the objective is above the best minimum known."""

    def panel(axis: Axes) -> None:
        curve(axis, run["iteration"], best.above(run["objective"]), color=COLOURS[0])
        dress(axis, "iterations", whole=True)
        axis.set_ylabel(LABELS["gap"])
        axis.set_title(f"Objective at the mean, {run.last('objective'):.6g} at the end")

    caption = f"The average cost at the mean of the agents' models, above {told(best)}."
    return Sheet("objective", caption, [panel])


def measures(run: RunData, names: Sequence[str]) -> Sheet:
    """Draw what the costs measure."""
    log = far_apart(run[name] for name in names)

    def panel(axis: Axes) -> None:
        for number, name in enumerate(names):
            label = name.removeprefix(MEASURES)
            curve(axis, run["iteration"], run[name], log=log, label=label, **line(number))
        dress(axis, "iterations", whole=True, log=log)
        axis.set_title("Measures of the costs")

    return Sheet("measures", CAPTIONS["measures"], [panel], legend="below")


def told(best: Best) -> str:
    """Say what objectives are drawn above."""
    return f"f_best = {best.value:.10g}, {best.source}"


def errors(run: RunData, name: str) -> Sheet:
    """Draw the series of `ERRORS` that a run has, and say in the caption what they are."""
    lines = {series: label for series, label in ERRORS[name].items() if series in run.series}
    caption = CAPTIONS[name].format(" and ".join(NAMES.get(series, series) for series in lines))
    title = TITLES.get(name) or " and ".join(lines.values()).capitalize()

    def panel(axis: Axes) -> None:
        for number, (series, label) in enumerate(lines.items()):
            curve(axis, *taken(run, run[series]), label=label, **line(number))
        dress(axis, "iterations", whole=True)
        axis.set_title(title)

    return Sheet(name, caption, [panel], legend="below" if len(lines) > 1 else "")


def step(run: RunData) -> Sheet:
    """Draw the step that was searched."""
    decisions = q.count(run.last("step_decisions"), "decision")
    caption = CAPTIONS["step"].format(decisions)
    if returns := run.last("step_returns", 0):
        caption += f" It went back to an earlier point {q.count(returns, 'time')}."

    def panel(axis: Axes) -> None:
        curve(axis, run["iteration"], run["step"], color=COLOURS[0], drawstyle="steps-post")
        dress(axis, "iterations", whole=True)
        axis.set_ylabel(LABELS["step"])
        axis.set_title(f"Step, {run.last('step'):.3g} at the end")

    return Sheet("step", caption, [panel])


def taken(run: RunData, values: F64) -> tuple[F64, F64]:
    """Return iterations and values where a series was taken: not every record has the trackers'."""
    there = ~np.isnan(values)
    return run["iteration"][there], values[there]


def lyapunov(run: RunData, best: Best) -> Sheet:
    """Draw the Lyapunov function above the best minimum known, and each of its terms."""
    function = run.meta["lyapunov"]
    gap = best.above(run["objective"])
    terms = {label: run[name] for name, label in LYAPUNOV_TERMS.items() if name in run.series}
    certified = str(bool(run.meta["certified"])).lower()

    def panel(axis: Axes) -> None:
        whole = gap + sum(terms.values())
        curve(axis, *taken(run, whole), label=function, color=INK, lw=2.6)
        curve(axis, *taken(run, gap), label=LABELS["gap"], **line(0))
        for number, (label, values) in enumerate(terms.items(), 1):
            curve(axis, *taken(run, values), label=label, **line(number))
        dress(axis, "iterations", whole=True)
        axis.set_title(f"{function} and its terms, certified = {certified}")

    caption = (
        f"The Lyapunov function {function} of the algorithm, and its terms, with f* replaced by "
        f"{told(best)}."
    )
    return Sheet("lyapunov", caption, [panel], (6.4, 3.2), "beside")


def topology(run: RunData) -> Sheet:
    """Draw the graph of the agents, edges as strong as their weights; of many agents, say what it is."""
    W, n = run.matrix, len(run.matrix)
    directed = bool((W != W.T).any())
    name = run.config.get("topology", {}).get("graph", "file")

    ends = np.count_nonzero(W) - np.count_nonzero(W.diagonal())
    edges = int(ends if directed else ends // 2)

    def panel(axis: Axes) -> None:
        if n > DRAWN:
            axis.text(0.5, 0.5, "too many agents to draw", ha="center", transform=axis.transAxes)
        else:
            draw(axis, W, name, directed)
        axis.set_axis_off()
        counts = f"{q.count(n, 'agent')}, {q.count(edges, 'edge')}"
        axis.set_title(f"{name}: {counts}\nspectral gap {run.meta['spectral_gap']:.4g}")

    return Sheet("topology", CAPTIONS["topology"], [panel], (4.2, 4.2))


def draw(axis: Axes, W: F64, name: str, directed: bool) -> None:
    """Draw a graph by its weights."""
    linked = W.T != 0  # agent j tells agent i where W_ij is not 0
    np.fill_diagonal(linked, val=False)
    graph = nx.from_numpy_array(linked, create_using=nx.DiGraph if directed else nx.Graph)
    places = positions(graph, name)
    size = float(np.clip(5000 / len(W), 12, 340))
    widths = [0.6 + 2.4 * W[i, j] for j, i in graph.edges]
    arrows = {"arrowsize": 14, "node_size": size} if directed else {}
    nx.draw_networkx_edges(graph, places, ax=axis, width=widths, edge_color="#9AA7B1", **arrows)
    nx.draw_networkx_nodes(graph, places, ax=axis, node_size=size, node_color=COLOURS[0])
    if len(W) <= 40:
        nx.draw_networkx_labels(graph, places, ax=axis, font_size=8, font_color="white")
    axis.set_aspect("equal")
    axis.margins(0.12)


def positions(graph: nx.Graph, name: str) -> Any:
    """Choose where to draw the agents."""
    n = len(graph)
    if name.removeprefix("directed_") in {"ring", "complete", "exponential"}:
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


def regimes(run: RunData) -> Sheet:
    """Draw the share of the coordinates in each regime."""

    def panel(axis: Axes) -> None:
        names = [name for name in REGIMES if name in run.series]
        counts = np.array([run[name][1:] for name in names])
        shares = counts / np.maximum(counts.sum(axis=0), 1)
        colours = [COLOURS[0], COLOURS[5], COLOURS[1], "#DDDDDD"]
        axis.stackplot(
            run["iteration"][1:], shares, colors=colours, labels=[REGIMES[n] for n in names]
        )
        axis.set_ylim(0, 1)
        axis.set_xlim(left=0)
        axis.set_xlabel("iterations")
        axis.set_title("Coordinates by the size of their step")

    return Sheet("regimes", CAPTIONS["regimes"], [panel], legend="below")
