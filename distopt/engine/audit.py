"""The audit: both ends of an edge must hold the same coder models, zooming scales and memories.

If they differ, the receiver decodes every later message to wrong numbers, or not at all, and the messages
do not show it, because both ends advance their state from the codes alone. So from time to time agents
exchange checksums, as diagnostics: 8 bytes a state, and 16 bytes an agent for the findings.
"""

from collections.abc import Sequence
from zlib import crc32

import numpy as np

from distopt.algorithms.base import Algorithm
from distopt.algorithms.hosted import Hosted
from distopt.core.errors import AuditError
from distopt.engine.team import Team
from distopt.transport.base import SharedError


def audit(team: Team) -> None:
    """Compare every agent's copies of its neighbours' states with the originals.

    All processes call it together, between two iterations.

    Raises
    ------
    SharedError
        Of an `AuditError` on all processes, if the two ends of an edge differ; it names both agents,
        what differs and the iteration.
    """
    algorithm, hosted, transport = team.parts.algorithm, team.hosted, team.transport
    own = [checksums(algorithm, h, 0) for h in hosted]
    names = list(own[0])
    if not names:
        return
    table = transport.collect(np.array([list(sums.values()) for sums in own], dtype=np.float64))
    # For every agent the first neighbour of which it holds something else, and which name; -1 if none.
    found = np.full((len(hosted), 2), -1.0)
    for i, h in enumerate(hosted):
        for member, j in enumerate(h.agent.neighbours, start=1):
            differ = np.array(list(checksums(algorithm, h, member).values())) != table[j]
            if differ.any() and found[i, 0] < 0:
                found[i] = j, differ.argmax()
    for i, (j, name) in enumerate(transport.collect(found)):
        if j >= 0:
            raise SharedError(
                AuditError(
                    f"Agents {i} and {j:.0f} no longer agree: at iteration {team.clock.iteration} they "
                    f"hold different bits of {names[int(name)]} of agent {j:.0f}. The memory or the "
                    "arithmetic of one of their hosts is faulty, or a message was changed on its way."
                )
            )


def checksums(algorithm: Algorithm, h: Hosted, member: int) -> dict[str, int]:
    """Name the checksums of an agent's states: its own (member 0), or its copies of a neighbour's."""
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
