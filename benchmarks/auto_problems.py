"""Problems on which "auto" is developed and reported: costs of all agents at once, or of one.

A `Stack` holds the data of n agents with a leading axis n and evaluates all their costs together;
`Stack.of` gives the cost of one agent, as a run wants it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Stack:
    """The costs of n agents: value(data, X) -> float64[n], gradient(data, X) -> float64[n, d]."""

    value: Callable
    gradient: Callable
    data: dict[str, Any]
    start: np.ndarray
    smoothness: np.ndarray | None = None  # a bound for each agent, where the family has one

    @property
    def agents(self):
        return len(next(iter(self.data.values())))

    def of(self, i):
        return One(self, i)


class One:
    """The cost of one agent."""

    def __init__(self, stack, i):
        self.stack, self.start = stack, stack.start
        self.data = {name: array[i : i + 1] for name, array in stack.data.items()}
        self.dimension = stack.start.size
        if stack.smoothness is not None:
            self.smoothness = float(stack.smoothness[i])

    def value(self, x):
        return float(self.stack.value(self.data, x[None])[0])

    def gradient(self, x, out):
        out[:] = self.stack.gradient(self.data, x[None])[0]


class Sampled(One):
    """The same with mini-batches: its data have an axis of samples."""

    def __init__(self, stack, i):
        super().__init__(stack, i)
        self.samples = self.data["A"].shape[1]

    def batch_gradient(self, x, index, out):
        part = {
            name: array if array.ndim == 1 else array[:, index]  # one number an agent, or samples
            for name, array in self.data.items()
        }
        out[:] = self.stack.gradient(part, x[None])[0]


def residuals(data, X):
    return np.matmul(data["A"], X[:, :, None])[:, :, 0] - data["b"]


def regression(loss, slope, bend):
    """Give f_i = mean of loss(A_i x - b_i); |slope'| <= bend."""

    def value(data, X):
        return loss(residuals(data, X)).mean(axis=1)

    def gradient(data, X):
        r = slope(residuals(data, X))
        return np.matmul(r[:, None], data["A"])[:, 0] / r.shape[1]

    return value, gradient, bend


ROBUST = {
    "geman": regression(lambda r: r * r / (1 + r * r) / 2, lambda r: r / (1 + r * r) ** 2, 1.0),
    "cauchy": regression(lambda r: np.log1p(r * r) / 2, lambda r: r / (1 + r * r), 1.0),
    "welsch": regression(lambda r: (1 - np.exp(-r * r)) / 2, lambda r: r * np.exp(-r * r), 1.0),
    "huber": regression(lambda r: np.sqrt(1 + r * r) - 1, lambda r: r / np.sqrt(1 + r * r), 1.0),
}  # fmt: skip


def quadratic(seed, n, d=20, condition=100.0, spread=1.0):
    """f_i = (x - b_i)' H_i (x - b_i) / 2; the mean of the H_i has about the given condition."""
    rng = np.random.default_rng([seed, 1])
    Q = np.linalg.qr(rng.normal(size=(d, d)))[0]
    h = np.logspace(0, -np.log10(condition), d)
    own = h * np.exp(rng.normal(size=(n, d)) * 0.5 * spread)
    H = np.einsum("ij,nj,kj->nik", Q, own, Q)
    b = rng.normal(size=(n, d))
    data = {"H": H, "b": b}

    def gradient(data, X):
        return np.matmul(data["H"], (X - data["b"])[:, :, None])[:, :, 0]

    def value(data, X):
        return ((X - data["b"]) * gradient(data, X)).sum(axis=1) / 2

    return Stack(value, gradient, data, np.zeros(d), own.max(axis=1))


def robust(seed, n, kind="geman", d=10, m=30, outliers=0.2, condition=4.0, far=1.0):
    """Regression with outliers, heterogeneous between agents."""
    rng = np.random.default_rng([seed, 2])
    scale = np.logspace(0, -np.log10(condition) / 2, d)
    A = rng.normal(size=(n, m, d)) * scale + 0.3 * rng.normal(size=(n, 1, d)) * scale
    truth = rng.normal(size=d)
    b = A @ truth + 0.1 * rng.normal(size=(n, m))
    hit = rng.random((n, m)) < outliers
    b = b + hit * rng.normal(size=(n, m)) * 8
    value, gradient, bend = ROBUST[kind]
    bound = bend * np.linalg.norm(A, 2, axis=(1, 2)) ** 2 / m
    start = truth + far * rng.normal(size=d) / np.sqrt(d) if far < 10 else np.zeros(d)
    return Stack(value, gradient, {"A": A, "b": b}, start, bound)


