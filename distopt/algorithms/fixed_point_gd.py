"""Gradient descent in fixed point, with data split over the agents and exact sums."""

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BeforeValidator

from distopt.algorithms.agent import Agent
from distopt.algorithms.base import Algorithm, Step
from distopt.algorithms.exact_sum import SpanningTree
from distopt.algorithms.state import State, View
from distopt.compressors.base import Compressor
from distopt.core.arrays import F64
from distopt.core.errors import ConfigError, DataError
from distopt.core.parameters import Field, parameters
from distopt.fixedpoint.arithmetic import decode, encode
from distopt.fixedpoint.descent import FixedPointDescent, Iteration
from distopt.fixedpoint.format import Format
from distopt.fixedpoint.precision import Precision, precision_of
from distopt.theory.facts import Facts


@parameters("algorithm")
class FixedPointGD(Algorithm):
    """Gradient descent x+ = fl(x - fl(eta fl(grad f(x)))) with f = (1/n) sum_i f_i (docs: fixed-point).

    Every agent holds x as the same codes. Agent i, iteration k:

        p_i = its exact part of the gradient, an integer                    (the cost's `integer`)
        p = sum_i p_i                                       exact, along a spanning tree of the graph
        (a) g = fl(p)      (b) d = fl(eta g)      (c) x+ = fl(x - d)                   at all agents

    All agents round the same integers with the same random bits, so x is the same to the bit for any
    number of agents and any graph. `repeats` runs are done at once; each draws its own random bits.
    """

    eta: Annotated[float, Field(gt=0)]  # step size, a whole number below 2^15 times a power of two
    format: str  # of x, such as "Q8.8"
    round_gradient: Annotated[
        Precision, BeforeValidator(precision_of("algorithm.round_gradient"))
    ] = Field(default_factory=Precision)  # (a)
    round_step: Annotated[Precision, BeforeValidator(precision_of("algorithm.round_step"))] = Field(
        default_factory=lambda: Precision(mode="SR")
    )  # (b); with signed_SR_eps (b) and (c) are one rounding
    round_subtraction: Annotated[
        Precision, BeforeValidator(precision_of("algorithm.round_subtraction"))
    ] = Field(
        default_factory=Precision
    )  # (c); rounds only where the step has more fraction bits than x
    repeats: Annotated[int, Field(ge=1, le=2**20)] = 1  # independent runs, done at once
    overflow: Literal["refuse", "saturate"] = "refuse"  # of start values outside the format

    vectors: ClassVar[int] = 1
    needs = None

    def __post_init__(self) -> None:
        try:
            self.descent()
            Format.parse(self.format)
        except ConfigError as error:
            raise ConfigError(renamed(str(error))) from None
        if self.round_subtraction.format not in (None, self.format):
            raise ConfigError(
                f'algorithm.round_subtraction.format = "{self.round_subtraction.format}" differs from '
                f'algorithm.format = "{self.format}": the difference is x again.'
            )

    def descent(self) -> FixedPointDescent:
        """Return the arithmetic of an iteration."""
        return FixedPointDescent(
            step=self.eta,
            gradient_rounding=self.round_gradient.rounding,
            step_rounding=self.round_step.rounding,
            subtraction_rounding=self.round_subtraction.rounding,
            gradient_format=self.round_gradient.numbers,
            step_format=self.round_step.numbers,
        )

    def max_nbytes(self, compressor: Compressor, d: int) -> int:
        return max(8 * self.repeats * d, 24)

    def init(self, agent: Agent, x0: F64) -> State:
        s = State()
        if not hasattr(agent.cost, "integer"):
            raise ConfigError(
                'algorithm.name = "fixed_point_gd" takes gradients that are exact in integers, which this '
                "problem does not have; accepted: problem.name = diagonal, himmelblau, rosenbrock, "
                "integer_logistic, integer_network, or a cost with a method integer(format)."
            )
        q = Format.parse(self.format)
        s.problem = agent.cost.integer(q)
        s.iteration = Iteration(
            self.descent(), s.problem, self.repeats, agent.seed, work=agent.work
        )
        s.reports = agent.index == 0  # all agents count the same; one of them reports it
        try:
            start = encode(x0, q, overflow=self.overflow)
        except DataError as error:
            raise DataError(f"The start of agent {agent.index}: {error}") from None
        s.keep(x=np.tile(start.codes, (self.repeats, 1)), tree=SpanningTree(agent))
        s.keep(
            saturations=s.iteration.saturations, regimes=s.iteration.regimes,
            squares=s.iteration.squares, gains=s.iteration.gains,
        )  # fmt: skip
        s.saturations[2] = self.repeats * start.saturated
        shape = s.x.shape
        s.work(p=np.empty(shape, np.int64), model=np.empty(shape))
        return s

    def start(self, agent: Agent, s: State, facts: Facts) -> Step:
        """Find the spanning tree; all agents take the start of agent 0."""
        yield from s.tree.grow(agent, max(facts.diameter, 1))
        s.p[:] = s.x
        yield from s.tree.spread(agent, s.p)
        s.x[:] = s.p

    def step(self, agent: Agent, s: State, k: int) -> Step:
        agent.integer_gradient(s.problem, s.x, s.p)
        yield from s.tree.add_up(agent, s.p)
        s.iteration.descend(s.x, s.p, k)

    def view(self, s: State) -> View:
        decode(s.x, s.problem.format, s.model)
        names = ["large", "middle", "small", "zero"]
        told: dict[str, Any] = {"saturations": s.saturations.sum()}
        told |= {f"regime_{name}": count for name, count in zip(names, s.regimes, strict=True)}
        told["step_square"] = s.squares.mean()
        if s.problem.smoothness is not None:
            told["step_gain"] = s.gains.mean()
        series = {name: float(number) if s.reports else 0.0 for name, number in told.items()}
        series["saturations"] += s.problem.saturated  # each agent has its own data
        return View(s.model if self.repeats > 1 else s.model[0], common=s.x, series=series)


def renamed(sentence: str) -> str:
    """Name the keys of [algorithm] in an error of the arithmetic that they configure."""
    for inner, outer in {
        "descent.step": "algorithm.eta",
        "descent.gradient_rounding": "algorithm.round_gradient",
        "format = ": "algorithm.format = ",
    }.items():
        if sentence.startswith(inner):
            return outer + sentence.removeprefix(inner)
    return sentence
