"""The algorithms once more, in plain numpy and matrix form: n agents at once, X : float64[n, d].

Written from the equations of the docs, with the mixing matrix W and whole arrays; nothing of the
package's steps, memories, kernels or wire formats is used. Deterministic compressors only.
"""

import numpy as np

# Compressors: float64[n, d] -> float64[n, d], row by row.


def identity(Z):
    return Z.copy()


def round_up(s):
    """Return the smallest float32 >= s, as float64."""
    near = np.float32(s)
    return float(near if float(near) >= s else np.nextafter(near, np.float32(np.inf)))


def norm_sign(Z):
    half = np.array([[round_up(np.abs(z).max() / 2)] for z in Z])
    return half * np.where(Z < 0, -1.0, 1.0)


def quantize(bits):
    def compress(Z):
        levels = 2.0 ** (bits - 1)
        out = np.zeros_like(Z)
        for z, row in zip(Z, out, strict=True):
            s = round_up(np.abs(z).max())
            if s > 0:
                row[:] = np.sign(z) * np.floor(levels * (np.abs(z) / s) + 0.5) * (s / levels)
        return out

    return compress


def top_k(k):
    def compress(Z):
        out = np.zeros_like(Z)
        for z, row in zip(Z, out, strict=True):
            keep = np.argsort(-np.abs(z), kind="stable")[:k]
            row[keep] = z[keep]
        return out

    return compress


def uniform(delta):
    return lambda Z: delta * np.floor(Z / delta + 0.5)


def one_bit(Z):
    return np.where(Z < 0, -0.5, 0.5)


def saturating(bits):
    L = 2.0 ** (bits - 1)
    return lambda Z: np.clip(np.floor(Z * L), -L, L - 1) / L + 0.5 / L


def anq(a, w):
    """Value q is (a/w) (rho^q - 1), and its cell ends at (a/w) (rho^q / (1 - w) - 1)."""
    rho = (1 + w) / (1 - w)

    def compress(Z):
        q = np.ceil(np.log((1 - w) * (1 + w * abs(Z) / a)) / np.log(rho))
        return np.sign(Z) * (a / w) * (rho ** np.maximum(q, 0) - 1)

    return compress


# Algorithms: generators of X after 0, 1, 2, ... iterations. `grad` maps X to the rows g_i(x_i).


def gt(W, grad, X, eta, gamma, form="cta", beta=0.0):
    X, G = X.copy(), grad(X)
    Y, V = G.copy(), np.zeros_like(X)
    M = np.eye(len(W)) + gamma * (W - np.eye(len(W)))
    while True:
        yield X
        V = beta * V + Y
        if form == "cta":
            X = M @ X - eta * V
            new = grad(X)
            Y = M @ Y + new - G
        else:
            X = M @ (X - eta * V)
            new = grad(X)
            Y = M @ (Y + new - G)
        G = new


def cgt1(W, grad, X, C, eta, gamma, alpha):
    X, G = X.copy(), grad(X)
    Y, HX, HY = G.copy(), np.zeros_like(X), np.zeros_like(X)
    A = W - np.eye(len(W))
    while True:
        yield X
        QX, QY = C(X - HX), C(Y - HY)
        X = X + gamma * A @ (HX + QX) - eta * Y
        new = grad(X)
        Y = Y + gamma * A @ (HY + QY) + new - G
        G, HX, HY = new, HX + alpha * QX, HY + alpha * QY


def beer(W, grad, X, C, eta, gamma):
    """In the order of the published code: H = C(x0 - eta v0) comes out of the first iteration."""
    X, V = X.copy(), grad(X)
    G_old, H, G = V.copy(), np.zeros_like(X), np.zeros_like(X)
    A = W - np.eye(len(W))
    while True:
        yield X
        X = X + gamma * A @ H - eta * V
        H = H + C(X - H)
        new = grad(X)
        V = V + gamma * A @ G + new - G_old
        G = G + C(V - G)
        G_old = new


def motef(W, grad, X, C, eta, gamma, lam):
    X, M = X.copy(), grad(X)
    Y, HX, HY = M.copy(), np.zeros_like(X), np.zeros_like(X)
    A = W - np.eye(len(W))
    while True:
        yield X
        X = X + gamma * A @ HX - eta * Y
        new = (1 - lam) * M + lam * grad(X)
        Y = Y + gamma * A @ HY + new - M
        HX, HY, M = HX + C(X - HX), HY + C(Y - HY), new


