"""Edges that fail and agents that sleep: iterations and bytes to P <= 1e-4 and 1e-10.

    python benchmarks/changing_graphs.py [--restless] [--burst 10] [--quick]

In every iteration each edge is up with probability p ("edges"), or each agent is awake with
probability sqrt(p), so that both ends of an edge are with probability p ("agents"; one that sleeps
neither computes nor sends). It is a function of (seed, iteration), so both ends know it; --burst draws
anew only every so many iterations. The weight of an edge that is down goes to its two ends: W_k is
symmetric and its rows sum to one. An agent without any edge waits; with --restless it goes on alone.

Uncompressed methods need no more than that. Where messages are differences, both ends of an edge need
the same memories and coder states, although the edge has missed messages:

* late: one encoding for all neighbours; what an edge misses is delivered once it is up again.
* per edge: each direction of an edge has a memory and a coder of its own, and sends only when up.
* lost: one encoding for all neighbours; what an edge misses is lost.

Problems and steps are those of the suites zoom_pl and zoom_logistic (docs/zooming.md), the step times
0.7 or 0.5 where that takes fewer iterations on problem seeds 100 and 101. A cell: medians over problem
seeds 1 to 5 of iterations, bytes per agent with a broadcast counted once, and over all copies.
"""

import argparse
import sys
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from distopt.algorithms.zed import Zed
from distopt.core.errors import DivergedError, MessageError
from distopt.core.randomness import make_key, uniform
from distopt.core.streams import Stream
from distopt.core.workspace import Workspace
from distopt.problems.problem import Problem
from distopt.studies.suite import load_suite

EXPERIMENTS = Path(__file__).parent.parent / "launch" / "experiments"
SUITES = {"PL, ring of 10, d = 50": "zoom_pl", "logistic, 20 agents, d = 50": "zoom_logistic"}
METHODS = {
    "edges": (
        "gt", "exact diffusion", "lead norm_sign, late", "lead norm_sign, per edge",
        "zed, late", "zed, per edge", "zed, lost",
    ),
    "agents": ("gt", "exact diffusion", "lead norm_sign, late", "zed, late"),
}  # fmt: skip
PROBABILITIES = (1.0, 0.9, 0.7, 0.5, 0.2)
FACTORS, TUNING_SEEDS, SEEDS = (1.0, 0.7, 0.5), (100, 101), (1, 2, 3, 4, 5)
ACCURACIES = (1e-4, 1e-10)
LIMIT, EVERY = 2000, 5
KEY = make_key(0, 0, 0)  # neither compressor here draws random bits


@dataclass(frozen=True)
class Failing:
    """What fails, how rarely, for how many iterations, and what an agent does that has no edge."""

    what: str
    p: float
    burst: int
    restless: bool


