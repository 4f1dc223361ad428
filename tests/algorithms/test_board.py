"""In one process a message is decoded once, whoever hears it."""

import numpy as np
import pytest

from distopt.compressors.top_k import TopK
from distopt.config.build import make_config
from distopt.engine.team import prepare
from distopt.transport.local import LocalTransport

AGENTS = 5


@pytest.mark.parametrize(("algorithm", "alpha"), [("cgt1", 1.0), ("cgt1", 0.5), ("choco", 1.0)])
def test_each_message_is_decoded_once(monkeypatch, algorithm, alpha):
    tables = {
        "problem": {"name": "pl", "dimension": 12, "basis": "diagonal", "agents": AGENTS},
        "topology": {"graph": "complete"},
        "algorithm": {"name": algorithm, "eta": 0.02, "gamma": 0.1},
        "compressor": {"name": "top_k", "k": 3},
    }
    if algorithm == "cgt1":
        tables["algorithm"]["alpha"] = alpha
    config = make_config(tables, ".")
    crowd, shared, apart = (
        prepare(config, LocalTransport(config.problem.topology), together=together)
        for together in (True, False, False)
    )
    for hosted in apart.hosted:
        hosted.agent.board = hosted.agent._reader._board = None
    calls = []
    decode = TopK.decode_add
    monkeypatch.setattr(TopK, "decode_add", lambda *a: calls.append(1) or decode(*a))
    counts = []
    for team in (crowd, shared, apart):
        calls.clear()
        for _ in range(3):
            team.iterate()
        counts.append(len(calls))
    assert counts == [counts[1], counts[2] // AGENTS, counts[2]]
    assert counts[0] == 3 * AGENTS * config.algorithm.vectors
    for one, other in zip(shared.hosted, apart.hosted, strict=True):
        for name, array in one.state.arrays().items():
            np.testing.assert_array_equal(array, other.state.arrays()[name], err_msg=name)
