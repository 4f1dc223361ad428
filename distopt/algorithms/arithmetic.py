"""The numbers in which tracking methods keep and update x, y and the gradient: float64 or fixed point.

In fixed point the local updates are those of the equations with three formats and modes (docs:
fixed-point, tracking):

    x+ = x + sum_j +-fl_x(gamma W_ij (hat_j - hat_i)) - fl_x(eta y)
    g+ = fl_g(grad f_i(x+)),    y+ = y + sum_j +-fl_y(gamma W_ij (hat_j - hat_i)) + g+ - g

The term of an edge is rounded once, from its end with the lower number to the other, with the same random
bits at both; so it leaves one end and enters the other as the same integer, and the sum of all y stays
the sum of all g exactly, in integers, whatever the mode, as long as no y saturates.
"""

from typing import Annotated, Any, Protocol

import numpy as np
from pydantic import BeforeValidator

from distopt.algorithms.agent import Agent
from distopt.algorithms.memory import Replicas
from distopt.algorithms.state import State
from distopt.algorithms.updates import descend, track
from distopt.core.arrays import F64, I64
from distopt.core.errors import ConfigError, DataError
from distopt.core.kernel import kernel
from distopt.core.parameters import Field, field_names, parameters, require_known
from distopt.fixedpoint.arithmetic import decode, encode, rounding_key
from distopt.fixedpoint.format import Codes, Format
from distopt.fixedpoint.place import Place, place_of

# Sites of rounding.
GRADIENT = 8
STEP = 9
EDGES = 16  # an edge to agent j takes EDGES + 2 j and the next


@parameters("arithmetic")
class Arithmetic:
    """Formats and modes of x, of the tracker y and of the gradient; each needs a format."""

    x: Annotated[Place, BeforeValidator(place_of("arithmetic.x"))] = Field(default_factory=Place)
    y: Annotated[Place, BeforeValidator(place_of("arithmetic.y"))] = Field(default_factory=Place)
    gradient: Annotated[Place, BeforeValidator(place_of("arithmetic.gradient"))] = Field(
        default_factory=Place
    )

    def __post_init__(self) -> None:
        for name in field_names(Arithmetic):
            place: Place = getattr(self, name)
            if place.format is None:
                raise ConfigError(
                    f'arithmetic.{name}.format is missing; such as {{ format = "Q4.12" }}.'
                )
            if place.mode == "signed_SR_eps":
                raise ConfigError(
                    f'arithmetic.{name}.mode = "signed_SR_eps" would need a direction; accepted: the '
                    "other modes."
                )
        if self.format_of("gradient").fraction_bits > self.format_of("y").fraction_bits:
            raise ConfigError(
                f'arithmetic.gradient.format = "{self.gradient.format}" has more fraction bits than '
                f'arithmetic.y.format = "{self.y.format}", so y could not follow it exactly; accepted: '
                "as many or fewer."
            )

    def format_of(self, name: str) -> Format:
        """Return the format of "x", "y" or "gradient"."""
        return Format.parse(getattr(self, name).format)


def arithmetic_of(given: Any) -> Any:
    """Make the arithmetic of the section [arithmetic]."""
    if not isinstance(given, dict):
        return given
    require_known("arithmetic", given, field_names(Arithmetic))
    return Arithmetic(**given)


ArithmeticField = Annotated[Arithmetic | None, BeforeValidator(arithmetic_of)]


def refuse_in_fixed_point(
    arithmetic: Arithmetic | None, key: str, value: Any, accepted: str
) -> None:
    """Raise if there is a section [arithmetic] besides a value that it does not go with."""
    if arithmetic is not None:
        raise ConfigError(
            f"algorithm.{key} = {value!r} does not go with [arithmetic]; accepted there: {accepted}."
        )


class Numbers(Protocol):
    """The updates of x and y."""

    fixed: bool

    def descend(self, s: State, mixed: F64, y: F64, gamma: float, eta: float) -> None:
        """X = x + gamma mixed - eta y; `mixed` is what the memory of x has mixed."""
        ...

    def track(self, s: State, mixed: F64, gamma: float) -> None:
        """Y = y + gamma mixed + g_next - g, then g = g_next."""
        ...


class Float64:
    """Everything in float64, the normal case."""

    fixed = False

    def descend(self, s: State, mixed: F64, y: F64, gamma: float, eta: float) -> None:
        descend(s.x, mixed, y, gamma, eta)

    def track(self, s: State, mixed: F64, gamma: float) -> None:
        track(s.y, mixed, s.g_next, s.g, gamma)
        s.g, s.g_next = s.g_next, s.g


def make_numbers(arithmetic: Arithmetic | None, agent: Agent, s: State, gamma: float) -> Numbers:
    """Make the numbers of a state that holds x, y and g.

    In fixed point their codes are kept instead, and the memories hx and hy become those that round the
    terms of edges.
    """
    return Float64() if arithmetic is None else FixedPoint(arithmetic, agent, s, gamma)


def saturations(s: State) -> dict[str, float]:
    """Return the series that only fixed point has."""
    return {"saturations": float(s.saturations.sum())} if s.numbers.fixed else {}


