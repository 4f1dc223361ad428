"""The final states of all pairs are those that were written down, to the bit."""

import json

import pytest
from golden_states import FILE, ROWS, hashes, make
from run_table import play

GOLDEN = json.loads(FILE.read_text())


def test_every_pair_is_written_down():
    assert list(GOLDEN) == list(ROWS), "run tests/engine/golden_states.py"


@pytest.mark.parametrize("name", ROWS)
def test_final_states_are_golden(name):
    job, _ = play(make(*ROWS[name]))
    assert hashes(job) == GOLDEN[name].split()
