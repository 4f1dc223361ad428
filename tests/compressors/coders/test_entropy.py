"""Entropy coders: codes come back, states stay equal, damage is refused, bytes are near the ideal."""

from hashlib import sha256

import numpy as np
import pytest
from range_twin import Twin

from distopt.compressors.coders.entropy import FastCoder, RangeCoder, RansCoder
from distopt.core.errors import MessageError
from distopt.core.randomness import make_key, normal, words
from distopt.core.workspace import Workspace

CODERS = {"range": RangeCoder, "rans": RansCoder, "fast": FastCoder}
SIZES = [1, 2, 50, 700, 5000]
WIDE = (
    np.int64
)  # compressors use int16 and int64; the other types are compiled in the slow tier only
SCALES = [0.0, 0.4, 3.0, 300.0, 1e6]  # of the codes; 0.4 is like a zooming quantiser's


def draw(d, scale, seed=0):
    return np.round(scale * normal(make_key(seed, d, 5), d)).astype(WIDE)


def equal(one, other):
    assert set(one) == set(other)
    return all(np.array_equal(one[name], other[name]) for name in one)


def encoded(coder, codes, state):
    out = np.full(coder.max_nbytes(codes.size) + 8, 0xA5, np.uint8)
    nbytes = coder.encode(codes, out, state, Workspace())
    assert nbytes <= coder.max_nbytes(codes.size)
    assert (out[coder.max_nbytes(codes.size) :] == 0xA5).all()
    return out[:nbytes].copy()


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("d", SIZES)
@pytest.mark.parametrize("name", CODERS)
def test_codes_come_back_and_states_stay_equal(name, d, alone):
    for scale in SCALES:
        coder = CODERS[name](-(2**31) + 1, 2**31 - 1, alone)
        sender, receiver = coder.new_state(d), coder.new_state(d)
        for k in range(8):
            codes, found = draw(d, scale, k), np.full(d, 77, WIDE)
            payload = encoded(coder, codes, sender)
            junk = words(make_key(k, 1, 1), 20).astype(np.uint8)[: 0 if alone else 20]
            nbytes = coder.decode(np.concatenate([payload, junk]), found, receiver, Workspace())
            assert nbytes == payload.size
            np.testing.assert_array_equal(found, codes)
            assert equal(sender, receiver)


@pytest.mark.parametrize(
    "dtype",
    [np.int16, *(pytest.param(t, marks=pytest.mark.slow) for t in (np.int8, np.int32))],
)
@pytest.mark.parametrize("name", CODERS)
def test_all_integer_types_give_the_same_bytes(name, dtype):
    coder = CODERS[name](-100, 100)
    codes = np.clip(draw(300, 4.0), -100, 100)
    payload = encoded(coder, codes, coder.new_state(300))
    other = encoded(coder, codes.astype(dtype), coder.new_state(300))
    np.testing.assert_array_equal(payload, other)
    found = np.zeros(300, dtype)
    coder.decode(payload, found, coder.new_state(300), Workspace())
    np.testing.assert_array_equal(found, codes)


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("name", CODERS)
def test_extreme_codes(name, alone):
    largest = 2**63 - 1
    coder = CODERS[name](-largest, largest, alone)
    codes = np.array([0, largest, -largest, 1, -1, 2**62, -(2**62), 2**31, 3] * 5)
    sender, receiver = coder.new_state(codes.size), coder.new_state(codes.size)
    for _ in range(30):
        payload, found = encoded(coder, codes, sender), np.zeros(codes.size, np.int64)
        assert coder.decode(payload, found, receiver, Workspace()) == payload.size
        np.testing.assert_array_equal(found, codes)
        assert equal(sender, receiver)


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("d", [3, 60, 4000])
@pytest.mark.parametrize("name", CODERS)
def test_damage_is_refused_before_the_state_changes_or_gives_codes_in_range(name, d, alone):
    coder = CODERS[name](-5, 4, alone)
    state = coder.new_state(d)
    for k in range(3):
        encoded(coder, np.clip(draw(d, 1.0, k), -5, 4), state)
    before = {name: array.copy() for name, array in state.items()}
    payload = encoded(
        coder, np.clip(draw(d, 1.0, 9), -5, 4), {n: a.copy() for n, a in state.items()}
    )
    noise = words(make_key(d, 0, 0), 300)
    broken = [payload[:n].copy() for n in {*range(min(payload.size, 12)), payload.size - 1}]
    for w in noise[:200]:
        flipped = payload.copy()
        flipped[int(w) % payload.size] ^= np.uint8(1 << (int(w) >> 16) % 8)
        broken.append(flipped)
    broken += [noise[i : i + payload.size].astype(np.uint8) for i in range(50)]
    refused = 0
    for number, wrong in enumerate(broken):
        found, copy = np.zeros(d, np.int16), {n: a.copy() for n, a in before.items()}
        try:
            nbytes = coder.decode(wrong, found, copy, Workspace())
        except MessageError:
            refused += 1
            assert equal(copy, before), "the state changed in spite of the error"
            continue
        assert nbytes <= wrong.size
        assert -5 <= found.min() <= found.max() <= 4
        assert not equal(copy, before)
        assert alone or number >= min(payload.size, 12), "a cut payload was accepted"
    assert refused > 0


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize(("d", "messages"), [(1, 40), (20, 60), (700, 8), (20_000, 2)])
def test_the_range_coder_is_its_twin_and_near_the_ideal(d, messages, alone):
    for bound, scales in ((2**31 - 1, (0.1, 0.4, 0.6)), (7, (1.0, 3.0)), (1, (0.3, 1e9))):
        coder, twin = RangeCoder(-bound, bound, alone), Twin(d, -bound, bound, alone)
        state = coder.new_state(d)
        for k in range(messages):
            codes = np.clip(draw(d, min(scales[k % len(scales)], 1e6), k), -bound, bound)
            payload = encoded(coder, codes, state)
            expected, ideal = twin.encode(codes.tolist(), coder.max_nbytes(d))
            assert payload.tobytes() == expected
            assert payload.size < ideal / 8 * (1 + 1e-4) + (1 if alone else 2)


