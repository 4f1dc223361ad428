"""Messages that algorithms make by themselves: a damaged one ends in a sentence, not in a hang."""

import numpy as np
import pytest
from garbling import Garbling, flip
from run_table import configure, play

from distopt.core.errors import MessageError

CHANGES = {
    "empty": lambda m: m[:0],
    "short": lambda m: m[:-1],
    "long": lambda m: np.append(m, m),
    "nan": lambda m: np.full(m.size, 0xFF, np.uint8),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("exchange", [0, 1])
def test_the_largest_numbers_of_all(exchange, change):
    config = configure("cgt2", "uniform", iterations=3)
    transport = Garbling(config.problem.topology, exchange, 1, 0, CHANGES[change])
    with pytest.raises(MessageError, match="Agent 1 cannot read the message of agent 0 at iter"):
        play(config, transport)


@pytest.mark.parametrize("change", ["empty", "short", "long", "nan"])
@pytest.mark.parametrize("exchange", range(5))
def test_the_spanning_tree(exchange, change):
    """Its exchanges: two to find the distances, one to find children, two for the height."""
    config = configure("fixed_point_gd", "identity", iterations=3)
    transport = Garbling(config.problem.topology, exchange, 1, 0, CHANGES[change])
    with pytest.raises(MessageError, match="Agent 1 cannot read the message of agent 0 at iter"):
        play(config, transport)


@pytest.mark.parametrize("byte", [16, 20, 23])
def test_a_height_that_would_take_for_ever(byte):
    config = configure("fixed_point_gd", "identity", iterations=3)
    transport = Garbling(config.problem.topology, 3, 2, 0, flip(byte, 5))
    with pytest.raises(MessageError, match="impossible place in the tree"):
        play(config, transport)
