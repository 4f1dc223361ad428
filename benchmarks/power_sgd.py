"""PowerSGD along a spanning tree: the rival of averaging with few bits (benchmarks/training.py).

Vogels, Karimireddy and Jaggi, "PowerSGD: practical low-rank gradient compression for distributed
optimization".
"""

from itertools import accumulate
from math import prod
from typing import Annotated

import numpy as np

from distopt.algorithms.along_tree import Place
from distopt.algorithms.inner import WithInner
from distopt.algorithms.letter import NOTHING
from distopt.algorithms.state import State, View
from distopt.core.parameters import Field, parameters


@parameters("algorithm")
class PowerSGD(WithInner):
    """The optimiser on mean gradients whose matrices have a low rank; all that travels is float32.

        M = g + e                                           of each matrix of the parameters
        P = sum_j M_j Q / n,  its columns made orthonormal;  Q = sum_j M_j' P / n
        G = P Q';  e = M - G
        x = x - inner(G)

    Q begins with normal numbers and stays. What is no matrix, or would not become shorter, is sent whole.
    """

    shapes: tuple[tuple[int, int, int], ...] = ()  # first entry in x, rows, columns
    rank: Annotated[int, Field(ge=1)] = 1

    def max_nbytes(self, compressor, d):
        return 8 * d

    def init(self, agent, x0):
        d, s = agent.dimension, State()
        normal = np.random.default_rng(0).normal
        Q = np.concatenate([normal(size=columns * self.rank) for _, _, columns in self.matrices()])
        s.keep(x=x0.copy(), e=np.zeros(d), Q=Q, inner=self.new_inner(x0))
        s.work(z=np.empty(d), g=np.empty(d), M=np.empty(d), G=np.empty(d), place=Place(agent))
        return s

    def local_step(self, s):
        pass

    def exchange(self, agent, s, k):
        np.add(s.g, s.e, out=s.M)
        matrices = self.matrices()
        M = [s.M[b : b + n * m].reshape(n, m) for b, n, m in matrices]
        Q = split(s.Q, [(m, self.rank) for _, _, m in matrices])
        products = [A @ B for A, B in zip(M, Q, strict=True)]
        whole = np.ones(s.M.size, bool)
        for b, n, m in matrices:
            whole[b : b + n * m] = False
        sent = np.concatenate([*map(np.ravel, products), s.M[whole]])
        mean = yield from mean_of(agent, s.place, sent)
        P = [np.linalg.qr(A)[0] for A in split(mean, [A.shape for A in products])]
        s.G[whole] = mean[mean.size - np.count_nonzero(whole) :]
        sent = np.concatenate([np.ravel(A.T @ B) for A, B in zip(M, P, strict=True)])
        s.Q[:] = yield from mean_of(agent, s.place, sent)
        for (b, n, m), A, B in zip(matrices, P, Q, strict=True):
            s.G[b : b + n * m] = np.ravel(A @ B.T)
        np.subtract(s.M, s.G, out=s.e)
        s.e[whole] = 0.0
        s.inner.step(s.x, s.G)

    def matrices(self):
        """List those that are sent as products."""
        return [(b, n, m) for b, n, m in self.shapes if (n + m) * self.rank < n * m]

    def view(self, s):
        return View(s.x, common=s.x)


def mean_of(agent, place, v):
    """Return the mean of all agents' v, summed in float32 on the way to the root; the same everywhere."""
    total = v.astype("<f4")

    def hear(child, message):
        np.add(total, message.view("<f4"), out=total)

    yield from place.up(hear, lambda: total.view(np.uint8))
    message = yield from place.down(total.view(np.uint8) if place.root else NOTHING)
    return message.view("<f4").astype(float) / agent.topology.agents


def split(v, shapes):
    """Return views of v in these shapes, one after the other."""
    ends = [*accumulate(prod(shape) for shape in shapes)]
    return [
        v[b:e].reshape(shape) for b, e, shape in zip([0, *ends[:-1]], ends, shapes, strict=True)
    ]


def shapes_of(cost):
    """Return the matrices of a model: its parameters, arrays of more axes cut where that is shortest."""
    return tuple(
        (int(part.begin), *min((cut(part.shape, a) for a in range(1, len(part.shape))), key=sum))
        for part in cost.layout.parts
        if len(part.shape) > 1
    )


def cut(shape, axis):
    """Return rows and columns of an array whose axes before `axis` are joined, and those after."""
    return prod(shape[:axis]), prod(shape[axis:])
