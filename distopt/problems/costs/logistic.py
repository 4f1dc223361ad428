"""Logistic regression with a nonconvex regulariser, on real or synthetic data."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from distopt.core.arrays import F64, I64
from distopt.core.errors import ConfigError, DataError
from distopt.core.files import locate
from distopt.core.kernel import kernel
from distopt.core.parameters import Field, nearest, parameters
from distopt.core.workspace import ThreadWorkspace
from distopt.problems.costs.base import Family
from distopt.problems.costs.data import Shipped, Split, Synthetic, deal
from distopt.problems.costs.libsvm import Libsvm
from distopt.problems.costs.tables import append_ones, make_table

NAMES = (*Shipped.NAMES, "synthetic")


@parameters("problem")
class Logistic(Family):
    """f_i(x) = (1/m) sum_s log(1 + exp(-b_s a_s'x)) + lam sum_l alpha x_l^2 / (1 + alpha x_l^2).

    The sums run over the m samples (features a_s, label b_s = +1 or -1) of agent i and over all d
    unknowns. Nonconvex, because the regulariser is concave for alpha x^2 > 1/3.

    `dataset` is ``"breast_cancer"`` or ``"digits"`` (from scikit-learn), ``"synthetic"``, or the
    path of a LIBSVM file. With two labels the larger one is +1; with more the even ones are, unless
    `positive` lists them. `standardize` gives each feature mean 0 and deviation 1 over all agents'
    samples, `bias` appends a feature that is always 1; both are on for the shipped sets, `bias`
    alone for files, neither for synthetic data. Splits: docs, costs.
    """

    dataset: str = "breast_cancer"
    split: Split = "sorted"
    sorted_fraction: float = Field(default=1.0, ge=0, le=1)
    concentration: float = Field(default=0.5, gt=0)
    lam: float = Field(default=1e-3, ge=0)
    alpha: float = Field(default=1.0, gt=0)
    positive: tuple[float, ...] | Literal["auto"] = "auto"
    standardize: bool | Literal["auto"] = "auto"
    bias: bool | Literal["auto"] = "auto"
    features: int | None = Field(default=None, ge=1)  # synthetic (default 50) and files
    samples: int = Field(default=60, ge=1)  # of each agent, synthetic only

    def cost(self, agent: int, agents: int, seed: int) -> "LogisticCost":
        source = self._source(agents, seed)
        index = deal(
            source.labels, agents, self.split, seed, self.sorted_fraction, self.concentration
        )[agent]
        rows = source.rows(index)
        if self._standardize:
            mean, deviation = source.moments()
            table = rows if isinstance(rows, np.ndarray) else rows.toarray()
            rows = (table - mean) / np.where(deviation > 0, deviation, 1.0)
        if self._bias:
            rows = append_ones(rows)
        return LogisticCost(rows, signs(source.labels, self.positive)[index], self.lam, self.alpha)

    def dimension_for(self, agents: int, seed: int) -> int:
        return self._source(agents, seed).features + self._bias

    def located(self, folder: Path) -> Self:
        if self.dataset in NAMES:
            return self
        path = locate(self.dataset, folder)
        if not path.is_file():
            raise ConfigError(
                f'problem.dataset = "{self.dataset}" is neither a file nor a known data '
                f"set{nearest(self.dataset, NAMES) or '.'} Known: {', '.join(sorted(NAMES))}."
            )
        return replace(self, dataset=str(path))

    @property
    def _standardize(self) -> bool:
        return self.dataset in Shipped.NAMES if self.standardize == "auto" else self.standardize

    @property
    def _bias(self) -> bool:
        return self.dataset != "synthetic" if self.bias == "auto" else self.bias

    def _source(self, agents: int, seed: int) -> Shipped | Synthetic | Libsvm:
        if self.dataset in Shipped.NAMES:
            return Shipped(self.dataset)
        if self.dataset == "synthetic":
            return Synthetic(agents, self.samples, self.features or 50, seed)
        return Libsvm(Path(self.dataset), self.features)


def signs(labels: F64, positive: tuple[float, ...] | Literal["auto"]) -> F64:
    """Map labels to +1 and -1, float64[N].

    Raises
    ------
    DataError
        If all samples would be of one sign, or a listed label does not occur.
    """
    known = np.unique(labels)
    if positive != "auto":
        absent = [label for label in positive if label not in known]
        if absent:
            raise DataError(
                f"problem.positive lists the label {absent[0]:g}, which no sample has; accepted: "
                f"{listed(known)}."
            )
        chosen = np.isin(labels, positive)
    elif known.size == 2:
        chosen = labels == known[1]
    elif (known == np.rint(known)).all():
        chosen = labels % 2 == 0
    else:
        raise DataError(
            f"The labels {listed(known)} are neither two nor whole numbers; set problem.positive "
            "to the list of those that count as +1."
        )
    if chosen.all() or not chosen.any():
        raise DataError(
            f"All samples would have the same sign; the labels are {listed(known)}. Set "
            "problem.positive to the list of those that count as +1."
        )
    return np.where(chosen, 1.0, -1.0)


def listed(labels: F64) -> str:
    """Write labels out, the first ten of them."""
    return ", ".join(f"{label:g}" for label in labels[:10]) + (", ..." if labels.size > 10 else "")


class LogisticCost:
    """One agent's f_i of `Logistic`.

    With c_s = -b_s / (m (1 + exp(b_s a_s'x))), gradient

        sum_s c_s a_s + lam 2 alpha x / (1 + alpha x^2)^2      (entry by entry).

    Constants: `smoothness` is a bound, ||A||_2^2 / (4 m) + 2 lam alpha (for sparse tables ||A||_2
    comes from an iteration, to a relative tolerance of 1e-6); `lower_bound` = 0 is a bound. The
    minimum is unknown.

    Parameters
    ----------
    rows : float64[m, d], or a scipy CSR array of that shape
    signs : float64[m]
        +1 or -1.
    lam, alpha : float
        Weight and scale of the regulariser.
    """

    lower_bound = 0.0
    wide = True

    def __init__(self, rows: Any, signs: F64, lam: float, alpha: float) -> None:
        self.rows = make_table(rows, signs)
        self.samples: int = self.rows.shape[0]
        self.dimension: int = self.rows.shape[1]
        self.lam = lam
        self.alpha = alpha
        self._work = ThreadWorkspace()

    @cached_property
    def smoothness(self) -> float:
        """||A||_2^2 / (4 m) + 2 lam alpha."""
        return self.rows.norm() ** 2 / (4 * self.samples) + 2 * self.lam * self.alpha

    def value(self, x: F64) -> float:
        margins = self._work.array("margins", self.samples)
        self.rows.times(x, margins)
        return float(mean_loss(margins) + regularizer(x, self.lam, self.alpha))

    def gradient(self, x: F64, out: F64) -> None:
        self._gradient(self.rows, x, out)

    def batch_gradient(self, x: F64, index: I64, out: F64) -> None:
        self._gradient(self.rows.take(index), x, out)

    def _gradient(self, rows: Any, x: F64, out: F64) -> None:
        margins = self._work.array("margins", rows.shape[0])
        rows.times(x, margins)
        loss_slope(margins, margins)
        rows.transposed_times(margins, out)
        add_regularizer_slope(x, self.lam, self.alpha, out)

    def hvp(self, x: F64, v: F64, out: F64) -> None:
        margins, weights = self._work.array("margins", self.samples), np.empty(self.samples)
        self.rows.times(x, margins)
        loss_curvature(margins, weights)
        self.rows.times(v, margins)
        margins *= weights
        self.rows.transposed_times(margins, out)
        add_regularizer_curvature(x, v, self.lam, self.alpha, out)


@kernel
def mean_loss(margins: F64) -> float:
    """(1/m) sum_s log(1 + exp(-u_s)), without overflow."""
    total = 0.0
    for s in range(margins.size):
        u = margins[s]
        total += np.log1p(np.exp(-abs(u))) + max(-u, 0.0)
    return total / margins.size


@kernel
def loss_slope(margins: F64, out: F64) -> None:
    """out_s = -1 / (m (1 + exp(u_s))); out may be the margins themselves."""
    m = margins.size
    for s in range(m):
        # exp of a number above 709 overflows to infinity, whose reciprocal is the right 0.
        out[s] = -1.0 / (m * (1.0 + np.exp(margins[s])))


@kernel
def loss_curvature(margins: F64, out: F64) -> None:
    """out_s = p (1 - p) / m with p = 1 / (1 + exp(-u_s))."""
    m = margins.size
    for s in range(m):
        t = np.exp(-abs(margins[s]))
        out[s] = t / ((1.0 + t) * (1.0 + t) * m)


@kernel
def regularizer(x: F64, lam: float, alpha: float) -> float:
    """Return lam sum_l alpha x_l^2 / (1 + alpha x_l^2)."""
    total = 0.0
    for k in range(x.size):
        t = alpha * x[k] * x[k]
        total += t / (1.0 + t) if t < 1e300 else 1.0
    return lam * total


@kernel
def add_regularizer_slope(x: F64, lam: float, alpha: float, out: F64) -> None:
    """out_l += lam 2 alpha x_l / (1 + alpha x_l^2)^2."""
    for k in range(x.size):
        t = 1.0 + alpha * x[k] * x[k]
        out[k] += 2.0 * lam * alpha * x[k] / (t * t)


@kernel
def add_regularizer_curvature(x: F64, v: F64, lam: float, alpha: float, out: F64) -> None:
    """out_l += lam 2 alpha (1 - 3 alpha x_l^2) / (1 + alpha x_l^2)^3 v_l."""
    for k in range(x.size):
        t = alpha * x[k] * x[k]
        out[k] += 2.0 * lam * alpha * (1.0 - 3.0 * t) / (1.0 + t) ** 3 * v[k]
