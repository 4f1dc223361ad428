"""The methods that search a step, of all agents at once, at a fixed step, for grids of steps.

The same equations as in distopt/algorithms, vectorised over the agents: many times faster where vectors
are short, and equal but for rounding and the random words of dither (codes are not packed nor entropy
coded; their length is not asked for).
"""

import numpy as np

import distopt
from distopt.theory.rules import following


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
            self.level = self.level[:, None]
        sent = self.compressed(error)
        hat = self.h + sent
        self.h += self.alpha * sent
        mixed = self.W @ hat - hat
        self.D -= self.c1 / self.e * mixed
        self.nu = hat - z
        self.x = z + self.c0 * (mixed + self.weights * self.nu)
        self.g = self.gradient()

    def compressed(self, error):
        grid = 2.0**self.level
        q = np.sign(error) * np.minimum(np.floor(abs(error) / grid + 0.55), 32767)
        self.level += np.minimum(abs(q), 6).mean(axis=1, keepdims=True) - self.activity
        self.level = np.clip(self.level, -1000, 1000)
        return (q + 0.05 * np.sign(q)) * grid


class Zed1(Zed):
    omega, c0, c1, alpha = 0.4, 0.55, 0.44, 0.87
    last = 0.0

    def compressed(self, error):
        sign = np.where(error < 0, -1.0, 1.0)
        sent = sign * 2.0 ** (self.level - 1)
        self.level = np.clip(self.level + np.where(sign == self.last, 2, -3) / 8, -1000, 1000)
        self.last = sign
        return sent


class Lead(ExactDiffusion):
    def __init__(self, stack, topology, e):
        super().__init__(stack, topology, e)
        found = following(distopt.NormSign(), stack.start.size)
        self.h, self.alpha, self.gamma = np.zeros_like(self.x), found.alpha, (1 + found.lag) ** -1.5

    def step(self):
        error = self.x - self.e * (self.g + self.D) - self.h
        q = np.where(error < 0, -0.5, 0.5) * abs(error).max(axis=1, keepdims=True)
        hat = self.h + q
        self.h += self.alpha * q
        self.D -= self.gamma / (2 * self.e) * (self.W @ hat - hat)
        self.x -= self.e * (self.g + self.D)
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


class CompressedTracking1(GradientTracking):
    def __init__(self, stack, topology, e):
        super().__init__(stack, topology, e)
        found = following(distopt.Quantize(bits=2, dithered=True), stack.start.size)
        self.alpha, self.gamma = found.alpha, min(1.0, self.gamma / (1 + found.lag))
        self.hx, self.hy = np.zeros_like(self.x), np.zeros_like(self.x)
        self.rng = np.random.default_rng(0)

    def step(self):
        mixed_x, self.hx = self.mixed(self.x, self.hx)
        mixed_y, self.hy = self.mixed(self.y, self.hy)
        self.x = self.x + self.gamma * mixed_x - self.e * self.y
        before, self.g = self.g, self.gradient()
        self.y += self.gamma * mixed_y + self.g - before

    def mixed(self, v, h):
        """Send v relative to its memory h; return what it mixes to, and h advanced."""
        size = np.maximum(abs(v - h).max(axis=1, keepdims=True), 1e-300) / 2
        q = size * np.sign(v - h) * np.floor(abs(v - h) / size + self.rng.random(v.shape))
        return self.W @ (h + q) - (h + q), h + self.alpha * q


MODELS = {
    "zed": Zed,
    "exact_diffusion": ExactDiffusion,
    "zed1": Zed1,
    "lead": Lead,
    "gt": GradientTracking,
    "cgt1": CompressedTracking1,
}


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
