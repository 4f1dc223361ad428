"""The bytes on the wire do not change: files of old payloads, made by write_golden.py."""

import json
from pathlib import Path

import numpy as np
import pytest
from compressor_table import COMPRESSORS
from golden_vectors import KEY, entry, golden_vectors

from distopt.core.workspace import Workspace

FOLDER = Path(__file__).parent / "golden"


@pytest.mark.parametrize("row", COMPRESSORS)
def test_encoding_gives_the_golden_bytes(row):
    golden = json.loads((FOLDER / f"{row}.json").read_text())
    assert {n: entry(COMPRESSORS[row], x) for n, x in golden_vectors().items()} == golden


@pytest.mark.parametrize("row", COMPRESSORS)
def test_golden_bytes_decode_to_the_golden_values(row):
    golden = json.loads((FOLDER / f"{row}.json").read_text())
    assert list(golden) == list(golden_vectors())
    for case in golden.values():
        payload = np.frombuffer(bytes.fromhex(case["payload"]), np.uint8).copy()
        acc = np.zeros(21)
        state = COMPRESSORS[row].new_state(21)
        assert (
            COMPRESSORS[row].decode_add(payload, 1.0, acc, KEY, state, Workspace()) == payload.size
        )
        assert [value.hex() for value in acc.tolist()] == case["decoded"]


def test_no_golden_file_is_left_over():
    assert {path.stem for path in FOLDER.glob("*.json")} == set(COMPRESSORS)
