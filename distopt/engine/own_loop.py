"""One agent whose gradients a loop of one's own brings, instead of a cost that is asked for them."""

from contextlib import ExitStack
from typing import Any, Self

import numpy as np

from distopt.algorithms.inner import WithInner
from distopt.config.build import Parts
from distopt.core.arrays import F64
from distopt.core.errors import CheckpointError, ConfigError, DistoptError
from distopt.engine.arguments import Code, Graph, Method, as_topology, make_parts
from distopt.engine.driver import run_to_end
from distopt.engine.interface import agreed, silence
from distopt.engine.team import prepare
from distopt.problems.costs.model import Layout
from distopt.transport.base import FINISH
from distopt.transport.opening import open_transport


class Brought:
    """The cost that stands for gradients from outside: a start point and the names of its entries."""

    def __init__(self, start: F64, layout: Layout, kind: str) -> None:
        self.start, self.dimension, self.layout = start, start.size, layout
        self.blocks, self.name_of = layout.blocks, layout.name_of
        self.facts = {"library": kind, "parameters": layout.text}

    def value(self, x: F64) -> float:
        """Return 0: nobody asks but the set-up."""
        return 0.0

    def gradient(self, x: F64, out: F64) -> None:
        """out = 0."""
        out.fill(0.0)


class OwnLoop:
    """The agent of this rank in a loop that brings the gradients; all ranks make one together.

    Parameters
    ----------
    start : float64[d]
    layout : Layout
    kind : str
        The library, with its version; the same on all ranks.
    algorithm, compressor, topology
        As in `distopt.minimize`; an algorithm whose iteration is local steps and one exchange.
    comm : mpi4py.MPI.Comm, optional
        COMM_WORLD by default.
    run
        Keys of the section [run], such as seed and timeout.

    Attributes
    ----------
    steps : int
        Local steps taken so far.
    """

    def __init__(
        self, start: F64, layout: Layout, kind: str, algorithm: Method, compressor: Code,
        topology: Graph, comm: Any, run: dict[str, Any],
    ) -> None:  # fmt: skip
        from mpi4py import MPI

        world = MPI.COMM_WORLD if comm is None else comm

        def make() -> Parts:
            cost = Brought(start, layout, kind)
            graph = as_topology(topology, world.size)
            parts = make_parts({world.rank: cost}, None, graph, algorithm, compressor, run)
            if not isinstance(parts.algorithm, WithInner):
                raise ConfigError(
                    f"algorithm is {type(parts.algorithm).__name__}, whose gradients no loop of one's own "
                    "can bring; accepted: distopt.DiLoCo and distopt.AveragedGradients. The others take a "
                    "cost (distopt.torch.Cost) and distopt.minimize."
                )
            return parts

        self.held = ExitStack()
        try:
            parts = agreed(world, make)
        except DistoptError as error:
            if world.rank:
                silence(error)
            raise
        self.transport = self.held.enter_context(open_transport("mpi", parts, world))
        try:
            self.team = prepare(parts, self.transport)
        except BaseException as error:
            if not self.held.__exit__(type(error), error, error.__traceback__):
                raise
            raise AssertionError from error  # never reached: the transport ends the job or raises
        [self.hosted] = self.team.hosted
        algorithm = self.team.parts.algorithm
        assert isinstance(algorithm, WithInner)
        self.algorithm: WithInner = algorithm
        self.steps = 0
        self.z[:] = self.hosted.state.x

    @property
    def z(self) -> F64:
        """Where the next gradient is to be taken, float64[d]."""
        z: F64 = self.hosted.state.z
        return z

    @property
    def x(self) -> F64:
        """The model after the last exchange, float64[d]."""
        x: F64 = self.hosted.state.x
        return x

    @property
    def nbytes(self) -> int:
        """What this rank has sent so far, every copy counted."""
        return self.transport.traffic.nbytes_on_wire

    def step(self, g: F64) -> bool:
        """Take one local step along g : float64[d], and exchange after every `local_steps`; tell if so."""
        agent, s, k = self.hosted.agent, self.hosted.state, self.team.clock.iteration
        try:
            if self.steps % self.algorithm.local_steps == 0:
                agent.begin(k)
            agent.require_finite("gradient", g)
            s.g[:] = g
            self.algorithm.local_step(s)
            self.steps += 1
            if self.steps % self.algorithm.local_steps:
                return False
            self.transport.begin(FINISH, k)
            run_to_end([self.hosted], [self.algorithm.exchange(agent, s, k)], self.transport)
        except BaseException as error:
            self.transport.abort(error)
            raise
        self.team.clock.iteration += 1
        self.z[:] = self.x
        return True

    def arrays(self) -> dict[str, np.ndarray]:
        """Copy all that a continued loop needs, by name."""
        numbers = np.array([self.steps, self.hosted.agent.index], np.int64)
        own = {"steps and agent": numbers, "z": self.z, "g": self.hosted.state.g}
        return {name: array.copy() for name, array in (self.hosted.arrays() | own).items()}

    def load(self, saved: dict[str, np.ndarray]) -> None:
        """Continue where `arrays` was called, on all ranks; the same bits follow.

        Raises
        ------
        CheckpointError
            On all ranks, if it is of another agent, method, compressor, graph or model, or ranks differ in
            their steps.
        """
        own = self.arrays()
        wrong = [
            name
            for name in own.keys() | saved.keys()
            if name not in own or name not in saved
            or saved[name].shape != own[name].shape or saved[name].dtype != own[name].dtype
        ]  # fmt: skip
        steps, index = (-1, -1) if wrong else saved["steps and agent"].tolist()
        told = self.transport.collect(np.array([[float(steps), float(index)]]))
        if (told[:, 0] < 0).any():
            other = int(np.argmax(told[:, 0] < 0))
            about = f" ({', '.join(sorted(wrong)[:3])} differ)" if wrong else ""
            raise CheckpointError(
                f"The state of agent {other} is of another model, algorithm, compressor or graph{about}; "
                "make the optimizer as it was made when the state was saved."
            )
        if (told[:, 1] != np.arange(len(told))).any() or (told[:, 0] != told[0, 0]).any():
            raise CheckpointError(
                "The states of the ranks do not belong together: they are of the agents "
                f"{told[:, 1].astype(int).tolist()} after {told[:, 0].astype(int).tolist()} steps; "
                "accepted: on each rank the state that it saved itself, all after the same step."
            )
        state, agent = self.hosted.state, self.hosted.agent
        for name, array in (self.hosted.arrays() | {"z": self.z, "g": state.g}).items():
            array[...] = saved[name]
        state.restored()
        self.steps = steps
        self.team.clock.iteration = steps // self.algorithm.local_steps
        agent.begin(self.team.clock.iteration)

    def close(self) -> None:
        """Release what MPI holds; all ranks together."""
        self.held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self.held.__exit__(*error)