def cedas(W, grad, X, C, eta, gamma, alpha, decay):
    X, D, H, k = X.copy(), np.zeros_like(X), np.zeros_like(X), 0
    B = np.eye(len(W)) - W
    while True:
        yield X
        Z = X - eta / (1 + decay * k) * grad(X) - D
        Q = C(Z - H)
        D = D + gamma / 2 * B @ (H + Q)
        X = Z - gamma / 2 * B @ (H + Q)
        H, k = H + alpha * Q, k + 1


def cgt2(W, grad, X, C, eta, gamma, s0x, s0y, mu):
    X, G = X.copy(), grad(X)
    Y, HX, HY = G.copy(), np.zeros_like(X), np.zeros_like(X)
    A, sx, sy = W - np.eye(len(W)), s0x, s0y
    while True:
        yield X
        HX = HX + sx * C((X - HX) / sx)
        HY = HY + sy * C((Y - HY) / sy)
        X = X + gamma * A @ HX - eta * Y
        new = grad(X)
        Y = Y + gamma * A @ HY + new - G
        G, sx, sy = new, sx * mu, sy * mu


def cgt3_zoom(W, grad, X, codes, eta, gamma):
    X, G = X.copy(), grad(X)
    Y, HX, HY = G.copy(), np.zeros_like(X), np.zeros_like(X)
    A, CX, CY = W - np.eye(len(W)), codes(len(X)), codes(len(X))
    while True:
        yield X
        HX, HY = HX + CX(X - HX), HY + CY(Y - HY)
        X = X + gamma * A @ HX - eta * Y
        new = grad(X)
        Y, G = Y + gamma * A @ HY + new - G, new


def lead(W, grad, X, C, eta, gamma, alpha):
    X, D, H = X.copy(), np.zeros_like(X), np.zeros_like(X)
    B = np.eye(len(W)) - W
    while True:
        yield X
        G = grad(X)
        Z = X - eta * (G + D)
        Q = C(Z - H)
        D = D + gamma / (2 * eta) * B @ (H + Q)
        H = H + alpha * Q
        X = X - eta * (G + D)


def dyna_cold(W, grad, X, C, eta, gamma, s0, mu):
    X, D, H, s = X.copy(), np.zeros_like(X), np.zeros_like(X), s0
    B = np.eye(len(W)) - W
    while True:
        yield X
        G = grad(X)
        H = H + s * C((X - eta * (G + D) - H) / s)
        D = D + gamma / (2 * eta) * B @ H
        X, s = X - eta * (G + D), mu * s


def led(W, grad, X, C, eta, gamma, alpha, local_steps):
    X, D, H = X.copy(), np.zeros_like(X), np.zeros_like(X)
    B = np.eye(len(W)) - W
    while True:
        yield X
        Z = X
        for _ in range(local_steps):
            Z = Z - eta * (grad(Z) + D)
        Q = C(Z - H)
        apart = B @ (H + Q)
        D = D + gamma / (2 * eta * local_steps) * apart
        H = H + alpha * Q
        X = Z - gamma / 2 * apart


def k_gt(W, grad, X, C, eta, gamma, alpha, local_steps):
    X, c = X.copy(), np.zeros_like(X)
    HX, HY = np.zeros_like(X), np.zeros_like(X)
    B = np.eye(len(W)) - W
    while True:
        yield X
        Z = X
        for _ in range(local_steps):
            Z = Z - eta * (grad(Z) + c)
        Y = (X - Z) / (eta * local_steps)
        QX, QY = C(Z - HX), C(Y - HY)
        c = c - gamma * B @ (HY + QY)
        X = Z - gamma * B @ (HX + QX)
        HX, HY = HX + alpha * QX, HY + alpha * QY


def push_pull(R, push, grad, X, C, eta, gamma, alpha):
    """Rows of R and columns of `push` sum to one."""
    X, G = X.copy(), grad(X)
    Y, HX, HY = G.copy(), np.zeros_like(X), np.zeros_like(X)
    eye = np.eye(len(R))
    while True:
        yield X
        QX, QY = C(X - HX), C(Y - HY)
        X = X + gamma * (R - eye) @ (HX + QX) - eta * Y
        new = grad(X)
        Y = Y + gamma * (push - eye) @ (HY + QY) + new - G
        G, HX, HY = new, HX + alpha * QX, HY + alpha * QY


