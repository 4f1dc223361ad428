"""Decoders meet payloads made to do harm; ``fuzz.py`` tries a million each."""

import numpy as np
import pytest
from compressors import fuzz
from compressors.compressor_table import COMPRESSORS

from distopt.core.errors import MessageError


@pytest.mark.parametrize("payloads", [300, pytest.param(50_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("row", COMPRESSORS)
def test_no_payload_harms_a_decoder(row, payloads):
    assert fuzz.fuzz(row, payloads, seed=1) == []


def test_what_once_broke_a_decoder_breaks_none():
    for row, d, key, payload in fuzz.corpus():
        assert fuzz.Target(row, d).try_payload(payload, key) is None


HARM = {
    "ZeroDivisionError": lambda p, acc: 1 / len(p[:0]),
    "took 99 of 3": lambda p, acc: 99,
    "not finite": lambda p, acc: acc.fill(np.nan) or 3,
    "wrote before it refused": lambda p, acc: acc.fill(1.0) or refuse(),
    "wrote outside": lambda p, acc: acc.base.fill(1.0) or 3,
}


def refuse():
    raise MessageError("too short")


@pytest.mark.parametrize("what", HARM)
def test_harm_is_noticed(what, monkeypatch):
    target = fuzz.Target("norm_sign", 8)

    class Harmful:
        def decode_add(self, payload, weight, acc, key, state, work):
            return HARM[what](payload, acc)

    target.compressor = Harmful()
    wrong = target.try_payload(np.zeros(3, np.uint8), None)
    assert wrong.startswith(what)
