"""Laws that all compressors obey; what is special to one is tested in its own file."""

import tracemalloc
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from compressor_table import COMPRESSORS
from hypothesis import given, settings
from hypothesis import strategies as st

from distopt.compressors import REGISTRY
from distopt.compressors.base import Absolute, Compressor, Local, Relative, compress
from distopt.compressors.identity import Identity
from distopt.compressors.laws import check_guarantees, is_random, vectors
from distopt.core.errors import ConfigError, MessageError
from distopt.core.randomness import make_key, normal
from distopt.core.workspace import Workspace
from distopt.testing import check_compressor


@cache
def draws(row):
    return is_random(COMPRESSORS[row], 50)


def test_table_is_complete():
    assert {type(c) for c in COMPRESSORS.values()} == {REGISTRY.get(name) for name in REGISTRY}


@pytest.mark.parametrize("row", COMPRESSORS)
def test_constants_of_guarantees_are_numbers(row):
    """Tables, records and reports write them all."""
    for guarantee in COMPRESSORS[row].guarantees(50):
        assert all(value >= 0 for value in vars(guarantee).values())


def rows_and_dimensions():
    """Every row with 1, 100 and one dimension around a whole byte; the rest is left to the slow tier."""
    for i, row in enumerate(COMPRESSORS):
        for d in (1, 7, 8, 9, 100):
            rest = d in (7, 8, 9) and d != 7 + i % 3
            yield pytest.param(row, d, marks=[pytest.mark.slow] if rest else [])


@pytest.mark.parametrize(("row", "d"), list(rows_and_dimensions()))
def test_laws(row, d):
    # Expectations: six standard errors, so a false alarm has a probability below 1e-8 per vector.
    check_compressor(COMPRESSORS[row], d, samples=40, seed=d)


