"""LED: exact diffusion with several local steps between two messages, compressed as in LEAD."""

from dataclasses import replace
from typing import Annotated, Self

from distopt.algorithms.agent import Agent
from distopt.algorithms.base import AUTO, Step
from distopt.algorithms.lead import Lead
from distopt.algorithms.state import State
from distopt.algorithms.step_rule import Balance
from distopt.algorithms.updates import correct_after, descend_both
from distopt.core.parameters import Field, parameters
from distopt.theory.facts import Facts


@parameters("algorithm")
class LocalExactDiffusion(Lead):
    """LED (Alghunaim, "Local exact-diffusion for decentralized optimization and learning"), its messages
    compressed as LEAD compresses those of exact diffusion; docs: led.

        z = x;  local_steps times:  z = z - eta (g(z) + D)
        q = C(z - h)                                                     sent to all neighbours
        mixed = sum_j W_ij ((h_j + q_j) - (h_i + q_i)),   h += alpha q
        D = D - gamma / (2 eta local_steps) mixed
        x = z + gamma / 2 mixed

    One local step is LEAD. The D_i sum to zero, so the mean of g + D is the mean gradient.
    """  # noqa: D205

    local_steps: Annotated[int, Field(ge=1)] = 5

    together = True

    def choose(self, facts: Facts) -> Self:
        found = super().choose(facts)
        if self.eta != AUTO or found.eta == AUTO:
            return found
        # Lead's rule gives the way of all local steps together.
        return replace(found, eta=found.eta / self.local_steps)

    def balance(self, gap: float) -> Balance:
        return super().balance(gap).over(self.local_steps)

    def step(self, agent: Agent, s: State, k: int) -> Step:
        eta = s.steps.eta
        descend_both(s.x, s.g, s.D, eta, s.z)
        for _ in range(1, self.local_steps):
            agent.gradient(s.z, out=s.g)
            descend_both(s.z, s.g, s.D, eta, s.z)
        received = yield from s.steps.exchange(agent.pack_differences(k, z=(s.z, s.hx)))
        agent.mix(received, s.hx, alpha=self.alpha)
        ratio = self.gamma / (2 * eta * self.local_steps)
        correct_after(s.x, s.D, s.z, s.hx.mixed, self.gamma / 2, ratio)
        agent.gradient(s.x, out=s.g)
        s.steps.watch(s.hx.mixed)
