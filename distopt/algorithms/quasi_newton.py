"""The root of zest: from the mean gradient to the next step, and to the grids of what is sent.

Ours, measured (docs: zest). Only the root holds any of this.
"""

from math import inf, sqrt

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.along_tree import dot, norm
from distopt.algorithms.memory import Neighbours
from distopt.algorithms.step_rule import Numbers
from distopt.core.arrays import F64
from distopt.core.errors import ConfigError
from distopt.core.kernel import kernel

PAIRS = 30  # (dx, y) that are kept at most
BENT = 0.05  # cosine between dx and y above which a pair is kept
DOWNHILL = 0.01  # cosine between p and -G below which p is along -G instead
# What rounding may be of what is expected next: of p, and sqrt(n) times of G. At worst, not on average.
SHARE_DOWN, SHARE_UP = 0.8, 0.4
RECENT = 8  # sizes of G with which the newest is compared
SHIFTS = np.array([0.05, 0.2, 0.7, 2.0, 1e6])  # nu, of the root's own Hessian
JUDGES = 5  # pairs that choose nu
ROUNDING = 0.2  # delta_u and delta_d of the plain step: errors of G and dx, relative
LARGEST = 2000  # dimension up to which the root's own Hessian is put together


class QuasiNewton:
    """L-BFGS in a ball whose radius follows from how far the last step reached."""

    def __init__(self, agent: Agent, eta: float, own: bool) -> None:
        d = agent.dimension
        self.agents = agent.topology.agents
        self.S, self.Y = np.zeros((PAIRS, d)), np.zeros((PAIRS, d))
        self.G, self.recent = np.zeros(d), np.full(RECENT, inf)
        self.numbers = Numbers(eta=eta, radius=inf, r=1, phi=1, count=0, newest=0, direction=0)
        self.a = np.zeros(PAIRS)
        self.hessian = OwnHessian(agent) if own else None

    def arrays(self) -> dict[str, np.ndarray]:
        """Name the arrays that a checkpoint must hold."""
        kept = {name: getattr(self, name) for name in ("S", "Y", "G", "recent")}
        return {"numbers": self.numbers.array, **kept}

    def take_over(self, other: "QuasiNewton", neighbours: Neighbours, name: str) -> None:
        """Begin anew, as the tree does."""

    def choose(self, x: F64, G: F64, dx: F64, p: F64, age: int) -> tuple[float, float]:
        """Set p to the next step; return how large rounding may be, of p and of each of the next sums."""
        n = self.numbers
        size, before = norm(G), norm(self.G)
        t = self.learn(G, dx) if age else 1.0
        self.direct(x, G, p)
        length, along = norm(p), dot(p, G)
        if along > -DOWNHILL * length * size and size > 0:
            np.multiply(G, -length / size, out=p)
            n.count = 0
        if length > n.radius:
            p *= n.radius / length
        if age and before > 0:
            shrinking = min(max(size / before, 0.05), 3)
            n.r = min(max(sqrt(n.r * shrinking), 0.3), 1)
        # dx did what it should, but G did not shrink: rounding keeps it up in other directions.
        stuck = abs(t) < 0.5 and size > 0.9 * self.recent.min()
        n.phi = max(n.phi / 2, 0.25) if stuck else min(1, 1.5 * n.phi)
        self.recent[age % RECENT] = size
        self.G[:] = G
        down = n.phi * SHARE_DOWN * n.r * norm(p)
        up = n.phi * SHARE_UP * sqrt(self.agents) * n.r * size
        return down, up

    def learn(self, G: F64, dx: F64) -> float:
        """Keep the pair (dx, y), set the radius by how much of the slope along dx is left: t; return t."""
        n = self.numbers
        square = dot(dx, dx)
        if square == 0.0:
            return 1.0
        slope, length = dot(self.G, dx), norm(dx)
        t = dot(G, dx) / slope if slope < 0 else 1.0
        place = int(n.newest + 1) % PAIRS
        y = np.subtract(G, self.G, out=self.Y[place])
        if dot(dx, y) > BENT * length * norm(y):
            self.S[place] = dx
            n.newest, n.count = place, min(n.count + 1, PAIRS)
        else:
            n.count = 0
        n.radius = length * (3.0 if t >= 0.99 else min(max(1.5 / (1 - t), 0.4), 3.0))
        if n.count == 0 and G.any():
            n.eta = n.radius / norm(G)
        return t

    def direct(self, x: F64, G: F64, p: F64) -> None:
        """p = -H G."""
        n, S, Y = self.numbers, self.S, self.Y
        newest, count = int(n.newest), int(n.count)
        np.negative(G, out=p)
        back(S, Y, newest, count, p, self.a)
        if self.hessian is not None:
            self.hessian.apply(x, S, Y, newest, count, n.eta, p)
        elif count:
            p *= dot(S[newest], Y[newest]) / dot(Y[newest], Y[newest])
        else:
            p *= n.eta
        forth(S, Y, newest, count, p, self.a)


