"""When compression pays: break-even rates, measured and by the model, and the figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, LogLocator, NullLocator

from distopt.core import units as q
from distopt.show.figures import canvas, legend_beside, line
from distopt.studies.measure.model import Network, bare_points, break_even, crossing, fit, iteration

Variant = dict[str, Any]


def judge(variants: Sequence[Variant], accuracy: float, baseline: str) -> Network | None:
    """Add to every variant the rate below which it is faster than the baseline to an accuracy.

    Returns
    -------
    Network or None
        The model fitted to the bare exchanges of all variants; None without several rates.
    """
    points = bare_points(variants)
    network = fit(points) if len({p.rate for p in points}) > 1 else None
    base = next((v for v in variants if v["variant"] == baseline), None)
    for v in variants:
        if base is None or v is base or len(times(v, accuracy)) < 2:
            continue
        v["break_even"] = {
            "against": baseline,
            "accuracy": accuracy,
            "measured": measured(v, base, accuracy),
            "model": modelled(v, base, accuracy, network) if network else None,
        }
    return network


def times(variant: Variant, accuracy: float) -> dict[float, float]:
    """Map the rates (bit/s; inf without a limit) to the seconds to an accuracy."""
    return {
        (e["rate"] or np.inf): t["seconds"]
        for e in variant["links"]
        for t in e["accuracies"]
        if t and t["accuracy"] == accuracy
    }


def measured(one: Variant, other: Variant, accuracy: float) -> float | str | None:
    """Return the rate at which the measured times cross, or which is faster at all of them."""
    mine, theirs = times(one, accuracy), times(other, accuracy)
    rates = sorted(set(mine) & set(theirs))
    if not rates:
        return None
    faster = [mine[r] < theirs[r] for r in rates]
    if all(faster):
        return "always"
    if not any(faster):
        return "never"
    return crossing(rates, [mine[r] for r in rates], [theirs[r] for r in rates])


def modelled(one: Variant, other: Variant, accuracy: float, network: Network) -> float | str | None:
    """Return the rate at which the modelled times cross, "always" or "never"."""
    parts = []
    for v in (one, other):
        fastest = max(v["links"], key=lambda e: e["rate"] or np.inf)
        reached = next((t for t in fastest["accuracies"] if t and t["accuracy"] == accuracy), None)
        if reached is None or not fastest["bare"]:
            return None
        parts.append(iteration(v, fastest, reached["iterations"]))
    mine, theirs = parts
    rate = break_even(mine, theirs, network)
    return "never" if rate == 0 else "always" if np.isinf(rate) else rate


def rate_text(rate: float | str | None) -> str:
    """Write a rate for a table.

    >>> rate_text(2.5e8), rate_text("never"), rate_text(None)
    ('250 Mbit/s', 'never', '-')
    """
    if rate is None or isinstance(rate, str):
        return rate or "-"
    power, unit = max(
        (p, u) for p, u in ((0, ""), (3, "k"), (6, "M"), (9, "G")) if rate >= 10**p or not p
    )
    return f"{rate / 10**power:.3g} {unit}bit/s"


def seconds_against_rate(variants: Sequence[Variant], accuracy: float, title: str) -> Figure:
    """Draw seconds to an accuracy against the rate of the links, one line per variant.

    Open marks are projected from the pace of the first iterations; the last place on the axis is the
    bed without a limit.
    """
    with canvas(1, 8.2, 4.4) as (figure, (axis,)):
        rates = sorted({r for v in variants for r in times(v, accuracy)})
        limited = [r for r in rates if np.isfinite(r)]
        place = {r: r for r in limited} | {np.inf: 10 * max(limited, default=1e8)}
        axis.set_xscale("log")
        axis.set_yscale("log")
        for number, v in enumerate(variants):
            known = times(v, accuracy)
            if not known:
                continue
            xs = sorted(known)
            style = line(number)
            axis.plot([place[r] for r in xs], [known[r] for r in xs], label=v["variant"], **style)
            open_marks = projected(v, accuracy)
            for r in xs:
                axis.plot(
                    place[r], known[r], "o", ms=4.5, color=style["color"], mew=1.2,
                    mfc="white" if r in open_marks else style["color"],
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


def projected(variant: Variant, accuracy: float) -> set[float]:
    """Return the rates at which the seconds are projected."""
    return {
        (e["rate"] or np.inf)
        for e in variant["links"]
        for t in e["accuracies"]
        if t and t["accuracy"] == accuracy and t["projected"]
    }


def network_sentence(network: Network | Mapping[str, float]) -> str:
    """Say what an exchange takes by the model."""
    n = network if isinstance(network, Network) else Network(**network)
    return (
        f"An exchange takes {q.seconds(n.alpha)} + {n.beta * 1e9:.2g} ns a byte + {n.sigma:.2f} times "
        "what its packets take at the link's rate (fitted)."
    )
