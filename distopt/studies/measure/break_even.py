"""When compression pays: the rate of the links below which a variant is faster, measured and modelled."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from distopt.studies.measure.model import (
    ExchangeModel,
    break_even_rate,
    crossing,
    fit,
    iteration,
    measured_exchanges,
)
from distopt.studies.measure.summary import Variant


def judge(variants: Sequence[Variant], accuracy: float, baseline: str) -> ExchangeModel | None:
    """Add to every variant the rate below which it is faster than the baseline to an accuracy.

    Returns the model fitted to the bare exchanges of all variants; None without several rates.
    """
    points = measured_exchanges(variants)
    network = fit(points) if len({p.rate for p in points}) > 1 else None
    base = next((v for v in variants if v["variant"] == baseline), None)
    for v in variants:
        if base is None or v is base or len(reached(v, accuracy)) < 2:
            continue
        v["break_even"] = {
            "against": baseline,
            "accuracy": accuracy,
            "measured": measured(v, base, accuracy),
            "model": modelled(v, base, accuracy, network) if network else None,
        }
    return network


def reached(variant: Variant, accuracy: float) -> dict[float, dict[str, Any]]:
    """Map the rates (bit/s; inf without a limit) to what an accuracy took there, if it was reached."""
    return {
        (e["rate"] or np.inf): t
        for e in variant["links"]
        for t in e["accuracies"]
        if t and t["accuracy"] == accuracy
    }


def measured(one: Variant, other: Variant, accuracy: float) -> float | str | None:
    """Return the rate at which the measured times cross, or which is faster at all of them."""
    first, second = reached(one, accuracy), reached(other, accuracy)
    rates = sorted(first.keys() & second.keys())
    if not rates:
        return None
    mine, theirs = ([found[r]["seconds"] for r in rates] for found in (first, second))
    faster = [a < b for a, b in zip(mine, theirs, strict=True)]
    if all(faster):
        return "always"
    return crossing(rates, mine, theirs) if any(faster) else "never"


def modelled(
    one: Variant, other: Variant, accuracy: float, network: ExchangeModel
) -> float | str | None:
    """Return the rate at which the modelled times cross, "always" or "never"."""
    parts = []
    for v in (one, other):
        fastest = max(v["links"], key=lambda e: e["rate"] or np.inf)
        there = reached(v, accuracy).get(fastest["rate"] or np.inf)
        if there is None or not fastest["bare"]:
            return None
        parts.append(iteration(fastest, there["iterations"]))
    mine, theirs = parts
    rate = break_even_rate(mine, theirs, network)
    return "never" if rate == 0 else "always" if np.isinf(rate) else rate


def network_sentence(network: ExchangeModel) -> str:
    """Say what an exchange takes by the model."""
    return f"An exchange takes {network} what its packets take at the link's rate (fitted)."
