"""zed: zooming exact diffusion, whose quantiser finds its own scale."""

from typing import Any, ClassVar, Self

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.base import AUTO, Algorithm, Count, NonNegative, Positive, Rate, Step
from distopt.algorithms.memory import MemoryKind, MemoryStart
from distopt.algorithms.state import State, View
from distopt.algorithms.step_trial import StepTrial
from distopt.algorithms.updates import aim, mix_exactly
from distopt.compressors.base import Adaptive, Guarantee
from distopt.core.arrays import F64
from distopt.core.parameters import parameters
from distopt.theory.facts import Facts


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

    eta: Positive = AUTO  # step size
    beta: NonNegative = AUTO  # momentum
    omega: NonNegative = AUTO  # feedback of the known error of the last message
    c0: Positive = AUTO  # consensus step of x
    c1: Positive = AUTO  # consensus step of D
    alpha: Rate = AUTO  # memory step
    restarts: Count = AUTO  # how often the start may be repeated with half of eta
    memory: MemoryKind = "replicas"
    memory_start: MemoryStart = "zeros"  # h of x before the first message

    vectors = 1
    needs: ClassVar[type[Guarantee] | None] = Adaptive
    compressor: ClassVar[str] = "zoom"

    # Measured on many problems (docs: zooming); "auto" takes these.
    constants: ClassVar[dict[str, Any]] = {
        "beta": 0.2, "omega": 0.6, "c0": 0.7, "c1": 0.54, "alpha": 0.8
    }  # fmt: skip

    def choose(self, facts: Facts) -> Self:
        steps = self.with_numbers(**self.constants, restarts=3 if self.eta == AUTO else 0)
        # A bound L is mostly too large, an estimate is not (docs: zooming, the step).
        bold = 0.7 if facts.estimated else 2.0
        L = facts.require_smoothness("algorithm.eta")
        return steps.with_numbers(eta=bold * (1 - steps.beta) / L)

    def init(self, agent: Agent, x0: F64) -> State:
        d, s = agent.dimension, State()
        s.keep(x=x0.copy(), m=np.zeros(d), D=np.zeros(d), nu=np.zeros(d), g=np.empty(d))
        s.keep(
            hx=agent.new_memory(self.memory, self.memory_start, x0), eta=np.array([float(self.eta)])
        )
        s.work(z=np.empty(d), e=np.empty(d))
        if self.restarts:
            s.keep(trial=StepTrial(self.restarts, x0))
        agent.gradient(s.x, out=s.g)
        return s

    def start(self, agent: Agent, s: State, facts: Facts) -> Step:
        if self.restarts:
            s.trial.rounds[0] = facts.diameter
        return
        yield

    def step(self, agent: Agent, s: State, k: int) -> Step:
        eta = float(s.eta[0])
        aim(s.x, s.g, s.D, s.nu, s.hx.own, eta, self.beta, self.omega, s.m, s.z, s.e)
        received = yield agent.pack(k, z=s.e)
        agent.mix(received, s.hx, alpha=self.alpha)
        mix_exactly(
            s.z, s.e, s.hx.sent, s.hx.mixed, agent.weight_sum, self.c0, self.c1 / eta,
            s.x, s.D, s.nu,
        )  # fmt: skip
        if self.restarts and s.trial.goes_on and (yield from s.trial.fails(s.e)):
            self.begin_again(agent, s)
        agent.gradient(s.x, out=s.g)

    def begin_again(self, agent: Agent, s: State) -> None:
        """Go back to the start with half the step; all agents do it in the same iteration."""
        s.x[:] = s.trial.x0
        for zero in (s.m, s.D, s.nu, *s.hx.arrays().values()):
            zero.fill(0.0)
        if self.memory_start == "x0":
            s.hx.start_at(s.trial.x0)
        agent.reset_codecs()
        s.eta[0] /= 2

    def conserved(self, s: State) -> tuple[F64, None]:
        return s.D, None

    def view(self, s: State) -> View:
        series = {"restarts": float(s.trial.used[0])} if self.restarts else {}
        return View(s.x, gradient=s.g, memories={"x": (s.x, s.hx)}, series=series)
