"""The survey: what all agents together know of the problem before the run."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from distopt.algorithms.base import AUTO, Algorithm
from distopt.compressors.identity import Identity
from distopt.config.build import Parts
from distopt.core.arrays import F64
from distopt.core.errors import ConfigError, DataError, DistoptError
from distopt.core.parameters import field_names
from distopt.engine.advice import APART, PULLED, of_the_step, wrong_slopes
from distopt.engine.starts import Start, Starts, known_smoothness
from distopt.problems.costs.guarded import naming
from distopt.problems.costs.slope import slope_ratio
from distopt.problems.given import GIVEN
from distopt.problems.topology import FASTEST, Topology
from distopt.theory.facts import Facts
from distopt.theory.lyapunov import Lyapunov, lyapunov
from distopt.theory.rules import (
    curvature_on_the_way,
    estimate_curvature,
    estimate_flattest,
    estimate_smoothness,
    tracking_step,
)
from distopt.transport.base import SharedError, Transport


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
    measured: dict[str, Any]  # facts of the costs that no file or key describes, by name
    warnings: list[str]  # sentences for the user


def survey(parts: Parts, starts: Starts, transport: Transport) -> Survey:
    """Collect the constants of all agents, the only numbers that the rules of "auto" may use.

    All processes call this together, and end with the same algorithm, to the bit.
    """
    algorithm, problem, topology = parts.algorithm, parts.problem, parts.problem.topology
    pilot = algorithm.pilot and AUTO in vars(algorithm).values()
    searching = algorithm.searching
    uses = algorithm.lyapunov is not None or AUTO in vars(algorithm).values()
    asks = uses and algorithm.surveys  # for L
    told = []
    for s in starts.own:
        with naming(f"The cost of agent {s.agent}"):
            told.append(constants(s, pilot, searching, asks))
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
    apart = np.flatnonzero(points != points[0])
    if algorithm.memory_start == "x0":
        require_equal(
            points,
            lambda i: ConfigError(
                'algorithm.memory_start = "x0" needs agents that all start from the same point, but '
                f'agents 0 and {i} start from different points; accepted here: "zeros".'
            ),
        )
    unknown = bool(np.isnan(L).any())  # and nobody asks
    smoothness = None if unknown else float(L.max()) or 1.0  # of linear costs: any step is right
    warnings = [*starts.warnings, *wrong_slopes(slopes)]
    if starts.common and apart.size:
        warnings.append(APART.format(agent=apart[0]))
    elif starts.common:
        algorithm = with_memory_at_start(algorithm)
    elif pulled(parts, algorithm, starts) and not apart.size:
        warnings.append(PULLED)
    facts = Facts(
        agents=transport.agents,
        dimension=problem.dimension,
        smoothness=smoothness,
        gap=topology.gap,
        changes=topology.changes,
        share=topology.share,
        kappa=topology.kappa,
        diameter=topology.diameter,
        alignment=topology.alignment,
        spectrum=topology.spectrum,
        compressor=parts.compressor,
        flattest=float(flattest.min()) if pilot else None,
        mean_flattest=float(sum(flattest)) / flattest.size if pilot else None,
        estimated=bool(estimated.any()),
        curvature=(float(curvature.max()) or smoothness) if searching else None,
        mean_smoothness=None if unknown else float(sum(L)) / L.size or 1.0,
        same_start=not apart.size,
    )
    resolved = resolve(algorithm, facts, transport)
    warnings += of_the_step(algorithm, resolved, int(estimated.sum()), facts)
    batches = parts.run.batch or any(getattr(s.cost, "batch", 0) for s in starts.own)
    function = lyapunov_function(resolved, facts, bool(batches))
    minimum = least(problem.minimum, float(sum(lower) / transport.agents))
    measured = first_values(parts, starts.own, smoothness, transport) | dict(starts.common)
    return Survey(resolved, facts, minimum, function, measured, warnings)


def with_memory_at_start(algorithm: Algorithm) -> Algorithm:
    """Let the memories of models that all start alike begin where they do, not at 0.

    There they would pull all agents towards 0, and a network whose weights are 0 learns nothing.
    """
    has_one = "memory_start" in field_names(type(algorithm))
    if not has_one or getattr(algorithm, "arithmetic", None) is not None:
        return algorithm
    return replace(algorithm, memory_start="x0")  # type: ignore[type-var]


def pulled(parts: Parts, algorithm: Algorithm, starts: Starts) -> bool:
    """Whether memories at 0 pull agents, with the user's own costs, from where they were told to start."""
    begins_elsewhere = with_memory_at_start(algorithm) != algorithm
    told = is_own(parts) and not starts.warnings and starts.own[0].x0.any()
    return bool(told and begins_elsewhere and not isinstance(parts.compressor, Identity))


