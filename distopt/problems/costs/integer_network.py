"""A four-layer network on handwritten digits whose gradient is an exact sum of integers."""

from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from distopt.core.arrays import F64, I64
from distopt.core.kernel import kernel
from distopt.core.parameters import Field, parameters
from distopt.core.randomness import make_key, normal
from distopt.core.streams import Stream
from distopt.fixedpoint.arithmetic import SIGMOID_BITS, sigmoid_table
from distopt.fixedpoint.format import Codes, Format
from distopt.problems.costs.base import Family
from distopt.problems.costs.data import Shipped, Split, deal
from distopt.problems.costs.integer_logistic import MARGINS, DataProblem, reciprocal

PIXEL = 7  # a pixel of 0 ... 16 becomes 7 times it in units of 2^-7
ACTIVATION_BITS = 7  # Q1.7, an int8
DELTA_BITS = 14  # Q2.14, an int16: derivatives of the loss by the arguments of the activations
SLOPE_BITS = 14  # 1 - a^2 is exact in them


@parameters("problem")
class IntegerNetwork(Family):
    """f(x) = c sum_s sum_k log(1 + exp(-b_sk z_sk)), z_s the ten outputs, c = 1/N to 15 bits.

    Four layers z = W a + v with a = tanh(z) between them, one output for each digit, b_sk = +1 for
    the right one and -1 else; x holds W and v of all layers, N is the number of images of all
    agents, f_i is n times the images of agent i. On codes, activations are int8 (Q1.7), arguments are
    rounded to Q5.11 for the tables of tanh and sigmoid, derivatives by them to Q2.14; sums are exact.
    """

    hidden: tuple[int, int, int] = (32, 16, 16)
    split: Split = "sorted"
    sorted_fraction: Annotated[float, Field(ge=0, le=1)] = 1.0
    concentration: Annotated[float, Field(gt=0)] = 0.5
    images: Annotated[int, Field(ge=1, le=1797)] = 1797  # of the data set, the first ones
    dataset: Literal["digits"] = "digits"

    def cost(self, agent: int, agents: int, seed: int) -> "IntegerNetworkCost":
        source = Shipped(self.dataset)
        labels = source.labels[: self.images]
        parts = deal(labels, agents, self.split, seed, self.sorted_fraction, self.concentration)
        index = parts[agent]
        pixels = np.rint(source.rows(index)).astype(np.int64) * PIXEL
        targets = labels[index].astype(np.int64)[:, None] == np.arange(10)
        sizes = (source.features, *self.hidden, 10)
        return IntegerNetworkCost(sizes, pixels, targets, self.images, agents, seed)

    def dimension_for(self, agents: int, seed: int) -> int:
        return Layers((64, *self.hidden, 10)).dimension


class Layers:
    """Where the weights and offsets of each layer lie in x."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self.sizes = sizes
        self.dimension = sum((inputs + 1) * outputs for inputs, outputs in pairwise(sizes))

    def of(self, x: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """View W and v of each layer in x."""
        found, at = [], 0
        for inputs, outputs in pairwise(self.sizes):
            end = at + inputs * outputs
            found.append((x[at:end].reshape(outputs, inputs), x[end : end + outputs]))
            at = end + outputs
        return found


class IntegerNetworkCost:
    """One agent's f_i of `IntegerNetwork`, in float64. No constant is known but `lower_bound` 0."""

    lower_bound = 0.0
    wide = True

    def __init__(
        self, sizes: tuple[int, ...], pixels: I64, targets: NDArray[np.bool_], images: int, agents: int,
        seed: int,
    ) -> None:  # fmt: skip
        self.layers, self.pixels, self.targets, self.images = Layers(sizes), pixels, targets, images
        self.dimension, self.agents = self.layers.dimension, agents
        code, bits = reciprocal(images)
        self._scale = agents * code * 2.0**-bits
        self._inputs: F64 = pixels.astype(np.float64) * 2.0**-ACTIVATION_BITS
        self.start = np.zeros(self.dimension)
        draws = normal(make_key(seed, 0, Stream.INTEGER_WEIGHTS), self.dimension)
        for (W, _), (drawn, _) in zip(
            self.layers.of(self.start), self.layers.of(draws), strict=True
        ):
            W[:] = drawn / np.sqrt(W.shape[1])

    def integer(self, format: Format) -> "IntegerNetworkProblem":
        """Return the agent's part of f on codes."""
        return IntegerNetworkProblem(self, format)

    def forward(self, x: F64) -> tuple[list[F64], F64]:
        """Return the activations, inputs first, and the outputs."""
        activations: list[F64] = [self._inputs]
        layers = self.layers.of(x)
        for W, v in layers[:-1]:
            activations.append(np.tanh(activations[-1] @ W.T + v))
        W, v = layers[-1]
        return activations, np.asarray(activations[-1] @ W.T + v, np.float64)

    def value(self, x: F64) -> float:
        outputs = self.forward(x)[1]
        u = np.where(self.targets, outputs, -outputs)
        return self._scale * float((np.log1p(np.exp(-np.abs(u))) + np.maximum(-u, 0)).sum())

    def gradient(self, x: F64, out: F64) -> None:
        activations, outputs = self.forward(x)
        p = np.exp(-np.abs(outputs))
        delta = np.where(outputs >= 0, 1.0, p) / (1 + p) - self.targets
        layers, targets = self.layers.of(x), self.layers.of(out)
        for number in reversed(range(len(layers))):
            a = activations[number]
            np.matmul(delta.T, a, out=targets[number][0])
            delta.sum(axis=0, out=targets[number][1])
            if number:
                delta = (delta @ layers[number][0]) * (1 - a**2)
        out *= self._scale


