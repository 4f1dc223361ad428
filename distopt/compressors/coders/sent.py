"""What a sender keeps of its latest message: the codes, so that it need not decode them.

The room for them stands in the sender's `CodecState` beside the coder's own arrays; receivers have none.
"""

import numpy as np

from distopt.compressors.base import CodecState
from distopt.core.arrays import Codes
from distopt.core.workspace import Workspace

CODES, NBYTES = "sent codes", "sent nbytes"


def new_room(d: int, code_type: type) -> CodecState:
    """Make room for d codes and for the number of bytes of their vector."""
    return {CODES: np.zeros(d, code_type), NBYTES: np.zeros(1, np.int64)}


def codes_to_send(d: int, code_type: type, state: CodecState, work: Workspace) -> Codes:
    """Return the array, int[d], that takes the codes of the next message."""
    return state[CODES] if CODES in state else work.array("codes of all", d, code_type)


def keep(nbytes: int, state: CodecState) -> int:
    """Keep how many bytes a vector has taken, where there is room for it; return it."""
    if NBYTES in state:
        state[NBYTES][0] = nbytes
    return nbytes


def kept(state: CodecState) -> tuple[Codes, int]:
    """Return the codes and the bytes of the latest vector; the room is there."""
    return state[CODES], int(state[NBYTES][0])
