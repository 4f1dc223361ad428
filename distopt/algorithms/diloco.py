"""DiLoCo: many local steps of one optimiser, then a step of another along their mean difference."""

from typing import Annotated, Literal, Self

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.base import AUTO, Fraction, Positive, Step
from distopt.algorithms.inner import WithInner
from distopt.algorithms.memory import MemoryKind, MemoryStart
from distopt.algorithms.state import State, View
from distopt.algorithms.tree_mean import TreeMean
from distopt.compressors.base import Compressor
from distopt.core.arrays import F64
from distopt.core.kernel import kernel
from distopt.core.parameters import Field, parameters
from distopt.theory.facts import Facts
from distopt.theory.rules import following, mixing_step


@parameters("algorithm")
class DiLoCo(WithInner):
    """DiLoCo (Douillard et al., "DiLoCo: Distributed low-communication training of language models"), its
    differences compressed with feedback of what was left out; docs: diloco.

        z = x;  local_steps times:  z = z - inner(g(z))                       AdamW, or SGD with momentum

        mean = "tree":    D = mean_j C(x_j - z_j + e_j)                        up and down a spanning tree
        mean = "gossip":  q = C(z - h)                                         sent to all neighbours
                          mixed = sum_j W_ij ((h_j + q_j) - (h_i + q_i)),   h += alpha q
                          D = x - (z + gamma mixed)

        u = outer_beta u + D
        x = x - outer_eta (D + outer_beta u)                                  Nesterov's form of momentum

    Along the tree all agents hold the same bits of x.
    """  # noqa: D205

    local_steps: Annotated[int, Field(ge=1)] = 20
    outer_eta: Annotated[float, Field(gt=0)] = 1.0
    outer_beta: Annotated[float, Field(ge=0, lt=1)] = 0.0
    mean: Literal["tree", "gossip"] = "tree"
    feedback: Annotated[float, Field(ge=0, le=1)] = 1.0  # tree: the part of e that is kept
    gamma: Fraction = AUTO  # gossip: consensus step
    alpha: Positive = AUTO  # gossip: memory step
    memory: MemoryKind = "replicas"
    memory_start: MemoryStart = "zeros"  # gossip: h before the first message

    def choose(self, facts: Facts) -> Self:
        chosen = super().choose(facts)
        if self.mean == "tree":
            return chosen.with_numbers(alpha=1.0, gamma=1.0)
        found = following(facts.compressor, facts.dimension)
        return chosen.with_numbers(alpha=found.alpha, gamma=mixing_step(facts, found.lag))

    def max_nbytes(self, compressor: Compressor, d: int) -> int:
        return max(compressor.max_nbytes(d), 8 * d)

    def init(self, agent: Agent, x0: F64) -> State:
        s = State()
        s.keep(x=x0.copy(), u=np.zeros_like(x0), inner=self.new_inner(x0))
        if self.mean == "tree":
            s.keep(sums=TreeMean(agent, self.feedback))
        else:
            s.keep(hx=agent.new_memory(self.memory, self.memory_start, x0))
        s.work(z=np.empty_like(x0), g=np.empty_like(x0), D=np.empty_like(x0))
        return s

    def start(self, agent: Agent, s: State, facts: Facts) -> Step:
        """Take the root's start point where they differ and one x is for all."""
        if self.mean == "tree" and not facts.same_start:
            yield from s.sums.take_point(s.x)

    def local_step(self, s: State) -> None:
        s.inner.step(s.z, s.g)

    def exchange(self, agent: Agent, s: State, k: int) -> Step:
        if self.mean == "tree":
            yield from s.sums.of(np.subtract(s.x, s.z, out=s.z), out=s.D)
        else:
            received = yield agent.pack_differences(k, z=(s.z, s.hx))
            agent.mix(received, s.hx, alpha=self.alpha)
            left(s.x, s.z, s.hx.mixed, self.gamma, s.D)
        descend_ahead(s.x, s.D, s.u, self.outer_eta, self.outer_beta)

    def view(self, s: State) -> View:
        if self.mean == "tree":
            return View(s.x, common=s.x)
        return View(s.x, memories={"x": (s.x, s.hx)})


@kernel
def left(x: F64, z: F64, mixed: F64, gamma: float, D: F64) -> None:
    """D = x - (z + gamma mixed)."""
    for i in range(x.size):
        D[i] = x[i] - (z[i] + gamma * mixed[i])


@kernel
def descend_ahead(x: F64, D: F64, u: F64, eta: float, beta: float) -> None:
    """u = beta u + D; x = x - eta (D + beta u)."""
    for i in range(x.size):
        u[i] = beta * u[i] + D[i]
        x[i] -= eta * (D[i] + beta * u[i])
