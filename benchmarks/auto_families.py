"""Problems as users bring them, untuned, in two halves: for auto_arrives.py (docs: auto).

`make` takes a family of this file or of auto_problems.py and may scale it: the cost, the agents' costs
against each other, the coordinates, and how far away all start.
"""

import auto_problems as p
import numpy as np
from auto_problems import Stack, regression

p.ROBUST["student"] = regression(
    lambda r: 2 * np.log1p(r * r / 3), lambda r: 4 * r / (3 + r * r), 4 / 3
)


def cosines(seed, n, d=10, m=20, ridge=0.1):
    """f_i = mean_k (1 - cos(a_k'x - b_k)) + ridge |x|^2 / 2: many minima and saddles."""
    rng = np.random.default_rng([seed, 21])
    A, b = rng.normal(size=(n, m, d)), rng.uniform(-np.pi, np.pi, size=(n, m))

    def value(data, X):
        return (1 - np.cos(p.residuals(data, X))).mean(axis=1) + ridge / 2 * (X * X).sum(axis=1)

    def gradient(data, X):
        r = np.sin(p.residuals(data, X))
        return np.matmul(r[:, None], data["A"])[:, 0] / m + ridge * X

    return Stack(value, gradient, {"A": A, "b": b}, rng.normal(size=d))


def log_sum_exp(seed, n, d=10, m=15, sharp=3.0, ridge=1e-2):
    """f_i = log sum_k exp(sharp (a_k'x - b_k)) / sharp + ridge |x|^2 / 2: nearly the largest of planes."""
    rng = np.random.default_rng([seed, 22])
    A, b = rng.normal(size=(n, m, d)), rng.normal(size=(n, m))

    def parts(data, X):
        z = sharp * p.residuals(data, X)
        top = z.max(axis=1, keepdims=True)
        return np.exp(z - top), top[:, 0]

    def value(data, X):
        e, top = parts(data, X)
        return (np.log(e.sum(axis=1)) + top) / sharp + ridge / 2 * (X * X).sum(axis=1)

    def gradient(data, X):
        e, _ = parts(data, X)
        e = e / e.sum(axis=1, keepdims=True)
        return np.matmul(e[:, None], data["A"])[:, 0] + ridge * X

    return Stack(value, gradient, {"A": A, "b": b}, np.zeros(d))


def quartic(seed, n, d=10, ripple=0.0):
    """f_i = sum_j (x_j^4 / 4 + ripple x_j^2 / 2) - a_i'x from 0, where the Hessian may vanish."""
    rng = np.random.default_rng([seed, 23])
    a = 1 + rng.normal(size=(n, d))

    def value(data, X):
        return (X**4 / 4 + ripple * X * X / 2 - data["a"] * X).sum(axis=1)

    def gradient(data, X):
        return X**3 + ripple * X - data["a"]

    return Stack(value, gradient, {"a": a}, np.zeros(d))


def ripples(seed, n, d=10):
    """f_i = |x - a_i|^2 / 2 + sum_j cos x_j: the Hessian vanishes at the start 0."""
    rng = np.random.default_rng([seed, 24])
    a = rng.normal(size=(n, d)) + 0.5

    def value(data, X):
        return ((X - data["a"]) ** 2).sum(axis=1) / 2 + np.cos(X).sum(axis=1)

    def gradient(data, X):
        return X - data["a"] - np.sin(X)

    return Stack(value, gradient, {"a": a}, np.zeros(d))


