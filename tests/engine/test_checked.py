"""With run.checked every message carries a checksum, and a wrong one ends the run with a sentence."""

import re

import numpy as np
import pytest
from garbling import Garbling, flip
from run_table import (
    AGENTS,
    PAIRS,
    PARAMETERS,
    SAMPLE,
    assert_equal_states,
    configure,
    play,
    states,
)

from distopt.core.errors import MessageError
from distopt.transport.local import LocalTransport

# Those whose messages go to one neighbour or more, along a tree.
ALONG_TREE = ("zest", "zest-gradient", "averaged", "diloco")


@pytest.mark.parametrize(("algorithm", "message"), SAMPLE)
def test_checksums_cost_four_bytes_a_message_and_change_nothing_else(algorithm, message):
    plain, _ = play(configure(algorithm, message, iterations=12))
    checked, _ = play(configure(algorithm, message, iterations=12, checked=True))
    assert_equal_states(states(checked), states(plain))
    before, after = plain.transport.traffic, checked.transport.traffic
    assert after.messages == before.messages
    assert after.nbytes_on_wire == before.nbytes_on_wire + 4 * before.messages
    if algorithm not in ALONG_TREE:
        degree = np.mean([plain.parts.problem.topology.degree(i) for i in range(AGENTS)])
        assert after.nbytes == before.nbytes + 4 * before.messages / degree


def garbled(algorithm, exchange, receiver, change, **run):
    """Run the first row of an algorithm with one message changed; return the transport and the error."""
    message = next(m for a, m in PAIRS if a == algorithm)
    config = configure(algorithm, message, iterations=15, checked=True, **run)
    transport = Garbling(config.problem.topology, exchange, receiver, exchange % 2, change)
    with pytest.raises(MessageError) as caught:
        play(config, transport)
    assert transport.done
    return transport, str(caught.value)


@pytest.mark.parametrize("algorithm", [a for a in PARAMETERS if a not in ALONG_TREE])
def test_every_changed_message_is_named(algorithm):
    rng = np.random.default_rng(len(algorithm))
    for receiver in range(4):
        exchange, byte, bit = (int(rng.integers(n)) for n in (12, 10_000, 8))
        transport, sentence = garbled(algorithm, exchange, receiver, flip(byte, bit))
        found = re.fullmatch(
            r"Agent (\d) cannot read the message of agent (\d) at iteration (\d+): its checksum is "
            r"wrong, so it was changed on its way\.", sentence,
        )  # fmt: skip
        assert found, sentence
        assert (int(found[1]), int(found[2])) == (receiver, transport.sender)
        if "auto" not in str(PARAMETERS[algorithm]) and algorithm in {"cgt1", "lead", "gt"}:
            assert int(found[3]) == exchange


@pytest.mark.parametrize("algorithm", ["zest", "averaged", "diloco"])
def test_a_changed_letter_is_named(algorithm):
    """Of messages for some neighbours only, those that come are checked, and no others."""
    message = next(m for a, m in PAIRS if a == algorithm)
    config, came = configure(algorithm, message, iterations=15, checked=True), 0
    parents = config.problem.topology.lean_tree.parents
    for receiver, position in np.ndindex(4, 2):
        transport = Garbling(config.problem.topology, 2, receiver, position, flip(7, 3))
        if transport.sender in (parents[receiver], *np.flatnonzero(np.array(parents) == receiver)):
            named = f"Agent {receiver} cannot read the message of agent {transport.sender} at iter"
            with pytest.raises(MessageError, match=named):
                play(config, transport)
            came += 1
        else:
            play(config, transport)
            assert not transport.done
    assert came == 6  # both ends of the three edges of a tree


@pytest.mark.parametrize("algorithm", ["gt", "gt-atc", "cgt1"])
def test_a_message_of_another_iteration_exchange_or_agent_is_refused(algorithm):
    """Whole, with its own right checksum, but not the one that is due."""
    for back in (1, 2):
        seen = []

        def stale(message, back=back, seen=seen):
            seen.append(message.copy())
            return seen[-1 - back] if len(seen) > back else None

        _, sentence = garbled(algorithm, 3, 1, stale)
        assert "its checksum is wrong" in sentence


def test_a_message_of_another_agent_is_refused():
    config = configure("gt", "identity", iterations=5, checked=True)

    class Misrouting(LocalTransport):
        travels = True

        def exchange(self, payloads):
            received = super().exchange(payloads)
            received[0] = received[0][::-1]
            return received

    with pytest.raises(MessageError, match="Agent 0 cannot read the message of agent 1 at iter"):
        play(config, Misrouting(config.problem.topology))


def test_truncated_and_longer_messages_are_refused():
    for change in (lambda m: m[:-1], lambda m: m[:3], lambda m: np.append(m, m[:1])):
        garbled("cgt1", 4, 2, change)


def test_nothing_is_computed_where_nothing_travels(monkeypatch):
    """In one process a message is handed over as it is; the bytes count all the same."""
    monkeypatch.setattr("distopt.algorithms.envelope.crc32c", None)
    play(configure("gt", "identity", iterations=3, checked=True))
