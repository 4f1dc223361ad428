"""Links are asked of the topology in every iteration; what is written here changes them."""

import numpy as np
import pytest

import distopt
from distopt.algorithms.agent import Agent
from distopt.algorithms.hosted import Hosted
from distopt.core.errors import ConfigError
from distopt.engine.driver import iterate
from distopt.engine.laws import quadratic
from distopt.problems.topology import Links, Topology
from distopt.transport.local import LocalTransport

N, D = 4, 9


class Square(Topology):
    """A ring of four, of which in every odd iteration the edge (0, 1) is down."""

    def __init__(self):
        super().__init__(N, [(0, 1), (1, 2), (2, 3), (0, 3)])

    def at(self, k):
        return Broken(self) if k % 2 else self

    def W(self, k):
        W = self.matrix()
        if k % 2:
            W[0, 0], W[1, 1], W[0, 1], W[1, 0] = W[0, 0] + W[0, 1], W[1, 1] + W[0, 1], 0.0, 0.0
        return W


class Broken:
    def __init__(self, whole):
        self.whole = whole

    def links(self, i):
        found = self.whole.links(i)
        if i > 1:
            return found
        hears = tuple(j for j in found.hears if j != 1 - i)
        return Links(hears, found.weights[:1], hears)


def hosted(algorithm, compressor):
    topology, made = Square(), []
    for i in range(N):
        agent = Agent(i, quadratic(i), topology, compressor, seed=3, vectors=algorithm.vectors)
        made.append(Hosted(agent, algorithm.init(agent, np.full(D, float(i)))))
    return topology, made, LocalTransport(topology)


def test_gradient_tracking_follows_the_matrix_of_every_iteration():
    eta, gamma = 0.02, 0.7
    algorithm = distopt.GradientTracking(eta=eta, gamma=gamma)
    topology, agents, transport = hosted(algorithm, distopt.Identity())

    def gradients(X):
        G = np.empty_like(X)
        for i, row in enumerate(X):
            quadratic(i).gradient(row, G[i])
        return G

    X = np.array([h.state.x for h in agents])
    G = gradients(X)
    Y = G.copy()
    for k in range(12):
        iterate(algorithm, agents, transport, k)
        M = np.eye(N) + gamma * (topology.W(k) - np.eye(N))
        X, old = M @ X - eta * Y, G
        G = gradients(X)
        Y = M @ Y + G - old
        np.testing.assert_allclose([h.state.x for h in agents], X, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("alpha", [1.0, 0.6])
def test_a_neighbour_that_is_not_heard_has_no_weight(alpha):
    """With the edge down, the memories of both its ends stay where they are."""
    algorithm = distopt.Lead(eta=0.02, gamma=0.5, alpha=alpha)
    _, agents, transport = hosted(algorithm, distopt.Quantize(bits=4))
    iterate(algorithm, agents, transport, 0)
    memory = agents[0].state.hx
    before = memory.h.copy()
    iterate(algorithm, agents, transport, 1)
    assert agents[0].agent.neighbours == (1, 3)
    assert np.array_equal(memory.h[1], before[1])
    assert not np.array_equal(memory.h[2], before[2])
    assert agents[0].agent.weight_sum == agents[0].agent.weights[1]


def test_a_sum_of_memories_cannot_follow():
    algorithm = distopt.Lead(eta=0.02, gamma=0.5, alpha=1.0, memory="sum")
    _, agents, transport = hosted(algorithm, distopt.Quantize(bits=4))
    iterate(algorithm, agents, transport, 0)
    with pytest.raises(ConfigError, match="cannot follow a graph that changes"):
        iterate(algorithm, agents, transport, 1)