def perceptron(seed, n, inputs=8, hidden=10, classes=3, m=20, ridge=1e-3):
    """Softmax of a hidden layer of tanh; each agent has mostly samples of one class."""
    rng = np.random.default_rng([seed, 25])
    centres = rng.normal(size=(classes, inputs))
    labels = np.where(
        rng.random((n, m)) < 0.7,
        np.arange(n)[:, None] % classes,
        rng.integers(classes, size=(n, m)),
    )
    A = centres[labels] + 0.7 * rng.normal(size=(n, m, inputs))
    shapes = [(inputs, hidden), (1, hidden), (hidden, classes), (1, classes)]
    cuts = np.cumsum([a * b for a, b in shapes])

    def forward(data, X):
        W, c, V, v = (
            part.reshape(-1, *shape)
            for part, shape in zip(np.split(X, cuts[:-1], axis=1), shapes, strict=True)
        )
        h = np.tanh(data["A"] @ W + c)
        z = h @ V + v
        return h, V, z - z.max(axis=2, keepdims=True)

    def value(data, X):
        _, _, z = forward(data, X)
        loss = np.log(np.exp(z).sum(axis=2)) - (z * data["Y"]).sum(axis=2)
        return loss.mean(axis=1) + ridge / 2 * (X * X).sum(axis=1)

    def gradient(data, X):
        h, V, z = forward(data, X)
        q = np.exp(z)
        q = (q / q.sum(axis=2, keepdims=True) - data["Y"]) / q.shape[1]
        back = q @ V.swapaxes(1, 2) * (1 - h * h)
        parts = [
            data["A"].swapaxes(1, 2) @ back, back.sum(axis=1, keepdims=True),
            h.swapaxes(1, 2) @ q, q.sum(axis=1, keepdims=True),
        ]  # fmt: skip
        return np.concatenate([part.reshape(len(X), -1) for part in parts], axis=1) + ridge * X

    start = rng.normal(size=cuts[-1]) / np.sqrt(inputs)
    return Stack(value, gradient, {"A": A, "Y": np.eye(classes)[labels]}, start)


def make(family, seed, agents, scale=1.0, uneven=1.0, units=1.0, away=0.0, **keys):
    """Make a problem: scale f; `uneven`, the largest cost over the smallest; `units`, of coordinates.

    The coordinates' units run from 1 to `units` on a logarithmic scale; `away` times a normal vector is
    added to the start.
    """
    stack = family(seed, agents, **keys)
    rng = np.random.default_rng([seed, 20])
    d = stack.start.size
    weight = scale * rng.permutation(np.logspace(0, np.log10(uneven), agents) / np.sqrt(uneven))
    unit = rng.permutation(np.logspace(0, np.log10(units), d))

    def value(data, X):
        return data["weight"] * stack.value(data, X * unit)

    def gradient(data, X):
        return data["weight"][:, None] * unit * stack.gradient(data, X * unit)

    start = stack.start / unit + away * rng.normal(size=d)
    return Stack(value, gradient, stack.data | {"weight": weight}, start)