def logistic(seed, n, d=30, m=40, density=0.2, ridge=1e-3, nonconvex=True, factors=0, uneven=0.0):
    """Logistic regression, labels sorted over the agents: sparse, or correlated of uneven size."""
    rng = np.random.default_rng([seed, 3])
    A = rng.normal(size=(n * m, d)) * (rng.random((n * m, d)) < density) / np.sqrt(density)
    if factors:  # dense and correlated
        A = rng.normal(size=(n * m, factors)) @ rng.normal(size=(factors, d)) / np.sqrt(factors)
        A = A + 0.3 * rng.normal(size=A.shape)
    labels = np.sign(A @ rng.normal(size=d) + 0.5 * rng.normal(size=n * m))
    order = np.argsort(labels + 0.8 * rng.normal(size=n * m))
    A = (A * labels[:, None])[order].reshape(n, m, d)
    A = A * np.exp(uneven * rng.normal(size=(n, 1, 1)))

    def value(data, X):
        t = np.matmul(data["A"], X[:, :, None])[:, :, 0]
        sq = X * X
        return np.logaddexp(0, -t).mean(axis=1) + ridge * (
            (sq / (1 + sq)) if nonconvex else sq / 2
        ).sum(axis=1)

    def gradient(data, X):
        t = np.matmul(data["A"], X[:, :, None])[:, :, 0]
        p = -1 / (1 + np.exp(np.clip(t, -500, 500)))
        part = 2 * X / (1 + X * X) ** 2 if nonconvex else X
        return np.matmul(p[:, None], data["A"])[:, 0] / p.shape[1] + ridge * part

    bound = np.linalg.norm(A, 2, axis=(1, 2)) ** 2 / (4 * m) + 2 * ridge
    return Stack(value, gradient, {"A": A}, np.zeros(d), bound)


def factorization(seed, n, p=6, q=5, rank=2, start=0.1, noise=0.3):
    """f_i = |U V' - M_i|^2 / 4, from a small start near the saddle 0."""
    rng = np.random.default_rng([seed, 4])
    M = rng.normal(size=(p, rank)) @ rng.normal(size=(q, rank)).T
    M = M + noise * rng.normal(size=(n, p, q))
    x0 = start * rng.normal(size=(p + q) * rank)

    def split(X):
        return X[:, : p * rank].reshape(-1, p, rank), X[:, p * rank :].reshape(-1, q, rank)

    def value(data, X):
        U, V = split(X)
        return ((U @ V.swapaxes(1, 2) - data["M"]) ** 2).sum(axis=(1, 2)) / 4

    def gradient(data, X):
        U, V = split(X)
        R = (U @ V.swapaxes(1, 2) - data["M"]) / 2
        k = len(X)
        return np.concatenate(
            [(R @ V).reshape(k, -1), (R.swapaxes(1, 2) @ U).reshape(k, -1)], axis=1
        )

    return Stack(value, gradient, {"M": M}, x0)


def phase(seed, n, d=8, m=24, start=0.5):
    """f_i = mean ((a'x)^2 - y)^2 / 4, from a random start."""
    rng = np.random.default_rng([seed, 5])
    A = rng.normal(size=(n, m, d))
    y = (A @ (rng.normal(size=d) / np.sqrt(d))) ** 2 + 0.01 * rng.normal(size=(n, m))
    x0 = start * rng.normal(size=d) / np.sqrt(d)

    def value(data, X):
        t = np.matmul(data["A"], X[:, :, None])[:, :, 0]
        return ((t * t - data["y"]) ** 2).mean(axis=1) / 4

    def gradient(data, X):
        t = np.matmul(data["A"], X[:, :, None])[:, :, 0]
        r = (t * t - data["y"]) * t
        return np.matmul(r[:, None], data["A"])[:, 0] / r.shape[1]

    return Stack(value, gradient, {"A": A, "y": y}, x0)


