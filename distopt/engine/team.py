"""The team: the agents of this process, made from the parts of a run, ready to iterate."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter

from distopt.algorithms.crowd import goes_together
from distopt.algorithms.hosted import Hosted
from distopt.config.build import Parts
from distopt.core.workers import Workers
from distopt.engine.agents import make_crew, release
from distopt.engine.driver import iterate, start
from distopt.engine.identity import Identity
from distopt.engine.losing import load_without, restore_sums
from distopt.engine.overlap import overlap
from distopt.engine.starts import Starts, find_starts
from distopt.engine.survey import Survey, survey
from distopt.engine.warm_up import warm_up
from distopt.record import checkpoint
from distopt.transport.base import Transport

UNKNOWN = (
    "The checkpoint does not say to which run it belongs (an earlier version wrote it), so nothing could "
    "be compared."
)


@dataclass
class Clock:
    """How far a run is."""

    iteration: int = 0  # iterations done
    seconds: float = 0.0  # in iterations
    diagnostics_seconds: float = 0.0  # in records and checkpoints


@dataclass(frozen=True)
class Team:
    """The agents of this process.

    Attributes
    ----------
    parts : Parts
        Every ``"auto"`` is a number here.
    known : Survey
    transport : Transport
    hosted : list of Hosted
        The agents, for records and checkpoints.
    driven : list of Hosted
        What is resumed in an iteration: the agents, or all of them as one crowd.
    clock : Clock
        Moves on with `iterate`, as the agents' states do.
    identity : Identity
    workers : Workers, optional
        Threads that compute agents side by side.
    lost : tuple of int
        The agents that the checkpoint still had and that take part no more.
    records : dict
        What the checkpoint says of the schedule of records.
    """

    parts: Parts
    known: Survey
    transport: Transport
    hosted: list[Hosted]
    driven: list[Hosted]
    clock: Clock
    identity: Identity
    workers: Workers | None = None
    lost: tuple[int, ...] = ()
    records: Mapping[str, float] = field(default_factory=dict)

    def iterate(self) -> None:
        """Do the next iteration of all agents."""
        began = perf_counter()
        k = self.clock.iteration
        iterate(self.parts.algorithm, self.driven, self.transport, k, self.workers)
        self.clock.iteration += 1
        self.clock.seconds += perf_counter() - began

    def release(self) -> None:
        """End the workers, and let go of all vectors."""
        if self.workers:
            self.workers.close()
        release([*self.hosted, *self.driven])


def prepare(
    parts: Parts,
    transport: Transport,
    saved: checkpoint.Saved | None = None,
    force: bool = False,
    together: bool = True,
) -> Team:
    """Make the agents of this process, at iteration 0 or where a checkpoint was saved.

    All processes call this together. With `force` the checkpoint may be one of another run; without
    `together` agents of one process are computed one by one, as ranks compute.
    """
    starts = find_starts(parts, transport)
    known = survey(parts, starts, transport)
    parts = replace(parts, algorithm=known.algorithm)
    topology = parts.problem.topology
    number = min(parts.run.workers, len(starts.own))
    here = 1 < topology.agents == len(starts.own) and not transport.travels
    together = together and here and not parts.problem.lost and number == 1
    together = together and goes_together(parts.algorithm, topology)
    travels = transport.travels or topology.changes  # so that each agent decodes by itself
    transport.warm_up(lambda: warm_up(parts, known.facts, starts.own[0], together, travels))
    with transport.together():
        hosted, driven = make_crew(parts, topology, starts.own, together, number)
    workers = Workers(number) if number > 1 else None
    if saved is None:
        start(parts.algorithm, driven, known.facts, transport, workers)
        parts = replace(parts, algorithm=parts.algorithm.started(hosted[0].state))
        overlap(parts, hosted[0].agent, transport)
        identity = Identity(parts, known.measured)
        return Team(parts, known, transport, hosted, driven, Clock(), identity, workers)
    with transport.together():
        identity = Identity(parts, known.measured, force)
    team = Team(parts, known, transport, hosted, driven, Clock(), identity, workers)
    return continued(team, starts, saved)


def continued(team: Team, starts: Starts, saved: checkpoint.Saved) -> Team:
    """Fill the agents' states from a checkpoint, and set the counters to where they were."""
    parts, known, transport, hosted = team.parts, team.known, team.transport, team.hosted
    with transport.together():
        if saved.identity is None:
            known.warnings.append(UNKNOWN)
        else:
            team.identity.require(saved.identity, f"Checkpoint {saved.place}")
        before = checkpoint.lost_in(saved.identity)
        lost = tuple(j for j in parts.problem.lost if j not in before)
        if lost:  # then the links are others, and what they carry is counted anew
            numbers = load_without(parts, before, starts.own, saved.place, hosted, transport.root)
        else:
            numbers = checkpoint.load(saved.place, hosted)
            transport.told.update(checkpoint.told(saved.place, transport.hosted))
    for h in hosted:
        if h.agent.backlog:  # its links are those of the last iteration
            h.agent.begin(saved.iteration - 1)
    if lost:
        restore_sums(parts.algorithm, hosted, transport)
    seconds = numbers.pop("run_seconds", 0.0), numbers.pop("run_diagnostics_seconds", 0.0)
    transport.traffic.restore(numbers)
    known.warnings[:0] = saved.damaged
    overlap(parts, hosted[0].agent, transport)
    clock = Clock(saved.iteration, *seconds)
    return replace(team, clock=clock, lost=lost, records=saved.records)
