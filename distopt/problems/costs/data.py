"""Labelled samples and how they are dealt out to the agents.

A source has the `labels` of all samples (the split needs them) as they stand in the data, float64[N],
their number of `features`, and their `moments`: mean and standard deviation of each feature. It returns
only the `rows` that are asked for, float64[len(index), features] or CSR if sparse, so a rank never holds
another agent's data.
"""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from distopt.core.arrays import F64, I64
from distopt.core.errors import DataError
from distopt.core.randomness import make_key, normal, uniform
from distopt.core.streams import Stream
from distopt.problems.costs.spectrum import permutation

Split: TypeAlias = Literal["sorted", "iid", "dirichlet"]


class Shipped:
    """A data set that comes with scikit-learn: ``breast_cancer`` or ``digits``."""

    NAMES = ("breast_cancer", "digits")

    def __init__(self, name: str) -> None:
        self.name = name
        self.labels, self._mean, self._deviation = survey(name)
        self.features = self._mean.size

    def rows(self, index: I64) -> F64:
        return read(self.name)[0][index]  # a copy; the table itself is dropped

    def moments(self) -> tuple[F64, F64]:
        return self._mean, self._deviation


@lru_cache(maxsize=2)
def survey(name: str) -> tuple[F64, F64, F64]:
    """Return labels, means and standard deviations of a shipped data set, which all agents may know."""
    table, labels = read(name)
    found = labels, table.mean(axis=0), table.std(axis=0)
    for array in found:
        array.flags.writeable = False
    return found


def read(name: str) -> tuple[F64, F64]:
    """Return the table and the labels of a shipped data set.

    Its file is read without importing scikit-learn, which takes seconds on a busy machine.
    """
    spec = find_spec("sklearn")
    folder = Path(str(spec.origin)).parent / "datasets" / "data" if spec else Path()
    for path in folder.glob(f"{name}.csv*"):
        head = 0 if path.suffix == ".gz" else 1
        content = np.loadtxt(path, delimiter=",", skiprows=head, encoding="utf-8")
        return np.ascontiguousarray(content[:, :-1]), content[:, -1].copy()
    from sklearn import datasets

    table, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
    return np.ascontiguousarray(table, np.float64), labels.astype(np.float64)


class Synthetic:
    """Normal features and labels drawn from a logistic model with a normal weight vector.

    Sample s belongs to block s // `samples`, whose rows are a pure function of (seed, block), so
    any host makes any row. Features are independent standard normal; the label is 1 with
    probability 1 / (1 + exp(-a'w)), else -1, where w is normal with E ||w||^2 = 9.
    """

    def __init__(self, blocks: int, samples: int, features: int, seed: int) -> None:
        self.blocks = blocks
        self.samples = samples
        self.features = features
        self.seed = seed

    @property
    def labels(self) -> F64:
        return synthetic_labels(self.blocks, self.samples, self.features, self.seed)

    def rows(self, index: I64) -> F64:
        out = np.empty((index.size, self.features))
        block, place = np.divmod(index, self.samples)
        for b in np.unique(block):
            made = synthetic_block(int(b), self.samples, self.features, self.seed)
            out[block == b] = made[place[block == b]]
        return out

    def moments(self) -> tuple[F64, F64]:  # of the distribution
        return np.zeros(self.features), np.ones(self.features)


def synthetic_block(block: int, samples: int, features: int, seed: int) -> F64:
    """Return the features of one block, float64[samples, features]."""
    key = make_key(seed, block, Stream.SAMPLES, 0)
    return normal(key, samples * features).reshape(samples, features)