def rosenbrock(seed, n, d=5, c=10.0, start=-1.0):
    """Chains sum_j c_j (x_(j+1) - x_j^2)^2 + (1 - x_j)^2 with weights that differ by agent."""
    rng = np.random.default_rng([seed, 6])
    w = c * np.exp(0.5 * rng.normal(size=(n, d - 1)))
    v = np.exp(0.5 * rng.normal(size=(n, d - 1)))
    tilt = rng.normal(size=(n, d))
    tilt = 0.3 * (tilt - tilt.mean(axis=0))
    x0 = np.full(d, 0.0)
    x0[0] = start
    x0 = x0 + 0.1 * rng.normal(size=d)

    def value(data, X):
        r, t = X[:, 1:] - X[:, :-1] ** 2, 1 - X[:, :-1]
        return (data["w"] * r * r + data["v"] * t * t).sum(axis=1) + (data["tilt"] * X).sum(axis=1)

    def gradient(data, X):
        r, t = X[:, 1:] - X[:, :-1] ** 2, 1 - X[:, :-1]
        out = data["tilt"].copy()
        out[:, 1:] += 2 * data["w"] * r
        out[:, :-1] -= 4 * data["w"] * r * X[:, :-1] + 2 * data["v"] * t
        return out

    return Stack(value, gradient, {"w": w, "v": v, "tilt": tilt}, x0)


def network(seed, n, inputs=4, hidden=4, m=30, ridge=1e-3, scale=1.0):
    """A network of one hidden layer (tanh) that learns another one."""
    rng = np.random.default_rng([seed, 7])
    X_in = rng.normal(size=(n, m, inputs)) + 0.5 * rng.normal(size=(n, 1, inputs))
    W1, w2 = rng.normal(size=(inputs, hidden)), rng.normal(size=hidden)
    y = np.tanh(X_in @ W1) @ w2 + 0.05 * rng.normal(size=(n, m))
    k = inputs * hidden
    x0 = scale * rng.normal(size=k + 2 * hidden) / np.sqrt(inputs)

    def forward(data, X):
        W, c, w = X[:, :k].reshape(-1, inputs, hidden), X[:, k : k + hidden], X[:, k + hidden :]
        a = np.tanh(data["A"] @ W + c[:, None])
        return w, a, np.matmul(a, w[:, :, None])[:, :, 0] - data["y"]

    def value(data, X):
        return (forward(data, X)[2] ** 2).mean(axis=1) / 2 + ridge / 2 * (X * X).sum(axis=1)

    def gradient(data, X):
        w, a, r = forward(data, X)
        r = r / r.shape[1]
        back = r[:, :, None] * w[:, None] * (1 - a * a)
        parts = [
            np.matmul(data["A"].swapaxes(1, 2), back).reshape(len(X), -1),
            back.sum(axis=1),
            np.matmul(r[:, None], a)[:, 0],
        ]
        return np.concatenate(parts, axis=1) + ridge * X

    return Stack(value, gradient, {"A": X_in, "y": y}, x0)


def relu(seed, n, inputs=4, hidden=5, m=30, ridge=1e-3):
    """A network of one hidden layer (ReLU) that learns another one: gradients jump."""
    rng = np.random.default_rng([seed, 77])
    X_in = rng.normal(size=(n, m, inputs)) + 0.3 * rng.normal(size=(n, 1, inputs))
    W1, w2 = rng.normal(size=(inputs, hidden)), rng.normal(size=hidden)
    y = np.maximum(X_in @ W1, 0) @ w2 + 0.05 * rng.normal(size=(n, m))
    k = inputs * hidden
    x0 = 0.5 * rng.normal(size=k + 2 * hidden + 1)

    def forward(data, X):
        W, c, w = X[:, :k].reshape(-1, inputs, hidden), X[:, k : k + hidden], X[:, k + hidden : -1]
        z = data["A"] @ W + c[:, None]
        out = np.matmul(np.maximum(z, 0), w[:, :, None])[:, :, 0] + X[:, -1:]
        return w, z, out - data["y"]

    def value(data, X):
        return (forward(data, X)[2] ** 2).mean(axis=1) / 2 + ridge / 2 * (X * X).sum(axis=1)

    def gradient(data, X):
        w, z, r = forward(data, X)
        r = r / r.shape[1]
        back = r[:, :, None] * w[:, None] * (z > 0)
        parts = [
            np.matmul(data["A"].swapaxes(1, 2), back).reshape(len(X), -1),
            back.sum(axis=1),
            np.matmul(r[:, None], np.maximum(z, 0))[:, 0],
            r.sum(axis=1, keepdims=True),
        ]
        return np.concatenate(parts, axis=1) + ridge * X

    return Stack(value, gradient, {"A": X_in, "y": y}, x0)


