"""The cost of one agent for all three networks: passes forward, backward, and along a direction.

The fully connected network is LISTA without y after the first layer, and LISTA is ADMM-CSNet with
gamma = 0 (then u stays 0), so there is one set of equations (docs: networks). Samples are rows.
"""

from dataclasses import dataclass
from functools import cached_property
from threading import local

import numpy as np

from distopt.core.arrays import F64, I64
from distopt.core.kernel import kernel
from distopt.problems.costs.networks.activation import SoftThreshold
from distopt.problems.costs.networks.layout import Layout


@dataclass(frozen=True)
class Shape:
    """A network without its weights and data."""

    layout: Layout
    activation: SoftThreshold
    threshold: float = 1.0  # lam of every layer where it is not learned
    scale: float = 1.0  # c of F = c z^L
    gamma: float = 0.0  # multiplier step of ADMM-CSNet; 0 for the other networks


class NetworkCost:
    """f_i(w) = (1 / 2T) sum_s ||F(w; y_s) - x_s||^2 over the T samples of agent i.

    With a^0 = u^0 = 0, for l = 1..L (C^l = [W1^l; W2^l] transposed, docs: networks),

        p^l = W1^l y / sqrt(n) + W2^l a^(l-1) / sqrt(m) + u^(l-1),   z^l = sigma(p^l; lam^l)
        u^l = (1 - gamma) u^(l-1) + gamma (p^l - z^l),               a^l = z^l - u^l
        F = c z^L

    Gradient: `_backward`. Constants: `lower_bound` = 0 is a bound (and below the number of samples
    that the network can fit, the minimum); `smoothness` is unknown, hence absent. The gradient with
    respect to W2^1 is exactly 0, because a^0 = 0.

    Parameters
    ----------
    shape : Shape
    Y : float64[T, n]
        Measurements.
    X : float64[T, m]
        Targets.
    start : float64[d], optional
        Where training starts.

    Attributes
    ----------
    blocks : list[int]
        Boundaries of W1^1, W2^1, W1^2, ..., thresholds; their names are in ``shape.layout.parts``.
    """

    lower_bound = 0.0
    wide = True

    def __init__(self, shape: Shape, Y: F64, X: F64, start: F64 | None = None) -> None:
        layout = shape.layout
        if Y.shape[1:] != (layout.n,) or X.shape != (Y.shape[0], layout.m):
            raise ValueError(f"Y{Y.shape} and X{X.shape} do not fit n = {layout.n}, m = {layout.m}")
        self.shape = shape
        self.Y, self.X = Y, X
        self.samples: int = Y.shape[0]
        self.dimension = layout.dimension
        self.blocks = layout.blocks
        if start is not None:
            self.start = start
        self._root_m, self._root_n = float(np.sqrt(layout.m)), float(np.sqrt(layout.n))
        self._offset = layout.n if layout.injects else 0  # where a stands in Phi
        self._work = Passes(shape, Y)

    # What users and algorithms call

    def value(self, x: F64) -> float:
        w = self._work
        np.subtract(self.forward(x), self.X, out=w.G)
        return 0.5 * float(np.vdot(w.G, w.G)) / self.samples

    def gradient(self, x: F64, out: F64) -> None:
        w = self._work
        np.subtract(self.forward(x), self.X, out=w.G)
        w.G *= 1.0 / self.samples
        self._backward(x, out)

    def batch_gradient(self, x: F64, index: I64, out: F64) -> None:
        part = self._work.parts.get(index.size)
        if part is None:
            part = self._work.parts[index.size] = self.with_samples(self.Y[index], self.X[index])
        part.take(self, index)
        part.gradient(x, out)

    def take(self, other: "NetworkCost", index: I64) -> None:
        """Overwrite the samples with those of another cost at `index` : int64[samples]."""
        # mode "raise" would go through a new array.
        np.take(other.Y, index, axis=0, out=self.Y, mode="clip")
        np.take(other.X, index, axis=0, out=self.X, mode="clip")
        n = self.shape.layout.n
        w = self._work
        np.divide(self.Y, self._root_n, out=w.phi[0][:, :n])
        if self.shape.layout.injects:
            w.stack[1:, :, :n] = w.stack[0, :, :n]

    def hvp(self, x: F64, v: F64, out: F64) -> None:
        self.output_hvp(x, v, None, out)

    @cached_property
    def energy(self) -> float:
        """Mean over the samples of half the squared norm of the target: the loss of F = 0."""
        return 0.5 * float(np.vdot(self.X, self.X)) / self.samples

    def nmse(self, x: F64) -> float:
        """Return the loss over the energy of the targets, sum ||F - X||^2 / sum ||X||^2."""
        return self.value(x) / self.energy

    def with_samples(self, Y: F64, X: F64) -> "NetworkCost":
        """Return the same network with other samples, such as held-out ones."""
        return NetworkCost(self.shape, Y, X, getattr(self, "start", None))

    def predict(self, x: F64, Y: F64) -> F64:
        """Return F(w; y) for each row y of Y, float64[T', m], in a new array."""
        return self.with_samples(Y, np.zeros((Y.shape[0], self.shape.layout.m))).forward(x)

    # The map w -> F and its derivatives

    def forward(self, x: F64) -> F64:
        """Return F, float64[T, m], in a work array; keep what the backward pass needs."""
        w = self._work
        shape, layout = self.shape, self.shape.layout
        n, gamma = self._offset, shape.gamma
        C, lam, last = layout.matrices(x), self._thresholds(x), layout.layers - 1
        w.U.fill(0.0)
        for l, phi in enumerate(w.live):
            np.matmul(phi, C[layout.used_by[l]][: phi.shape[1]], out=w.P)
            to, first = (w.F, 0) if l == last else (w.phi[l + 1], n)
            scale = shape.scale if l == last else 1.0 / self._root_m
            Q = None if w.Q is None else w.Q[l]
            if gamma:
                w.P += w.U
                shape.activation.layer(w.P, lam[l], 1.0, to, first, w.S[l], Q)
                multiply(w.P, gamma, scale, l == last, w.U, to, first)
            else:
                shape.activation.layer(w.P, lam[l], scale, to, first, w.S[l], Q)
        return w.F

    def vjp(self, x: F64, cotangent: F64, out: F64) -> None:
        """out = J' cotangent, for cotangent : float64[T, m] and J the Jacobian of F at x."""
        self.forward(x)
        np.copyto(self._work.G, cotangent)
        self._backward(x, out)

    def jvp(self, x: F64, v: F64) -> F64:
        """Return J v, float64[T, m], in a new array."""
        return self._along(x, v).F

    def second(self, x: F64, v: F64) -> F64:
        """Return F''(x)[v, v], float64[T, m], in a new array."""
        return self._along(x, v, second=True).F2

    def adjoints(self, x: F64) -> tuple[list[F64], list[F64], F64]:
        """Return the parts of the rows of the Jacobian; row (s, j) belongs to F_sj.

        Its part that belongs to the matrix of layer l is the outer product of a feature and an
        adjoint (the sum of these over the layers that share a matrix).

        Returns
        -------
        features : list of float64[T, inputs]
        adjoints : list of float64[T m, m]
        tilts : float64[layers, T m]
            The derivative in each layer's threshold; empty where they are not learned.
        """
        m = self.shape.layout.m
        again = self.with_samples(np.repeat(self.Y, m, axis=0), np.repeat(self.X, m, axis=0))
        again.forward(x)
        again._work.G[:] = np.tile(np.eye(m), (self.samples, 1))
        again._backward(x, None)
        tilts = np.empty((0, 0)) if again._work.Q is None else again._work.Q.sum(axis=2)
        return [phi[::m] for phi in again._work.live], list(again._work.S), tilts

    def _thresholds(self, x: F64) -> list[float]:
        """Return lam of each layer."""
        layout = self.shape.layout
        if not layout.learned:
            return [self.shape.threshold] * layout.layers
        part = [float(lam) for lam in layout.threshold_part(x)]
        return part * layout.layers if layout.tied else part

    def _backward(self, x: F64, out: F64 | None) -> None:
        """out = J' G for the cotangent G in its work array, after `forward`.

        With the adjoints zb of z^L, ub of u (zb = c G, ub = 0 at l = L), for l = L..1,

            zt = zb - gamma ub,  s = sigma'(p) zt,  D = s + gamma ub;   dC = Phi' D
            dlam = sum zt dsigma/dlam;   zb <- W2' D / sqrt(m),  ub <- ub + s - zb
        """
        w = self._work
        shape, layout = self.shape, self.shape.layout
        C, n, U = layout.matrices(x), self._offset, w.U
        into = None if out is None else layout.matrices(out)
        scale = shape.scale
        U.fill(0.0)
        for l in reversed(range(layout.layers)):
            G, S = w.G, w.S[l]
            if shape.gamma:
                Q = S if w.Q is None else w.Q[l]
                pull_back(G, shape.gamma, scale, l == layout.layers - 1, w.Q is not None, U, S, Q)
            else:
                if w.Q is not None:
                    times(G, scale, w.Q[l])
                times(G, scale, S)
            if into is not None and not layout.tied:
                live = w.live[l]
                np.matmul(live.T, S, out=into[l][: live.shape[1]])
                into[l][live.shape[1] :] = 0.0  # the dead part of the first layer
            if l:
                np.matmul(S, C[layout.used_by[l]][n:].T, out=G)
            scale = 1.0 / self._root_m
        if out is None or into is None:
            return
        if layout.tied:
            self._shared_gradient(into)
        if w.Q is not None:
            part = layout.threshold_part(out)
            if layout.tied:
                part[0] = w.Q.sum()
            else:
                np.sum(w.Q, axis=(1, 2), out=part)

    def _shared_gradient(self, into: list[F64]) -> None:
        """Sum over the layers that share a matrix: one product, with their samples stacked."""
        w = self._work
        m = self.shape.layout.m
        if self.shape.layout.injects:
            stack = w.stack.reshape(-1, w.stack.shape[2])
            np.matmul(stack.T, w.S.reshape(-1, m), out=into[0])
            return
        np.matmul(w.phi[0].T, w.S[0], out=into[0])
        if len(into) > 1:
            np.matmul(w.stack.reshape(-1, m).T, w.S[1:].reshape(-1, m), out=into[1])

    def _along(self, x: F64, v: F64, second: bool = False) -> "Tangents":
        """Pass forward with first (and second) derivatives along v."""
        shape, layout = self.shape, self.shape.layout
        T, m, L, n, gamma = self.samples, layout.m, layout.layers, self._offset, shape.gamma
        C, V, lam = layout.matrices(x), layout.matrices(v), self._thresholds(x)
        nu = self._threshold_direction(v)
        t = Tangents(L, T, m)
        U, U1, U2 = np.zeros((T, m)), np.zeros((T, m)), np.zeros((T, m))
        A1, A2 = t.A1[0], np.zeros((T, m))  # derivatives of a / sqrt(m); 0 at the start
        z, P2, Z2 = np.empty((T, m)), np.zeros((T, m)), np.zeros((T, m))
        for l, phi in enumerate(self._work.live):
            k = layout.used_by[l]
            P = phi @ C[k][: phi.shape[1]] + U
            P1 = phi @ V[k][: phi.shape[1]] + U1
            if l:
                P1 += A1 @ C[k][n:]
            shape.activation.layer(P, lam[l], 1.0, z, 0, t.S[l], t.Q[l])
            t.pp[l], t.pq[l] = shape.activation.curves(P, lam[l], t.S[l], t.Q[l])
            Z1 = t.S[l] * P1 + nu[l] * t.Q[l]
            t.P1[l] = P1
            if second:
                P2 = U2 + (2 * A1 @ V[k][n:] + A2 @ C[k][n:] if l else 0.0)
                Z2 = t.pp[l] * P1**2 + 2 * nu[l] * t.pq[l] * P1 + nu[l] ** 2 * t.pp[l] + t.S[l] * P2
                U2 = (1 - gamma) * U2 + gamma * (P2 - Z2)
                A2 = (Z2 - U2) / self._root_m
            U = (1 - gamma) * U + gamma * (P - z)
            U1 = (1 - gamma) * U1 + gamma * (P1 - Z1)
            if l < L - 1:
                self._work.phi[l + 1][:, n:] = (z - U) / self._root_m
                t.A1[l + 1] = (Z1 - U1) / self._root_m
                A1 = t.A1[l + 1]
        np.multiply(shape.scale, z, out=self._work.F)
        t.F = shape.scale * Z1
        t.F2 = shape.scale * Z2
        return t

    def output_hvp(self, x: F64, v: F64, cotangent: F64 | None, out: F64) -> None:
        """out = Hessian at x times v, of <cotangent, F> or, without one, of the loss.

        The derivative of every line of `_backward` along v; a 1 at a name marks it.
        """
        shape, layout = self.shape, self.shape.layout
        n, gamma = self._offset, shape.gamma
        t = self._along(x, v)
        C, V, nu = layout.matrices(x), layout.matrices(v), self._threshold_direction(v)
        into, tilts = layout.matrices(out), np.zeros(layout.layers)
        if cotangent is None:
            z = (shape.scale / self.samples) * (self._work.F - self.X)
            z1 = (shape.scale / self.samples) * t.F
        else:
            z, z1 = shape.scale * cotangent, np.zeros_like(self._work.F)
        u, u1 = np.zeros_like(z), np.zeros_like(z)
        out.fill(0.0)
        for l in reversed(range(layout.layers)):
            k, live = layout.used_by[l], self._work.live[l]
            zt, zt1 = z - gamma * u, z1 - gamma * u1
            s = t.S[l] * zt
            s1 = (t.pp[l] * t.P1[l] + nu[l] * t.pq[l]) * zt + t.S[l] * zt1
            D, D1 = s + gamma * u, s1 + gamma * u1
            into[k][: live.shape[1]] += live.T @ D1
            tilt1 = t.pq[l] * t.P1[l] + nu[l] * t.pp[l]
            tilts[l] = np.vdot(tilt1, zt) + np.vdot(t.Q[l], zt1)
            if l:
                into[k][n:] += t.A1[l].T @ D
                z = D @ C[k][n:].T / self._root_m
                z1 = (D1 @ C[k][n:].T + D @ V[k][n:].T) / self._root_m
                u, u1 = u + s - z, u1 + s1 - z1
        if layout.learned:
            layout.threshold_part(out)[:] = tilts.sum() if layout.tied else tilts

    def _threshold_direction(self, v: F64) -> F64:
        """Return the part of a direction that belongs to each layer's threshold."""
        layout = self.shape.layout
        if not layout.learned:
            return np.zeros(layout.layers)
        return np.broadcast_to(layout.threshold_part(v), layout.layers)