@pytest.mark.parametrize("name", CODERS)
def test_a_message_that_the_model_did_not_expect_is_no_longer_than_plain_codes(name):
    coder, d = CODERS[name](-3, 3), 4000
    sender, receiver = coder.new_state(d), coder.new_state(d)
    quiet = np.zeros(d, np.int16)
    wild = (words(make_key(1, 0, 0), d) % 2 * 6).astype(np.int16) - 3
    for codes in (quiet, quiet, quiet, wild, quiet):
        payload, found = encoded(coder, codes, sender), np.ones(d, np.int16)
        assert payload.size <= coder.max_nbytes(d)
        assert name == "rans" or payload.size <= 3 * d // 8 + 8
        assert coder.decode(payload, found, receiver, Workspace()) == payload.size
        np.testing.assert_array_equal(found, codes)
        assert equal(sender, receiver)


@pytest.mark.parametrize("d", [8192, 8193, 8207, 40_000])
def test_rans_over_several_blocks(d):
    coder = RansCoder(-40, 40, alone=True)
    sender, receiver = coder.new_state(d), coder.new_state(d)
    for k, scale in enumerate((0.3, 0.5, 12.0, 0.0, 0.5)):
        codes, found = np.clip(draw(d, scale, k), -40, 40).astype(np.int16), np.zeros(d, np.int16)
        payload = encoded(coder, codes, sender)
        assert coder.decode(payload, found, receiver, Workspace()) == payload.size
        np.testing.assert_array_equal(found, codes)
        assert equal(sender, receiver)


@pytest.mark.parametrize("nonzero", [0.05, 0.3, 0.6])
def test_rans_is_within_two_percent_of_the_range_coder(nonzero):
    """Where coordinates that were busy are busier and keep their signs, and some codes are large."""
    d, names = 100_000, ("range", "rans")
    coders = {name: (c := CODERS[name](-127, 127), c.new_state(d)) for name in names}
    codes, sizes = np.zeros(d, np.int16), dict.fromkeys(names, 0)
    for k in range(6):
        u, v, w = (words(make_key(k, j, 0), d) * 2.0**-32 for j in range(3))
        p = min(1.6 * nonzero, 0.9)
        p = np.where(codes != 0, p, nonzero * (1 - p) / (1 - nonzero))
        last = np.where(codes != 0, np.sign(codes), 1)
        sign = np.where(v < np.where(codes != 0, 0.8, 0.5), last, -last)
        codes = np.where(u < p, sign * (1 + (w < 0.05) + (w < 0.01)), 0).astype(np.int16)
        for name, (coder, state) in coders.items():
            sizes[name] += encoded(coder, codes, state).size
    assert sizes["rans"] <= 1.02 * sizes["range"]


@pytest.mark.parametrize("nonzero", [0.02, 0.3, 0.7])
def test_the_fast_coder_is_near_the_entropy_of_what_came_before(nonzero):
    d = 100_000
    coder = FastCoder(-127, 127)
    state = coder.new_state(d)
    for k in range(3):
        u = words(make_key(k, 0, 0), d) * 2.0**-32
        codes = np.where(u < nonzero / 2, 1, np.where(u < nonzero, -1, 0)).astype(np.int16)
        nbytes = encoded(coder, codes, state).size
    shares = np.array([1 - nonzero, nonzero / 2, nonzero / 2])
    assert nbytes <= 16 + 1.02 * d / 8 * -(shares * np.log2(shares)).sum()


@pytest.mark.parametrize(
    ("name", "digest"),
    [("range", "bd685480fb874806"), ("rans", "c9fb2f25b7cdacbb"), ("fast", "729b62b97729694e")],
)
def test_golden_messages_of_a_whole_run(name, digest):
    """The bytes of later messages are part of the format: they depend on how a state advances."""
    coder, total = CODERS[name](-40, 40), sha256()
    state = coder.new_state(600)
    for k in range(40):
        scale = (0.4, 0.5, 5.0, 0.3)[k // 10]
        total.update(encoded(coder, np.clip(draw(600, scale, k), -40, 40), state).tobytes())
    assert total.hexdigest()[:16] == digest


@pytest.mark.parametrize("d", [100, 5000])
@pytest.mark.parametrize("name", CODERS)
def test_the_lowest_code_of_a_type_has_a_magnitude(name, d):
    """-32768 has no opposite in int16; a receiver reads what an honest sender wrote."""
    coder = CODERS[name](-(1 << 15), (1 << 15) - 1)
    sender, receiver = coder.new_state(d), coder.new_state(d)
    for k in range(3):
        codes = np.where(words(make_key(k, 0, 0), d) % 50 == 0, -(1 << 15), 1).astype(np.int16)
        payload, found = encoded(coder, codes, sender), np.zeros(d, np.int16)
        assert coder.decode(payload, found, receiver, Workspace()) == payload.size
        np.testing.assert_array_equal(found, codes)
        assert equal(sender, receiver)