class IntegerNetworkProblem(DataProblem):
    """One agent's part of the gradient on codes.

    Where BLAS multiplies them, integers are held in float64: all sums stay below 2^53, so each is exact
    in any order, with any library and number of threads.
    """

    def __init__(self, cost: IntegerNetworkCost, format: Format) -> None:
        super().__init__(cost, format, cost.images, cost.agents)
        self._cost = cost
        self.gradient_bits = DELTA_BITS + ACTIVATION_BITS + self._code_bits
        m, sizes = len(cost.pixels), cost.layers.sizes
        self._a = [cost.pixels.astype(np.float64), *(np.empty((m, size)) for size in sizes[1:-1])]
        self._z = [np.empty((m, size)) for size in sizes[1:]]
        self._delta = [np.empty((m, size)) for size in sizes[1:]]
        self._x, self._g = np.empty(cost.dimension), np.empty(cost.dimension)
        self._sigmoid, self._tanh = residual_table(), tanh_table()
        self._targets = cost.targets.astype(np.int64) << DELTA_BITS

    def gradient(self, x: Codes, out: I64) -> None:
        """Forward, backward and the sums over images, once for each row of x."""
        for row, target in zip(x, out, strict=True):
            self._x[:] = row
            self._one(target)

    def _one(self, out: I64) -> None:
        layers, sums = self._cost.layers.of(self._x), self._cost.layers.of(self._g)
        F, last = self.format.fraction_bits, len(layers) - 1
        down = 2.0 ** (MARGINS.fraction_bits - ACTIVATION_BITS - F)
        for number, (W, v) in enumerate(layers):
            z = np.matmul(self._a[number], W.T, out=self._z[number])
            if number < last:
                look_up(z, v, down, self._tanh, self._a[number + 1])
            else:
                look_up(z, v, down, self._sigmoid, self._delta[last])
                self._delta[last] -= self._targets
        for number in range(last, -1, -1):
            delta = self._delta[number]
            np.matmul(delta.T, self._a[number], out=sums[number][0])
            np.sum(delta, axis=0, out=sums[number][1])
            sums[number][1][:] *= 2.0**ACTIVATION_BITS
            if number:
                back = np.matmul(delta, layers[number][0], out=self._z[number - 1])
                pull_back(back, self._a[number], 2.0 ** -(F + SLOPE_BITS), self._delta[number - 1])
        out[:] = self._g
        out *= self._code


def tanh_table() -> NDArray[np.int64]:
    """Return tanh = 2 sigmoid(2 z) - 1 in Q1.7 for every code of an argument, rounded to nearest."""
    codes = np.arange(MARGINS.lowest_code, MARGINS.highest_code + 1, dtype=np.int64)
    doubled = np.clip(2 * codes, MARGINS.lowest_code, MARGINS.highest_code)
    wide = 2 * sigmoid_table(MARGINS)[doubled - MARGINS.lowest_code].astype(np.int64)
    rounded = np.rint((wide - (1 << SIGMOID_BITS)) * 2.0 ** (ACTIVATION_BITS - SIGMOID_BITS))
    return np.asarray(np.minimum(rounded, 127), np.int64)


def residual_table() -> NDArray[np.int64]:
    """Return the sigmoid in units of 2^-14 for every code of an argument, rounded to nearest."""
    wide = sigmoid_table(MARGINS).astype(np.int64)
    return np.asarray(np.rint(wide * 2.0 ** (DELTA_BITS - SIGMOID_BITS)), np.int64)


@kernel
def look_up(z: F64, v: F64, down: float, table: I64, out: F64) -> None:
    """out = table at z + 2^7 v, rounded to a code of an argument; all are integers."""
    for s in range(z.shape[0]):
        row, target = z[s], out[s]
        for j in range(row.size):
            code = np.rint((row[j] + 128.0 * v[j]) * down)
            target[j] = table[np.int64(min(max(code, -32768.0), 32767.0)) + 32768]


@kernel
def pull_back(back: F64, a: F64, down: float, out: F64) -> None:
    """out = back (1 - a^2), rounded to nearest in 16 bits; all are integers."""
    for s in range(back.shape[0]):
        row, activations, target = back[s], a[s], out[s]
        for j in range(row.size):
            product = row[j] * (16384.0 - activations[j] * activations[j])
            target[j] = min(max(np.rint(product * down), -32768.0), 32767.0)
