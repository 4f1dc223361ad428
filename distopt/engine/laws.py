"""What every algorithm must obey; for the tests of this package and of users' own algorithms."""

from collections.abc import Sequence
from dataclasses import FrozenInstanceError, fields

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.base import Algorithm
from distopt.compressors.base import Compressor
from distopt.core.randomness import make_key, normal
from distopt.engine.driver import Hosted, iterate, run_to_end
from distopt.problems.costs.base import Cost
from distopt.problems.costs.quadratic import QuadraticCost
from distopt.problems.topology import Topology
from distopt.theory.facts import Facts
from distopt.transport.local import LocalTransport


def check_algorithm(
    algorithm: Algorithm,
    compressor: Compressor | None = None,
    costs: Sequence[Cost] | None = None,
    iterations: int = 20,
) -> None:
    """Raise `AssertionError` with a sentence unless an algorithm keeps the contract of `Algorithm`.

    On a path of agents with different costs: the arrays that `State.keep` names are all that an
    iteration needs (going on from copies of them equals going on, to the bit); what the recorder may
    look at changes nothing; the mean of the trackers is the mean gradient; parameters are frozen.

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
    compressor = compressor or algorithm.own_compressor()
    costs = costs or [quadratic(i) for i in range(4)]
    topology = Topology(len(costs), [(i, i + 1) for i in range(len(costs) - 1)])
    d = costs[0].dimension
    algorithm.accept(compressor, d)
    facts = Facts(
        agents=len(costs),
        dimension=d,
        smoothness=max(getattr(c, "smoothness", np.nan) for c in costs),
        gap=topology.gap,
        kappa=topology.kappa,
        diameter=topology.diameter,
        compressor=compressor,
    )
    algorithm = algorithm.resolve(facts)
    check_frozen(algorithm)
    transport = LocalTransport(topology)

    def hosted() -> list[Hosted]:
        made = []
        for i, cost in enumerate(costs):
            agent = Agent(
                i, cost, topology, compressor, seed=5,
                vectors=algorithm.vectors,
            )  # fmt: skip
            x0 = normal(make_key(7, i, 0), d)
            made.append(Hosted(agent, algorithm.init(agent, x0)))
        return made

    running = hosted()
    run_to_end([algorithm.start(h.agent, h.state, facts) for h in running], transport)
    for k in range(iterations):
        iterate(algorithm, running, transport, k)
        check_observation(algorithm, running)
        check_tracker(algorithm, running)
    copied = hosted()
    for old, new in zip(running, copied, strict=True):
        targets = new.state.arrays() | new.agent.codec_arrays()
        for name, array in (old.state.arrays() | old.agent.codec_arrays()).items():
            targets[name][...] = array
        new.state.restored()
    for k in range(iterations, 2 * iterations):
        iterate(algorithm, running, transport, k)
        iterate(algorithm, copied, transport, k)
        for old, new in zip(running, copied, strict=True):
            same = np.array_equal(algorithm.view(old.state).model, algorithm.view(new.state).model)
            assert same, (
                f"after iteration {k} agent {old.agent.index} differs from one that went on from the "
                f"kept arrays at iteration {iterations}: State.keep does not name all that is needed"
            )


def quadratic(i: int) -> QuadraticCost:
    """Make one of four different convex quadratics in nine unknowns."""
    return QuadraticCost(np.linspace(1.0 + i, 4.0, 9), normal(make_key(3, i, 0), 9))


def check_frozen(algorithm: Algorithm) -> None:
    """The parameters must not be assignable: state belongs to `State`."""
    for field in fields(algorithm):  # type: ignore[arg-type]
        try:
            setattr(algorithm, field.name, getattr(algorithm, field.name))
        except FrozenInstanceError:
            continue
        raise AssertionError(f"{field.name} can be assigned; decorate the class with `parameters`")


def check_observation(algorithm: Algorithm, hosted: Sequence[Hosted]) -> None:
    """What the recorder calls must leave every kept array as it is."""
    for h in hosted:
        before = {name: array.copy() for name, array in h.state.arrays().items()}
        algorithm.view(h.state)
        for name, array in h.state.arrays().items():
            assert np.array_equal(array, before[name]), f"observing the state changes {name}"


def check_tracker(algorithm: Algorithm, hosted: Sequence[Hosted]) -> None:
    """Where there is a tracker and a gradient, their means must agree."""
    views = [algorithm.view(h.state) for h in hosted]
    trackers = [view.tracker for view in views if view.tracker is not None]
    gradients = [view.gradient for view in views if view.gradient is not None]
    if not trackers or not gradients:
        return
    scale = max(float(np.abs(v).max()) for v in [*gradients, *trackers])
    gap = float(np.abs(np.mean(trackers, axis=0) - np.mean(gradients, axis=0)).max())
    assert gap <= 1e-12 * scale, (
        f"the mean tracker is {gap:g} from the mean gradient, at vectors of size {scale:g}"
    )
