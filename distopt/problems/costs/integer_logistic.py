"""Logistic regression on int8 features whose gradient is an exact sum of integers, for fixed point."""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from distopt.core.arrays import F64, I64
from distopt.core.errors import ConfigError, DataError
from distopt.core.kernel import kernel
from distopt.core.parameters import Field, parameters
from distopt.core.workspace import ThreadWorkspace
from distopt.fixedpoint.arithmetic import SIGMOID_BITS, encode, sigmoid_table
from distopt.fixedpoint.format import Codes, Format
from distopt.fixedpoint.problems import IntegerProblem, terms_of
from distopt.problems.costs.base import Cost, Family
from distopt.problems.costs.data import Shipped, Split, deal
from distopt.problems.costs.logistic import loss_slope, mean_loss, signs

FEATURES = Format(1, 7)  # of the data
MARGINS = Format(5, 11)  # of a's, where the sigmoid is looked up
RESIDUAL_BITS = 15  # fraction bits of sigmoid - label, an int16


def reciprocal(count: int) -> tuple[int, int]:
    """Return (m, s) with m 2^-s the nearest to 1 / count of those with 2^14 <= m <= 2^15.

    >>> reciprocal(4), reciprocal(569)
    ((16384, 16), (29485, 24))
    """
    s = 14 + (count - 1).bit_length()
    return round(2**s / count), s


@parameters("problem")
class IntegerLogistic(Family):
    """f(x) = c sum_s log(1 + exp(-b_s a_s'x)) + (lam / 2) ||x||^2 over all samples, c = 1/N to 15 bits.

    Features are standardised (and a constant one is appended), divided by `scale` and rounded to
    Q1.7; those beyond saturate (or are refused) and are counted. f_i is n times the samples of agent i
    and its part of the coordinates of the regulariser; lam = 2^-lam_bits. On codes, margins a_s'x are
    exact, rounded to Q5.11 for the table of the sigmoid, and sigmoid - label to Q1.15; sums are exact.
    """

    dataset: Literal["breast_cancer", "digits"] = "breast_cancer"
    split: Split = "sorted"
    sorted_fraction: Annotated[float, Field(ge=0, le=1)] = 1.0
    concentration: Annotated[float, Field(gt=0)] = 0.5
    positive: tuple[float, ...] | Literal["auto"] = "auto"
    scale: Annotated[float, Field(gt=0)] = 4.0  # standard deviations that become 1
    lam_bits: Annotated[int, Field(ge=0, le=16)] = 7  # lam = 2^-lam_bits
    overflow: Literal["saturate", "refuse"] = "saturate"  # of features beyond `scale` deviations

    def cost(self, agent: int, agents: int, seed: int) -> "IntegerLogisticCost":
        source = Shipped(self.dataset)
        index = deal(
            source.labels, agents, self.split, seed, self.sorted_fraction, self.concentration
        )[agent]
        rows, saturated = self.quantised(source, index)
        labels = signs(source.labels, self.positive)[index]
        terms = terms_of(agent, agents, rows.shape[1])
        return IntegerLogisticCost(
            rows, labels, source.labels.size, self.lam_bits, agents, terms, saturated
        )

    def quantised(self, source: Shipped, index: I64) -> tuple[NDArray[np.int8], int]:
        """Return the features of some samples as codes, and how many saturated."""
        mean, deviation = source.moments()
        table = (source.rows(index) - mean) / np.where(deviation > 0, deviation, 1.0) / self.scale
        try:
            codes, saturated = encode(np.ascontiguousarray(table), FEATURES, overflow=self.overflow)
        except DataError as error:
            raise DataError(
                f"Features divided by problem.scale = {self.scale:g} deviations: {error}"
            ) from None
        constant = np.full(len(codes), FEATURES.highest_code)
        return np.column_stack([codes, constant]).astype(np.int8), saturated

    def dimension_for(self, agents: int, seed: int) -> int:
        return int(Shipped(self.dataset).features) + 1

    def minimum(self, agents: int, seed: int) -> float:
        """Newton's method on all samples: f is strongly convex."""
        cost = self.cost(0, 1, seed)
        x, g = np.zeros(cost.dimension), np.empty(cost.dimension)
        for _ in range(100):
            cost.gradient(x, g)
            move = np.linalg.solve(cost.hessian(x), g)
            length = 1.0
            while length > 1e-10 and cost.value(x - length * move) > cost.value(x):
                length /= 2
            x = x - length * move
            if np.abs(move).max() < 1e-12:
                break
        return cost.value(x)