class Passes(local):
    """What passes forward and backward write, in every thread its own.

    Attributes
    ----------
    phi : list of float64[T, inputs]
        The rows Phi^(l) = [y / sqrt(n), a / sqrt(m)] that enter layer l (from 0); in `stack`.
    live : list of float64[T, inputs]
        The same without a^0 = 0.
    S, Q : float64[L, T, m]
        sigma'(p^l), then the adjoint of W1 y + W2 a; d sigma / d lam, times its adjoint.
    """

    def __init__(self, shape: "Shape", Y: F64) -> None:
        self._made_of = shape, Y
        layout = shape.layout
        T, m, n, L = Y.shape[0], layout.m, layout.n, layout.layers
        if layout.injects:
            self.stack = np.zeros((L, T, n + m))
            self.stack[:, :, :n] = Y / float(np.sqrt(n))
            self.phi = list(self.stack)
            self.live = [self.phi[0][:, :n], *self.phi[1:]]
        else:
            self.stack = np.empty((L - 1, T, m))
            self.phi = [Y / float(np.sqrt(n)), *self.stack]
            self.live = self.phi
        self.S = np.empty((L, T, m))
        self.Q = np.empty((L, T, m)) if layout.learned else None
        self.P, self.F, self.G = np.empty((T, m)), np.empty((T, m)), np.empty((T, m))
        self.U = np.empty((T, m) if shape.gamma else (0, 0))
        self.parts: dict[int, NetworkCost] = {}  # for mini-batches, by their size

    def __reduce__(self) -> tuple[type["Passes"], tuple["Shape", F64]]:
        return Passes, self._made_of


