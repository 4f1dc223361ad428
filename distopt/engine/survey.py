"""The survey: what all agents together know of the problem before the run."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple
from zlib import crc32

import numpy as np

from distopt.algorithms.base import AUTO, Algorithm
from distopt.config.build import Parts
from distopt.core.arrays import F64
from distopt.core.errors import ConfigError, DataError, DistoptError
from distopt.core.randomness import make_key, normal
from distopt.core.streams import Stream
from distopt.core.usercode import within
from distopt.problems.batches import require_batches
from distopt.problems.costs.base import Cost
from distopt.problems.costs.guarded import naming
from distopt.problems.costs.slope import slope_ratio
from distopt.problems.topology import FASTEST, Topology
from distopt.theory.facts import Facts
from distopt.theory.lyapunov import Lyapunov, lyapunov
from distopt.theory.rules import (
    estimate_curvature,
    estimate_flattest,
    estimate_smoothness,
    tracking_step,
)
from distopt.transport.base import SharedError, Transport

BY_SMOOTHNESS = ("eta", "mu")  # parameters whose rules of "auto" use L


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
    """What is known before the first iteration, the same on all processes."""

    algorithm: Algorithm  # every "auto" is a number here
    facts: Facts
    minimum: Minimum
    lyapunov: Lyapunov | None
    warnings: list[str]  # sentences for the user


def find_start(parts: Parts, i: int) -> Start:
    """Make the cost and the start point of agent i."""
    with within(parts.run.setup_timeout, i):
        cost = parts.problem.cost(i)
    require_batches(cost, parts.run.batch, i)
    if not parts.run.batch:
        require_batches(cost, getattr(cost, "batch", 0), i, "batch")
    nmse = parts.run.stop.nmse
    if nmse and not hasattr(cost, "energy"):
        raise ConfigError(
            f"run.stop.nmse = {nmse:g} needs costs that have an NMSE (an attribute energy, as "
            f"networks have); that of agent {i} has none. Accepted: 0."
        )
    start = Start(i, cost, parts.problem.start_point(i, cost))
    known_smoothness(start)
    return start


def leave_saddle(parts: Parts, starts: list[Start], transport: Transport) -> list[Start]:
    """Start elsewhere if no start was chosen and the gradients of all costs are exactly zero at 0.

    No method leaves such a point, a saddle of factorizations for example, whatever its seed. The new one
    is the same for all agents, of norm 1, and a function of the problem's seed (of the run's, where the
    costs are objects).
    """
    problem = parts.problem
    if problem.start != "zeros":
        return starts
    with transport.together():
        held = [[is_held(s)] for s in starts]
    if not transport.collect(np.array(held, np.float64)).all():
        return starts
    key = make_key(getattr(problem, "seed", parts.run.seed), 0, Stream.LEAVING)
    point = normal(key, problem.dimension)
    point /= np.linalg.norm(point)
    return [s._replace(x0=point.copy()) for s in starts]


def is_held(s: Start) -> bool:
    """Whether the start is 0 for want of another, and the gradient there is exactly zero."""
    if getattr(s.cost, "start", None) is not None:
        return False
    gradient = np.empty(s.cost.dimension)
    s.cost.gradient(s.x0, gradient)
    return not gradient.any()


def survey(parts: Parts, starts: Sequence[Start], transport: Transport) -> Survey:
    """Collect the constants of all agents, the only numbers that the rules of "auto" may use."""
    algorithm, problem, topology = parts.algorithm, parts.problem, parts.problem.topology
    pilot = algorithm.pilot and AUTO in vars(algorithm).values()
    searching = algorithm.searching
    told = []
    for s in starts:
        with naming(f"The cost of agent {s.agent}"):
            told.append(constants(s, pilot, searching))
    if topology.rule == FASTEST:
        require_same_weights(topology, transport)
    L, lower, flattest, estimated, dimension, curvature, slopes, points = transport.collect(
        np.array(told)
    ).T
    require_equal(
        dimension,
        lambda i: DataError(
            f"The cost of agent {i} has dimension {dimension[i]:.0f}, but that of agent 0 has "
            f"{dimension[0]:.0f}; all agents need the same."
        ),
    )
    if algorithm.memory_start == "x0":
        require_equal(
            points,
            lambda i: ConfigError(
                'algorithm.memory_start = "x0" needs agents that all start from the same point, but '
                f'agents 0 and {i} start from different points; accepted here: "zeros".'
            ),
        )
    smoothness = float(L.max()) or 1.0  # all costs are linear: any step is right
    warnings = wrong_slopes(slopes)
    ruled = [key for key in BY_SMOOTHNESS if vars(algorithm).get(key) == AUTO and not searching]
    if estimated.any() and ruled:
        warnings.append(
            f"{estimated.sum():.0f} costs have no attribute smoothness; {smoothness:.3g} was estimated "
            f'around the start, for algorithm.{" and ".join(ruled)} = "auto".'
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
        curvature=(float(curvature.max()) or smoothness) if searching else None,
        mean_smoothness=float(sum(L)) / L.size or 1.0,
        same_start=bool((points == points[0]).all()),
    )
    resolved = resolve(algorithm, facts, transport)
    steps = resolved.steps()
    if steps and resolved.searching:  # of weights that are for one step, those for a careful one
        steps = replace(steps, eta=tracking_step(facts, steps.gamma))
    function = lyapunov(steps, facts)
    # The proofs are for exact gradients and one step.
    batches = parts.run.batch or any(getattr(s.cost, "batch", 0) for s in starts)
    if function and (batches or resolved.searching):
        function = replace(function, certified=False)
    bound = float(sum(lower) / transport.agents)
    return Survey(resolved, facts, least(problem.minimum, bound), function, warnings)


def require_same_weights(topology: Topology, transport: Transport) -> None:
    """Raise, on all processes, unless all have found the same weights, to the bit."""
    mark = float(crc32(topology.matrix().tobytes()))
    marks = transport.collect(np.full((len(transport.hosted), 1), mark))[:, 0]
    require_equal(
        marks,
        lambda i: ConfigError(
            f'topology.weights = "fastest" gave agents 0 and {i} weights that differ in their last bits, '
            "since their hosts compute differently; save W once with numpy.save and give it as "
            'topology.file = "W.npy".'
        ),
    )


def least(known: float | None, bound: float) -> Minimum:
    """Choose f* where it is known, else a lower bound of it (nan: unknown)."""
    if known is not None:
        return Minimum(known, "exact")
    return Minimum(0.0, "unknown, 0 used") if np.isnan(bound) else Minimum(bound, "lower bound")


def constants(s: Start, pilot: bool, searching: bool) -> list[float]:
    """Return the constants that an agent shares with the others before the run.

    L, a lower bound of its cost (nan: unknown), the flattest curvature near the start (nan unless
    `pilot`), whether L is an estimate, the dimension, the curvature at its start (nan unless
    `searching`), the slope of its values over that of its gradient, and a checksum of its start.
    """
    known = known_smoothness(s)
    probe = getattr(s.cost, "probe", s.cost)
    L = estimate_smoothness(probe, s.x0) if known is None else known
    if known == 0:  # of a linear cost; elsewhere 0 means that it is unknown
        L = 2 * estimate_curvature(probe, s.x0, 20)
        known = None if L else known
    flattest = np.nan
    if pilot:
        flattest = estimate_flattest(probe, s.x0, L) if L else 0.0
    curvature = np.nan
    if searching:
        curvature = L / 2 if known is None else min(L, estimate_curvature(probe, s.x0, 6))
    lower = getattr(s.cost, "lower_bound", None)
    lower = np.nan if lower is None else lower
    slope = slope_ratio(s.cost, s.x0)
    start = float(crc32(s.x0.tobytes()))
    return [L, lower, flattest, float(known is None), s.cost.dimension, curvature, slope, start]


def wrong_slopes(slopes: F64) -> list[str]:
    """Return a warning where gradients do not fit the values; raise where one points the other way."""
    check = "`distopt.testing.check_cost` shows where"
    worst = int(np.argmin(slopes))
    if slopes[worst] < -0.5:
        raise SharedError(
            DataError(
                f"The gradient of agent {worst} points the wrong way: along it the value changes "
                f"{slopes[worst]:.3g} times as much as it says. Is its sign wrong? {check}."
            )
        )
    wrong = np.flatnonzero(slopes != 1)
    if not wrong.size:
        return []
    agents = f"agent {wrong[0]}" if wrong.size == 1 else f"agents {', '.join(map(str, wrong[:5]))}"
    more = f" and {wrong.size - 5} more" if wrong.size > 5 else ""
    return [
        f"The gradient of {agents}{more} does not fit the value at the start: along a direction the value "
        f"changes {slopes[wrong[0]]:.3g} times as much as the gradient says. Does a term miss? {check}."
    ]


def known_smoothness(s: Start) -> float | None:
    """Return what a cost says of its smoothness, None where it says nothing."""
    told = getattr(s.cost, "smoothness", None)
    if told is None:
        return None
    try:
        number = np.nan if isinstance(told, str) else float(told)
    except (TypeError, ValueError):
        number = np.nan
    if not 0 <= number < np.inf:
        raise DataError(
            f"The cost of agent {s.agent} has smoothness = {told!r}; accepted: a positive finite number, "
            "0 for a linear cost, None where it is unknown."
        )
    return number


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
    with transport.together():
        resolved = algorithm.resolve(facts)
    # Eigenvalues and sums may differ in their last bits between hosts, and agents whose gamma or
    # alpha differ drift apart: all take the first process's numbers.
    numbers = {key: vars(resolved)[key] for key, value in vars(algorithm).items() if value == AUTO}
    return algorithm.with_numbers(**transport.share(numbers)[0])
