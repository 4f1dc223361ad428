"""Messages of numbers that an algorithm makes by itself, such as those of a max-consensus."""

from collections.abc import Iterator, Sequence

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.core.arrays import U8


def as_numbers(
    agent: Agent, received: Sequence[U8], kind: type[np.generic], count: int
) -> Iterator[tuple[int, np.ndarray]]:
    """View received messages as numbers, [count] each, by the position of the neighbour.

    Raises
    ------
    MessageError
        If one has another length, or a number that is not finite.
    """
    wanted = count * np.dtype(kind).itemsize
    for position, message in enumerate(received):
        if message.size != wanted:
            raise agent.message_error(
                position + 1, f"it has {message.size} bytes, but {count} numbers need {wanted}"
            )
        found = message.view(kind)
        if not np.isfinite(found).all():
            raise agent.message_error(position + 1, "a number is not finite")
        yield position, found