@lru_cache(maxsize=4)
def synthetic_labels(blocks: int, samples: int, features: int, seed: int) -> F64:
    """Return all labels, float64[blocks * samples]; one block's features at a time."""
    w = 3 / np.sqrt(features) * normal(make_key(seed, 0, Stream.TEACHER), features)
    labels = np.empty((blocks, samples))
    for b in range(blocks):
        margin = synthetic_block(b, samples, features, seed) @ w
        dice = uniform(make_key(seed, b, Stream.SAMPLES, 1), samples)
        labels[b] = np.where(dice < 1 / (1 + np.exp(-margin)), 1.0, -1.0)
    labels.setflags(write=False)
    return labels.ravel()


def deal(
    labels: F64, agents: int, split: Split, seed: int, sorted_fraction: float, concentration: float
) -> list[I64]:
    """Deal samples out to agents; every sample goes to exactly one.

    Parameters
    ----------
    labels : float64[N]
    agents : int
    split : str
        ``"sorted"``: the share `sorted_fraction` of the samples, ordered by label, in contiguous
        parts, the others at random. ``"iid"``: all at random. Both give parts whose sizes differ by
        at most one. ``"dirichlet"``: each class falls to the agents in proportions drawn from a
        symmetric Dirichlet distribution with `concentration`; sizes differ.
    seed : int
        ``problem.seed``.

    Raises
    ------
    DataError
        If an agent gets no sample.
    """
    if split == "dirichlet":
        parts = deal_dirichlet(labels, agents, seed, concentration)
    else:
        count = round(labels.size * sorted_fraction) if split == "sorted" else 0
        parts = deal_sorted(labels, agents, seed, count)
    for agent, part in enumerate(parts):
        if part.size == 0:
            advice = (
                "raise problem.concentration, lower problem.agents or try another problem.seed"
                if split == "dirichlet"
                else f"accepted here: problem.agents <= {labels.size}"
            )
            raise DataError(
                f"Agent {agent} of {agents} gets none of the {labels.size} samples with "
                f'problem.split = "{split}"; {advice}.'
            )
    return parts


def deal_sorted(labels: F64, agents: int, seed: int, count: int) -> list[I64]:
    """Deal `count` samples in the order of their labels and the others at random."""
    order = permutation(make_key(seed, 0, Stream.SPLIT), labels.size)
    ordered = np.sort(order[:count])
    ordered = ordered[np.argsort(labels[ordered], kind="stable")]
    # The larger parts come first among the ordered and last among the others, so that the sums
    # differ by at most one.
    first = np.array_split(ordered, agents)
    last = np.array_split(order[count:], agents)
    sizes = [part.size for part in reversed(last)]
    others = np.split(order[count:], np.cumsum(sizes)[:-1])
    return [np.concatenate(pair) for pair in zip(first, others, strict=True)]


def deal_dirichlet(labels: F64, agents: int, seed: int, concentration: float) -> list[I64]:
    """Deal each class in random proportions."""
    parts: list[list[I64]] = [[] for _ in range(agents)]
    for number, label in enumerate(np.unique(labels)):
        members = np.flatnonzero(labels == label)
        order, dice = (make_key(seed, 0, Stream.SPLIT, 2 * number + part) for part in (1, 2))
        members = members[permutation(order, members.size)]
        shares = dirichlet(uniform(dice, 2 * agents), concentration)
        ends = np.rint(np.cumsum(shares)[:-1] * members.size).astype(np.int64)
        for part, piece in zip(parts, np.split(members, ends), strict=True):
            part.append(piece)
    return [np.concatenate(part) for part in parts]


def dirichlet(u: F64, concentration: float) -> F64:
    """Turn 2 n uniform numbers into one draw of a symmetric Dirichlet distribution, float64[n]."""
    from scipy.special import gammaincinv

    # Gamma(c) = Gamma(c + 1) U^(1/c), in logarithms: for small c nearly all of them underflow.
    n = u.size // 2
    logs = np.log(gammaincinv(concentration + 1, 1 - u[:n])) + np.log1p(-u[n:]) / concentration
    weights: F64 = np.exp(logs - logs.max())
    weights /= weights.sum()
    return weights