class GradientStep:
    """The plain step -eta G, with the grids that its theorem asks for."""

    def __init__(self, agent: Agent, eta: float) -> None:
        n = agent.topology.agents
        self.eta, self.up, self.down = eta, ROUNDING * n / max(n - 1, 1), ROUNDING * eta
        self.numbers = Numbers(direction=0)

    def arrays(self) -> dict[str, np.ndarray]:
        """Name the arrays that a checkpoint must hold."""
        return {"numbers": self.numbers.array}

    def take_over(self, other: "GradientStep", neighbours: Neighbours, name: str) -> None:
        """Begin anew, as the tree does."""

    def choose(self, x: F64, G: F64, dx: F64, p: F64, age: int) -> tuple[float, float]:
        """p = -eta G; return how large rounding may be, of p and of each of the next sums."""
        np.multiply(G, -self.eta, out=p)
        self.numbers.direction = dot(G, G)
        return self.down * norm(G), self.up * norm(G)


class OwnHessian:
    """The first matrix of L-BFGS from the Hessian of the root's own cost: V diag(1 / w_nu) V'.

    H = V diag(l) V' and w_nu = |l| + nu mean |l|; the last pairs choose nu. It is local and costs no bit.
    """

    def __init__(self, agent: Agent) -> None:
        if not hasattr(agent.cost, "hvp"):
            raise ConfigError(
                'algorithm.hessian = "own" needs a cost with a method hvp(x, v, out) at the root, agent '
                f'{agent.index}, and its cost has none; accepted here: "pairs".'
            )
        if agent.dimension > LARGEST:
            raise ConfigError(
                f'algorithm.hessian = "own" puts a matrix of {agent.dimension} x {agent.dimension} '
                f'together; accepted: a dimension of {LARGEST} at most, or "pairs".'
            )
        self.cost = agent.cost

    def spectrum(self, x: F64) -> tuple[F64, F64]:
        """Return |l| and V of the Hessian at x."""
        d = x.size
        H, unit = np.empty((d, d)), np.zeros(d)
        for i in range(d):
            unit[i] = 1.0
            self.cost.hvp(x, unit, H[i])  # type: ignore[attr-defined]
            unit[i] = 0.0
        values, V = np.linalg.eigh((H + H.T) / 2)
        return np.abs(values), V

    def apply(
        self, x: F64, S: F64, Y: F64, newest: int, count: int, eta: float, q: F64
    ) -> None:  # fmt: skip
        """Multiply q by the first matrix."""
        l, V = self.spectrum(x)
        mean = float(l.mean()) or 1.0
        if count == 0:
            w = l + SHIFTS[-1] * mean
            q[:] = eta * float(w.mean()) * (V @ ((V.T @ q) / w))
            return
        places = [(newest - i) % PAIRS for i in range(min(count, JUDGES))]
        s, y = S[places] @ V, Y[places] @ V
        best = min(SHIFTS, key=lambda nu: misfit(s, y / (l + nu * mean)))
        w = l + best * mean
        scale = float(s[0] @ y[0]) / float(y[0] @ (y[0] / w))
        q[:] = scale * (V @ ((V.T @ q) / w))


def misfit(s: F64, By: F64) -> float:
    """Return the sum over pairs of 1 - cos^2 between s and By, their rows."""
    cosines = (s * By).sum(axis=1) ** 2 / ((s**2).sum(axis=1) * (By**2).sum(axis=1))
    return float((1 - cosines).sum())


@kernel
def back(S: F64, Y: F64, newest: int, count: int, q: F64, a: F64) -> None:
    """The first loop of L-BFGS, from the newest pair to the oldest: a_i = s.q / s.y, q -= a_i y."""
    for i in range(count):
        s, y = S[(newest - i) % S.shape[0]], Y[(newest - i) % S.shape[0]]
        a[i] = dot(s, q) / dot(s, y)
        for k in range(q.size):
            q[k] -= a[i] * y[k]


@kernel
def forth(S: F64, Y: F64, newest: int, count: int, q: F64, a: F64) -> None:
    """The second loop, from the oldest pair to the newest: q += (a_i - y.q / s.y) s."""
    for i in range(count - 1, -1, -1):
        s, y = S[(newest - i) % S.shape[0]], Y[(newest - i) % S.shape[0]]
        b = dot(y, q) / dot(s, y)
        for k in range(q.size):
            q[k] += (a[i] - b) * s[k]
