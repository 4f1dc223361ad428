"""Seconds of an exchange and of an iteration from bytes and rate: the alpha-beta model, fitted.

An exchange in which a host sends a message of m bytes to each of c neighbours over links of R bit/s takes

    t = alpha + beta c m + 8 sigma c w(m) / R

alpha: what every exchange costs (s), beta: what the hosts' own work costs (s per byte), w(m): what the
link carries for the message, with headers and acknowledgements (`overhead.on_link`), sigma: how much
longer than that it is occupied (both ways at once; 1 at best). An iteration takes its computing and its
exchanges, less what of a second vector travels while the gradient is computed (`distopt.engine.overlap`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from distopt.core import units as q
from distopt.studies.measure.overhead import on_link


@dataclass(frozen=True)
class ExchangeModel:
    """The constants of the model."""

    alpha: float  # s
    beta: float  # s per byte
    sigma: float  # 1

    def __str__(self) -> str:
        """Write the time of an exchange as a sum, up to the word for what sigma multiplies."""
        return f"{q.seconds(self.alpha)} + {self.beta * 1e9:.2g} ns a byte + {self.sigma:.2f} times"

    def exchange(self, message: float, copies: float, rate: float | None) -> float:
        """Return the seconds of one exchange in which each host sends a message `copies` times."""
        transfer = 8 * self.sigma * copies * on_link(message) / rate if rate else 0.0
        return self.alpha + self.beta * copies * message + transfer

    def later(self, latency: float) -> Self:
        """Return the model where every exchange takes so many seconds more."""
        return replace(self, alpha=self.alpha + latency)


# Measured on the test bed (docs: measured), where two agents share a core; a real network's alpha is
# about its round-trip time.
TEST_BED = ExchangeModel(alpha=2e-4, beta=1.3e-9, sigma=1.1)


@dataclass(frozen=True)
class MeasuredExchange:
    """One measured exchange: bytes of a message, how often a host sent it, rate, seconds."""

    message: float
    copies: float
    rate: float | None  # None: no limit
    seconds: float


@dataclass(frozen=True)
class CorrectedModel(ExchangeModel):
    """The model, and its error at the rates at which exchanges were measured."""

    measured: tuple[MeasuredExchange, ...]

    def exchange(self, message: float, copies: float, rate: float | None) -> float:
        """Return the seconds of one exchange, like `ExchangeModel.exchange`.

        The model's error at this very rate is interpolated over the logarithm of the message's size, and
        corrected.
        """
        model = super().exchange
        seconds = model(message, copies, rate)
        there = [p for p in self.measured if p.rate == rate]
        if not there:
            return seconds
        sizes = sorted({p.message for p in there})
        off = [
            np.mean([p.seconds / model(m, p.copies, rate) for p in there if p.message == m])
            for m in sizes
        ]
        return seconds * float(np.interp(np.log(max(message, 1)), np.log(sizes), off))


def fit(points: Sequence[MeasuredExchange]) -> ExchangeModel:
    """Fit the constants to measured exchanges, each weighted by its own time, none negative.

    Needs points of different sizes and rates; constants that they cannot separate come out as 0.
    """
    from scipy.optimize import nnls  # its import takes longer than a plan without it

    rows = [
        [1.0, p.copies * p.message, 8 * p.copies * on_link(p.message) / p.rate if p.rate else 0.0]
        for p in points
    ]
    seconds = np.array([p.seconds for p in points])
    relative = np.array(rows) / seconds[:, None]
    scales = relative.max(axis=0)
    scales[scales == 0] = 1.0
    found, _ = nnls(relative / scales, np.ones(seconds.size))
    alpha, beta, sigma = found / scales
    return ExchangeModel(float(alpha), float(beta), float(sigma))


@dataclass(frozen=True)
class Iteration:
    """What one iteration of a variant consists of, and how many are needed."""

    computing: float  # s, gradient, compression and the rest
    exchanges: float  # one after the other, per iteration
    message: float  # bytes
    copies: float  # that the busiest host of an exchange sends
    iterations: float = 1.0  # to the accuracy wanted
    gradient: float = 0.0  # s of computing during which the second half of a message travels

    def seconds(self, network: ExchangeModel, rate: float | None) -> float:
        """Return the seconds to the accuracy wanted."""
        whole = network.exchange(self.message, self.copies, rate)
        exchange = self.exchanges * whole
        if self.gradient:
            second = whole - network.exchange(self.message / 2, self.copies, rate)
            exchange -= min(self.gradient, max(second, 0.0))
        return self.iterations * (self.computing + exchange)


def break_even_rate(one: Iteration, other: Iteration, network: ExchangeModel) -> float:
    """Return the rate (bit/s) below which `one` is faster than `other`; 0 if never, inf if always.

    Both times are of the form a + b / R, so they cross at one rate at most.
    """
    a, b = one.seconds(network, None), transfer(one, network)
    other_a, other_b = other.seconds(network, None), transfer(other, network)
    if b >= other_b:
        return float("inf") if a <= other_a and b == other_b else 0.0
    return float("inf") if a <= other_a else (other_b - b) / (a - other_a)


def transfer(one: Iteration, network: ExchangeModel) -> float:
    """Return the bits on the link to the accuracy wanted, headers included: b of a + b / R."""
    on_one_link = one.copies * on_link(one.message)
    return 8 * network.sigma * one.iterations * one.exchanges * on_one_link


def crossing(rates: Sequence[float], one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return the rate at which two measured times cross, None if they do not between these rates.

    Between two rates both times are taken as a + b / R.
    """
    order = np.argsort(rates)
    slow = 1.0 / np.asarray(rates, float)[order]
    gap = (np.asarray(one, float) - np.asarray(other, float))[order]
    for i in range(len(gap) - 1):
        if gap[i] * gap[i + 1] < 0:
            share = gap[i] / (gap[i] - gap[i + 1])
            return float(1.0 / (slow[i] + share * (slow[i + 1] - slow[i])))
    return None


def measured_exchanges(variants: Sequence[dict[str, Any]]) -> list[MeasuredExchange]:
    """Take the bare exchanges out of what `distopt measure` has written."""
    return [
        MeasuredExchange(b["nbytes"], b["neighbours"], e["rate"], b["seconds"])
        for v in variants
        for e in v["links"]
        if (b := e["bare"])
    ]


def iteration(entry: dict[str, Any], iterations: float = 1.0) -> Iteration:
    """Take what an iteration consists of out of one link's measurement."""
    s, bare = entry["seconds_per_iteration"], entry["bare"]
    return Iteration(
        computing=s["gradient"] + s["compression"] + s["rest"],
        exchanges=bare["exchanges"],
        message=bare["nbytes"],
        copies=bare["copies"],
        iterations=iterations,
    )
