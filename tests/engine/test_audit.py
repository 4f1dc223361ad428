"""Ends of an edge that differ are found, and named, before a record or a checkpoint is made of them."""

import re

import numpy as np
import pytest
from garbling import Garbling, flip
from run_table import configure, mark_rest, play

from distopt.core.errors import AuditError, MessageError
from distopt.engine.audit import Audit
from distopt.engine.journal import Journal
from distopt.engine.run import resume
from distopt.engine.team import prepare
from distopt.transport.base import SharedError
from distopt.transport.local import LocalTransport


def audited(team):
    """Return what the audit says, None if nothing."""
    try:
        Audit(team).run()
    except SharedError as error:
        return str(error) if isinstance(error.cause, AuditError) else None
    return None


def flip_lowest(array, place=3):
    """Flip the lowest bit of one number."""
    raw = array.reshape(-1).view(np.uint8)
    raw[place * array.itemsize] ^= 1


@pytest.mark.parametrize(
    ("algorithm", "message"), [("cgt1", "quantize-range"), ("cgt2", "uniform-fast")]
)
@pytest.mark.parametrize("vector", [0, 1])
@pytest.mark.parametrize(("receiver", "member"), [(0, 1), (2, 2), (3, 1)])
def test_every_state_of_every_pair_is_compared(receiver, member, vector, algorithm, message):
    team, _ = play(configure(algorithm, message, iterations=11), together=False)
    assert audited(team) is None
    agent = team.hosted[receiver].agent
    for array in agent.codecs.decoders[member][vector].values():
        flip_lowest(array)
        sentence = audited(team)
        i, j, k, name = re.match(
            r"Agents (\d) and (\d) no longer agree: at iteration (\d+) they hold different bits of the "
            r"compressor's state for (\w) of agent \2", sentence,
        ).groups()  # fmt: skip
        assert (int(i), int(j)) == (receiver, agent.neighbours[member - 1])
        assert (int(k), name) == (11, "xy"[vector])
        flip_lowest(array)
    assert audited(team) is None


def test_memories_are_compared():
    team, _ = play(configure("cgt1", "norm_sign", iterations=11), together=False)
    assert audited(team) is None
    flip_lowest(team.hosted[1].state.hy.h[2])
    assert "Agents 1 and 2 no longer agree" in audited(team)
    assert "the memory hy of agent 2" in audited(team)
    flip_lowest(team.hosted[1].state.hy.h[2])
    flip_lowest(team.hosted[3].state.hx.h[0])  # the agent itself: both neighbours see it
    assert "Agents 0 and 3 no longer agree" in audited(team)


def test_where_nothing_is_known_twice_nothing_is_sent():
    team, _ = play(configure("dgd", "identity", iterations=3))

    def collect(rows):
        raise AssertionError("something was sent")

    team.transport.collect = collect
    Audit(team).run()


# What goes wrong, the message, the byte and bit of it, and what the sentence says.
FLIPS = {
    "copy": ("lead", "quantize", 4, 0, "different bits of the memory hx of agent {j}"),
    "copy, one bit": ("cgt1", "cast", 40, 0, "different bits of the memory hy of agent {j}"),
    "sum": ("cgt1-sum", "norm_sign", 4, 3, "the sum of the memories hx that agent {i} holds moved by"),
    "sum of zed1": ("zed1", "zoom_sign", 1, 0, "sum of the memories hx that agent {i}|compressor's sta"),
    "tracker": ("gt", "identity", 8 * 25 + 7, 7, "total of all agents' trackers moved by"),
    "small change": ("gt", "identity", 8 * 25 + 4, 3, "total of all agents' trackers moved by"),
    "second exchange": ("gt-atc", "identity", 8 * 7 + 6, 2, "total of all agents' trackers moved by"),
    "fixed point": ("gt-fixed", "identity", 8 * 25 + 6, 1, "total of all agents' trackers moved by"),
    "dual": ("exact_diffusion", "identity", 8 * 7 + 6, 5, "total of all agents' trackers moved by"),
}  # fmt: skip


