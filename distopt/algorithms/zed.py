"""zed: zooming exact diffusion, whose quantiser finds its own scale."""

from math import sqrt
from typing import Any, ClassVar, Self

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.base import AUTO, Algorithm, NonNegative, Positive, Rate, Step
from distopt.algorithms.memory import MemoryKind, MemoryStart
from distopt.algorithms.state import State, View
from distopt.algorithms.step_rule import EDGE, Balance
from distopt.algorithms.step_search import steps_of
from distopt.algorithms.updates import aim, mix_exactly
from distopt.compressors.base import Adaptive, Guarantee
from distopt.core.arrays import F64
from distopt.core.parameters import parameters
from distopt.theory.facts import Facts

KAPPA = 1.6  # ||I - W||_2
TRUST = 0.6  # of the agents' steepest curvature; noise of the codes shows the fastest motion anyway


@parameters("algorithm")
class Zed(Algorithm):
    """Zooming exact diffusion (ours; no proof, measured); docs: zed.

        m = beta m + g
        z = x - eta (m + D) + omega nu
        q = C(z - h)                                                     sent to all neighbours
        hat_j = h_j + q_j,   h_j += alpha q_j                            for all members j
        D = D + (c1 / eta) sum_j W_ij (hat_i - hat_j)
        x = z - c0 sum_j W_ij (z - hat_j)                                over the neighbours
        nu = hat_i - z;  g = g(x)

    These gains need two things: x mixes the agent's own exact z, not the network's copy of it, and the
    known error nu of a message goes into the next one. The D_i sum to zero.
    """

    eta: Positive = AUTO  # step size; "auto" searches it
    beta: NonNegative = AUTO  # momentum
    omega: NonNegative = AUTO  # feedback of the known error of the last message
    c0: Positive = AUTO  # consensus step of x
    c1: Positive = AUTO  # consensus step of D
    alpha: Rate = AUTO  # memory step
    memory: MemoryKind = "replicas"
    memory_start: MemoryStart = "zeros"  # h of x before the first message

    vectors = 1
    searches = True
    changing = True
    together = True
    single = True
    needs: ClassVar[type[Guarantee] | None] = Adaptive
    compressor: ClassVar[str] = "zoom"

    # Measured on many problems (docs: zooming); "auto" takes these.
    constants: ClassVar[dict[str, Any]] = {
        "beta": 0.2, "omega": 0.6, "c0": 0.7, "c1": 0.54, "alpha": 0.8
    }  # fmt: skip

    def choose(self, facts: Facts) -> Self:
        # The gains were measured up to kappa = 1.6; beyond, c (I - W) is kept as large as there.
        shrink = min(1.0, KAPPA / facts.kappa) if facts.kappa > 0 else 1.0
        gains = {name: shrink * self.constants[name] for name in ("c0", "c1")}
        return self.with_numbers(**self.constants | gains)

    def init(self, agent: Agent, x0: F64) -> State:
        s = State()
        s.keep(x=x0.copy(), m=np.zeros_like(x0), D=np.zeros_like(x0))
        s.keep(nu=np.zeros_like(x0), g=np.empty_like(x0))
        s.keep(hx=agent.new_memory(self.memory, self.memory_start, x0))
        s.work(
            z=np.empty_like(x0), e=s.nu
        )  # what is sent takes the place of the last error, used up by then
        agent.gradient(s.x, out=s.g)
        s.keep(steps=steps_of(self, agent, s))
        return s

    def balance(self, gap: float) -> Balance:
        reach = 2 * sqrt(self.c1 * gap)
        return Balance(2.0, reach, factor=1 - self.beta, trust=TRUST, turns=True, edge=EDGE)

    def step(self, agent: Agent, s: State, k: int) -> Step:
        eta = s.steps.eta
        aim(s.x, s.g, s.D, s.nu, s.hx.own, eta, self.beta, self.omega, s.m, s.z, s.e)
        received = yield from s.steps.exchange(agent.pack(k, z=s.e))
        agent.mix(received, s.hx, alpha=self.alpha)
        mix_exactly(
            s.z, s.hx.sent, s.hx.mixed, agent.weight_sum, self.c0, self.c1 / eta, s.x, s.D, s.nu
        )
        agent.gradient(s.x, out=s.g)
        s.steps.watch(s.hx.mixed)

    def conserved(self, s: State) -> tuple[F64, None]:
        return s.D, None

    def view(self, s: State) -> View:
        memories = {"x": (s.x, s.hx)}
        return View(s.x, gradient=s.g, memories=memories, series=s.steps.series())
