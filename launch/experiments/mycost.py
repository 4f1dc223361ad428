"""Your own cost: robust regression, with data that only its agent sees.

    f_i(x) = (1/m) sum_s log(1 + (a_s'x - b_s)^2)

In a configuration:

    [problem]
    name = "python"
    file = "mycost.py"
    agents = 4

    [problem.options]
    samples = 100
    outliers = 0.2
"""

import numpy as np


class RobustRegression:
    """The cost of one agent; A : float64[m, d], b : float64[m]."""

    lower_bound = 0.0

    def __init__(self, A, b):
        self.A, self.b = A, b
        self.dimension = A.shape[1]
        # t -> log(1 + t^2) has a second derivative between -1/4 and 2.
        self.smoothness = 2 * np.linalg.norm(A, 2) ** 2 / len(b)

    def value(self, x):
        """Return f(x)."""
        return float(np.mean(np.log1p((self.A @ x - self.b) ** 2)))

    def gradient(self, x, out):
        """Write the gradient at x into out."""
        t = self.A @ x - self.b
        out[:] = self.A.T @ (2 * t / (1 + t**2)) / len(t)


def make_cost(agent, agents, samples=100, dimension=10, outliers=0.2, seed=0):
    """Make the cost of one agent; seed is problem.seed, the keywords come from [problem.options]."""
    truth = np.random.default_rng(seed).standard_normal(dimension)  # the same at all agents
    random = np.random.default_rng([seed, 1 + agent])  # this agent's own
    A = random.standard_normal((samples, dimension))
    b = A @ truth + 0.1 * random.standard_normal(samples)
    spoilt = random.random(samples) < outliers
    b[spoilt] += 10 * random.standard_normal(spoilt.sum())
    return RobustRegression(A, b)
