"""zed, exact diffusion and gradient tracking of all agents at once, at a fixed step, for grids of steps.

The same equations as in distopt/algorithms, vectorised over the agents: many times faster where vectors
are short, and equal but for rounding (zed's codes are not entropy coded; their length is not asked for).
"""

import numpy as np


class ExactDiffusion:
    def __init__(self, stack, topology, e):
        self.stack, self.e, self.topology = stack, e, topology
        self.W = topology.matrix()
        self.x = np.tile(stack.start, (topology.agents, 1))
        self.D = np.zeros_like(self.x)
        self.g = self.gradient()

    def gradient(self):
        return self.stack.gradient(self.stack.data, self.x)

    def step(self):
        z = self.x - self.e * (self.g + self.D)
        mixed = self.W @ z - z
        self.D -= mixed / (2 * self.e)
        self.x = z + mixed / 2
        self.g = self.gradient()

    def stationarity(self):
        mean = self.x.mean(axis=0)
        g = self.stack.gradient(self.stack.data, np.tile(mean, (len(self.x), 1))).mean(axis=0)
        return g @ g + ((self.x - mean) ** 2).sum() / len(self.x)


class Zed(ExactDiffusion):
    beta, omega, c0, c1, alpha, activity = 0.2, 0.6, 0.7, 0.54, 0.8, 0.44

    def __init__(self, stack, topology, e):
        super().__init__(stack, topology, e)
        self.m, self.nu, self.h = (np.zeros_like(self.x) for _ in range(3))
        self.weights = 1 - np.diag(self.W)[:, None]
        self.level = None

    def step(self):
        self.m = self.beta * self.m + self.g
        z = self.x - self.e * (self.m + self.D) + self.omega * self.nu
        error = z - self.h
        if self.level is None:
            self.level = np.round(np.log2(np.maximum(abs(error).max(axis=1), 1e-38)))
        grid = 2.0 ** self.level[:, None]
        q = np.sign(error) * np.minimum(np.floor(abs(error) / grid + 0.55), 32767)
        sent = (q + 0.05 * np.sign(q)) * grid
        self.level += np.minimum(abs(q), 6).mean(axis=1) - self.activity
        self.level = np.clip(self.level, -1000, 1000)
        hat = self.h + sent
        self.h += self.alpha * sent
        mixed = self.W @ hat - hat
        self.D -= self.c1 / self.e * mixed
        self.nu = hat - z
        self.x = z + self.c0 * (mixed + self.weights * self.nu)
        self.g = self.gradient()


class GradientTracking(ExactDiffusion):
    def __init__(self, stack, topology, e):
        super().__init__(stack, topology, e)
        self.y, self.gamma = self.g.copy(), min(1.0, 0.8 / topology.kappa)

    def step(self):
        mixed = self.W @ self.x - self.x
        self.x = self.x + self.gamma * mixed - self.e * self.y
        before, self.g = self.g, self.gradient()
        self.y += self.gamma * (self.W @ self.y - self.y) + self.g - before


MODELS = {"zed": Zed, "exact_diffusion": ExactDiffusion, "gt": GradientTracking}


def iterations(method, stack, topology, eta, target, limit, every):
    """Return the iterations to P <= target at a fixed step, None if it does not get there."""
    model, first = MODELS[method](stack, topology, eta), None
    with np.errstate(all="ignore"):
        for k in range(1, limit + 1):
            model.step()
            if k % every == 0:
                P = model.stationarity()
                first = P if first is None else first
                if target >= P:
                    return k
                if not 1e8 * (1 + first) >= P:
                    return None
    return None
