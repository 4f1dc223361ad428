"""What all figures share: colours, dashes and marks, axes, files and the parts of pages.

Nothing here needs pyplot. The colours are those of Okabe and Ito, which colour-blind readers can tell
apart; dashes and marks differ as well, so lines stay apart in print without colours.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import (
    EngFormatter,
    FuncFormatter,
    LogFormatterSciNotation,
    LogLocator,
    MaxNLocator,
    NullLocator,
)

from distopt.core.arrays import F64

COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A8A8A",
)  # fmt: skip
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
MARKS = "os^DvPX*"
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
INK, GREY, PALE = "#222222", "#777777", "#DDDDDD"
FAR_APART = 50  # times the smallest value
GROUND = "#FEFEFE"  # behind texts, where lines pass
DPI = 144
STYLE: Any = {
    "font.size": 9.5,
    "font.family": "sans-serif",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": PALE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
}
SVG: Any = {"svg.hashsalt": "distopt", "pdf.fonttype": 42}  # the same bytes each time; no Type 3
UNDATED = {
    "png": {"Software": "distopt"},
    "svg": dict.fromkeys(("Creator", "Date", "Format", "Type")),
    "pdf": {"CreationDate": None},
}


def saved(figure: Figure, format: str) -> bytes:
    """Render a figure as png, svg or pdf."""
    buffer = BytesIO()
    with mpl.rc_context(SVG):
        figure.savefig(buffer, format=format, dpi=DPI, metadata=UNDATED[format])
    return buffer.getvalue()


png = partial(saved, format="png")


def svg(figure: Figure) -> str:
    """Render a figure as an element of a page, whose style sheet names the colours and the size."""
    figure.patch.set_alpha(0)
    for axis in figure.axes:
        axis.patch.set_alpha(0)
    text = saved(figure, "svg").decode()
    text = text[text.index("<svg") :]
    text = re.sub(r' (?:xmlns(?::\w+)?|width|height|version)="[^"]*"', "", text, count=5)
    for number, colour in enumerate(COLOURS):
        text = text.replace(colour.lower(), f"var(--c{number})")
    for name, colour in (("ink", INK), ("grey", GREY), ("grid", PALE), ("sheet", GROUND)):
        text = text.replace(colour.lower(), f"var(--{name})")
    return text.strip()


@contextmanager
def canvas(
    columns: int, width: float, height: float, rows: int = 1, **options: Any
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Make rows of axes in our style; they come as one list."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, list(figure.subplots(rows, columns, squeeze=False, **options).flat)


@dataclass(frozen=True)
class Sheet:
    """A figure of one or several panels: whole for a file, panel by panel for a page."""

    name: str  # of the file, without its ending
    caption: str
    panels: Sequence[Callable[[Axes], None]]  # each draws on its axes
    size: tuple[float, float] = (5.2, 3.0)  # of a panel, in inches
    legend: Literal["beside", "below", ""] = ""
    columns: int = 3  # at most
    share: bool = False  # whether the panels have the same vertical axis

    def whole(self) -> Figure:
        """Draw all panels into one figure."""
        columns = min(len(self.panels), self.columns)
        rows, (width, height) = -(-len(self.panels) // columns), self.size
        width = columns * width + 1.6 * (self.legend == "beside")
        with canvas(columns, width, rows * height, rows, sharey=self.share) as (figure, axes):
            for panel, axis in zip(self.panels, axes, strict=False):
                panel(axis)
                plain_powers(axis)
            for axis in axes[len(self.panels) :]:
                axis.set_axis_off()
            for number, axis in enumerate(axes):
                if self.share and number % columns:
                    axis.set_ylabel("")
            if self.legend:
                (legend_beside if self.legend == "beside" else legend_below)(figure, axes[0])
        return figure

    def parts(self) -> list[str]:
        """Draw each panel, then the legend, as parts of a page."""
        if len(self.panels) == 1 and self.legend != "beside":
            return [svg(self.whole())]
        drawn = []
        for panel in self.panels:
            with canvas(1, *self.size) as (figure, (axis,)):
                panel(axis)
                plain_powers(axis)
                drawn.append(svg(figure))
        handles, labels = axis.get_legend_handles_labels()
        if self.legend and handles:
            with mpl.rc_context(STYLE):
                plain = [re.sub(r"\$[^$]*\$", "formula", label) for label in labels]
                width = 0.9 + 0.08 * max(map(len, plain))
                figure = Figure(figsize=(width, 0.3 + 0.21 * len(labels)))
                figure.legend(handles, labels, loc="center left")
                drawn.append(svg(figure))
        return drawn


def line(number: int, marked: bool = False) -> dict[str, Any]:
    """Return the look of the line with this number: colour and dashes, with marks if there are many."""
    n = len(COLOURS)
    look: dict[str, Any] = {
        "color": COLOURS[number % n],
        "ls": DASHES[(number + number // n) % len(DASHES)],
    }
    if marked:  # a pair of dashes and mark does not come again before line 32
        look["marker"] = MARKS[(number + 2 * (number // n)) % len(MARKS)]
        look["markevery"] = (0.015 + 0.016 * (number % 7), 0.14)
        look |= {"mfc": "none", "mew": 1.0}
    return look


def far_apart(values: Iterable[F64]) -> bool:
    """Whether numbers of any kind, such as a cost's own measures, are better seen on a logarithmic axis."""
    whole = np.concatenate([*values, np.empty(0)])
    whole = whole[np.isfinite(whole)]
    return bool(whole.size and 0 < FAR_APART * whole.min() < whole.max())