class Tangents:
    """What a pass along a direction leaves for each layer: first derivatives end in 1.

    S, Q are the derivatives of sigma in p and lam, pp (= lam lam) and pq the second ones.
    """

    def __init__(self, layers: int, T: int, m: int) -> None:
        shape = (layers, T, m)
        self.S, self.Q = np.empty(shape), np.empty(shape)
        self.pp, self.pq = np.empty(shape), np.empty(shape)
        self.P1, self.A1 = np.empty(shape), np.zeros(shape)
        self.F = self.F2 = np.empty((T, m))


@kernel
def times(G: F64, scale: float, S: F64) -> None:
    """S = scale G S, entry by entry."""
    for i in range(S.shape[0]):
        for j in range(S.shape[1]):
            S[i, j] *= scale * G[i, j]


@kernel
def multiply(P: F64, gamma: float, scale: float, last: bool, U: F64, X: F64, first: int) -> None:
    """U = (1 - gamma) U + gamma (P - Z); X[:, first:] = scale (Z - U) from Z there, last: scale Z."""
    share = 0.0 if last else 1.0
    for i in range(P.shape[0]):
        for j in range(P.shape[1]):
            z = X[i, first + j]
            u = (1.0 - gamma) * U[i, j] + gamma * (P[i, j] - z)
            U[i, j] = u
            X[i, first + j] = scale * (z - share * u)


@kernel
def pull_back(
    G: F64, gamma: float, scale: float, last: bool, tilted: bool, U: F64, S: F64, Q: F64
) -> None:
    """zb = scale G, U -= zb (not at the last layer), zt = zb - gamma U, s = S zt;
    S = s + gamma U, U += s, and if `tilted` Q *= zt.
    """  # noqa: D205
    share = 0.0 if last else 1.0
    for i in range(S.shape[0]):
        for j in range(S.shape[1]):
            zb = scale * G[i, j]
            u = U[i, j] - share * zb
            zt = zb - gamma * u
            s = S[i, j] * zt
            if tilted:
                Q[i, j] *= zt
            S[i, j] = s + gamma * u
            U[i, j] = u + s
