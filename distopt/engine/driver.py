"""The driver: resume every hosted agent's generator, exchanging messages wherever they stop.

The same loop serves one process with all agents and MPI with one agent a rank; it knows neither
which algorithm nor which transport it drives.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from distopt.algorithms.agent import Agent
from distopt.algorithms.base import Algorithm, Step
from distopt.algorithms.crowd import Crowd
from distopt.algorithms.envelope import CHECKSUM
from distopt.algorithms.hosted import Hosted
from distopt.algorithms.letter import REST, Letter
from distopt.core.arrays import I64, U8
from distopt.core.workers import Workers
from distopt.theory.facts import Facts
from distopt.transport.base import FINISH, Transport

R = TypeVar("R")


def start(
    algorithm: Algorithm,
    hosted: Sequence[Hosted],
    facts: Facts,
    transport: Transport,
    workers: Workers | None = None,
) -> None:
    """Let all agents agree on start values, before iteration 0."""
    steps = [algorithm.start(h.agent, h.state, facts) for h in hosted]
    run_to_end(hosted, steps, transport, workers)


def iterate(
    algorithm: Algorithm,
    hosted: Sequence[Hosted],
    transport: Transport,
    k: int,
    workers: Workers | None = None,
) -> None:
    """Do iteration k of all hosted agents."""
    transport.begin(FINISH, k)
    for h in hosted:
        h.agent.begin(k)
    if hosted[0].agent.backlog:  # on a graph that changes an agent without any edge waits
        hosted = [h for h in hosted if h.agent.links.hears]
    steps = [algorithm.step(h.agent, h.state, k) for h in hosted]
    run_to_end(hosted, steps, transport, workers)


def run_to_end(
    hosted: Sequence[Hosted],
    steps: Sequence[Step],
    transport: Transport,
    workers: Workers | None = None,
) -> None:
    """Resume all generators, one of each agent, together, exchange by exchange, until they end.

    Workers resume those of different agents side by side.
    """
    if len(steps) == 1 and hosted[0].agent.backlog is None:
        run_one_to_end(hosted[0].agent, steps[0], transport)
        return
    agents = [h.agent for h in hosted]
    every = partial(workers.map, [h.worker for h in hosted]) if workers else in_turn
    boards = {a.board for a in agents if a.board}
    payloads = every(resume, steps, [None] * len(steps))
    while (sent := all_or_none(payloads)) is not None:
        changing = agents[0].backlog is not None
        for board in boards:
            board.begin(on=not transport.travels and not changing)
        if changing:
            received = over_present_edges(agents, sent, transport)  # type: ignore[arg-type]
        elif isinstance(sent[0], Letter):
            received = deliver(agents, sent, transport)  # type: ignore[arg-type]
        else:
            received = exchange(agents, sent, transport)  # type: ignore[arg-type]
        payloads = every(resume, steps, received)


def run_one_to_end(agent: Agent, step: Step, transport: Transport) -> None:
    """Do the same with the only agent of this process, or the crowd, with nothing in between."""
    if agent.overlaps:
        run_in_parts(agent, step, transport)
        return
    payload = next(step, None)
    while payload is not None:
        if isinstance(agent, Crowd):
            received = tally(agent, payload, transport)  # type: ignore[arg-type]
        else:
            trade = deliver if isinstance(payload, Letter) else exchange
            (received,) = trade([agent], [payload], transport)  # type: ignore[list-item]
        payload = resume(step, received)


def run_in_parts(agent: Agent, step: Step, transport: Transport) -> None:
    """Do the same, where second vectors travel while the agent computes."""
    payload = next(step, None)
    while payload is not None:
        if payload is REST:
            received = transport.rest()
        elif agent.cut is None:
            (received,) = transport.exchange([payload])  # type: ignore[list-item]
        else:
            received = transport.first(payload, agent.cut)  # type: ignore[arg-type]
        payload = resume(step, received)
    if agent.wanting:
        raise RuntimeError("a step whose class says `overlaps` must take what `agent.rest()` gives")


def exchange(
    agents: Sequence[Agent], sent: Sequence[U8], transport: Transport
) -> list[Sequence[U8]]:
    """Exchange messages for all neighbours."""
    if not agents[0].checked:  # all are, or none
        return transport.exchange(sent)
    travels = transport.travels
    received = transport.exchange([a.seal(p, travels) for a, p in zip(agents, sent, strict=True)])
    return [a.open(r, travels) for a, r in zip(agents, received, strict=True)]


def over_present_edges(
    agents: Sequence[Agent], sent: Sequence[U8], transport: Transport
) -> list[Sequence[U8]]:
    """Exchange messages over the edges that are up, with those that came too late before."""
    letters = {a.index: a.backlog.letter(p) for a, p in zip(agents, sent, strict=True)}  # type: ignore[union-attr]
    received = transport.deliver([letters.get(i, Letter()) for i in transport.hosted])
    came = dict(zip(transport.hosted, received, strict=True))
    return [a.backlog.take(came[a.index]) for a in agents]  # type: ignore[union-attr]


def tally(crowd: Crowd, sizes: I64, transport: Transport) -> Sequence[U8]:
    """Count the messages that a crowd exchanged within itself."""
    transport.tally(sizes + CHECKSUM * crowd.checked)
    return ()


def deliver(
    agents: Sequence[Agent], letters: Sequence[Letter], transport: Transport
) -> list[Sequence[U8]]:
    """Exchange letters."""
    if not agents[0].checked:
        return transport.deliver(letters)
    travels = transport.travels
    sealed = [
        x._replace(payload=a.seal(x.payload, travels)) if x.tells else x
        for a, x in zip(agents, letters, strict=True)
    ]
    received = transport.deliver(sealed)
    return [a.open(r, travels, x.hears) for a, x, r in zip(agents, letters, received, strict=True)]


def resume(step: Step, messages: Sequence[U8] | None) -> U8 | Letter | None:
    """Give a generator what its agent received, None at first; return its next payload, None at its end."""
    try:
        return step.send(messages)  # type: ignore[arg-type]
    except StopIteration:
        return None


def in_turn(function: Callable[..., R], *columns: Sequence[Any]) -> list[R]:
    """Return function(a, b, ...) of each row of the columns."""
    return [function(*row) for row in zip(*columns, strict=True)]


def all_or_none(payloads: Sequence[U8 | Letter | None]) -> list[U8 | Letter] | None:
    """Return the payloads if there is one of every agent, None if all have ended."""
    present = [p for p in payloads if p is not None]
    if present and len(present) != len(payloads):
        raise RuntimeError("the agents of one algorithm must exchange equally often")
    return present or None
