"""dyna_cold: exact diffusion in finitely many bits, with scales that shrink at a known pace."""

from dataclasses import replace
from math import log2
from typing import Annotated, ClassVar, Self

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.base import AUTO, Positive, Rate, Step
from distopt.algorithms.cgt2 import max_consensus
from distopt.algorithms.cgt3 import local_guarantee
from distopt.algorithms.lead import Lead
from distopt.algorithms.state import State, View
from distopt.algorithms.updates import correct_and_descend, descend_both, difference
from distopt.compressors.base import Guarantee, Local, LocalAndBeyond
from distopt.core.arrays import F64
from distopt.core.parameters import Field, parameters
from distopt.theory.facts import Facts
from distopt.theory.rules import scale_factor

FALL = 0.02, 0.06  # of the scale in an iteration, at least and at most, where no ball can be left
QUICK = 36  # octaves that it falls so fast: anq's codes end at 2^40 s


@parameters("algorithm")
class DynaCold(Lead):
    """Dyna-COLD as derived from the abstract of Zhang, You and Xie, "Innovation compression for
    communication-efficient distributed optimization with linear convergence"; docs: dyna_cold.

        z = x - eta (g + D)
        q = C((z - h) / s)                                               sent to all neighbours
        h_j += s q_j for all members j;  mixed = sum_j W_ij (h_j - h_i)
        D = D - gamma / (2 eta) mixed
        x = x - eta (g + D);  g = g(x);  s = max(mu s, s_min), with mu_late once mu^k <= 2^-36

    `ball_violations` counts where |z - h|_inf > s, unless C promises something there too.
    """  # noqa: D205

    s0: Positive = AUTO  # first scale; "auto" costs one max-consensus at the start
    mu: Rate = AUTO  # factor of the scale an iteration
    mu_late: Rate = AUTO  # the factor once mu^k has fallen to 2^-36
    s_min: Annotated[float, Field(gt=0)] = 1e-14  # floor of the scale

    alpha: ClassVar[float] = 1.0  # type: ignore[misc]
    needs: ClassVar[type[Guarantee] | None] = Local
    searches = changing = together = False

    def choose(self, facts: Facts) -> Self:
        found = local_guarantee(facts.compressor, facts.dimension)
        unknown, w = 3 / found.phi - 3, found.w if isinstance(found, LocalAndBeyond) else None
        steps = self.with_numbers(eta=0.5 / facts.require_smoothness("algorithm.eta"))
        gamma = (1 + unknown) ** -1.5
        if w is not None:  # no ball that could be left: a scale that falls too fast costs bits
            gamma = min((1 + unknown) ** -0.5, (1 - w) / (4 * w))
        steps = steps.with_numbers(gamma=gamma)
        cautious = scale_factor(facts, steps.eta, 2 * steps.gamma, share=1.4)
        if w is None or self.mu != AUTO:
            steps = steps.with_numbers(mu=cautious)
            return steps.with_numbers(mu_late=steps.mu)
        fall = min(max(3 * steps.eta * (facts.mean_flattest or 0.0), FALL[0]), FALL[1])
        return steps.with_numbers(mu=min(1 - fall, cautious), mu_late=cautious)

    def init(self, agent: Agent, x0: F64) -> State:
        s = super().init(agent, x0)
        s.keep(s=np.ones(1), ball_violations=np.zeros(1, np.int64))
        s.work(ball=not agent.compressor.guarantee(agent.dimension, LocalAndBeyond))
        return s

    def start(self, agent: Agent, s: State, facts: Facts) -> Step:
        largest = np.array([np.abs(s.x - self.eta * s.g - s.hx.own).max()], np.float64)
        if self.s0 == AUTO:
            yield from max_consensus(agent, largest, facts.diameter)
        s.s[0] = max(2 * largest[0], self.s_min) if self.s0 == AUTO else self.s0

    def started(self, s: State) -> Self:
        return self.with_numbers(s0=float(s.s[0]))

    def step(self, agent: Agent, s: State, k: int) -> Step:
        scale, e = float(s.s[0]), s.direction
        descend_both(s.x, s.g, s.D, self.eta, s.z)
        s.ball_violations[0] += difference(s.z, s.hx.own, scale, out=e) > 1.0
        received = yield agent.pack(k, z=e)
        agent.mix(received, s.hx, scales=(scale,))
        correct_and_descend(s.x, s.g, s.D, s.hx.mixed, self.gamma / (2 * self.eta), self.eta)
        agent.gradient(s.x, out=s.g)
        s.s[0] = max(self.factor(k) * scale, self.s_min)

    def factor(self, k: int) -> float:
        """Return the factor of the scale after iteration k."""
        return self.mu_late if k * log2(self.mu) <= -QUICK else self.mu

    def view(self, s: State) -> View:
        shown = super().view(s)
        counted = {"ball_violations": float(s.ball_violations[0]) if s.ball else 0.0}
        return replace(shown, series={**shown.series, **counted})