def exact_diffusion(W, grad, X, eta):
    """Adapt, correct, combine (Yuan, Ying, Zhao and Sayed), from psi_0 = x_0."""
    half = (np.eye(len(W)) + W) / 2
    psi = X.copy()
    X = X.copy()
    first = True
    while True:
        yield X
        new = X - eta * grad(X)
        X = half @ (new if first else new + X - psi)
        psi, first = new, False


def nids(W, grad, X, eta, beta=0.0):
    X, D, V = X.copy(), np.zeros_like(X), np.zeros_like(X)
    B = np.eye(len(W)) - W
    while True:
        yield X
        V = beta * V + grad(X)
        Z = X - eta * (V + D)
        D = D + B @ Z / (2 * eta)
        X = Z - B @ Z / 2


def choco(W, grad, X, C, eta, gamma, decay=0.0):
    X, H, k = X.copy(), np.zeros_like(X), 0
    while True:
        yield X
        Z = X - eta / (1 + k) ** decay * grad(X)
        H = H + C(Z - H)
        X, k = Z + gamma * (W - np.eye(len(W))) @ H, k + 1


def dgd(W, grad, X, eta, gamma, decay=0.0):
    k = 0
    while True:
        yield X
        X = X + gamma * (W - np.eye(len(W))) @ X - eta / (1 + k) ** decay * grad(X)
        k += 1


def primal_dual(W, grad, X, C, eta, gamma, beta, alpha):
    X, V, H = X.copy(), np.zeros_like(X), np.zeros_like(X)
    B = np.eye(len(W)) - W
    while True:
        yield X
        Q = C(X - H)
        mixed = B @ (H + Q)
        X, V = X - gamma * mixed - eta * (grad(X) + V), V + beta / eta * mixed
        H = H + alpha * Q


class IntegerCodes:
    """The codes of zed, row by row; the scale 2^lambda is held as a whole number of 2^-16 octaves."""

    def __init__(self, rows):
        self.level = [None] * rows

    def __call__(self, E):
        Q = np.zeros_like(E)
        for i, e in enumerate(E):
            if self.level[i] is None:
                self.level[i] = round(np.log2(np.abs(e).max())) * 65536
            step = 2.0 ** (self.level[i] / 65536)
            q = np.sign(e) * np.floor(np.abs(e) / step + 0.55)
            Q[i] = np.sign(q) * (np.abs(q) + 0.05) * step
            total = int(np.minimum(np.abs(q), 6).sum())
            self.level[i] += total * 65536 // e.size - round(0.44 * 65536)
        return Q


class SignCodes:
    """The signs of zed1; L in eighths of an octave for every entry, and its last sign."""

    def __init__(self, rows):
        self.L, self.last = [None] * rows, [0] * rows

    def __call__(self, E):
        Q = np.zeros_like(E)
        for i, e in enumerate(E):
            if self.L[i] is None:
                self.L[i] = np.full(e.size, 8.0 * round(np.log2(np.abs(e).max())))
            sign = np.where(e < 0, -1.0, 1.0)
            Q[i] = sign * 2.0 ** (self.L[i] / 8) / 2
            self.L[i] += np.where(sign == self.last[i], 2, -3)
            self.last[i] = sign
        return Q


def zed(W, grad, X, codes, eta, beta=0.2, omega=0.6, c0=0.7, c1=0.54, alpha=0.8):
    """With codes = IntegerCodes; zed1 with SignCodes and its own gains."""
    X, C = X.copy(), codes(len(X))
    M, D, NU, H = (np.zeros_like(X) for _ in range(4))
    off = W - np.diag(np.diag(W))
    while True:
        yield X
        M = beta * M + grad(X)
        Z = X - eta * (M + D) + omega * NU
        Q = C(Z - H)
        hat = H + Q
        H = H + alpha * Q
        D = D + c1 / eta * (hat - W @ hat)
        X = Z - c0 * (off.sum(axis=1, keepdims=True) * Z - off @ hat)
        NU = hat - Z
