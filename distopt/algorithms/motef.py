"""MoTEF: BEER with a momentum that averages stochastic gradients."""

from typing import Annotated

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.base import Step
from distopt.algorithms.beer import Beer
from distopt.algorithms.state import State
from distopt.algorithms.updates import accumulate
from distopt.core.arrays import F64
from distopt.core.parameters import Field, parameters


@parameters("algorithm")
class Motef(Beer):
    """MoTEF (Islamov, Gao and Stich, "Towards faster decentralized stochastic optimization with
    communication compression"): momentum tracking with error feedback; docs: motef.

        x+ = x + gamma sum_j W_ij (hx_j - hx_i) - eta y
        m+ = (1 - lam) m + lam g(x+)
        y+ = y + gamma sum_j W_ij (hy_j - hy_i) + m+ - m
        hx += C(x+ - hx),  hy += C(y+ - hy)                              sent to all neighbours

    Derived from the paper's abstract and from beer; lam = 1 is beer. The mean of y is the mean of m.
    """  # noqa: D205

    lam: Annotated[float, Field(gt=0, le=1)] = 0.1  # weight of the newest gradient in m

    lyapunov = None

    def init(self, agent: Agent, x0: F64) -> State:
        s = super().init(agent, x0)  # its g is m
        s.work(kept=np.empty_like(x0))
        return s

    def step(self, agent: Agent, s: State, k: int) -> Step:
        self.descend(s, s.mixed_x, s.y)
        agent.gradient(s.x, out=s.g_next)
        accumulate(s.g_next, self.lam, np.multiply(s.g, 1 - self.lam, out=s.kept))
        self.track(s, s.mixed_y)
        received = yield agent.pack_differences(k, x=(s.x, s.hx), y=(s.y, s.hy))
        agent.mix(received, s.hx, s.hy)
