"""The kernels that do several things at once give the bits of `encode` and `decode_add`."""

import numpy as np
import pytest

from distopt.algorithms.memory import Replicas
from distopt.compressors.fused import FINE, SIZE, Fused, Mail, first_left_over
from distopt.compressors.identity import Identity
from distopt.compressors.quantize import Quantize
from distopt.core.randomness import make_key, normal
from distopt.core.workspace import Workspace

FUSED = {
    "identity": Identity(),
    "quantize": Quantize(bits=2),
    "dithered, blocks": Quantize(bits=3, dithered=True, block=100),
    "two-norm": Quantize(bits=9, norm="two", block=100),
    "float64 scales": Quantize(bits=1, block=1024, scale="float64"),
}
MEMBERS, SCALE = 4, 0.25
WEIGHTS = [0.2, 0.3, 0.4]


class Both:
    """A compressor with its kernels, vectors of all members, and their messages of two vectors."""

    def __init__(self, compressor, d):
        self.compressor, self.d, self.work = compressor, d, Workspace()
        self.fused = compressor.fused(d, MEMBERS, self.work)
        self.key = make_key(1, 2, 3)
        self.x = normal(make_key(0, 0, 1), 2 * MEMBERS * d).reshape(2, MEMBERS, d)
        self.h = 0.1 * normal(make_key(0, 0, 2), MEMBERS * d).reshape(MEMBERS, d)
        self.messages = [
            np.concatenate([self.encoded(self.x[v, m]) for v in range(2)]) for m in range(MEMBERS)
        ]
        self.mail = Mail(MEMBERS)

    def encoded(self, x):
        out = np.zeros(self.compressor.max_nbytes(self.d), np.uint8)
        return out[: self.compressor.encode(x, out, self.key, {}, self.work)]

    def decode_add(self, message, weight, acc):
        return message[self.compressor.decode_add(message, weight, acc, self.key, {}, self.work) :]


@pytest.fixture(params=FUSED)
def compressor(request):
    return FUSED[request.param]


@pytest.mark.parametrize("d", [1, 7, 2500])
def test_messages_are_the_same(compressor, d):
    both = Both(compressor, d)
    x, h, out = both.x[0, 0], both.h[0], np.full(compressor.max_nbytes(d), 7, np.uint8)
    used = both.fused.encode(x, out, both.key)
    assert out[:used].tobytes() == both.encoded(x).tobytes()
    if both.fused.encode_difference:
        used = both.fused.encode_difference(x, h, out, both.key)
        assert out[:used].tobytes() == both.encoded(x - h).tobytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 1500, 2499])
def test_numbers_that_are_not_finite_are_refused(compressor, bad, at):
    both = Both(compressor, 2500)
    out = np.zeros(compressor.max_nbytes(2500), np.uint8)
    x = both.x[0, 0].copy()
    x[at] = bad
    assert both.fused.encode(x, out, both.key) < 0
    if both.fused.encode_difference:
        assert both.fused.encode_difference(x, both.h[0], out, both.key) < 0
        assert both.fused.encode_difference(both.h[0], x, out, both.key) < 0


@pytest.mark.parametrize("silent", [None, 2])
@pytest.mark.parametrize("d", [1, 7, 2500])
def test_memories_and_averages_are_the_same(compressor, d, silent):
    both = Both(compressor, d)
    weights = np.array([0.0, *WEIGHTS])
    if silent:
        weights[silent] = 0.0
    memory = Replicas(weights[1:], d, both.work)
    memory.h[:] = both.h
    rests, expected = list(both.messages), []
    for v in range(2):
        averaged = both.x[v, 0] * -float(weights.sum())
        for m in range(MEMBERS):
            if m != silent:
                if m:
                    both.decode_add(rests[m], weights[m], averaged)
                rests[m] = both.decode_add(rests[m], SCALE, memory.h[m])
        memory.settle(1)
        expected.append((memory.h.copy(), memory.mixed.copy(), averaged))
    h, mixed, out = both.h.copy(), np.empty(d), np.empty(d)
    if both.fused.mix:
        post(both, silent)
        for v in range(2):
            assert both.fused.mix(both.mail.table, h, weights, SCALE, mixed) == FINE
            assert h.tobytes() == expected[v][0].tobytes()
            assert mixed.tobytes() == expected[v][1].tobytes()
        assert first_left_over(both.mail.table) == FINE
    if both.fused.average:
        post(both, silent)
        for v in range(2):
            x, total = both.x[v, 0], float(weights.sum())
            assert both.fused.average(both.mail.table, x, weights, total, out) == FINE
            assert out.tobytes() == expected[v][2].tobytes()


def post(both, silent=None):
    both.mail.post(both.messages, () if silent is None else (silent,))
    assert (both.mail.table[:, SIZE] < 0).sum() == (silent is not None)


@pytest.mark.parametrize("damage", ["cut", "changed", "long"])
def test_the_member_with_a_wrong_message_is_named(compressor, damage):
    both = Both(compressor, 2500)
    weights, h, out = np.array([0.0, *WEIGHTS]), both.h.copy(), np.empty(2500)
    half = both.messages[2].size // 2
    if damage == "cut":
        both.messages[2] = both.messages[2][: half - 1]
    elif damage == "long":
        both.messages[2] = np.append(both.messages[2][:half], np.uint8(0))
        both.messages[1] = both.messages[1][:half]
        both.messages[0], both.messages[3] = both.messages[1], both.messages[1]
    else:
        both.messages[2] = both.messages[2].copy()
        both.messages[2][:8] = 0xFF  # nan, as a scale or as a number
    if not both.fused.mix:
        both.messages[0] = both.messages[0][:0]  # an average is over the neighbours
    post(both)
    call = both.fused.mix or both.fused.average
    if both.fused.mix:
        found = call(both.mail.table, h, weights, SCALE, out)
        assert damage == "long" or h.tobytes() == both.h.tobytes()
    else:
        found = call(both.mail.table, both.x[0, 0], weights, 0.9, out)
    assert found == (FINE if damage == "long" else 2)
    assert damage != "long" or first_left_over(both.mail.table) == 2


def test_compressors_with_a_state_have_none():
    assert Quantize(bits=2, entropy="range").fused(10, 3, Workspace()) == Fused()
