"""Set up a run: turn its parts into agents that are ready to iterate."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from time import perf_counter
from typing import NamedTuple
from zlib import crc32

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.base import AUTO, Algorithm
from distopt.algorithms.hosted import Hosted
from distopt.config.build import Parts
from distopt.core.arrays import F64
from distopt.core.errors import ConfigError, DataError, DistoptError
from distopt.core.workspace import Workspace
from distopt.engine.driver import iterate, run_to_end
from distopt.engine.processes import SharedError, together
from distopt.problems.batches import require_batches
from distopt.problems.costs.base import Cost
from distopt.problems.topology import Topology
from distopt.record import checkpoint
from distopt.theory.facts import Facts
from distopt.theory.lyapunov import Lyapunov, lyapunov
from distopt.theory.rules import estimate_flattest, estimate_smoothness
from distopt.transport.base import Transport
from distopt.transport.local import LocalTransport


class Start(NamedTuple):
    """Where an agent of this process begins."""

    agent: int
    cost: Cost
    x0: F64


class Minimum(NamedTuple):
    """f*, or its substitute."""

    value: float
    kind: str  # "exact", "lower bound" or "unknown, 0 used"


class Survey(NamedTuple):
    """Everything that all agents together know of the problem before the run."""

    facts: Facts
    minimum: Minimum
    warnings: list[str]


@dataclass
class Clock:
    """How far a run is."""

    iteration: int = 0  # iterations done
    seconds: float = 0.0  # in iterations
    diagnostics_seconds: float = 0.0  # in records and checkpoints


@dataclass(frozen=True)
class Team:
    """The agents of this process, ready to iterate, and what is known of their problem.

    Attributes
    ----------
    parts : Parts
        Every ``"auto"`` is a number here.
    transport : Transport
    facts : Facts
    minimum : Minimum
    lyapunov : Lyapunov or None
    hosted : list of Hosted
    clock : Clock
        Moves on with `iterate`, as the agents' states do.
    warnings : list of str
        Sentences for the user.
    """

    parts: Parts
    transport: Transport
    facts: Facts
    minimum: Minimum
    lyapunov: Lyapunov | None
    hosted: list[Hosted]
    clock: Clock
    warnings: list[str]

    def iterate(self) -> float:
        """Do the next iteration of all agents; return the seconds that it took."""
        began = perf_counter()
        iterate(self.parts.algorithm, self.hosted, self.transport, self.clock.iteration)
        spent = perf_counter() - began
        self.clock.iteration += 1
        self.clock.seconds += spent
        return spent


def prepare(parts: Parts, transport: Transport, saved: checkpoint.Saved | None = None) -> Team:
    """Set up the agents of this process, at iteration 0 or where a checkpoint was saved.

    All processes call this together, and end with the same algorithm, to the bit.
    """
    starts = together(transport, lambda: [start(parts, i) for i in transport.hosted])
    known = survey(parts, starts, transport)
    resolved = resolve(parts.algorithm, known.facts, transport)
    parts = replace(parts, algorithm=resolved)
    transport.warm_up(lambda: warm_up(parts, known.facts, starts[0]))
    hosted = together(transport, lambda: make_agents(parts, parts.problem.topology, starts))
    clock, warnings = Clock(), known.warnings
    if saved is None:
        run_to_end([resolved.start(h.agent, h.state, known.facts) for h in hosted], transport)
        parts = replace(parts, algorithm=resolved.started(hosted[0].state))
    else:
        numbers = together(transport, lambda: checkpoint.load(saved.place, hosted))
        clock.iteration = saved.iteration
        clock.seconds = numbers.pop("run_seconds", 0.0)
        clock.diagnostics_seconds = numbers.pop("run_diagnostics_seconds", 0.0)
        transport.traffic.restore(numbers)
        warnings = saved.damaged + warnings
    function = lyapunov(resolved.steps(), known.facts)
    if function and parts.run.batch:  # the proofs are for exact gradients
        function = replace(function, certified=False)
    return Team(parts, transport, known.facts, known.minimum, function, hosted, clock, warnings)


def start(parts: Parts, i: int) -> Start:
    """Make the cost and the start point of agent i."""
    cost = parts.problem.cost(i)
    require_batches(cost, parts.run.batch, i)
    nmse = parts.run.stop.nmse
    if nmse and not hasattr(cost, "energy"):
        raise ConfigError(
            f"run.stop.nmse = {nmse:g} needs costs that have an NMSE (an attribute energy, as "
            f"networks have); that of agent {i} has none. Accepted: 0."
        )
    return Start(i, cost, parts.problem.start_point(i, cost))


def survey(parts: Parts, starts: Sequence[Start], transport: Transport) -> Survey:
    """Collect the constants of all agents, the only numbers that the rules of "auto" may use."""
    algorithm, problem, topology = parts.algorithm, parts.problem, parts.problem.topology
    pilot = algorithm.pilot and AUTO in vars(algorithm).values()
    told = [constants(s, pilot, algorithm.memory_start == "x0") for s in starts]
    L, lower, flattest, estimated, dimension, *points = transport.collect(np.array(told)).T
    require_equal(
        dimension,
        lambda i: DataError(
            f"The cost of agent {i} has dimension {dimension[i]:.0f}, but that of agent 0 has "
            f"{dimension[0]:.0f}; all agents need the same."
        ),
    )
    for point in points:
        require_equal(
            point,
            lambda i: ConfigError(
                'algorithm.memory_start = "x0" needs agents that all start from the same point, but '
                f'agents 0 and {i} start from different points; accepted here: "zeros".'
            ),
        )
    smoothness, warnings = float(L.max()), []
    if estimated.any():
        warnings.append(
            f"{estimated.sum():.0f} costs do not tell their smoothness; {smoothness:.3g} was "
            'estimated around the start, for "auto" and the Lyapunov function.'
        )
    facts = Facts(
        agents=transport.agents,
        dimension=problem.dimension,
        smoothness=smoothness,
        gap=topology.gap,
        kappa=topology.kappa,
        diameter=topology.diameter,
        compressor=parts.compressor,
        flattest=float(flattest.min()) if pilot else None,
        estimated=bool(estimated.any()),
    )
    bound = float(sum(lower) / transport.agents)
    if problem.minimum is not None:
        least = Minimum(problem.minimum, "exact")
    elif np.isnan(bound):
        least = Minimum(0.0, "unknown, 0 used")
    else:
        least = Minimum(bound, "lower bound")
    return Survey(facts, least, warnings)


def constants(s: Start, pilot: bool, point: bool) -> list[float]:
    """Return the constants that an agent shares with the others before the run.

    L, a lower bound of its cost (nan: unknown), the flattest curvature near the start (nan unless
    `pilot`), whether L is an estimate, the dimension, and a checksum of its start if `point`.
    """
    known = getattr(s.cost, "smoothness", None)
    L = estimate_smoothness(s.cost, s.x0) if known is None else float(known)
    flattest = estimate_flattest(s.cost, s.x0, L) if pilot else np.nan
    lower = getattr(s.cost, "lower_bound", None)
    told = [L, np.nan if lower is None else lower, flattest, float(known is None), s.cost.dimension]
    return [*told, float(crc32(s.x0.tobytes()))] if point else told


def require_equal(told: F64, refusal: Callable[[int], DistoptError]) -> None:
    """Raise, on all processes, unless all agents gave the same number."""
    other = int(np.argmax(told != told[0]))
    if other:
        raise SharedError(refusal(other))


def resolve(algorithm: Algorithm, facts: Facts, transport: Transport) -> Algorithm:
    """Replace every ``"auto"`` by its rule's number, the same on all processes."""

    def compile_rules() -> None:
        with suppress(DistoptError):  # which comes again when all processes apply them
            algorithm.resolve(facts)

    transport.warm_up(compile_rules)
    resolved = together(transport, lambda: algorithm.resolve(facts))
    # Eigenvalues and sums may differ in their last bits between hosts, and agents whose gamma or
    # alpha differ drift apart: all take the first process's numbers.
    first: Algorithm = transport.share(resolved)[0]
    return first


def make_agents(parts: Parts, topology: Topology, starts: Sequence[Start]) -> list[Hosted]:
    """Make agents of a topology, and their states at iteration 0."""
    algorithm, run = parts.algorithm, parts.run
    workspace = Workspace()  # one for all, since they work in turn
    hosted = []
    for i, cost, x0 in starts:
        agent = Agent(
            i,
            cost,
            topology,
            parts.compressor,
            run.seed,
            vectors=algorithm.vectors,
            batch=run.batch,
            remedy=algorithm.remedy(),
            workspace=workspace,
        )
        hosted.append(Hosted(agent, algorithm.init(agent, x0)))
    return hosted


def warm_up(parts: Parts, facts: Facts, own: Start) -> None:
    """Compile every kernel of the run (into the cache on disk) by one iteration of two agents.

    Both have this process's own cost: no other agent's data is needed to compile.
    """
    topology = Topology(2, [(0, 1)])
    transport = LocalTransport(topology)
    hosted = make_agents(parts, topology, [own._replace(agent=i) for i in (0, 1)])
    run_to_end([parts.algorithm.start(h.agent, h.state, facts) for h in hosted], transport)
    iterate(parts.algorithm, hosted, transport, 0)