class FixedPoint:
    """x, y and g as codes; s.x, s.y and s.g are the numbers that they stand for."""

    fixed = True

    def __init__(self, arithmetic: Arithmetic, agent: Agent, s: State, gamma: float) -> None:
        self.agent, self.arithmetic = agent, arithmetic
        self.x, self.y, self.g = (arithmetic.format_of(name) for name in ("x", "y", "gradient"))
        self._gradient = rounding_key(agent.seed, GRADIENT, 0, agent.index)
        self._step = rounding_key(agent.seed, STEP, 0, agent.index)
        d = agent.dimension
        s.forget("x", "y", "g")
        s.keep(
            x_codes=np.empty(d, self.x.dtype), y_codes=np.empty(d, self.y.dtype),
            g_codes=np.empty(d, self.g.dtype), saturations=np.zeros(1, np.int64),
        )  # fmt: skip
        self._moves, self._next = np.empty(d, self.x.dtype), np.empty(d, self.g.dtype)
        self._product = np.empty(d)
        try:
            encode(s.x, self.x, arithmetic.x.rounding, self._step, overflow="refuse", out=s.x_codes)
        except DataError as error:
            raise DataError(f"The start of agent {agent.index}: {error}") from None
        decode(s.x_codes, self.x, s.x)
        agent.gradient(s.x, out=s.g)
        s.saturations[0] += self._round_gradient(s.g, s.g_codes, 0)
        s.y_codes.fill(0)
        s.saturations[0] += follow(
            s.y_codes, np.zeros(d, np.int64), s.g_codes, np.zeros_like(s.g_codes), self.lift,
            self.y.lowest_code, self.y.highest_code,
        )  # fmt: skip
        self.decode_all(s)
        s.derive(lambda: self.decode_all(s))
        s.keep(
            hx=EdgeMemory(agent, gamma, self.x, arithmetic.x, EDGES),
            hy=EdgeMemory(agent, gamma, self.y, arithmetic.y, EDGES + 1),
        )

    @property
    def lift(self) -> int:
        """How many fraction bits y has more than g."""
        return self.y.fraction_bits - self.g.fraction_bits

    def decode_all(self, s: State) -> None:
        """Fill x, y and g from their codes, after those were loaded."""
        decode(s.x_codes, self.x, s.x)
        decode(s.y_codes, self.y, s.y)
        decode(s.g_codes, self.g, s.g)

    def descend(self, s: State, mixed: F64, y: F64, gamma: float, eta: float) -> None:
        self._step[2] = self.agent.iteration
        np.multiply(y, eta, out=self._product)
        rounded = encode(
            self._product, self.x, self.arithmetic.x.rounding, self._step, out=self._moves,
            work=self.agent.work,
        )  # fmt: skip
        s.saturations[0] += rounded.saturated + s.hx.saturated
        s.saturations[0] += move(
            s.x_codes, s.hx.codes, self._moves, self.x.lowest_code, self.x.highest_code
        )
        decode(s.x_codes, self.x, s.x)

    def track(self, s: State, mixed: F64, gamma: float) -> None:
        s.saturations[0] += self._round_gradient(s.g_next, self._next, self.agent.iteration + 1)
        s.saturations[0] += s.hy.saturated
        s.saturations[0] += follow(
            s.y_codes, s.hy.codes, self._next, s.g_codes, self.lift, self.y.lowest_code,
            self.y.highest_code,
        )  # fmt: skip
        s.g_codes[:] = self._next
        decode(s.y_codes, self.y, s.y)
        decode(s.g_codes, self.g, s.g)

    def _round_gradient(self, g: F64, out: Codes, k: int) -> int:
        self._gradient[2] = k
        rounding = self.arithmetic.gradient.rounding
        work = self.agent.work
        return encode(g, self.g, rounding, self._gradient, out=out, work=work).saturated


class EdgeMemory(Replicas):
    """One memory per member, whose mixing terms are rounded edge by edge to codes.

    Attributes
    ----------
    codes : int64[d]
        sum_j +-fl(gamma W_ij (hat_j - hat_i)), in units of the format; `mixed` is not used.
    saturated : int
        Terms of the latest mixing that did not fit.
    """

    def __init__(self, agent: Agent, gamma: float, format: Format, place: Place, site: int) -> None:
        d = agent.dimension
        super().__init__(agent.weights, d, agent.work)
        self.agent, self.format, self.rounding = agent, format, place.rounding
        self.scaled = [gamma * weight for weight in agent.weights]
        self.codes, self.saturated = np.zeros(d, np.int64), 0
        self._hats = np.empty((len(self.h), d))
        self._term, self._rounded = np.empty(d), np.empty(d, format.dtype)
        ends = [(min(agent.index, j), max(agent.index, j)) for j in agent.neighbours]
        self._keys = [rounding_key(agent.seed, site + 2 * high, 0, low) for low, high in ends]
        self._lower = [agent.index < j for j in agent.neighbours]

    def forget(self) -> None:
        """Set h to zero, where messages are the vectors themselves."""
        self.h.fill(0.0)

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
    """Out = weight (low - high)."""
    for i in range(low.size):
        out[i] = weight * (low[i] - high[i])


@kernel
def accumulate(total: I64, codes: Codes, sign: int) -> None:
    """Total = total + sign codes."""
    for i in range(total.size):
        total[i] += np.int64(sign) * np.int64(codes[i])


@kernel
def move(x: Codes, edges: I64, moves: Codes, lowest: int, highest: int) -> int:
    """X = x + edges - moves, clamped; return how many were outside."""
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
    """Y = y + edges + 2^lift (g_next - g), clamped; return how many were outside."""
    outside = 0
    for i in range(y.size):
        change = (np.int64(g_next[i]) - np.int64(g[i])) << np.int64(lift)
        moved = np.int64(y[i]) + edges[i] + change
        inside = min(max(moved, np.int64(lowest)), np.int64(highest))
        outside += int(moved != inside)
        y[i] = np.int32(inside)
    return outside
