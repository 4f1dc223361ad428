"""A cost that does something bad on one agent at one iteration, for tests of failures from outside.

At iteration -1 it does so in the factory.
``problem.options`` say what: act, agent, at; an act that ends in -once happens in the first job only, one
that ends in "slow" takes its time as well, and tells how far it is. Everything else is a plain quadratic.
"""

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.crowd import Crowd
from distopt.record import checkpoint

packed, packed_rows = Agent._packed, Crowd._pack


class Quadratic:
    dimension, smoothness, lower_bound = 9, 1.0, 0.0

    def __init__(self, agent, act, who, at, place):
        self.agent, self.who, self.at, self.place = agent, who, at, Path(place)
        self.act, self.slow = act.removesuffix(" slow"), act.endswith("slow")
        self.now = -1  # iteration that is under way
        done = self.place / "done"
        if act.endswith("-once") and done.exists():
            self.act = "none"
        (self.place / f"pid-{agent}").write_text(str(os.getpid()))

    def value(self, x):
        if self.act == "hang-value" and self.agent == self.who and self.now >= self.at:
            time.sleep(3600)  # while all others wait in a record
        return 0.5 * float(np.sum((x - self.agent) ** 2))

    def gradient(self, x, out):
        if self.agent == self.who and self.now == self.at:
            leave(self.act)
            if self.act == "raise":
                raise RuntimeError("no more")
            if self.act == "nan":
                out.fill(0.0)
                out[4] = np.nan
                return
        np.subtract(x, self.agent, out=out)
        if self.act == "diverge" and self.now >= self.at:
            np.multiply(x, -1e3, out=out)

    def pack(self, message):
        """Be the last to touch a message of this agent."""
        if self.slow:
            (self.place / f"at-{self.agent}").write_text(str(self.now))
            time.sleep(2e-3)
        if self.agent != self.who or self.now != self.at:
            return message
        if self.act == "truncate":
            return message[:-1].copy()
        if self.act == "prolong":
            return np.append(message, np.uint8(0))
        if self.act == "scale":  # the float32 in front
            changed = message.copy()
            changed[:4] = 0xFF
            return changed
        if self.act.endswith("-once"):
            (self.place / "done").touch()
            self.act = self.act.removesuffix("-once")
        if self.act == "exit":
            ctypes.CDLL(None)._exit(3)  # past all guards
        if self.act == "kill-parent":
            os.kill(os.getppid(), signal.SIGKILL)
        signals = {"stop": signal.SIGSTOP, "kill": signal.SIGKILL, "term": signal.SIGTERM,
                   "int": signal.SIGINT, "usr1": signal.SIGUSR1}  # fmt: skip
        if self.act in signals:
            os.kill(os.getpid(), signals[self.act])
        return message


def leave(act):
    """Hang, or leave in a way that is none of a cost's."""
    if act == "hang":
        time.sleep(3600)
    if act == "os-exit":
        os._exit(0)
    if act == "sys-exit":
        sys.exit(0)
    if act == "c-exit":
        ctypes.CDLL(None).exit(0)
    if act == "interrupt":
        raise KeyboardInterrupt


def hang_in_save(*arguments, **more):
    time.sleep(3600)


def noting_packed(self, *arguments):
    return noted(self, packed(self, *arguments))


def noting_rows(self, *arguments):
    sizes = packed_rows(self, *arguments)
    for i, agent in enumerate(self.agents):
        message = noted(agent, self._messages[i, : sizes[i]])
        sizes[i] = message.size
        self._messages[i, : message.size] = message
    return sizes


def noted(agent, message):
    """Tell an agent's cost of its message; return what the cost makes of it."""
    cost = getattr(agent.cost, "_cost", agent.cost)
    cost.now = agent.iteration
    return cost.pack(message)


def make_cost(agent, agents, act, who, at, place):
    Crowd._pack = noting_rows
    Agent._packed = noting_packed  # here, since collecting the tests imports this file as well
    if act == "hang-save" and agent == who:
        checkpoint.write_data = hang_in_save
    if at < 0 and agent == who:
        (Path(place) / f"pid-{agent}").write_text(str(os.getpid()))
        leave(act)
    return Quadratic(agent, act, who, at, place)
