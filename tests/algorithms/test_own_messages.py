"""A sender takes the codes that it has sent instead of decoding them, with the bits of decoding."""

import pytest
from compressors.compressor_table import COMPRESSORS
from run_table import assert_equal_states, configure, play, states

from distopt.compressors.coded import Coded
from distopt.compressors.coders.entropy import FastCoder, RangeCoder, RansCoder
from distopt.compressors.zoom import Zoom
from distopt.engine.team import prepare
from distopt.transport.local import LocalTransport

CODERS = (RangeCoder, RansCoder, FastCoder)
ROWS = [
    ("zed", "zoom-rans", {}, []),
    ("zed-auto", "zoom", {}, []),
    ("zed", "zoom", {"checked": True}, ["algorithm.memory=sum"]),
    ("zed", "zoom", {"dtype": "float32"}, []),
    ("zed", "zoom", {}, ["topology.up=0.5", "topology.up_seed=3"]),
    ("cgt1", "quantize-range", {}, []),
    ("cgt1-sum", "quantize-range", {"dtype": "float32"}, []),
    ("cgt2", "uniform-fast", {"checked": True}, []),
    ("cgt1", "quantize-range", {}, ["topology.up=0.5", "topology.up_seed=3"]),
]


class Travelling(LocalTransport):
    """Messages travel, as between ranks."""

    travels = True


def is_coded(compressor):
    inner = getattr(compressor, "values", None)
    coded = isinstance(compressor, Coded) and compressor.entropy != "none"
    return coded or isinstance(compressor, Zoom) or (inner is not None and is_coded(inner))


@pytest.mark.parametrize("row", COMPRESSORS)
def test_all_that_is_entropy_coded_is_kept(row):
    assert bool(COMPRESSORS[row].new_room(50)) == is_coded(COMPRESSORS[row])


def count_decodings(monkeypatch):
    calls = []
    for coder in CODERS:
        decode = coder.decode
        monkeypatch.setattr(coder, "decode", lambda *a, f=decode: calls.append(1) or f(*a))
    return calls


@pytest.mark.parametrize(("algorithm", "message", "settings", "more"), ROWS)
def test_states_are_those_of_decoding(algorithm, message, settings, more, monkeypatch):
    config = configure(algorithm, message, iterations=40, **settings).with_settings(more)
    topology = config.problem.topology
    teams = [
        play(config, kind(topology), together=together)[0]
        for kind, together in (
            (LocalTransport, True), (LocalTransport, False), (Travelling, False)
        )
    ]  # fmt: skip
    monkeypatch.setattr(type(config.compressor), "new_room", lambda *_: {})
    decoding, _ = play(config, Travelling(topology), together=False)
    assert not decoding.hosted[0].agent.codecs.keeps
    for team in teams:
        assert team.hosted[0].agent.codecs.keeps
        assert_equal_states(states(team), states(decoding))


@pytest.mark.parametrize(
    ("algorithm", "message"),
    [("zed", "zoom"), ("cgt1-sum", "quantize-range"), ("cgt2", "uniform-fast")],
)
def test_only_messages_of_others_are_decoded(algorithm, message, monkeypatch):
    config = configure(algorithm, message)
    topology, vectors = config.problem.topology, config.algorithm.vectors
    calls, found = count_decodings(monkeypatch), []
    for kind, together in (LocalTransport, True), (LocalTransport, False), (Travelling, False):
        team = prepare(config, kind(topology), together=together)
        calls.clear()
        for _ in range(3):
            team.iterate()
        found.append(len(calls))
    edges = sum(len(topology.neighbours(i)) for i in range(topology.agents))
    assert found == [0, 0, 3 * edges * vectors]


def test_a_checkpoint_with_both_ends_of_a_stream_goes_on():
    """As checkpoints were before an agent had one state for both."""
    config = configure("zed", "zoom")
    team, _ = play(config, together=False)
    arrays = team.hosted[0].agent.codec_arrays()
    for name in config.compressor.new_state(config.problem.cost(0).dimension):
        assert arrays[f"encoder.0.{name}"] is arrays[f"decoder.0.0.{name}"]