@pytest.mark.parametrize("d", [20_000, pytest.param(100_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("row", COMPRESSORS)
def test_guarantees_in_high_dimension(row, d):
    compressor = COMPRESSORS[row]
    compressor = replace(compressor, bits=10) if row == "quantize-8-two" else compressor
    compressor.check(d)
    names = (
        "one-hot",
        "equal",
        "heavy-tailed",
        "tiny",
        "half steps of 1 bits",
        "half steps of 4 bits",
    )
    xs = vectors(compressor, d, seed=5)
    for name in names:
        check_guarantees(compressor, xs[name], samples=2 if draws(row) else 1, seed=6)


finite = st.floats(-1e100, 1e100) | st.floats(-2, 2) | st.sampled_from([0.0, -0.0, 1.0, 5e-324])


@pytest.mark.parametrize("row", COMPRESSORS)
@settings(max_examples=settings().max_examples // 2)
@given(values=st.lists(finite, min_size=1, max_size=30))
def test_guarantees_on_drawn_vectors(row, values):
    compressor = COMPRESSORS[row]
    low, high = compressor.magnitudes()
    x = np.clip(np.array(values), -high, high)
    x[np.abs(x) < low] = 0.0
    check_guarantees(compressor, x, samples=8 if draws(row) else 1, seed=1)


@pytest.mark.parametrize("row", [r for r, c in COMPRESSORS.items() if not c.ends_message])
def test_vectors_follow_each_other_in_one_buffer(row):
    compressor, d = COMPRESSORS[row], 37
    key = make_key(1, 2, 3)
    xs = [normal(make_key(seed, 0, 0), d) for seed in range(3)]
    out = np.zeros(3 * compressor.max_nbytes(d), np.uint8)
    used = 0
    for x in xs:
        used += compressor.encode(x, out[used:], key, compressor.new_state(d), Workspace())
    message = out[:used]
    for x in xs:
        acc = np.zeros(d)
        used = compressor.decode_add(message, 1.0, acc, key, compressor.new_state(d), Workspace())
        np.testing.assert_array_equal(acc, compress(compressor, x, key)[1])
        message = message[used:]
    assert message.size == 0


@pytest.mark.parametrize("row", COMPRESSORS)
def test_weighted_values_are_added_exactly(row):
    compressor, d, key = COMPRESSORS[row], 100, make_key(3, 1, 4)
    payload, values = compress(compressor, normal(make_key(5, 0, 0), d), key)
    start = normal(make_key(6, 0, 0), d)
    acc = start.copy()
    payload = np.frombuffer(payload, np.uint8).copy()
    compressor.decode_add(payload, 0.3, acc, key, compressor.new_state(d), Workspace())
    np.testing.assert_array_equal(acc, start + 0.3 * values)


@pytest.mark.parametrize("row", COMPRESSORS)
def test_float32_is_sent_as_its_values_in_float64_are(row):
    """But identity, also of the values of a sparsifier, sends 4 bytes a number."""
    compressor, d, key = COMPRESSORS[row], 1000, make_key(3, 1, 4)
    whole = isinstance(getattr(compressor, "values", compressor), Identity)
    found = {}
    for dtype in (np.float64, np.float32):
        sender, receiver = compressor.new_state(d), compressor.new_state(d)
        work, found[dtype] = Workspace(), []
        for seed in range(3):
            x = normal(make_key(seed, 0, 0), d).astype(np.float32).astype(dtype)
            out, acc = np.zeros(compressor.max_nbytes(d), np.uint8), np.zeros(d, dtype)
            used = compressor.encode(x, out, key, sender, work)
            assert compressor.decode_add(out[:used], 1.0, acc, key, receiver, work) == used
            found[dtype].append((out[:used].tobytes(), acc))
    for (wide, values), (narrow, rounded) in zip(*found.values(), strict=True):
        if whole:
            numbers = np.count_nonzero(values)
            assert len(narrow) == len(wide) - 4 * numbers
        else:
            assert narrow == wide
        np.testing.assert_allclose(rounded, values, rtol=2.0**-22, atol=0)


@pytest.mark.parametrize("row", COMPRESSORS)
def test_nothing_is_allocated(row):
    compressor, d, key = COMPRESSORS[row], 50_000, make_key(3, 1, 4)
    x, acc = normal(make_key(5, 0, 0), d), np.zeros(d)
    out = np.zeros(compressor.max_nbytes(d), np.uint8)
    sender, receiver = compressor.new_state(d), compressor.new_state(d)
    work = Workspace()

    def exchange():
        used = compressor.encode(x, out, key, sender, work)
        compressor.decode_add(out[:used], 0.5, acc, key, receiver, work)

    exchange()
    tracemalloc.start()
    exchange()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000, f"{peak} bytes"


@pytest.mark.parametrize("row", COMPRESSORS)
def test_random_bits_depend_on_every_part_of_the_key(row):
    compressor, x = COMPRESSORS[row], normal(make_key(5, 0, 0), 500)
    keys = [make_key(0, 0, 0), make_key(1, 0, 0), make_key(1 << 40, 0, 0), make_key(0, 1, 0),
            make_key(0, 0, 1), make_key(0, 0, 0, iteration=1)]  # fmt: skip
    results = {tuple(compress(compressor, x, key)[1]) for key in keys}
    assert len(results) == (len(keys) if draws(row) else 1)


def test_a_message_error_says_what_is_wrong_and_how_much_came():
    payload = np.zeros(3, np.uint8)
    with pytest.raises(MessageError, match=r"the payload is too short \(3 bytes for 100 coord"):
        COMPRESSORS["norm_sign"].decode_add(
            payload, 1.0, np.zeros(100), make_key(0, 0, 0), {}, Workspace()
        )


# The laws must be able to fail: each of these breaks one of them.


@dataclass(frozen=True)
class Sound(Compressor):
    """One byte per coordinate, round(x) modulo nothing: a compressor to be broken below."""

    def guarantees(self, d):
        return (Absolute(p=np.inf, C=0.5), Local(p=np.inf, phi=0.5))

    def magnitudes(self):
        return 0.0, 100.0

    def max_nbytes(self, d):
        return d

    def encode(self, x, out, key, state, work):
        out[: x.size] = np.clip(np.floor(x + 0.5), -127, 127).astype(np.int8).view(np.uint8)
        return x.size

    def decode_add(self, payload, weight, acc, key, state, work):
        if payload.size < acc.size:
            raise MessageError("too short")
        acc += weight * payload[: acc.size].view(np.int8)
        return acc.size


class ClaimsTooMuch(Sound):
    def guarantees(self, d):
        return (Absolute(p=np.inf, C=0.4),)


class ClaimsRelative(Sound):
    def guarantees(self, d):
        return (Relative(r=1.0, psi=0.5),)


class UsesMoreThanItSays(Sound):
    def max_nbytes(self, d):
        return d - 1


class WritesOutside(Sound):
    def encode(self, x, out, key, state, work):
        out.base[0] = 1
        return super().encode(x, out, key, state, work)


class ChangesItsInput(Sound):
    def encode(self, x, out, key, state, work):
        np.round(x, 3, out=x)
        return super().encode(x, out, key, state, work)


class LeavesOldBytes(Sound):
    def encode(self, x, out, key, state, work):
        return super().encode(x[:-1], out, key, state, work) + 1


class WritesBeforeItRaises(Sound):
    def decode_add(self, payload, weight, acc, key, state, work):
        if payload.size < acc.size:
            acc[0] = 1
        return super().decode_add(payload, weight, acc, key, state, work)


class TrustsTheLength(Sound):
    def decode_add(self, payload, weight, acc, key, state, work):
        acc[: payload.size] += weight * payload[: acc.size].view(np.int8)
        return acc.size


class TakesAllBytes(Sound):
    def decode_add(self, payload, weight, acc, key, state, work):
        super().decode_add(payload, weight, acc, key, state, work)
        return payload.size


class OverwritesAcc(Sound):
    def decode_add(self, payload, weight, acc, key, state, work):
        start = acc.copy()
        used = super().decode_add(payload, weight, acc, key, state, work)
        acc -= start
        return used


class ForgetsOneEnd(Sound):
    def new_state(self, d):
        return {"count": np.zeros(1)}

    def encode(self, x, out, key, state, work):
        state["count"] += 1
        return super().encode(x, out, key, state, work)


def test_the_sound_one_passes():
    check_compressor(Sound(), 9)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (ClaimsTooMuch, r"allows 0\.16"),
        (ClaimsRelative, "Relative"),
        (UsesMoreThanItSays, "max_nbytes is 8|broadcast"),
        (WritesOutside, "outside its buffer"),
        (ChangesItsInput, "changed x"),
        (LeavesOldBytes, "other bytes"),
        (WritesBeforeItRaises, "before it raised"),
        (TrustsTheLength, "decode without an error"),
        (TakesAllBytes, "what follows"),
        (OverwritesAcc, "does not add"),
        (ForgetsOneEnd, "state 'count' differs"),
    ],
)
def test_a_broken_compressor_is_caught(broken, sentence):
    with pytest.raises((AssertionError, ValueError), match=sentence):
        check_compressor(broken(), 9)


@pytest.mark.parametrize(
    ("row", "changes", "d", "sentence"),
    [
        ("top_k", {"fraction": None, "k": 50}, 20,
         r"compressor\.k = 50 is larger than the dimension 20; accepted: 1 to 20\."),
        ("top_k", {"values": COMPRESSORS["uniform"]}, 20,
         r"compressor\.values has no relative guarantee"),
        ("top_k", {"values": COMPRESSORS["quantize-8-two"]}, 10**8,
         r'compressor\.values\.bits = 8 with norm = "two"'),
        ("quantize-8-two", {}, 10**5, r"or at least 9 bits"),
    ],
)  # fmt: skip
def test_parameters_that_do_not_fit_the_dimension(row, changes, d, sentence):
    compressor = replace(COMPRESSORS[row], **changes)
    with pytest.raises(ConfigError, match=sentence):
        compressor.check(d)
