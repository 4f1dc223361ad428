"""Ends of an edge that differ are found, and named, before a record or a checkpoint is made of them."""

import re

import numpy as np
import pytest
from run_table import configure, play

from distopt.core.errors import AuditError
from distopt.engine.agreement import SharedError
from distopt.engine.audit import audit


def audited(job):
    """Return what the audit says, None if nothing."""
    try:
        audit(job.algorithm, job.hosted, job.transport, job.k)
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
    job, _ = play(configure(algorithm, message, iterations=11))
    assert audited(job) is None
    agent = job.hosted[receiver].agent
    for array in agent._decoders[member][vector].values():
        flip(array)
        sentence = audited(job)
        i, j, k, name = re.match(
            r"Agent (\d) and agent (\d) have lost step: at iteration (\d+) they differ in the "
            r"compressor's state for (\w) of agent \2", sentence,
        ).groups()  # fmt: skip
        assert (int(i), int(j)) == (receiver, agent.neighbours[member - 1])
        assert (int(k), name) == (11, "xy"[vector])
        flip(array)
    assert audited(job) is None


def test_memories_are_compared():
    job, _ = play(configure("cgt1", "norm_sign", iterations=11))
    assert audited(job) is None
    flip(job.hosted[1].state.hy.h[2])
    assert "Agent 1 and agent 2 have lost step" in audited(job)
    assert "the memory hy of agent 2" in audited(job)
    flip(job.hosted[1].state.hy.h[2])
    flip(job.hosted[3].state.hx.h[0])  # the agent itself: both neighbours see it
    assert "Agent 0 and agent 3 have lost step" in audited(job)


@pytest.mark.parametrize(("algorithm", "message"), [("cgt1-sum", "norm_sign"), ("gt", "identity")])
def test_where_nothing_is_held_twice_nothing_is_sent(algorithm, message):
    job, _ = play(configure(algorithm, message, iterations=3))

    def collect(rows):
        raise AssertionError("something was sent")

    job.transport.collect = collect
    audit(job.algorithm, job.hosted, job.transport, job.k)


def test_a_record_and_a_checkpoint_come_after_the_audit(tmp_path):
    job, _ = play(configure("cgt1", "quantize-range", iterations=5), out=tmp_path / "run")
    flip(job.hosted[1].agent._decoders[1][0]["symbols"])
    records = len(job.rows)
    job.k += 1
    with pytest.raises(SharedError, match="have lost step: at iteration 6"):
        job.record()
    assert len(job.rows) == records
    with pytest.raises(SharedError, match="have lost step"):
        job.save()
    assert not (tmp_path / "run" / "checkpoints" / "000006").exists()
