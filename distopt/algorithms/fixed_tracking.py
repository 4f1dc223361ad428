"""x, the tracker y and the gradient of tracking methods in fixed point (docs: fixed-point, tracking).

The local updates are those of the equations with three formats and modes:

    x+ = x + sum_j +-fl_x(gamma W_ij (hat_j - hat_i)) - fl_x(eta y)
    g+ = fl_g(grad f_i(x+)),    y+ = y + sum_j +-fl_y(gamma W_ij (hat_j - hat_i)) + g+ - g

The term of an edge is rounded once, from its end with the lower number to the other, with the same random
bits at both; so it leaves one end and enters the other as the same integer, and the sum of all y stays
the sum of all g exactly, in integers, in every mode, as long as no y saturates.
"""

from collections.abc import Sequence

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.arithmetic import Arithmetic
from distopt.algorithms.memory import Replicas
from distopt.algorithms.state import State
from distopt.core.arrays import F64, I64, U8
from distopt.core.errors import DataError
from distopt.core.kernel import kernel
from distopt.fixedpoint.arithmetic import decode, encode, rounding_key
from distopt.fixedpoint.format import Codes, Format
from distopt.fixedpoint.precision import Precision

# Sites of rounding.
GRADIENT = 8
STEP = 9
EDGES = 16  # an edge to agent j takes EDGES + 2 j and the next


class FixedPointUpdates:
    """x, y and g as codes; s.x, s.y and s.g are the numbers that they stand for.

    `hx` and `hy` are memories that round the terms of edges.
    """

    def __init__(
        self, arithmetic: Arithmetic, agent: Agent, s: State, x0: F64, gamma: float
    ) -> None:
        self.agent, self.state, self.arithmetic = agent, s, arithmetic
        self.x, self.y, self.g = (arithmetic.format_of(name) for name in ("x", "y", "gradient"))
        self.lift = self.y.fraction_bits - self.g.fraction_bits  # bits that y has more than g
        self._gradient = rounding_key(agent.seed, GRADIENT, 0, agent.index)
        self._step = rounding_key(agent.seed, STEP, 0, agent.index)
        d = agent.dimension
        s.work(x=np.empty(d), y=np.empty(d), g=np.empty(d))
        s.keep(
            x_codes=np.empty(d, self.x.dtype), y_codes=np.zeros(d, self.y.dtype),
            g_codes=np.zeros(d, self.g.dtype), saturations=np.zeros(1, np.int64),
        )  # fmt: skip
        self._moves, self._next = np.empty(d, self.x.dtype), np.empty(d, self.g.dtype)
        self._product = np.empty(d)
        self.hx = agent.hold(EdgeMemory(agent, gamma, self.x, arithmetic.x, EDGES))
        self.hy = agent.hold(EdgeMemory(agent, gamma, self.y, arithmetic.y, EDGES + 1))
        try:
            encode(x0, self.x, arithmetic.x.rounding, self._step, overflow="refuse", out=s.x_codes)
        except DataError as error:
            raise DataError(f"The start of agent {agent.index}: {error}") from None
        decode(s.x_codes, self.x, s.x)
        agent.gradient(s.x, out=s.g)
        self._follow(s.g, 0)
        s.derive(self.decode_all)

    def decode_all(self) -> None:
        """Fill x, y and g from their codes, after those were loaded."""
        s = self.state
        decode(s.x_codes, self.x, s.x)
        decode(s.y_codes, self.y, s.y)
        decode(s.g_codes, self.g, s.g)

    def average(self, received: Sequence[U8]) -> None:
        """Round the terms of edges, where the messages are x and y themselves."""
        self.hx.h.fill(0.0)
        self.hy.h.fill(0.0)
        self.agent.mix(received, self.hx, self.hy)

    def descend(self, mixed: F64, direction: F64, gamma: float, eta: float) -> None:
        """Do x = x + gamma mixed - eta direction; `mixed` is what `hx` has mixed."""
        s = self.state
        self._step[2] = self.agent.iteration
        np.multiply(direction, eta, out=self._product)
        rounded = encode(
            self._product, self.x, self.arithmetic.x.rounding, self._step, out=self._moves,
            work=self.agent.work,
        )  # fmt: skip
        s.saturations[0] += rounded.saturated + self.hx.saturated
        s.saturations[0] += move(
            s.x_codes, self.hx.codes, self._moves, self.x.lowest_code, self.x.highest_code
        )
        decode(s.x_codes, self.x, s.x)

    def track(self, mixed: F64, gamma: float) -> None:
        """Do y = y + gamma mixed + g_next - g, then g = g_next; `mixed` is what `hy` has mixed."""
        self._follow(self.state.g_next, self.agent.iteration + 1)

    def _follow(self, gradient: F64, k: int) -> None:
        s, rounding = self.state, self.arithmetic.gradient.rounding
        self._gradient[2] = k
        rounded = encode(
            gradient, self.g, rounding, self._gradient, out=self._next, work=self.agent.work
        )
        s.saturations[0] += rounded.saturated + self.hy.saturated
        s.saturations[0] += follow(
            s.y_codes, self.hy.codes, self._next, s.g_codes, self.lift, self.y.lowest_code,
            self.y.highest_code,
        )  # fmt: skip
        s.g_codes[:] = self._next
        decode(s.y_codes, self.y, s.y)
        decode(s.g_codes, self.g, s.g)

    def series(self) -> dict[str, float]:
        """Count the values so far that did not fit their format."""
        return {"saturations": float(self.state.saturations.sum())}


