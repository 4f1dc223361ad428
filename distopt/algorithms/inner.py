"""The optimisers that take the steps between two messages: SGD with momentum, and AdamW.

Their state belongs to the agent and is in the checkpoint. Both count gradients t = 1, 2, ..., and

    eta_t = eta min(1, t / warmup) max(0, 1 - (t - 1) / horizon)          (warmup, horizon = 0: without)
"""

from abc import abstractmethod
from typing import Annotated, Literal, Protocol, Self

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.base import AUTO, Algorithm, Positive, Step
from distopt.algorithms.memory import Neighbours
from distopt.algorithms.state import State
from distopt.core.arrays import F64
from distopt.core.kernel import kernel
from distopt.core.parameters import Field, parameters
from distopt.theory.facts import Facts

DEFAULT_ETA = {"adamw": 0.001, "sgd": 0.05}
EPS = 1e-8  # of AdamW's denominator


class Inner(Protocol):
    """An optimiser with its state."""

    def step(self, z: F64, g: F64) -> None:
        """Move z along its gradient g."""
        ...

    def arrays(self) -> dict[str, np.ndarray]:
        """Name what a checkpoint must hold."""
        ...


@parameters("algorithm")
class WithInner(Algorithm):
    """An algorithm whose iteration is local steps, each along a gradient at z, and one exchange.

        z = x;  local_steps times:  g = g(z), `local_step`;  `exchange`

    The state has x, z and g, and z and g need not outlive the iteration.
    """

    eta: Positive = AUTO  # step size of the inner optimiser; 0.001 with adamw, 0.05 with sgd
    inner: Literal["adamw", "sgd"] = "adamw"
    beta: Annotated[float, Field(ge=0, lt=1)] = 0.9  # its momentum
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99  # of adamw's squares
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup: Annotated[int, Field(ge=0)] = 0  # gradients until eta is reached
    horizon: Annotated[int, Field(ge=0)] = 0  # gradients until eta has fallen to 0; 0: never

    vectors = 1
    surveys = False
    single = True
    local_steps = 1

    def choose(self, facts: Facts) -> Self:
        return self.with_numbers(eta=DEFAULT_ETA[self.inner])

    def new_inner(self, x0: F64) -> Inner:
        """Make the optimiser of one agent, with vectors like x0."""
        return AdamW(self, x0) if self.inner == "adamw" else Momentum(self, x0)

    @abstractmethod
    def local_step(self, s: State) -> None:
        """Move z along the gradient g that was taken there."""

    @abstractmethod
    def exchange(self, agent: Agent, s: State, k: int) -> Step:
        """Do the rest of iteration k, which moves x."""

    def step(self, agent: Agent, s: State, k: int) -> Step:
        s.z[:] = s.x
        for _ in range(self.local_steps):
            agent.gradient(s.z, out=s.g)
            self.local_step(s)
        yield from self.exchange(agent, s, k)

    def eta_at(self, t: int) -> float:
        """Return the step size of gradient t = 1, 2, ..."""
        rise = min(1.0, t / self.warmup) if self.warmup else 1.0
        fall = max(0.0, 1.0 - (t - 1) / self.horizon) if self.horizon else 1.0
        return self.eta * rise * fall


class Momentum:
    """SGD with momentum: m = beta m + g + weight_decay z;  z = z - eta_t m."""

    def __init__(self, algorithm: WithInner, x0: F64) -> None:
        self.algorithm = algorithm
        self.t, self.m = np.zeros(1, np.int64), np.zeros_like(x0)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"t": self.t, "m": self.m}

    def take_over(self, other: Self, neighbours: Neighbours, name: str) -> None:
        """Go on when others were lost."""
        self.t[:], self.m[:] = other.t, other.m

    def step(self, z: F64, g: F64) -> None:
        a = self.algorithm
        self.t += 1
        move(z, g, self.m, a.beta, a.weight_decay, a.eta_at(int(self.t[0])))


class AdamW:
    """AdamW, without eps in the listing.

        m = beta m + (1 - beta) g,   v = beta2 v + (1 - beta2) g^2
        z = z - eta_t ((m / (1 - beta^t)) / sqrt(v / (1 - beta2^t)) + weight_decay z)

    Loshchilov and Hutter, "Decoupled weight decay regularization".
    """

    def __init__(self, algorithm: WithInner, x0: F64) -> None:
        self.algorithm = algorithm
        self.t, self.powers = np.zeros(1, np.int64), np.ones(2)
        self.m, self.v = np.zeros_like(x0), np.zeros_like(x0)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"t": self.t, "powers": self.powers, "m": self.m, "v": self.v}

    def take_over(self, other: Self, neighbours: Neighbours, name: str) -> None:
        """Go on when others were lost."""
        for mine, its in zip(self.arrays().values(), other.arrays().values(), strict=True):
            mine[:] = its

    def step(self, z: F64, g: F64) -> None:
        a = self.algorithm
        self.t += 1
        self.powers *= (a.beta, a.beta2)  # beta^t, by products: pow() differs between machines
        first, second = 1.0 - self.powers
        eta = a.eta_at(int(self.t[0]))
        adapt(z, g, self.m, self.v, a.beta, a.beta2, first, second, a.weight_decay, eta)


@kernel
def move(z: F64, g: F64, m: F64, beta: float, decay: float, eta: float) -> None:
    """m = beta m + g + decay z; z = z - eta m."""
    for i in range(z.size):
        m[i] = beta * m[i] + g[i] + decay * z[i]
        z[i] -= eta * m[i]


@kernel
def adapt(
    z: F64, g: F64, m: F64, v: F64, beta: float, beta2: float, first: float, second: float,
    decay: float, eta: float,
) -> None:  # fmt: skip
    """One step of AdamW; first = 1 - beta^t, second = 1 - beta2^t."""
    for i in range(z.size):
        m[i] = beta * m[i] + (1.0 - beta) * g[i]
        v[i] = beta2 * v[i] + (1.0 - beta2) * (g[i] * g[i])
        z[i] -= eta * (m[i] / first / (np.sqrt(v[i] / second) + EPS) + decay * z[i])
