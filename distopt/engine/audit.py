"""Both ends of an edge must hold the same: coders' models, zooming scales, memories. This compares them.

A receiver that has lost step decodes every later message to wrong numbers, or to none, and nothing in
the messages tells: both ends advance their state from the codes alone. So from time to time checksums are
exchanged, as diagnostics: 8 bytes a state, and what was found, 16 bytes an agent.
"""

from collections.abc import Sequence
from zlib import crc32

import numpy as np

from distopt.algorithms.base import Algorithm
from distopt.core.errors import AuditError
from distopt.engine.agreement import SharedError
from distopt.engine.driver import Hosted
from distopt.transport.base import Transport


def audit(
    algorithm: Algorithm, hosted: Sequence[Hosted], transport: Transport, iteration: int
) -> None:
    """Compare what every agent holds of its neighbours with what they hold themselves.

    All processes call it together, between two iterations.

    Raises
    ------
    SharedError
        Of an `AuditError` on all processes, where an edge's ends differ; it names both agents, what
        differs and the iteration.
    """
    names = list(sums(algorithm, hosted[0], 0))
    if not names:
        return
    own = np.array([list(sums(algorithm, h, 0).values()) for h in hosted], dtype=np.float64)
    table = transport.collect(own)
    # For every agent the first neighbour of which it holds something else, and which name; -1 if none.
    found = np.full((len(hosted), 2), -1.0)
    for i, h in enumerate(hosted):
        for member, j in enumerate(h.agent.neighbours, start=1):
            differ = np.array(list(sums(algorithm, h, member).values())) != table[j]
            if differ.any() and found[i, 0] < 0:
                found[i] = j, differ.argmax()
    for i, (j, name) in enumerate(transport.collect(found)):
        if j >= 0:
            raise SharedError(
                AuditError(
                    f"Agent {i} and agent {j:.0f} have lost step: at iteration {iteration} they differ in "
                    f"{names[int(name)]} of agent {j:.0f}, which must be equal to the bit. Memory or "
                    "arithmetic of one of their hosts is at fault, or a message was changed on its way."
                )
            )


def sums(algorithm: Algorithm, h: Hosted, member: int) -> dict[str, int]:
    """Name the checksums of what an agent holds: of itself (member 0), or for a neighbour."""
    found = {}
    for vector, state in h.agent.codec_states(member).items():
        if state:
            found[f"the compressor's state for {vector}"] = checksum(list(state.values()))
    for name, (_, memory) in algorithm.view(h.state).memories.items():
        replica = memory.replica(member)
        if replica is not None:
            found[f"the memory h{name}"] = checksum([replica])
    return found


def checksum(arrays: Sequence[np.ndarray]) -> int:
    """Return the CRC-32 of the bytes of arrays."""
    total = 0
    for array in arrays:
        total = crc32(np.ascontiguousarray(array).view(np.uint8).data, total)
    return total