def max_affine(seed, n, d=5, planes=4, m=40, ridge=1e-3):
    """Regression with the largest of some affine functions: gradients jump."""
    rng = np.random.default_rng([seed, 11])
    A = rng.normal(size=(n, m, d)) + 0.3 * rng.normal(size=(n, 1, d))
    A[:, :, -1] = 1.0
    y = (A @ rng.normal(size=(d, planes))).max(axis=2) + 0.1 * rng.normal(size=(n, m))

    def forward(data, X):
        z = data["A"] @ X.reshape(-1, d, planes)
        return z, z.max(axis=2) - data["y"]

    def value(data, X):
        return (forward(data, X)[1] ** 2).mean(axis=1) / 2 + ridge / 2 * (X * X).sum(axis=1)

    def gradient(data, X):
        z, r = forward(data, X)
        r = r / r.shape[1]
        part = r[:, :, None] * (z == z.max(axis=2, keepdims=True))
        return (data["A"].swapaxes(1, 2) @ part).reshape(len(X), -1) + ridge * X

    return Stack(value, gradient, {"A": A, "y": y}, 0.5 * rng.normal(size=d * planes))


def poisson(seed, n, d=8, m=30, size=0.7):
    """Poisson regression: mean of exp(a'x) - y a'x; curvature grows exponentially."""
    rng = np.random.default_rng([seed, 8])
    A = rng.normal(size=(n, m, d)) + 0.3 * rng.normal(size=(n, 1, d))
    truth = size * rng.normal(size=d)
    y = rng.poisson(np.exp(np.clip(A @ truth, -5, 3))).astype(float)

    def value(data, X):
        t = np.matmul(data["A"], X[:, :, None])[:, :, 0]
        return (np.exp(np.minimum(t, 700)) - data["y"] * t).mean(axis=1) + 5e-3 * (X * X).sum(
            axis=1
        )

    def gradient(data, X):
        t = np.matmul(data["A"], X[:, :, None])[:, :, 0]
        r = np.exp(np.minimum(t, 700)) - data["y"]
        return np.matmul(r[:, None], data["A"])[:, 0] / r.shape[1] + 1e-2 * X

    return Stack(value, gradient, {"A": A, "y": y}, np.zeros(d))


def softmax(seed, n, d=6, classes=4, m=30, ridge=1e-2):
    """Softmax regression, classes unevenly spread over the agents."""
    rng = np.random.default_rng([seed, 9])
    A = rng.normal(size=(n, m, d))
    logits = A @ rng.normal(size=(d, classes)) + rng.normal(size=(n, 1, classes))
    labels = (logits + rng.gumbel(size=(n, m, classes))).argmax(axis=2)
    Y = np.eye(classes)[labels]

    def value(data, X):
        z = data["A"] @ X.reshape(-1, d, classes)
        top = z.max(axis=2, keepdims=True)
        lse = np.log(np.exp(z - top).sum(axis=2)) + top[:, :, 0]
        return (lse - (z * data["Y"]).sum(axis=2)).mean(axis=1) + ridge / 2 * (X * X).sum(axis=1)

    def gradient(data, X):
        z = data["A"] @ X.reshape(-1, d, classes)
        p = np.exp(z - z.max(axis=2, keepdims=True))
        p = p / p.sum(axis=2, keepdims=True) - data["Y"]
        out = np.matmul(data["A"].swapaxes(1, 2), p) / p.shape[1]
        return out.reshape(len(X), -1) + ridge * X

    return Stack(value, gradient, {"A": A, "Y": Y}, np.zeros(d * classes))


def sensing(seed, n, p=4, rank=1, m=20, start=0.3):
    """Matrix sensing: mean (<B, U U'> - y)^2 / 4 with symmetric random B."""
    rng = np.random.default_rng([seed, 10])
    B = rng.normal(size=(n, m, p, p))
    B = (B + B.swapaxes(2, 3)) / 2
    U = rng.normal(size=(p, rank))
    y = np.einsum("nmij,ij->nm", B, U @ U.T) + 0.01 * rng.normal(size=(n, m))
    x0 = start * rng.normal(size=p * rank)

    def inner(data, X):
        U = X.reshape(-1, p, rank)
        return U, np.einsum("nmij,nij->nm", data["B"], U @ U.swapaxes(1, 2)) - data["y"]

    def value(data, X):
        return (inner(data, X)[1] ** 2).mean(axis=1) / 4

    def gradient(data, X):
        U, r = inner(data, X)
        G = np.einsum("nm,nmij->nij", r, data["B"]) / r.shape[1]
        return (G @ U).reshape(len(X), -1)

    return Stack(value, gradient, {"B": B, "y": y}, x0)