class IntegerLogisticCost:
    """One agent's f_i of `IntegerLogistic`, in float64 on the quantised data.

    `smoothness` is a bound, n (c ||A||_2^2 / 4 + lam); `lower_bound` 0 is one too.

    Parameters
    ----------
    rows : int8[m, d]
        Codes of the agent's samples.
    labels : float64[m]
        +1 or -1.
    samples : int
        N, of all agents.
    lam_bits, agents : int
    terms : (int, int)
        The first and the end of the coordinates whose regulariser is this agent's.
    saturated : int
        Features that did not fit.
    """

    lower_bound = 0.0
    wide = True

    def __init__(
        self, rows: NDArray[np.int8], labels: F64, samples: int, lam_bits: int, agents: int,
        terms: tuple[int, int], saturated: int,
    ) -> None:  # fmt: skip
        self.rows, self.labels, self.samples_in_all = rows, labels, samples
        self.lam_bits, self.terms, self.saturated = lam_bits, terms, saturated
        self.dimension, self.agents = rows.shape[1], agents
        code, bits = reciprocal(samples)
        self._c = code * 2.0**-bits
        self._signed = rows * FEATURES.unit * labels[:, None]
        self._lam = np.zeros(self.dimension)
        self._lam[terms[0] : terms[1]] = 2.0**-lam_bits
        self._work = ThreadWorkspace()
        norm = float(np.linalg.norm(self._signed, 2)) if labels.size else 0.0
        self.smoothness = agents * (self._c * norm**2 / 4 + float(self._lam.max()))

    def integer(self, format: Format) -> "IntegerLogisticProblem":
        """Return the agent's part of f on codes."""
        return IntegerLogisticProblem(self, format)

    def value(self, x: F64) -> float:
        margins = self._work.array("margins", self.labels.size)
        np.dot(self._signed, x, out=margins)
        loss = self._c * margins.size * float(mean_loss(margins))
        return self.agents * (loss + float(np.dot(self._lam, x**2)) / 2)

    def gradient(self, x: F64, out: F64) -> None:
        margins = self._work.array("margins", self.labels.size)
        np.dot(self._signed, x, out=margins)
        loss_slope(margins, margins)
        np.dot(self._signed.T, margins, out=out)
        out *= self._c * margins.size
        out += self._lam * x
        out *= self.agents

    def hessian(self, x: F64) -> F64:
        """Return the matrix of second derivatives."""
        p = 1 / (1 + np.exp(-np.abs(self._signed @ x)))
        weighted = self._signed * (self._c * p * (1 - p))[:, None]
        return np.asarray(self.agents * (self._signed.T @ weighted + np.diag(self._lam)))


class DataProblem(IntegerProblem):
    """One agent's part of a sum over the samples of all agents, on codes.

    L depends on all data, which no agent has.
    """

    def __init__(self, cost: Cost, format: Format, samples: int, agents: int) -> None:
        if format.fraction_bits < 4 or format.bits > 16:
            raise ConfigError(
                f"format = {format}: this problem takes weights of at most 16 bits with at least 4 "
                "fraction bits."
            )
        self.format, self.dimension = format, cost.dimension
        self._value, self._agents = cost.value, agents
        self._code, self._code_bits = reciprocal(samples)

    def value(self, x: F64) -> F64:
        return np.array([self._value(row) for row in x]) / self._agents


class IntegerLogisticProblem(DataProblem):
    """The same of `IntegerLogistic`; mu = lam."""

    def __init__(self, cost: IntegerLogisticCost, format: Format) -> None:
        super().__init__(cost, format, cost.samples_in_all, cost.agents)
        self.saturated = cost.saturated
        self._cost = cost
        self._labels = (cost.labels > 0).astype(np.int8)
        self._table = sigmoid_table(MARGINS)
        self._drop = FEATURES.fraction_bits + format.fraction_bits - MARGINS.fraction_bits
        self.gradient_bits = RESIDUAL_BITS + FEATURES.fraction_bits + self._code_bits
        self._lift = self.gradient_bits - format.fraction_bits - cost.lam_bits
        self.pl = 2.0**-cost.lam_bits

    def gradient(self, x: Codes, out: I64) -> None:
        """c sum_s (sigmoid(a_s'x) - label_s) a_s + lam x, exact but for the margins and residuals."""
        first, end = self._cost.terms
        logistic_gradient(
            self._cost.rows, self._labels, x, self._table, self._drop, self._code, self._lift, first,
            end, out,
        )  # fmt: skip


@kernel
def round_to_even(p: np.int64, drop: int) -> np.int64:
    """Return p 2^-drop rounded to nearest, ties to even; drop >= 0."""
    floor = p >> np.int64(drop)
    frac = p - (floor << np.int64(drop))
    half = (np.int64(1) << np.int64(drop)) >> np.int64(1)
    up = (frac > half) | ((frac == half) & (frac > 0) & ((floor & 1) == 1))
    return np.int64(floor + np.int64(up))


@kernel
def logistic_gradient(
    rows: NDArray[np.int8], labels: NDArray[np.int8], x: Codes, table: NDArray[np.int32], drop: int,
    factor: int, lift: int, first: int, end: int, out: I64,
) -> None:  # fmt: skip
    """out_r = factor sum_s (sigmoid(a_s'x_r) - label_s) a_s, plus 2^lift x_r from first to end."""
    for r in range(x.shape[0]):
        weights, target = x[r], out[r]
        target[:] = 0
        for s in range(rows.shape[0]):
            row = rows[s]
            margin = np.int64(0)
            for j in range(row.size):
                margin += np.int64(row[j]) * np.int64(weights[j])
            code = np.int64(min(max(int(round_to_even(margin, drop)), -32768), 32767))
            residual = np.int64(table[code + 32768]) - (np.int64(labels[s]) << np.int64(30))
            residual = np.int64(min(int(round_to_even(residual, 15)), 32767))
            for j in range(row.size):
                target[j] += residual * np.int64(row[j])
        for j in range(target.size):
            target[j] *= np.int64(factor)
        for j in range(first, end):
            target[j] += np.int64(weights[j]) << np.int64(lift)


assert SIGMOID_BITS == 30  # what logistic_gradient takes the table to have
