"""The figures of a comparison: curves, bytes to each accuracy, runs in fixed point beside their theory."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, MaxNLocator, NullLocator

from distopt.core import units as q
from distopt.show.figures import COLOURS, GREY, GROUND, INK, Sheet, curve, dress, line
from distopt.show.plot import ABSCISSAE, LABELS, draw_runs
from distopt.studies.compare import Comparison, Effort, Variant
from distopt.studies.rounding import Gaps

BAND: tuple[float, float] = (0.1, 0.9)
BOUNDS = {  # fixed colours and dashes, in every panel
    "RN_STALL": (INK, (0, (5, 1.5))),
    "SR": (COLOURS[1], (0, (5, 1.5))), "SR-ref": (COLOURS[2], (0, (5, 1.5, 1.2, 1.5))),
    "SR-unb": (COLOURS[3], (0, (1.2, 1.2))), "Q": (COLOURS[4], (0, (5, 1.5))),
    "A": (COLOURS[7], (0, (5, 1.5))), "C": (COLOURS[6], (0, (5, 1.5, 1.2, 1.5))),
    "D, heuristic": (COLOURS[5], (0, (1.2, 1.2))),
}  # fmt: skip
SEEDS = (
    " Lines are medians over the seeds, until half of them have ended; the bands hold all of them and, "
    "darker, the middle half; a run that has ended keeps its last value."
)


def of_comparison(c: Comparison) -> list[Sheet]:
    """Return all figures of a comparison; first those of variants in fixed point, if any are."""
    found = [runs(c.gaps), *bounded(c.gaps)] if c.gaps else []
    return [*found, curves(c), bars(c)]


def curves(c: Comparison) -> Sheet:
    """Draw the measure against iterations, bytes and seconds."""
    groups = {v.label: v.histories for v in c.variants}  # in the order, and so the colours, of bars

    def panel(axis: Axes, x: str) -> None:
        draw_runs(axis, groups, x, c.measure)
        for accuracy in c.accuracies:
            axis.axhline(accuracy, color=GREY, lw=0.8, ls=(0, (1, 2)), zorder=1)
        dress(axis, ABSCISSAE[x].label, ABSCISSAE[x].unit, whole=x == "iterations")
        axis.set_ylabel(LABELS[c.measure])

    several = any(len(some) > 1 for some in groups.values())
    caption = (
        f"{c.symbol} against iterations, bytes sent per agent (a broadcast counted once; logarithmic) "
        f"and seconds; dotted lines are the accuracies of the table.{SEEDS * several}"
    )
    panels = [partial(panel, x=x) for x in ("iterations", "bytes", "seconds")]
    return Sheet("curves", caption, panels, (4.0, 3.4), "beside", share=True)


def bars(c: Comparison) -> Sheet:
    """Draw the bytes that each variant needed for each accuracy."""
    several = any(len(v.runs) > 1 for v in c.variants)
    caption = "Bytes sent per agent until each accuracy" + ", and share of the baseline" * bool(
        c.baseline
    ) + (": medians, with lines from the smallest to the largest." if several else ".")  # fmt: skip

    def panel(axis: Axes, number: int, goal: str) -> None:
        draw_bars(axis, [v.efforts[number] for v in c.variants], c.variants)
        axis.set_yticks(range(len(c.variants)), [v.label for v in c.variants])
        axis.set_ylim(len(c.variants) - 0.4, -0.6)
        axis.set_title(f"to {c.symbol} ≤ {goal}")
        axis.set_xlabel("bytes per agent")

    goals = enumerate(c.accuracies.values())
    panels = [partial(panel, number=number, goal=goal) for number, goal in goals]
    width = 3.3 + 0.07 * min(max(len(v.label) for v in c.variants), 40)
    height = 1.2 + 0.34 * len(c.variants)
    return Sheet("bytes", caption, panels, (width, height), columns=len(panels), share=True)


def draw_bars(axis: Axes, efforts: Sequence[Effort], variants: Sequence[Variant]) -> None:
    """Draw one panel of bars with their numbers beside them."""
    ends = [e.spread["bytes_per_agent"]["largest"] for e in efforts if e.spread]
    largest = max(ends, default=0.0)
    for place, (e, variant) in enumerate(zip(efforts, variants, strict=True)):
        if e.bytes_per_agent is None:
            words = "not reached" if variant.histories else variant.status
            beside(axis, 0.0, place, words, color=GREY)
            continue
        axis.barh(place, e.bytes_per_agent, height=0.66, color=COLOURS[place % len(COLOURS)])
        low, high = (e.spread["bytes_per_agent"][name] for name in ("smallest", "largest"))
        if high > low:
            axis.plot([low, high], [place, place], color=INK, lw=1.1, marker="|", ms=5)
        text = q.nbytes(e.bytes_per_agent)
        if e.to_baseline is not None:
            text += f" ({q.share(e.to_baseline)})"
        beside(axis, high, place, text)
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    axis.set_xlim(0, 1.7 * largest or 1.0)  # room for the numbers
    axis.xaxis.set_major_locator(MaxNLocator(4) if largest else NullLocator())
    axis.xaxis.set_major_formatter(EngFormatter("B", places=None))


def beside(axis: Axes, x: float, y: float, text: str, **look: Any) -> None:
    """Write to the right of a bar, clear of the end of its range, on what lines lie behind."""
    axis.annotate(
        text, (x, y), (7, 0), textcoords="offset points", va="center", size=8.5,
        bbox={"boxstyle": "square,pad=0.1", "color": GROUND}, **look,
    )  # fmt: skip


def runs(found: Sequence[Gaps]) -> Sheet:
    """Draw the mean of f - f* over the runs of every variant, and the band of 80 % of them."""
    known = all(gaps.history.meta["minimum_kind"] == "exact" for gaps in found)

    def panel(axis: Axes) -> None:
        for number, gaps in enumerate(found):
            draw(axis, gaps, label=gaps.label, **line(number))
        finish(axis)
        axis.set_ylabel(f"{'f - f*' if known else 'f'}, mean and 10 % to 90 % of the runs")

    what = "f - f*" if known else "f"
    caption = f"{what} of all repeats: mean, and the band that holds 80 % of them."
    return Sheet("runs", caption, [panel], (6.4, 3.8), "beside")


def bounded(found: Sequence[Gaps]) -> list[Sheet]:
    """Draw every variant that bounds apply to with them, a panel each; none if there is none."""
    known = [(gaps, gaps.bounds) for gaps in found if gaps.bounds]
    names = dict.fromkeys(name for _, bounds in known for name in bounds)
    drawn = [np.concatenate([gaps.mean, *bounds.values()]) for gaps, bounds in known]
    shown = np.concatenate([*drawn, np.empty(0)])
    shown = shown[(shown > 0) & np.isfinite(shown)]

    def panel(axis: Axes, gaps: Gaps, bounds: Mapping[str, Any]) -> None:
        draw(axis, gaps, color=COLOURS[0], label="mean of the runs")
        for name in names:  # all of them, so that every legend is that of all panels
            colour, dashes = BOUNDS[name]
            values = bounds.get(name, np.full(gaps.mean.shape, np.nan))
            curve(axis, gaps.iterations, values, color=colour, ls=dashes, label=name)
        finish(axis)
        if shown.size:
            high = 1.5 * float(shown.max())
            axis.set_ylim(max(float(shown.min()) / 1.5, high * 1e-7), high)
        axis.set_title(gaps.label)
        axis.set_ylabel("f - f*")

    caption = "The mean with the bounds that apply (docs: fixed-point, bounds)."
    panels = [partial(panel, gaps=gaps, bounds=bounds) for gaps, bounds in known]
    return [Sheet("bounds", caption, panels, (4.0, 3.4), "beside", share=True)] if panels else []


def draw(axis: Axes, gaps: Gaps, **options: Any) -> None:
    """Draw the mean, and the band where there are several runs."""
    curve(axis, gaps.iterations, gaps.mean, **options)
    if gaps.values.shape[1] > 1:
        low, high = (np.maximum(gaps.quantile(q), 1e-300) for q in BAND)
        colour = options.get("color", INK)
        axis.fill_between(gaps.iterations, low, high, color=colour, alpha=0.15, lw=0)


def finish(axis: Axes) -> None:
    """Give the axes scales; cut off what is more than seven powers of ten below the start."""
    dress(axis, "iterations", whole=True)
    low, high = axis.get_ylim()
    axis.set_ylim(max(low, high * 1e-7), high)
