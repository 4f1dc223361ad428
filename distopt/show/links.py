"""The graph of a run as SVG, with what every agent has sent over every link."""

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from distopt.core import units as q
from distopt.core.errors import CheckpointError, ConfigError
from distopt.record import checkpoint
from distopt.record.reader import load
from distopt.show.run_figures import positions

AGENTS = 400  # beyond which a drawing shows nothing
WIDTH, HEIGHT, MARGIN = 480, 360, 30  # of the drawing, in its own units
THICK, THIN = 8.0, 1.2  # widths of the busiest link and of one that carries nothing
LABELLED = 24  # links up to which each has its bytes beside it
STYLE = """
text { font: 13px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; text-anchor: middle; }
.link line { stroke: #0072B2; } .link .idle { stroke: #8a8a8a; stroke-dasharray: 4 4; }
.told { fill: #1f2933; stroke: #fff; stroke-width: 6px; stroke-linejoin: round; paint-order: stroke; }
.agent circle { fill: #1f2933; } .agent text { fill: #fff; }
@media (prefers-color-scheme: dark) {
.link line { stroke: #4C9FE6; } .told { fill: #e4e8ec; stroke: #1d2329; }
.agent circle { fill: #e4e8ec; } .agent text { fill: #14181c; } }
"""


@dataclass(frozen=True)
class Links:
    """The links of a run's graph, and what has been sent over each.

    Attributes
    ----------
    agents : int
    graph : str
        Its name, "" for one that has none.
    edges : list of tuple[int, int]
        i < j, ascending.
    sent : dict[tuple[int, int], int] or None
        Bytes from agent i to its neighbour j, for both directions of every edge; None: no checkpoint says.
    iteration : int or None
        As of which they were counted.
    missing : int
        Bytes on the wire that the record has beyond these at that iteration.
    """

    agents: int
    graph: str
    edges: list[tuple[int, int]]
    sent: dict[tuple[int, int], int] | None
    iteration: int | None
    missing: int

    def both(self, i: int, j: int) -> int:
        """Bytes over an edge, both ways."""
        return 0 if self.sent is None else self.sent[i, j] + self.sent[j, i]

    @property
    def total(self) -> int | None:
        """Bytes over all links."""
        return None if self.sent is None else sum(self.sent.values())

    def to_json(self) -> dict[str, Any]:
        """Return plain tables."""
        rows = [
            {"from": i, "to": j, "bytes": None if self.sent is None else self.sent[i, j]}
            for a, b in self.edges
            for i, j in ((a, b), (b, a))
        ]
        return {
            "agents": self.agents, "graph": self.graph, "iteration": self.iteration,
            "bytes_on_wire": self.total, "missing": self.missing, "links": rows,
        }  # fmt: skip


def links_of(folder: Path) -> Links:
    """Read the graph of a run and, from its newest checkpoint, what went over its links.

    Every agent counts the messages that it hands over, and a checkpoint keeps these counts.

    Raises
    ------
    CheckpointError
        If there is no record that can be read.
    """
    run = load(folder)
    graph = str(run.config.get("topology", {}).get("graph", ""))
    agents = len(run.matrix)
    tells = run.matrix.T != 0
    found = {(i, j) for i, j in np.argwhere(tells | tells.T).tolist() if i < j}
    try:
        saved = checkpoint.latest(folder / "checkpoints", int(run.config["problem"]["agents"]))
        told = checkpoint.told(saved.place, range(agents))
    except (CheckpointError, LookupError, TypeError, ValueError):
        told = {}
    if not told or any(max(link) >= agents for link in told):
        return Links(agents, graph, sorted(found), None, None, 0)
    found |= {(min(link), max(link)) for link in told if len(link) == 2}
    sent = {
        (i, j): (told.get((i,), 0) if tells[i, j] else 0) + told.get((i, j), 0)
        for a, b in found
        for i, j in ((a, b), (b, a))
    }
    at = run["iteration"] == saved.iteration
    recorded = run["bytes_on_wire"][at] if "bytes_on_wire" in run else []
    missing = int(recorded[0]) - sum(sent.values()) if len(recorded) else 0
    return Links(agents, graph, sorted(found), sent, saved.iteration, missing)