SMALL = {"p": 2, "q": 2, "start": 0.5, "noise": 1.0}  # agents that want different signs
STUDENT = {"kind": "student", "d": 20, "m": 40, "far": 20.0}
FEW = {"m": 5, "ridge": 1e-3}
# Title, graph, agents, seed, family and its keys: those that the rule may be changed for.
TUNED = [
    ("factorization 2 x 2, rank 2", "path", 12, 0, p.factorization, SMALL),
    ("factorization 2 x 2, rank 2", "ring", 12, 0, p.factorization, SMALL),
    ("factorization 2 x 2, rank 2", "ring", 12, 1, p.factorization, SMALL),
    ("factorization 2 x 2, rank 2", "star", 10, 0, p.factorization, SMALL),
    ("factorization 2 x 2, rank 2", "star", 30, 0, p.factorization, SMALL),
    ("factorization 6 x 5, rank 2", "ring", 12, 0, p.factorization, {"noise": 1.0, "start": 0.5}),
    ("factorization 20 x 10, rank 3", "grid", 9, 1, p.factorization,
     {"p": 20, "q": 10, "rank": 3, "noise": 0.5}),
    ("factorization 30 x 20, rank 5", "exponential", 16, 2, p.factorization,
     {"p": 30, "q": 20, "rank": 5}),
    ("Student-t, d = 20", "star", 16, 0, p.robust, STUDENT),
    ("Student-t, d = 20", "star", 30, 1, p.robust, STUDENT),
    ("Student-t, d = 20", "ring", 12, 2, p.robust, STUDENT),
    ("Student-t, d = 5", "path", 20, 3, p.robust, STUDENT | {"d": 5, "m": 15}),
    ("Cauchy, d = 100", "exponential", 16, 0, p.robust, STUDENT | {"kind": "cauchy", "d": 100}),
    ("softmax, 5 samples", "ring", 8, 0, p.softmax, FEW),
    ("softmax, 5 samples", "path", 12, 1, p.softmax, FEW),
    ("softmax, 5 samples", "star", 30, 2, p.softmax, FEW),
    ("phase retrieval, d = 8", "ring", 20, 3, p.phase, {}),
    ("phase retrieval, d = 20", "path", 10, 0, p.phase, {"d": 20, "m": 60}),
    ("network, d = 240", "ring", 8, 0, p.network, {"inputs": 10, "hidden": 20}),
    ("perceptron, d = 123", "star", 30, 0, perceptron, {}),
    ("perceptron, d = 123", "ring", 6, 1, perceptron, {}),
    ("quadratic, condition 1000", "path", 10, 0, p.quadratic, {"condition": 1000}),
    ("quadratic, units to 30", "ring", 8, 0, p.quadratic, {"condition": 3, "units": 30}),
    ("quadratic, d = 1000", "exponential", 8, 1, p.quadratic, {"d": 1000}),
    ("logistic, units to 10", "ring", 6, 0, p.logistic, {"units": 10, "ridge": 1e-2}),
    ("logistic", "star", 12, 1, p.logistic, {"ridge": 3e-3}),
    ("matrix sensing 4, rank 1", "ring", 6, 0, p.sensing, {}),
    ("matrix sensing 6, rank 2", "path", 8, 1, p.sensing, {"p": 6, "rank": 2, "m": 30}),
    ("Student-t from afar", "ring", 6, 0, p.robust, STUDENT | {"away": 50}),
    ("quadratic from afar", "path", 6, 0, p.quadratic, {"condition": 30, "away": 1e4}),
    ("x^4", "ring", 5, 0, quartic, {}),
    ("Student-t, agents to 10", "ring", 8, 0, p.robust, STUDENT | {"uneven": 10}),
    ("quadratic, agents to 100", "ring", 10, 0, p.quadratic, {"condition": 10, "uneven": 100}),
    ("logistic, agents to 30", "grid", 9, 0, p.logistic, {"ridge": 1e-2, "uneven": 30}),
    ("quadratic times 1e-6", "ring", 6, 0, p.quadratic, {"condition": 30, "scale": 1e-6}),
    ("Geman-McClure times 1e6", "path", 5, 0, p.robust, {"far": 2.0, "scale": 1e6}),
]  # fmt: skip
# The same of those that were only reported.
REPORTED = [
    ("factorization 2 x 2, rank 2", "path", 8, 5, p.factorization, SMALL),
    ("factorization 2 x 2, rank 2", "path", 16, 6, p.factorization, SMALL),
    ("factorization 2 x 2, rank 2", "ring", 20, 7, p.factorization, SMALL),
    ("factorization 2 x 2, rank 2", "star", 20, 8, p.factorization, SMALL),
    ("factorization 3 x 3, rank 1", "ring", 12, 5, p.factorization,
     {"p": 3, "q": 3, "rank": 1, "noise": 1.0, "start": 0.5}),
    ("factorization 5 x 4, rank 2", "star", 12, 6, p.factorization, {"p": 5, "q": 4, "noise": 0.7}),
    ("factorization 12 x 8, rank 3", "grid", 12, 7, p.factorization,
     {"p": 12, "q": 8, "rank": 3, "noise": 1.0}),
    ("factorization 40 x 10, rank 4", "path", 6, 8, p.factorization, {"p": 40, "q": 10, "rank": 4}),
    ("Student-t, d = 10", "star", 24, 5, p.robust, STUDENT | {"d": 10, "m": 20}),
    ("Student-t, d = 50", "path", 12, 6, p.robust, STUDENT | {"d": 50, "m": 60}),
    ("Cauchy, d = 20", "star", 30, 7, p.robust, STUDENT | {"kind": "cauchy"}),
    ("Geman-McClure, d = 15", "ring", 20, 8, p.robust, {"d": 15, "far": 2.0}),
    ("Student-t, d = 200", "exponential", 24, 5, p.robust, STUDENT | {"d": 200, "m": 30}),
    ("softmax, 4 samples", "star", 20, 5, p.softmax, FEW | {"m": 4}),
    ("softmax, 6 samples", "grid", 16, 6, p.softmax, FEW | {"m": 6}),
    ("softmax, d = 200", "ring", 6, 7, p.softmax, FEW | {"d": 20, "classes": 10}),
    ("phase retrieval, d = 12", "ring", 16, 5, p.phase, {"d": 12, "m": 40}),
    ("phase retrieval, d = 30", "star", 6, 6, p.phase, {"d": 30, "m": 100}),
    ("network, d = 80", "star", 12, 5, p.network, {"inputs": 8, "hidden": 8}),
    ("perceptron, d = 123", "star", 20, 6, perceptron, {}),
    ("perceptron, d = 65", "path", 6, 7, perceptron, {"inputs": 4, "hidden": 8, "classes": 3}),
    ("network, d = 960", "exponential", 8, 8, p.network, {"inputs": 30, "hidden": 30, "m": 60}),
    ("quadratic, units to 30", "grid", 9, 5, p.quadratic, {"condition": 3, "units": 30}),
    ("quadratic, condition 500", "ring", 16, 6, p.quadratic, {"condition": 500}),
    ("quadratic, d = 500", "star", 8, 7, p.quadratic, {"d": 500}),
    ("logistic, units to 10", "path", 5, 5, p.logistic, {"units": 10, "ridge": 1e-2}),
    ("matrix sensing 5, rank 2", "ring", 10, 5, p.sensing, {"p": 5, "rank": 2, "m": 30}),
    ("cosines", "ring", 8, 5, cosines, {}),
    ("cosines", "star", 16, 6, cosines, {}),
    ("cosines", "path", 12, 7, cosines, {"d": 4}),
    ("cosines", "grid", 16, 8, cosines, {"d": 30, "ridge": 0.3}),
    ("log-sum-exp", "ring", 6, 5, log_sum_exp, {}),
    ("log-sum-exp", "star", 12, 6, log_sum_exp, {"sharp": 10.0}),
    ("log-sum-exp, d = 50", "exponential", 16, 7, log_sum_exp, {"d": 50, "m": 40}),
    ("Cauchy from afar", "path", 5, 5, p.robust, STUDENT | {"kind": "cauchy", "away": 30}),
    ("log-sum-exp from afar", "ring", 8, 6, log_sum_exp, {"away": 100}),
    ("x^4", "star", 6, 5, quartic, {}),
    ("ripples", "path", 5, 6, ripples, {}),
    ("softmax, agents to 10", "star", 8, 5, p.softmax, {"uneven": 10}),
    ("Cauchy, agents to 100", "ring", 6, 6, p.robust, STUDENT | {"kind": "cauchy", "uneven": 100}),
    ("log-sum-exp, agents to 100", "path", 8, 7, log_sum_exp, {"uneven": 100}),
    ("Student-t times 1e-6", "ring", 8, 5, p.robust, STUDENT | {"scale": 1e-6}),
    ("factorization times 1e6", "path", 6, 6, p.factorization, SMALL | {"scale": 1e6}),
    ("logistic times 1e-6", "star", 5, 7, p.logistic, {"ridge": 1e-2, "scale": 1e-6}),
    ("softmax times 1e6", "exponential", 8, 8, p.softmax, {"scale": 1e6}),
]  # fmt: skip