def lyapunov_function(algorithm: Algorithm, facts: Facts, batches: bool) -> Lyapunov | None:
    """Return the function of an algorithm without "auto", certified where the proof covers the run."""
    steps = algorithm.steps()
    if steps and algorithm.searching:  # of weights that are for one step, those for a careful one
        steps = replace(steps, eta=tracking_step(facts, steps.gamma))
    function = lyapunov(steps, facts)
    # The proofs are for exact gradients and one step.
    if function and (batches or algorithm.searching):
        function = replace(function, certified=False)
    return function


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


def constants(s: Start, pilot: bool, searching: bool, asks: bool) -> list[float]:
    """Return the constants that an agent shares with the others before the run.

    L (nan if the cost does not say it, unless `asks`, since an estimate takes 21 gradients), a lower bound
    of its cost (nan: unknown), the flattest curvature near the start (nan unless `pilot`), whether L is no
    more than an estimate, the dimension, the curvature at its start (nan unless `searching`), the slope of
    its values over that of its gradient, and a checksum of its start.
    """
    known = known_smoothness(s)
    probe = getattr(s.cost, "probe", s.cost)
    L = np.nan if known is None else known
    if known is None and asks:
        L = estimate_smoothness(probe, s.x0)
    if known == 0 and asks:  # of a linear cost; elsewhere 0 means that it is unknown
        L = 2 * estimate_curvature(probe, s.x0, 20)
        known = None if L else known
    flattest = np.nan
    if pilot:
        flattest = estimate_flattest(probe, s.x0, L) if L else 0.0
    curvature = np.nan
    if searching:
        curvature = L / 2 if known is None else estimate_curvature(probe, s.x0, 6)
        curvature = curvature_on_the_way(probe, s.x0, curvature)
        curvature = curvature if known is None else min(L, curvature)
    lower = getattr(s.cost, "lower_bound", None)
    lower = np.nan if lower is None else lower
    slope = slope_ratio(s.cost, s.x0)
    start = float(crc32(s.x0.tobytes()))
    return [L, lower, flattest, float(known is None), s.cost.dimension, curvature, slope, start]


def is_own(parts: Parts) -> bool:
    """Whether the costs are the user's own objects, of which no file or key says all."""
    return parts.problem.table()["name"] in {GIVEN, "python"}


def first_values(
    parts: Parts, starts: Sequence[Start], smoothness: float | None, transport: Transport
) -> dict[str, float]:
    """Measure costs that are Python objects: their smoothness and values at the start, by name.

    No more of them can be compared. Files and keys describe all other costs, so theirs is empty. All
    processes call this together.
    """
    if not is_own(parts):
        return {}
    values = transport.collect(np.array([[first_value(s)] for s in starts]))
    number = parts.problem.member
    found = {f"cost {number(i)}": float(value) for i, (value,) in enumerate(values)}
    return found if smoothness is None else found | {"smoothness": smoothness}


def first_value(s: Start) -> float:
    """Return a cost at its start, nan where it fails (the first record then says how)."""
    try:
        return float(s.cost.value(s.x0.copy()))
    except Exception:
        return float("nan")


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
    # alpha differ drift apart: all take the first process's numbers. Rounded, they and so the whole run
    # are the same on another kind of processor.
    numbers = {
        key: rounded(vars(resolved)[key]) for key, value in vars(algorithm).items() if value == AUTO
    }
    return algorithm.with_numbers(**transport.share(numbers)[0])


def rounded(number: Any) -> Any:
    """Return a float with 12 significant digits; anything else as it is."""
    return float(f"{number:.12g}") if isinstance(number, float) else number
