"""Exact diffusion (NIDS), uncompressed: the baseline to beat, one vector a message."""

from math import sqrt
from typing import Annotated

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.base import AUTO, Algorithm, Positive, Step
from distopt.algorithms.state import State, View
from distopt.algorithms.step_rule import EDGE, Balance
from distopt.algorithms.step_search import steps_of
from distopt.algorithms.updates import accumulate, correct, descend_both
from distopt.core.arrays import F64
from distopt.core.parameters import Field, parameters


@parameters("algorithm")
class ExactDiffusion(Algorithm):
    """Exact diffusion (Yuan, Ying, Zhao and Sayed, "Exact diffusion for distributed optimization and
    learning"), in the form of NIDS (Li, Shi and Yan, "A decentralized proximal-gradient method with
    network independent step-sizes and separated convergence rates"); docs: exact_diffusion.

        m = beta m + g
        z = x - eta (m + D)                                              sent to all neighbours
        mixed = sum_j W_ij (z_j - z_i)
        D = D - mixed / (2 eta)
        x = z + mixed / 2;  g = g(x)

    beta = 0 is exact diffusion. The mean of m + D is the mean of m, because the D_i sum to zero.
    """  # noqa: D205

    eta: Positive = AUTO  # step size; "auto" searches it
    beta: Annotated[float, Field(ge=0, lt=1)] = 0.0  # momentum

    vectors = 1
    searches = True
    changing = True
    together = True
    single = True
    needs = None

    def init(self, agent: Agent, x0: F64) -> State:
        s = State()
        s.keep(x=x0.copy(), D=np.zeros_like(x0), m=np.zeros_like(x0), g=np.empty_like(x0))
        s.work(z=np.empty_like(x0), mixed=np.empty_like(x0), direction=np.empty_like(x0))
        agent.gradient(s.x, out=s.g)
        s.keep(steps=steps_of(self, agent, s))
        return s

    def balance(self, gap: float) -> Balance:
        return Balance(2.0, 2 * sqrt(gap / 2), factor=1 - self.beta, turns=True, edge=EDGE)

    def step(self, agent: Agent, s: State, k: int) -> Step:
        eta = s.steps.eta
        accumulate(s.m, self.beta, s.g)
        descend_both(s.x, s.m, s.D, eta, s.z)
        received = yield from s.steps.exchange(agent.pack(k, z=s.z))
        agent.average(received, (s.z, s.mixed))
        correct(s.x, s.D, s.z, s.mixed, eta)
        agent.gradient(s.x, out=s.g)
        s.steps.watch(s.mixed)

    def conserved(self, s: State) -> tuple[F64, None]:
        return s.D, None

    def view(self, s: State) -> View:
        # With momentum no vector's mean is the mean gradient.
        tracker = None if self.beta else np.add(s.g, s.D, out=s.direction)
        return View(s.x, gradient=s.g, tracker=tracker, series=s.steps.series())
