"""CEDAS: compressed exact diffusion whose step decreases, for stochastic gradients."""

from typing import Annotated, Self

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.base import Step
from distopt.algorithms.lead import Lead
from distopt.algorithms.state import State, View
from distopt.algorithms.updates import correct_after
from distopt.core.parameters import Field, parameters
from distopt.theory.facts import Facts


@parameters("algorithm")
class Cedas(Lead):
    """CEDAS (Huang and Pu, "CEDAS: a compressed decentralized stochastic gradient method with improved
    convergence"), compressed exact diffusion with adaptive steps; docs: cedas.

        z = x - eta_k g - D,   eta_k = eta / (1 + decay k)
        q = C(z - h)                                                     sent to all neighbours
        mixed = sum_j W_ij ((h_j + q_j) - (h_i + q_i)),   h += alpha q
        D = D - gamma / 2 mixed
        x = z + gamma / 2 mixed;  g = g(x)

    Derived from the paper's abstract and from exact diffusion; with decay = 0 it is LEAD, whose D is this
    one over eta. The D_i sum to zero.
    """  # noqa: D205

    decay: Annotated[float, Field(ge=0)] = 0.0  # of the step: half of it after 1 / decay iterations

    searches = False

    def choose(self, facts: Facts) -> Self:
        found = super().choose(facts)
        return found.with_numbers(eta=0.5 / facts.require_smoothness("algorithm.eta"))

    def step(self, agent: Agent, s: State, k: int) -> Step:
        eta_k = self.eta / (1 + self.decay * k)
        np.subtract(s.x, s.D, out=s.z)
        s.z -= np.multiply(s.g, eta_k, out=s.direction)
        received = yield agent.pack_differences(k, z=(s.z, s.hx))
        agent.mix(received, s.hx, alpha=self.alpha)
        correct_after(s.x, s.D, s.z, s.hx.mixed, self.gamma / 2, self.gamma / 2)
        agent.gradient(s.x, out=s.g)

    def view(self, s: State) -> View:
        return View(s.x, gradient=s.g, memories={"x": (s.x, s.hx)})
