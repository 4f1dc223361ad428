"""A model of another library as a cost: a vector of named parameters, and a loss averaged over samples.

What PyTorch and JAX have in common (`distopt.torch`, `distopt.jax`). Nothing here imports either.
"""

import inspect
import json
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from math import isfinite, prod
from threading import RLock
from typing import NamedTuple, TypeAlias

import numpy as np

from distopt.core.arrays import F64, I64
from distopt.core.errors import DataError

Chosen: TypeAlias = slice | I64  # of an agent's samples
AT_ONCE = 256  # samples whose activations are in memory together; ours, a compromise
PROBES = 1024  # samples, at most, on which curvature is estimated before a run; ours, a compromise
# Of two samples' loss to the mean of theirs, relative; float32 and bfloat16 keep it.
MEAN_TOLERANCE = 1e-2


class Part(NamedTuple):
    """One parameter tensor: its place in x is entries begin, ..., end - 1, in C order."""

    name: str
    shape: tuple[int, ...]
    begin: int
    end: int


class Layout:
    """Where the parameters of a model stand in x.

    Parameters
    ----------
    shapes : Mapping[str, Sequence[int]]
        By name, in the order of x.
    """

    def __init__(self, shapes: Mapping[str, Sequence[int]]) -> None:
        sizes = [prod(shape) for shape in shapes.values()]
        ends = [*accumulate(sizes)]
        self.parts = [
            Part(name, tuple(shape), end - size, end)
            for (name, shape), size, end in zip(shapes.items(), sizes, ends, strict=True)
        ]
        self.dimension = ends[-1] if ends else 0

    @classmethod
    def from_text(cls, text: str) -> "Layout":
        """Read what `text` wrote."""
        return cls(json.loads(text))

    @property
    def text(self) -> str:
        """The names and shapes, as JSON."""
        return json.dumps({part.name: part.shape for part in self.parts})

    @property
    def blocks(self) -> list[int]:
        """Boundaries of the layers: neighbours whose names agree up to the last dot are one block."""
        layers = [part.name.rpartition(".")[0] for part in self.parts]
        begins = [
            part.begin
            for i, part in enumerate(self.parts)
            if part.begin < part.end and (i == 0 or not layers[i] or layers[i] != layers[i - 1])
        ]
        return [*begins, self.dimension]

    def name_of(self, entry: int) -> str:
        """Return the name of an entry of x, such as ``"fc.weight[3, 0]"``."""
        part = self.parts[bisect_right([part.end for part in self.parts], entry)]
        place = np.unravel_index(entry - part.begin, part.shape) if part.shape else ()
        return part.name + (f"[{', '.join(str(int(i)) for i in place)}]" if place else "")

    def split(self, x: F64) -> dict[str, F64]:
        """Return views of x : float64[d] by name, in the parameters' shapes."""
        return {part.name: x[part.begin : part.end].reshape(part.shape) for part in self.parts}