@pytest.mark.parametrize("what", FLIPS)
def test_a_changed_message_is_found_without_checkpoints(what, monkeypatch):
    algorithm, message, byte, bit, told = FLIPS[what]
    monkeypatch.setattr("distopt.engine.audit.SHARE", 0.0)  # at every record
    config = configure(algorithm, message, iterations=60)
    exchange = 63 if algorithm == "gt-atc" else 31
    transport = Garbling(config.problem.topology, exchange, 2, 1, flip(byte, bit))
    with pytest.raises(SharedError) as caught:
        play(config, transport)
    assert transport.done
    assert re.search(told.format(i=2, j=transport.sender), str(caught.value))
    assert re.search("at iteration 35 |between iterations 28 and 35 ", str(caught.value))


def test_agents_that_hold_the_same_model_are_compared():
    team, _ = play(configure("fixed_point_gd", "identity", iterations=5))
    assert audited(team) is None
    team.hosted[2].state.x[0, 4] ^= 1
    assert "Agents 0 and 2 no longer agree" in audited(team)


def test_saturated_trackers_are_not_blamed():
    team, _ = play(configure("gt-fixed", "identity", iterations=9))
    audit = Audit(team)
    audit.run()
    team.hosted[1].state.y[3] += 1.0  # as clamping would change it
    team.hosted[1].state.saturations[0] += 1
    audit.run()
    team.hosted[1].state.saturations[0] = 0
    audit.run()
    team.hosted[1].state.y[3] += 1.0
    with pytest.raises(SharedError, match="trackers"):
        audit.run()


@pytest.mark.parametrize(("algorithm", "message"), mark_rest(pytest.mark.slow))
def test_honest_runs_are_not_blamed(algorithm, message):
    """Long after convergence too, and however far audits are apart."""
    config = configure(algorithm, message)
    team = prepare(config, LocalTransport(config.problem.topology))
    often, seldom = Audit(team), Audit(team)
    with np.errstate(all="ignore"):
        for k in range(400):
            if k % 7 == 0:
                often.run()
            if k % 190 == 0:
                seldom.run()
            team.iterate()


def test_audits_take_a_twentieth_of_the_time(tmp_path):
    team, _ = play(configure("cgt1", "quantize-range", iterations=5), together=False)
    audit = Audit(team)
    assert audit.due(0.0)  # the first
    audit.run(2.0)
    audit.seconds = 0.25
    assert not audit.due(6.9)
    assert audit.due(7.0)


def test_a_record_and_a_checkpoint_come_after_the_audit(tmp_path):
    team, _ = play(configure("cgt1", "quantize-range", iterations=5), together=False)
    journal = Journal(team, tmp_path)
    journal.record()
    flip_lowest(team.hosted[1].agent.codecs.decoders[1][0]["symbols"])
    journal.audit.seconds = 0.0  # so it is due
    with pytest.raises(SharedError, match="no longer agree: at iteration 5"):
        journal.record()
    journal.writer.flush()
    assert len(journal.rows) == 1
    with pytest.raises(SharedError, match="no longer agree"):
        journal.save()
    assert not (tmp_path / "checkpoints").exists()


def test_the_end_of_a_run_is_audited_even_if_nothing_is_saved():
    config = configure("cgt1", "cast", iterations=10, record_every=1000)
    transport = Garbling(config.problem.topology, 5, 0, 0, flip(3, 2))
    with pytest.raises(SharedError, match="no longer agree: at iteration 10"):
        play(config, transport)


@pytest.mark.parametrize("message", ["norm_sign", "quantize-range"])
def test_a_run_that_ends_with_a_bad_message_resumes_to_the_right_bits(message, tmp_path):
    """Whatever the error left in decoders and memories: the checkpoint before it is whole."""
    config = configure("cgt1", message, iterations=60, checkpoint_every=10, checked=True)
    whole, _ = play(config)
    transport = Garbling(config.problem.topology, 37, 2, 1, flip(20, 4))
    with pytest.raises(MessageError, match="at iteration 37: its checksum is wrong"):
        play(config, transport, tmp_path / "run")
    result = resume(tmp_path / "run", engine="simulate")
    assert result.rows[-1]["iteration"] == 60
    for h, x in zip(whole.hosted, result.x, strict=True):
        assert np.array_equal(h.state.x, x)
    recorded = [row["iteration"] for row in result.rows]
    assert recorded == [*range(0, 60, 7), 60]
