"""The laws of an algorithm; for the tests of this package and of users' own algorithms."""

from collections.abc import Sequence
from dataclasses import FrozenInstanceError, fields, replace

import numpy as np

from distopt.algorithms.base import Algorithm
from distopt.compressors.base import Compressor
from distopt.config.build import Parts, fit
from distopt.config.run import RunConfig
from distopt.core.laws import law
from distopt.core.randomness import make_key, normal
from distopt.engine.agents import make_agents
from distopt.engine.starts import find_start
from distopt.engine.team import Team, prepare
from distopt.problems.costs.base import Cost
from distopt.problems.costs.quadratic import QuadraticCost
from distopt.problems.given import GivenProblem
from distopt.problems.topology import Topology
from distopt.transport.opening import open_transport


def check_algorithm(
    algorithm: Algorithm,
    compressor: Compressor | None = None,
    costs: Sequence[Cost] | None = None,
    iterations: int = 20,
) -> None:
    """Raise `AssertionError` with a sentence unless an algorithm keeps the contract of `Algorithm`.

    On a path of agents with different costs: an iteration needs only the arrays that `State.keep`
    names (continuing from copies of them gives the same bits); observing the state changes nothing;
    the mean of the trackers is the mean gradient; parameters are frozen.

    Parameters
    ----------
    algorithm : Algorithm
        With numbers, or ``"auto"`` where its rule can do with the costs' smoothness.
    compressor : Compressor, optional
        The algorithm's own by default.
    costs : Sequence[Cost], optional
        Four convex quadratics in nine unknowns by default.
    iterations : int

    Examples
    --------
    >>> from distopt import CompressedTracking1, NormSign
    >>> check_algorithm(CompressedTracking1(eta=0.01, gamma=0.3, alpha=0.5), NormSign())
    """
    costs = costs or [quadratic(i) for i in range(4)]
    topology = Topology(len(costs), [(i, i + 1) for i in range(len(costs) - 1)])
    x0 = np.array([normal(make_key(7, i, 0), costs[0].dimension) for i in range(len(costs))])
    problem = GivenProblem(dict(enumerate(costs)), x0, topology)
    run = RunConfig(seed=5)
    compressor = fit(compressor or algorithm.own_compressor(), problem, algorithm, run)
    parts = Parts(problem, algorithm, compressor, run)
    with open_transport("simulate", parts) as transport:
        running = prepare(parts, transport)
    check_frozen(running.parts.algorithm)
    for _ in range(iterations):
        running.iterate()
        check_observation(running)
        check_tracker(running)
    starts = [find_start(running.parts, i) for i in range(len(costs))]
    made = make_agents(running.parts, topology, starts)
    for old, new in zip(running.hosted, made, strict=True):
        for name, array in old.arrays().items():
            new.arrays()[name][...] = array
        new.state.restored()
    check_continuation(
        running,
        replace(running, hosted=made, driven=made, clock=replace(running.clock)),
        iterations,
    )


@law("continuation")
def check_continuation(running: Team, copied: Team, iterations: int) -> None:
    """An iteration needs only the arrays that `State.keep` names."""
    for k in range(iterations, 2 * iterations):
        running.iterate()
        copied.iterate()
        for old, new in zip(running.hosted, copied.hosted, strict=True):
            view = running.parts.algorithm.view
            assert np.array_equal(view(old.state).model, view(new.state).model), (
                f"after iteration {k} agent {old.agent.index} differs from one that continued from the "
                f"kept arrays at iteration {iterations}: State.keep does not name everything needed"
            )


def quadratic(i: int) -> QuadraticCost:
    """Make one of four different convex quadratics in nine unknowns."""
    return QuadraticCost(np.linspace(1.0 + i, 4.0, 9), normal(make_key(3, i, 0), 9))


@law("frozen parameters")
def check_frozen(algorithm: Algorithm) -> None:
    """The parameters must not be assignable: state belongs to `State`."""
    for field in fields(algorithm):  # type: ignore[arg-type]
        try:
            setattr(algorithm, field.name, getattr(algorithm, field.name))
        except FrozenInstanceError:
            continue
        raise AssertionError(f"{field.name} can be assigned; decorate the class with `parameters`")


@law("observation")
def check_observation(team: Team) -> None:
    """Looking at a state must leave every kept array as it is."""
    for h in team.hosted:
        before = {name: array.copy() for name, array in h.state.arrays().items()}
        team.parts.algorithm.view(h.state)
        for name, array in h.state.arrays().items():
            assert np.array_equal(array, before[name]), f"observing the state changes {name}"


@law("tracker")
def check_tracker(team: Team) -> None:
    """Where there is a tracker and a gradient, their means must agree."""
    views = [team.parts.algorithm.view(h.state) for h in team.hosted]
    trackers = [view.tracker for view in views if view.tracker is not None]
    gradients = [view.gradient for view in views if view.gradient is not None]
    if not trackers or not gradients:
        return
    scale = max(float(np.abs(v).max()) for v in [*gradients, *trackers])
    gap = float(np.abs(np.mean(trackers, axis=0) - np.mean(gradients, axis=0)).max())
    assert gap <= 1e-12 * scale, (
        f"the mean tracker is {gap:g} from the mean gradient, at vectors of size {scale:g}"
    )