def curve(axis: Axes, x: F64, y: F64, log: bool = True, **options: Any) -> None:
    """Draw values, on a logarithmic axis with gaps where a value has no place on it."""
    seen = (y > 1e-250) & (y < 1e250) if log else np.isfinite(y)
    if axis.get_xscale() == "log":
        seen &= x > 0
    axis.plot(x, np.where(seen, y, np.nan), **options)


def dress(axis: Axes, label: str, unit: str = "", whole: bool = False, log: bool = True) -> None:
    """Give an axis pair its scales, ticks and the label of x; `whole`: x are whole numbers.

    `log`: the values, as far as they are positive, are on a logarithmic axis.
    """
    drawn = [np.asarray(one.get_ydata(), float) for one in axis.lines]
    bands = [path for band in axis.collections for path in band.get_paths()]
    drawn += [np.asarray(path.vertices)[:, 1] for path in bands]
    values = np.concatenate([*drawn, np.empty(0)])
    positive = values[np.isfinite(values) & (values > 0)]
    if log and positive.size:
        low, high = np.log10(positive.min()), np.log10(positive.max())
        margin = max(0.05 * (high - low), 0.1)
        axis.set_yscale("log")
        axis.set_ylim(10 ** (low - margin), 10 ** (high + margin))
        log_ticks(axis.yaxis, low, high)
    axis.set_xlabel(label)
    if axis.get_xscale() == "linear":
        axis.set_xlim(left=0)
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=whole))
    else:
        low, high = np.log10(axis.get_xlim())
        log_ticks(axis.xaxis, low, high, most=4)
    if unit == "s":
        scale, unit = next((s for s in SECONDS if axis.get_xlim()[1] >= s[0]), SECONDS[-1])
        axis.set_xlabel(f"{label} [{unit}]")
        axis.xaxis.set_major_formatter(lambda value, _: f"{value / scale:g}")
    elif unit:
        axis.xaxis.set_major_formatter(EngFormatter(unit, places=None))


def log_ticks(axis: Axis, low: float, high: float, most: int = 8) -> None:
    """Give a logarithmic axis from 10**low to 10**high ticks that can be read, however short it is."""
    axis.set_minor_locator(NullLocator())
    if high - low >= 2:
        axis.set_major_locator(LogLocator(numticks=most))
        return
    few = high - low < 0.6  # then 1, 2 and 5 may all lie outside
    subs = (1, 3) if most < 2.5 * (high - low) else (1, 2, 5)
    axis.set_major_locator(MaxNLocator(3) if few else LogLocator(subs=subs))
    plain = low >= -2 and high <= 4
    axis.set_major_formatter(lambda value, _: f"{value:g}" if plain else as_power(value))


def as_power(value: float, plain: bool = False) -> str:
    """Write a tick as a power of ten: with mathematics, or plain."""
    digits, _, exponent = f"{value:.2e}".partition("e")
    front = "" if float(digits) == 1 else f"{float(digits):g}"
    if plain:
        return (
            front
            + "\N{MULTIPLICATION SIGN}" * bool(front)
            + "10"
            + str(int(exponent)).translate(RAISED)
        )
    times = r"\times" * bool(front)
    return f"${front}{times}10^{{{int(exponent)}}}$"


def plain_powers(axis: Axes) -> None:
    """Write powers of ten without mathematics, whose setting takes most of the time of a small figure."""
    formatter = axis.yaxis.get_major_formatter()
    ours = isinstance(formatter, FuncFormatter) and "$" in formatter(1e-9)
    if ours or isinstance(formatter, LogFormatterSciNotation):
        axis.yaxis.set_major_formatter(lambda value, _: as_power(value, plain=True))


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
