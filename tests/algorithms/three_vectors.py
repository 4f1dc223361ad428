"""A method that sends three vectors a message: compressed tracking, and the mean of all x besides."""

import numpy as np

from distopt.algorithms.base import Algorithm
from distopt.algorithms.state import State, View
from distopt.algorithms.updates import descend, track
from distopt.core.parameters import parameters


@parameters("algorithm")
class ThreeVectors(Algorithm):
    """x and y as in cgt1, and u+ = u + gamma mixed_u + x+ - x, whose mean is the mean of x."""

    eta: float
    gamma: float
    alpha: float

    vectors = 3

    def init(self, agent, x0):
        d, s = agent.dimension, State()
        s.keep(x=x0.copy(), y=np.empty(d), u=x0.copy(), g=np.empty(d))
        s.keep(**{f"h{name}": agent.new_memory("replicas") for name in "xyu"})
        s.work(g_next=np.empty(d), x_old=np.empty(d))
        agent.gradient(s.x, out=s.g)
        s.y[:] = s.g
        return s

    def step(self, agent, s, k):
        received = yield agent.pack(k, x=s.x - s.hx.own, y=s.y - s.hy.own, u=s.u - s.hu.own)
        agent.mix(received, s.hx, s.hy, s.hu, alpha=self.alpha)
        s.x_old[:] = s.x
        descend(s.x, s.hx.mixed, s.y, self.gamma, self.eta)
        agent.gradient(s.x, out=s.g_next)
        track(s.y, s.hy.mixed, s.g_next, s.g, self.gamma)
        track(s.u, s.hu.mixed, s.x, s.x_old, self.gamma)
        s.g, s.g_next = s.g_next, s.g

    def view(self, s):
        memories = {name: (getattr(s, name), getattr(s, f"h{name}")) for name in "xyu"}
        return View(s.x, gradient=s.g, tracker=s.y, memories=memories)