def draw(links: Links, alone: bool) -> str:
    """Draw a graph as SVG: the half of a link beside an agent is as wide as what that agent sent over it.

    `alone` says whether it brings its own style, as a file of its own must.

    Raises
    ------
    ConfigError
        If it has too many agents.
    """
    if links.agents > AGENTS:
        raise ConfigError(f"{links.agents} agents are too many to draw; accepted: {AGENTS}.")
    graph = nx.empty_graph(links.agents)
    graph.add_edges_from(links.edges)
    places = placed(positions(graph, links.graph))
    most = max((links.sent or {}).values(), default=0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(spoken(links))}">',
        f"<style>{STYLE}</style>" if alone else "",
        *(link(links, edge, places, most) for edge in links.edges),
        *(label(links, edge, places) for edge in links.edges if len(links.edges) <= LABELLED),
        *(agent(i, places[i], links.agents) for i in range(links.agents)),
        "</svg>",
    ]
    return "\n".join(part for part in parts if part)


def spoken(links: Links) -> str:
    """Say in words what a drawing shows."""
    what = f"{q.count(links.agents, 'agent')}, {q.count(len(links.edges), 'link')}"
    if links.sent is None:
        return f"{what}; the bytes on each are not known yet"
    return f"{what}, {q.nbytes(links.total)} in {q.count(links.iteration or 0, 'iteration')}"


def placed(places: dict[int, Any]) -> dict[int, tuple[float, float]]:
    """Stretch places over the drawing."""
    at = np.array([places[i] for i in range(len(places))], dtype=float)
    low, span = at.min(axis=0), np.ptp(at, axis=0)
    share = np.where(span > 1e-9, (at - low) / np.where(span > 1e-9, span, 1.0), 0.5)
    x = MARGIN + share[:, 0] * (WIDTH - 2 * MARGIN)
    y = HEIGHT - MARGIN - share[:, 1] * (HEIGHT - 2 * MARGIN)
    return {
        i: (round(float(a), 1), round(float(b), 1))
        for i, (a, b) in enumerate(zip(x, y, strict=True))
    }


def link(
    links: Links, edge: tuple[int, int], places: dict[int, tuple[float, float]], most: int
) -> str:
    """Draw one edge in two halves."""
    i, j = edge
    (x1, y1), (x2, y2), (x, y) = places[i], places[j], middle(places[i], places[j])
    words = f"{i} to {j}: not known yet"
    if links.sent is not None:
        there, back = (q.nbytes(links.sent[way]) for way in ((i, j), (j, i)))
        words = f"{i} to {j}: {there}, {j} to {i}: {back}"
    halves = [half(links, (i, j), (x1, y1, x, y), most), half(links, (j, i), (x2, y2, x, y), most)]
    return f'<g class="link"><title>{words}</title>{"".join(halves)}</g>'


def label(links: Links, edge: tuple[int, int], places: dict[int, tuple[float, float]]) -> str:
    """Write the bytes over an edge, both ways, on its middle; nothing on one that carries none."""
    i, j = edge
    x, y = middle(places[i], places[j])
    both = links.both(i, j)
    return f'<text class="told" x="{x}" y="{y + 4:.1f}">{q.nbytes(both)}</text>' if both else ""


def middle(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """Return the place between two."""
    return round((one[0] + other[0]) / 2, 1), round((one[1] + other[1]) / 2, 1)


def half(
    links: Links, way: tuple[int, int], line: tuple[float, float, float, float], most: int
) -> str:
    """Draw the half of an edge beside the agent that sends."""
    x1, y1, x2, y2 = line
    nbytes = None if links.sent is None else links.sent[way]
    width = round(THIN + (THICK - THIN) * (nbytes or 0) / (most or 1), 2)
    idle = ' class="idle"' if nbytes == 0 else ""
    return f'<line{idle} x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke-width="{width}"/>'


def agent(i: int, place: tuple[float, float], agents: int) -> str:
    """Draw an agent, with its number where there is room for it."""
    x, y = place
    radius = 14 if agents <= 24 else 10 if agents <= 80 else 3.5
    number = f'<text x="{x}" y="{y + 4}">{i}</text>' if agents <= 80 else ""
    return f'<g class="agent"><title>agent {i}</title><circle cx="{x}" cy="{y}" r="{radius}"/>{number}</g>'