class Network:
    """x, g : float64[n, d] of all agents, the weights of the edges that are up, bytes sent so far."""

    def __init__(self, problem, failing):
        self.costs = [problem.cost(i) for i in range(problem.agents)]
        self.failing, self.seed = failing, problem.seed
        self.edges = np.array(problem.topology.edges)
        self.W = problem.topology.matrix()  # with all edges, and without the diagonal
        np.fill_diagonal(self.W, 0.0)
        self.x = np.array([problem.start_point(i, cost) for i, cost in enumerate(self.costs)])
        self.g = np.empty_like(self.x)
        self.update_gradients(range(len(self.costs)))
        self.once = self.copies = 0  # bytes, a broadcast counted once or for each neighbour

    def update_gradients(self, agents):
        for i in agents:
            self.costs[i].gradient(self.x[i], self.g[i])

    def weights(self, k):
        """Return W_k without its diagonal, float64[n, n], and the agents that do something."""
        n, f = len(self.costs), self.failing
        key = make_key(self.seed, 0, Stream.EXPERIMENT, k // f.burst)
        awake = np.ones(n, bool)
        if f.what == "edges":
            up = uniform(key, len(self.edges)) < f.p
        else:
            awake = uniform(key, n) < np.sqrt(f.p)
            up = awake[self.edges].all(axis=1)
        W = np.zeros((n, n))
        i, j = self.edges[up].T
        W[i, j] = W[j, i] = self.W[i, j]
        return W, np.flatnonzero(awake if f.restless else W.any(axis=1))

    def broadcast(self, W, nbytes):
        """Count an uncompressed message of every agent that has an edge."""
        self.once += nbytes * int(W.any(axis=1).sum())
        self.copies += nbytes * int((W > 0).sum())

    def stationarity(self):
        xbar, g = self.x.mean(axis=0), np.empty_like(self.x)
        for cost, row in zip(self.costs, g, strict=True):
            cost.gradient(xbar, row)
        return (g.mean(axis=0) ** 2).sum() + ((self.x - xbar) ** 2).sum() / len(self.x)


def mix(W, v):
    """sum_j W_ij (v_j - v_i)."""
    return W @ v - W.sum(axis=1, keepdims=True) * v


class GradientTracking:
    """x+ = x + gamma mixed - eta y;  y+ = y + gamma mixed + g+ - g."""

    def __init__(self, net, algorithm, eta):
        self.net, self.eta, self.gamma, self.y = net, eta, algorithm.gamma, net.g.copy()

    def step(self, W, a):
        net, g = self.net, self.net.g.copy()
        mixed_x, mixed_y = mix(W, net.x), mix(W, self.y)
        net.broadcast(W, net.x[0].nbytes + self.y[0].nbytes)
        net.x[a] += self.gamma * mixed_x[a] - self.eta * self.y[a]
        net.update_gradients(a)
        self.y[a] += self.gamma * mixed_y[a] + net.g[a] - g[a]


class ExactDiffusion:
    """z = x - eta (g + D);  D -= mixed / (2 eta);  x = z + mixed / 2."""

    def __init__(self, net, eta):
        self.net, self.eta, self.D = net, eta, np.zeros_like(net.x)

    def step(self, W, a):
        net = self.net
        z = net.x - self.eta * (net.g + self.D)
        mixed = mix(W, z)
        net.broadcast(W, z[0].nbytes)
        self.D[a] -= mixed[a] / (2 * self.eta)
        net.x[a] = z[a] + mixed[a] / 2
        net.update_gradients(a)


class Reader:
    """What one end of a stream knows: the coder's state, the memory h, and the last hat."""

    def __init__(self, compressor, d):
        self.compressor, self.state = compressor, compressor.new_state(d)
        self.h, self.hat, self.work = np.zeros(d), np.zeros(d), Workspace()

    def read(self, payload, alpha):
        """Hat = h + q;  h += alpha q."""
        self.hat[:] = self.h
        used = self.compressor.decode_add(payload, 1.0, self.hat, KEY, self.state, self.work)
        if used != payload.size:
            raise MessageError(f"{payload.size - used} bytes are left over")
        self.h += alpha * (self.hat - self.h)


class Writer(Reader):
    """The sender's end."""

    def __init__(self, compressor, d):
        super().__init__(compressor, d)
        self.encoder = compressor.new_state(d)
        self.out = np.zeros(compressor.max_nbytes(d), np.uint8)

    def write(self, z, alpha):
        """Return the bytes of C(z - h), and read them."""
        nbytes = self.compressor.encode(z - self.h, self.out, KEY, self.encoder, self.work)
        payload = self.out[:nbytes].copy()
        self.read(payload, alpha)
        return payload


class Compressed:
    """zed, and lead as the same without feedback (omega = 0), mixing what the network knows of z.

    m = beta m + g;  z = x - eta (m + D) + omega sum_j W_ij nu_ij / sum_j W_ij     (W of all edges)
    hat_ij = h_ij + C(z - h_ij), what j knows of i;  nu_ij = hat_ij - z
    D += (c1 / eta) sum_j W_ij (hat_ij - hat_ji);  x = z - c0 sum_j W_ij (z - hat_ji)
    """

    def __init__(self, net, eta, beta, omega, c0, c1, alpha, exact, compressor, way):
        self.net, self.eta, self.way = net, eta, way
        self.beta, self.omega, self.c0, self.c1 = beta, omega, c0, c1
        self.alpha, self.exact = alpha, exact
        n, d = net.x.shape
        self.m, self.D, self.feedback = (np.zeros((n, d)) for _ in range(3))
        self.own, self.heard = np.zeros((n, n, d)), np.zeros((n, n, d))  # hat_ij of i and of j
        self.neighbours = [[int(j) for j in np.flatnonzero(row)] for row in net.W]
        pairs = [(i, j) for i in range(n) for j in self.neighbours[i]]
        self.readers = {pair: Reader(compressor, d) for pair in pairs}
        self.missed = {pair: [] for pair in pairs}
        if way == "per edge":
            self.writers = {pair: Writer(compressor, d) for pair in pairs}
        else:
            common = [Writer(compressor, d) for _ in range(n)]
            self.writers = {(i, j): common[i] for i, j in pairs}

    def step(self, W, a):
        net = self.net
        self.m[a] = self.beta * self.m[a] + net.g[a]
        z = net.x - self.eta * (self.m + self.D) + self.feedback
        for i in a:
            self.send(int(i), z[i], W[i] > 0)
        w = W[:, :, None]
        mixed = (w * (self.heard.swapaxes(0, 1) - self.own)).sum(axis=1)
        error = (w * (self.own - z[:, None])).sum(axis=1)
        self.D[a] -= self.c1 / self.eta * mixed[a]
        net.x[a] = (z + self.c0 * (mixed + self.exact * error))[a]
        self.feedback[a] = self.omega * error[a] / net.W.sum(axis=1)[a, None]
        net.update_gradients(a)

    def send(self, i, z, up):
        payload = None
        for j in self.neighbours[i]:
            writer, missed = self.writers[i, j], self.missed[i, j]
            if self.way == "per edge":
                if not up[j]:
                    continue
                payload = None
            if payload is None:
                payload = writer.write(z, self.alpha)
                self.net.once += payload.size
            missed.append(payload)
            if up[j]:
                for message in missed:
                    self.readers[i, j].read(message, self.alpha)
                    self.net.copies += message.size
            if up[j] or self.way == "lost":
                missed.clear()
            self.own[i, j], self.heard[i, j] = writer.hat, self.readers[i, j].hat
            if up[j] and self.way != "lost":
                assert np.array_equal(self.own[i, j], self.heard[i, j])


def make(net, case, factor, way):
    algorithm, eta = case.config.algorithm, factor * case.config.algorithm.eta
    compressor = case.config.compressor
    if case.label == "gt":
        return GradientTracking(net, algorithm, eta)
    if case.label == "exact diffusion":
        return ExactDiffusion(net, eta)
    if case.label == "zed":
        numbers = Zed.constants | {"exact": 1.0}
        compressor = replace(compressor, activity=0.5)  # zoom's own when the tables were made
    else:
        half = algorithm.gamma / 2
        numbers = {"beta": 0.0, "omega": 0.0, "c0": half, "c1": half, "exact": 0.0}
        numbers["alpha"] = algorithm.alpha
    return Compressed(net, eta, **numbers, compressor=compressor, way=way)


def run(case, seed, way, failing, factor):
    """Return {accuracy: (iterations, bytes, bytes of all copies)}, without those not reached."""
    problem = case.config.problem
    net = Network(Problem(problem.family, problem.topology, seed, problem.start), failing)
    rival, found, start = make(net, case, factor, way), {}, net.stationarity()
    for k in range(1, LIMIT + 1):
        try:
            rival.step(*net.weights(k))
        except (DivergedError, MessageError):
            break
        if k % EVERY:
            continue
        P = net.stationarity()
        for accuracy in ACCURACIES:
            if accuracy >= P and accuracy not in found:
                n = len(net.costs)
                found[accuracy] = (k, net.once / n, net.copies / n)
        if len(found) == len(ACCURACIES) or not np.isfinite(P) or start < P / 1e6:
            break
    return found


def best_factor(case, way, failing):
    """Choose the factor that takes the fewest iterations on the tuning seeds."""

    def effort(factor):
        runs = [run(case, seed, way, failing, factor) for seed in TUNING_SEEDS]
        return sum(found.get(ACCURACIES[-1], (2 * LIMIT,))[0] for found in runs)

    return min(FACTORS, key=effort)


def cell(runs, accuracy, factor):
    reached = [found[accuracy] for found in runs if accuracy in found]
    if not reached:
        return "-"
    k, once, copies = (median(column) for column in zip(*reached, strict=True))
    text = f"{k:.0f}, {once:.0f} / {copies:.0f} B"
    text += f", eta x {factor:g}" if factor != 1 else ""
    return text + (f" ({len(reached)} of {len(runs)})" if len(reached) < len(runs) else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--restless", action="store_true", help="agents without an edge go on alone"
    )
    parser.add_argument("--burst", type=int, default=1, help="iterations for which a draw holds")
    parser.add_argument(
        "--quick", action="store_true", help="one problem, p and seed: that it runs"
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # runs that diverge overflow
    seeds = SEEDS[:1] if options.quick else SEEDS
    probabilities = (0.7,) if options.quick else PROBABILITIES
    for title, suite in list(SUITES.items())[: 1 if options.quick else None]:
        cases = load_suite(EXPERIMENTS / f"{suite}.toml", [], Path("unused")).cases
        cases = {case.label: case for case in reversed(cases)}
        rows = {accuracy: [] for accuracy in ACCURACIES}
        for what, methods in METHODS.items():
            for method in methods:
                label, _, way = method.partition(", ")
                told = dict.fromkeys(ACCURACIES, f"| {what} | {method} |")
                for p in probabilities:
                    failing = Failing(what, p, options.burst, options.restless)
                    factor = 1.0 if options.quick else best_factor(cases[label], way, failing)
                    runs = [run(cases[label], seed, way, failing, factor) for seed in seeds]
                    for accuracy in ACCURACIES:
                        told[accuracy] += f" {cell(runs, accuracy, factor)} |"
                for accuracy in ACCURACIES:
                    rows[accuracy].append(told[accuracy])
        for accuracy in ACCURACIES:
            print(f"\n{title}, to P <= {accuracy:g}\n")
            print(f"| fail | method | {' | '.join(f'p = {p:g}' for p in probabilities)} |")
            print("|---|---|" + "---|" * len(probabilities))
            print("\n".join(rows[accuracy]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
