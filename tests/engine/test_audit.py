"""Ends of an edge that differ are found, and named, before a record or a checkpoint is made of them."""

import re

import numpy as np
import pytest
from run_table import configure, play

from distopt.core.errors import AuditError
from distopt.engine.audit import audit
from distopt.engine.journal import Journal
from distopt.transport.base import SharedError


def audited(team):
    """Return what the audit says, None if nothing."""
    try:
        audit(team)
    except SharedError as error:
        return str(error) if isinstance(error.cause, AuditError) else None
    return None


def flip(array, place=3):
    """Flip the lowest bit of one number."""
    raw = array.reshape(-1).view(np.uint8)
    raw[place * array.itemsize] ^= 1


@pytest.mark.parametrize(
    ("algorithm", "message"), [("cgt1", "quantize-range"), ("cgt2", "uniform-fast")]
)
@pytest.mark.parametrize("vector", [0, 1])
@pytest.mark.parametrize(("receiver", "member"), [(0, 1), (2, 2), (3, 1)])
def test_every_state_of_every_pair_is_compared(receiver, member, vector, algorithm, message):
    team, _ = play(configure(algorithm, message, iterations=11))
    assert audited(team) is None
    agent = team.hosted[receiver].agent
    for array in agent._decoders[member][vector].values():
        flip(array)
        sentence = audited(team)
        i, j, k, name = re.match(
            r"Agents (\d) and (\d) no longer agree: at iteration (\d+) they hold different bits of the "
            r"compressor's state for (\w) of agent \2", sentence,
        ).groups()  # fmt: skip
        assert (int(i), int(j)) == (receiver, agent.neighbours[member - 1])
        assert (int(k), name) == (11, "xy"[vector])
        flip(array)
    assert audited(team) is None


def test_memories_are_compared():
    team, _ = play(configure("cgt1", "norm_sign", iterations=11))
    assert audited(team) is None
    flip(team.hosted[1].state.hy.h[2])
    assert "Agents 1 and 2 no longer agree" in audited(team)
    assert "the memory hy of agent 2" in audited(team)
    flip(team.hosted[1].state.hy.h[2])
    flip(team.hosted[3].state.hx.h[0])  # the agent itself: both neighbours see it
    assert "Agents 0 and 3 no longer agree" in audited(team)


@pytest.mark.parametrize(("algorithm", "message"), [("cgt1-sum", "norm_sign"), ("gt", "identity")])
def test_where_nothing_is_held_twice_nothing_is_sent(algorithm, message):
    team, _ = play(configure(algorithm, message, iterations=3))

    def collect(rows):
        raise AssertionError("something was sent")

    team.transport.collect = collect
    audit(team)


def test_a_record_and_a_checkpoint_come_after_the_audit(tmp_path):
    team, _ = play(configure("cgt1", "quantize-range", iterations=5))
    journal = Journal(team, tmp_path)
    journal.record()
    flip(team.hosted[1].agent._decoders[1][0]["symbols"])
    with pytest.raises(SharedError, match="no longer agree: at iteration 5"):
        journal.record()
    journal.writer.flush()
    assert len(journal.rows) == 1
    with pytest.raises(SharedError, match="no longer agree"):
        journal.save()
    assert not (tmp_path / "checkpoints").exists()