class ModelCost(ABC):
    """f_i(x) = mean over agent i's samples of a loss of a model with the parameters x.

    The run keeps x in its own precision (``run.dtype``), and the model computes in that of its own
    parameters. Nothing is built or checked before `dimension` is first asked for or `check` is called, so
    under MPI a mistake on one rank is told by all of them together.

    Attributes
    ----------
    batch : int
        Samples of a gradient where ``run.batch`` is 0; 0: all.
    at_once : int
        Samples whose activations are in memory together where all are needed.
    recorded : int
        Samples, evenly spaced, that stand for all in records and at the start; 0: all. Not 0 only
        with a `batch`, since exact gradients need all.
    """

    library: str  # name and version

    def __init__(self, batch: int, at_once: int, recorded: int = 0) -> None:
        self.batch, self.at_once, self.recorded = batch, at_once, recorded
        self._lock = RLock()  # simultaneous runs may share a cost

    # What a library adds.

    @property
    @abstractmethod
    def source(self) -> str:
        """The user's file, for sentences."""

    @cached_property
    @abstractmethod
    def layout(self) -> Layout:
        """Where the parameters stand in x; `DataError` if the model cannot be a cost."""

    @property
    @abstractmethod
    def start(self) -> F64:
        """The model's own parameters when the cost was made, float64[d]."""

    @property
    @abstractmethod
    def samples(self) -> int:
        """How many samples the agent has."""

    @property
    @abstractmethod
    def held_out_samples(self) -> int:
        """How many samples the measures are taken on; 0: no measures."""

    @property
    @abstractmethod
    def dtype(self) -> str:
        """What the model computes in."""

    @abstractmethod
    def move_to(self, x: F64) -> None:
        """Make x : float64[d] the parameters of the next calls."""

    @abstractmethod
    def loss_of(self, chosen: Chosen) -> float:
        """Return the mean loss of samples."""

    @abstractmethod
    def gradient_of(self, chosen: Chosen, out: F64, training: bool = False) -> float:
        """Write the gradient of the mean loss of samples into out : float64[d]; return the loss."""

    @abstractmethod
    def measures_of(self, chosen: Chosen) -> dict[str, float]:
        """Return the mean of each measure over held-out samples."""

    @abstractmethod
    def check_model(self) -> None:
        """Raise `DataError` for what only this library's models can have wrong, at the start."""

    # What makes it a cost.

    @property
    def dimension(self) -> int:
        """d, the number of trained parameters."""
        return self.layout.dimension

    @property
    def blocks(self) -> list[int]:
        """Boundaries of the layers in x."""
        return self.layout.blocks

    @property
    def facts(self) -> dict[str, str]:
        """What must be the same at all agents, and when a run is continued."""
        return {
            "library": self.library,
            "parameters": self.layout.text,
            "dtype": self.dtype,
            "batch": str(self.batch),
        }

    @property
    def probe(self) -> "Probe":
        """The same cost on a part of the samples, on which curvature is estimated."""
        return Probe(self)

    def name_of(self, entry: int) -> str:
        """Return the parameter that an entry of x belongs to."""
        return self.layout.name_of(entry)

    def value(self, x: F64) -> float:
        """Return the mean loss of all samples, or of those recorded."""
        with self._lock:
            self.move_to(x)
            return sum(weight * self.loss_of(part) for part, weight in self.seen())

    def gradient(self, x: F64, out: F64) -> None:
        """Write the gradient of the same mean into out."""
        self.gradient_over(x, out, self.seen())

    def gradient_over(self, x: F64, out: F64, parts: Iterable[tuple[Chosen, float]]) -> None:
        """Write the gradient of the mean loss of parts of the samples, each with its share."""
        with self._lock:
            self.move_to(x)
            first, *others = parts
            self.gradient_of(first[0], out)
            if not others:
                return
            out *= first[1]
            piece = np.empty_like(out)
            for part, weight in others:
                self.gradient_of(part, piece)
                piece *= weight
                out += piece

    def batch_gradient(self, x: F64, index: I64, out: F64) -> None:
        """Write the gradient of the mean loss of the samples index : int64[b] into out."""
        with self._lock:
            self.move_to(x)
            self.gradient_of(index, out, training=True)

    def measures(self, x: F64) -> dict[str, float]:
        """Return loss, accuracy and measures of your own on held-out samples; none without these."""
        found: dict[str, float] = {}
        with self._lock:
            if self.held_out_samples:
                self.move_to(x)
            for part, weight in self.parts(self.held_out_samples):
                for name, value in self.measures_of(part).items():
                    found[name] = found.get(name, 0.0) + weight * value
        return found

    def parts(self, count: int) -> Iterator[tuple[slice, float]]:
        """Cut samples into parts of at most `at_once`; with each goes its share."""
        for begin in range(0, count, self.at_once):
            end = min(begin + self.at_once, count)
            yield slice(begin, end), (end - begin) / count

    def seen(self) -> Iterator[tuple[Chosen, float]]:
        """Cut the samples that records look at in the same way."""
        if not 0 < self.recorded < self.samples:
            yield from self.parts(self.samples)
            return
        places = np.arange(self.recorded) * self.samples // self.recorded
        for part, weight in self.parts(self.recorded):
            yield places[part], weight

    def check(self, x: F64) -> None:
        """Raise `DataError` unless a run can begin at x : float64[d]."""
        with self._lock:
            if self.at_once < 1:
                raise DataError(f"it has at_once = {self.at_once}; accepted: 1 or more samples.")
            if self.recorded and not self.batch:
                raise DataError(
                    f"it has recorded = {self.recorded} without a batch, but exact gradients need all "
                    "samples; accepted: recorded = 0, or a batch of the cost."
                )
            if not self.samples:
                raise DataError("it has no sample; every agent needs at least one.")
            self.move_to(x)
            self.check_model()
            self.check_mean()
            self.check_finite(x)

    def check_mean(self) -> None:
        """See that a loss is the mean over its samples, and does not depend on chance."""
        both = slice(0, min(2, self.samples))
        together, again = self.loss_of(both), self.loss_of(both)
        if together != again and isfinite(together):
            raise DataError(
                f"it has a loss that gave {together!r}, then {again!r} for the same samples; it must not "
                "depend on chance or on earlier calls (random numbers of the library itself are fine)."
            )
        if self.samples < 2:
            return
        ones = [self.loss_of(slice(s, s + 1)) for s in (0, 1)]
        mean, close = sum(ones) / 2, MEAN_TOLERANCE * max(map(abs, ones))
        if isfinite(mean) and abs(together - mean) > close:
            remedy = (
                'take the mean over the samples (reduction="mean")'
                if abs(together - 2 * mean) <= 2 * close
                else "a sample's loss must not depend on the others, and if samples have weights, "
                "(weight * loss).mean() takes them"
            )
            raise DataError(
                f"it has a loss of {together:.6g} for two samples whose own losses are {ones[0]:.6g} and "
                f"{ones[1]:.6g}; it must be their mean: {remedy}."
            )

    def check_finite(self, x: F64) -> None:
        """See that the losses and the gradient at the start are numbers."""
        for part, _ in self.seen():
            if not isfinite(loss := self.loss_of(part)):
                first, last = np.arange(self.samples)[part][[0, -1]]
                raise DataError(
                    f"it has the loss {loss} at the start, for samples {first} to {last}; look for nan in "
                    "the data, logarithms of 0 and labels out of range."
                )
        g = np.empty(self.dimension)
        self.gradient_of(slice(0, min(self.at_once, self.samples)), g)
        if not np.isfinite(g).all():
            entry = int(np.argmin(np.isfinite(g)))
            raise DataError(
                f"it has a gradient of {g[entry]} at the start, for {self.name_of(entry)}; a square root "
                "or a norm at 0 has no derivative: add a small number under it."
            )


def file_of(*parts: object) -> str:
    """Return the first file that defines one of these outside a library, "<model>" if none does."""
    for part in parts:
        try:
            path = inspect.getfile(getattr(part, "func", part))  # type: ignore[arg-type]
        except (TypeError, OSError):  # an instance, or typed into a terminal
            continue
        if "site-packages" not in path:
            return path
    return "<model>"


class Probe:
    """A model's cost on the first samples only, at most `PROBES` of them."""

    def __init__(self, cost: ModelCost) -> None:
        self.cost, self.dimension = cost, cost.dimension

    def gradient(self, x: F64, out: F64) -> None:
        """Write the gradient of the mean loss of these samples into out."""
        self.cost.gradient_over(x, out, self.cost.parts(min(PROBES, self.cost.samples)))
