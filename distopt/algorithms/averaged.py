"""Averaged gradients: what data-parallel training does, one message for each gradient."""

from typing import Annotated

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.base import Step
from distopt.algorithms.inner import WithInner
from distopt.algorithms.state import State, View
from distopt.algorithms.tree_mean import TreeMean
from distopt.compressors.base import Compressor
from distopt.core.arrays import F64
from distopt.core.parameters import Field, parameters
from distopt.theory.facts import Facts


@parameters("algorithm")
class AveragedGradients(WithInner):
    """The optimiser on the mean gradient of all agents, as in data-parallel training; docs: averaged.

        G = mean_j C(g(x_j) + e_j)                                            up and down a spanning tree
        x = x - inner(G)                                                     AdamW, or SGD with momentum

    All agents hold the same bits of x and of the optimiser. With identity G is exact; with cast it is
    averaging in float32 or bfloat16; with a sparse or signed compressor, feedback of errors.
    """

    feedback: Annotated[float, Field(ge=0, le=1)] = 1.0  # the part of e that is kept

    def max_nbytes(self, compressor: Compressor, d: int) -> int:
        return max(compressor.max_nbytes(d), 8 * d)

    def init(self, agent: Agent, x0: F64) -> State:
        s = State()
        s.keep(x=x0.copy(), inner=self.new_inner(x0), sums=TreeMean(agent, self.feedback))
        s.work(z=np.empty_like(x0), g=np.empty_like(x0), G=np.empty_like(x0))
        return s

    def start(self, agent: Agent, s: State, facts: Facts) -> Step:
        """Take the root's start point where they differ."""
        if not facts.same_start:
            yield from s.sums.take_point(s.x)

    def local_step(self, s: State) -> None:
        pass

    def exchange(self, agent: Agent, s: State, k: int) -> Step:
        yield from s.sums.of(s.g, out=s.G)
        s.inner.step(s.x, s.G)

    def view(self, s: State) -> View:
        return View(s.x, common=s.x)