class EdgeMemory(Replicas):
    """One memory per member, whose mixing terms are rounded edge by edge to codes.

    Attributes
    ----------
    codes : int64[d]
        sum_j +-fl(gamma W_ij (hat_j - hat_i)), in units of the format; `mixed` is not used.
    saturated : int
        Terms of the latest mixing that did not fit.
    """

    def __init__(
        self, agent: Agent, gamma: float, format: Format, precision: Precision, site: int
    ) -> None:
        d = agent.dimension
        super().__init__(agent.weights, d, agent.work)
        self.work = agent.work
        self.agent, self.format, self.rounding = agent, format, precision.rounding
        self.gamma = gamma
        self.reweigh(agent.weights)
        self.codes, self.saturated = np.zeros(d, np.int64), 0
        self._hats = np.empty((len(self.h), d))
        self._term, self._rounded = np.empty(d), np.empty(d, format.dtype)
        ends = [(min(agent.index, j), max(agent.index, j)) for j in agent.neighbours]
        self._keys = [rounding_key(agent.seed, site + 2 * high, 0, low) for low, high in ends]
        self._lower = [agent.index < j for j in agent.neighbours]

    def reweigh(self, weights: Sequence[float]) -> None:
        self.scaled = [self.gamma * weight for weight in weights]

    def settle(self, alpha: float) -> None:
        """Round the term of every edge, then advance h by alpha q."""
        hats = self.h
        if alpha != 1:
            q = self.q
            hats = np.add(self.h, q, out=self._hats)
        self.codes.fill(0)
        self.saturated = 0
        for member, (weight, key, lower) in enumerate(
            zip(self.scaled, self._keys, self._lower, strict=True), start=1
        ):
            low, high = (hats[0], hats[member]) if lower else (hats[member], hats[0])
            weigh_difference(low, high, weight, self._term)
            key[2] = self.agent.iteration
            self.saturated += encode(
                self._term, self.format, self.rounding, key, out=self._rounded, work=self.work
            ).saturated
            # What flows from low to high leaves the one end and enters the other.
            accumulate(self.codes, self._rounded, -1 if lower else 1)
        if alpha != 1:
            q *= alpha
            self.h += q


@kernel
def weigh_difference(low: F64, high: F64, weight: float, out: F64) -> None:
    """out = weight (low - high)."""
    for i in range(low.size):
        out[i] = weight * (low[i] - high[i])


@kernel
def accumulate(total: I64, codes: Codes, sign: int) -> None:
    """total = total + sign codes."""
    for i in range(total.size):
        total[i] += np.int64(sign) * np.int64(codes[i])


@kernel
def move(x: Codes, edges: I64, moves: Codes, lowest: int, highest: int) -> int:
    """x = x + edges - moves, clamped; return how many were outside."""
    outside = 0
    for i in range(x.size):
        moved = np.int64(x[i]) + edges[i] - np.int64(moves[i])
        inside = min(max(moved, np.int64(lowest)), np.int64(highest))
        outside += int(moved != inside)
        x[i] = np.int32(inside)
    return outside


@kernel
def follow(
    y: Codes, edges: I64, g_next: Codes, g: Codes, lift: int, lowest: int, highest: int
) -> int:
    """y = y + edges + 2^lift (g_next - g), clamped; return how many were outside."""
    outside = 0
    for i in range(y.size):
        change = (np.int64(g_next[i]) - np.int64(g[i])) << np.int64(lift)
        moved = np.int64(y[i]) + edges[i] + change
        inside = min(max(moved, np.int64(lowest)), np.int64(highest))
        outside += int(moved != inside)
        y[i] = np.int32(inside)
    return outside
