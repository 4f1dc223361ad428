"""The driver: resume every hosted agent's generator, exchanging messages wherever they stop.

The same loop serves one process with all agents and MPI with one agent a rank; it knows neither
which algorithm nor which transport it drives.
"""

from collections.abc import Sequence

from distopt.algorithms.base import Algorithm, Step
from distopt.algorithms.hosted import Hosted
from distopt.core.arrays import U8
from distopt.transport.base import FINISH, Transport


def iterate(algorithm: Algorithm, hosted: Sequence[Hosted], transport: Transport, k: int) -> None:
    """Do iteration k of all hosted agents."""
    transport.begin(FINISH, k)
    for h in hosted:
        h.agent.begin(k)
    run_to_end(hosted, [algorithm.step(h.agent, h.state, k) for h in hosted], transport)


def run_to_end(hosted: Sequence[Hosted], steps: Sequence[Step], transport: Transport) -> None:
    """Resume all generators, one of each agent, together, exchange by exchange, until they end."""
    agents, travels = [h.agent for h in hosted], transport.travels
    checked = agents[0].checked  # all are, or none
    payloads = [next(step, None) for step in steps]
    while (sent := all_or_none(payloads)) is not None:
        if checked:
            sent = [a.seal(p, travels) for a, p in zip(agents, sent, strict=True)]
        received = transport.exchange(sent)
        if checked:
            received = [a.open(r, travels) for a, r in zip(agents, received, strict=True)]
        payloads = [resume(step, messages) for step, messages in zip(steps, received, strict=True)]


def resume(step: Step, messages: Sequence[U8]) -> U8 | None:
    """Give a generator what its agent received; return its next payload, None at its end."""
    try:
        return step.send(messages)
    except StopIteration:
        return None


def all_or_none(payloads: Sequence[U8 | None]) -> list[U8] | None:
    """Return the payloads if there is one of every agent, None if all have ended."""
    present = [p for p in payloads if p is not None]
    if present and len(present) != len(payloads):
        raise RuntimeError("the agents of one algorithm must exchange equally often")
    return present or None
