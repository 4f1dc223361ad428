"""The final states of all pairs are those that were written down, to the bit."""

import json

import pytest
from golden_states import FILE, hashes, make
from run_table import PAIRS, play

GOLDEN = json.loads(FILE.read_text())


def test_every_pair_is_written_down():
    assert list(GOLDEN) == [f"{a} {m}" for a, m in PAIRS], "run tests/engine/golden_states.py"


@pytest.mark.parametrize(("algorithm", "message"), PAIRS)
def test_final_states_are_golden(algorithm, message):
    job, _ = play(make(algorithm, message))
    assert hashes(job) == GOLDEN[f"{algorithm} {message}"].split()
