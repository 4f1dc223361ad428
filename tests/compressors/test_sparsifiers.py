"""top_k, rand_k, unbiased_rand_k: what they choose, and chains with compressors of the values."""

import numpy as np
import pytest

from distopt.compressors.base import Absolute, Local, Relative, compress
from distopt.compressors.cast import Cast
from distopt.compressors.coders.indices import indices_nbytes
from distopt.compressors.identity import Identity
from distopt.compressors.norm_sign import NormSign
from distopt.compressors.quantize import Quantize
from distopt.compressors.rand_k import RandK, sample
from distopt.compressors.top_k import TopK
from distopt.compressors.unbiased_rand_k import UnbiasedRandK
from distopt.compressors.uniform import Uniform
from distopt.core.errors import ConfigError, MessageError
from distopt.core.randomness import make_key, normal, words
from distopt.core.streams import Stream
from distopt.core.workspace import Workspace


def largest(x, k):
    """The twin: a stable sort keeps the lowest index of equals first."""
    return np.sort(np.argsort(-np.abs(x), kind="stable")[:k])


def only(x, chosen):
    kept = np.zeros_like(x)
    kept[chosen] = x[chosen]
    return kept


@pytest.mark.parametrize("d", [1, 2, 7, 100, 5000, 20_000])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 0.99, 1.0])
def test_top_k_equals_a_stable_sort(share, d):
    k = max(1, int(share * d))
    g = normal(make_key(d, 0, 0), d)
    for x in (
        g, np.ones(d), np.zeros(d), np.round(g), g * (np.arange(d) % 10 == 0), 1 + 1e-14 * g,
        g * 10.0 ** np.clip(100 * np.roll(g, 1), -290, 290), np.sort(g),
        np.where(np.arange(d) < d // 2, g, 1e9),
    ):  # fmt: skip
        payload, decoded = compress(TopK(k=k), x)
        np.testing.assert_array_equal(decoded, only(x, largest(x, k)))
        assert len(payload) <= indices_nbytes(d, k) + 8 * k


def test_top_k_is_right_where_its_sample_misleads():
    # All large entries where the sample does not look, and then only where it does.
    d = 1 << 15
    sampled = {int((j * 0x9E3779B97F4A7C15 % 2**64 >> 40) * d >> 24) for j in range(1 << 12)}
    seen = np.isin(np.arange(d), list(sampled))
    for large in (seen, ~seen):
        x = normal(make_key(1, 0, 0), d) + 100 * large
        for k in (10, 300, 5000):
            np.testing.assert_array_equal(compress(TopK(k=k), x)[1], only(x, largest(x, k)))


@pytest.mark.parametrize(
    ("given", "d", "kept"), [(0.1, 30, 3), (0.1, 5, 1), (0.5, 5, 3), (1.0, 5, 5), (1e-9, 5, 1)]
)
def test_a_fraction_is_rounded(given, d, kept):
    assert TopK(fraction=given).count(d) == kept


def floyd(d, k, key):
    """The twin of the sampling: Floyd's method on words, in plain Python."""
    stream = iter(words(key, 4 * k + 64).tolist())
    members = set()
    for j in range(d - k, d):
        product = next(stream) * (j + 1)
        while product % 2**32 < 2**32 % (j + 1):
            product = next(stream) * (j + 1)
        t = product >> 32
        members.add(j if t in members else t)
    return sorted(members)


@pytest.mark.parametrize(("d", "k"), [(1, 1), (2, 1), (64, 64), (65, 3), (1000, 100), (5000, 4000)])
def test_rand_k_chooses_as_floyd_does(d, k):
    x = normal(make_key(d, 0, 0), d)
    for seed in range(3):
        key = make_key(seed, 0, 0)
        payload, decoded = compress(RandK(k=k), x, key)
        np.testing.assert_array_equal(decoded, only(x, floyd(d, k, key)))
        assert len(payload) == 8 * k
        _, unbiased = compress(UnbiasedRandK(k=k), x, key)
        np.testing.assert_array_equal(unbiased, d / k * decoded)


def test_rand_k_chooses_every_subset_equally_often():
    # chi-square with 9 degrees of freedom over the 10 pairs of 5; 41 is exceeded with 5e-6.
    counts, n = {}, 5000
    for seed in range(n):
        chosen = tuple(np.flatnonzero(compress(RandK(k=2), np.ones(5), make_key(seed, 0, 0))[1]))
        counts[chosen] = counts.get(chosen, 0) + 1
    assert len(counts) == 10
    assert sum((c - n / 10) ** 2 / (n / 10) for c in counts.values()) < 41


def test_rand_k_rejects_words_that_would_favour_some():
    # 2^32 mod (j + 1) is nearly j + 1: of 500 draws about 15 take a second word.
    d, k, key = 130_151_100, 500, make_key(5, 0, 0)
    taken = words(key, k).astype(object) * [j + 1 for j in range(d - k, d)]
    assert sum(int(p) % 2**32 < 2**32 % (d - k + 1 + i) for i, p in enumerate(taken)) > 5
    chosen = np.zeros(k + 1, np.int64)
    sample(d, k, key, np.zeros(1024, np.uint32), np.zeros(d // 64 + 1, np.int64), chosen)
    assert chosen[:k].tolist() == floyd(d, k, key)


VALUES = {
    "identity": Identity(),
    "cast": Cast(dtype="float16"),
    "norm_sign": NormSign(),
    "quantize": Quantize(bits=3),
    "dithered": Quantize(bits=3, dithered=True),
}


@pytest.mark.parametrize("values", VALUES.values(), ids=list(VALUES))
def test_a_chain_compresses_the_kept_values(values):
    x, key = normal(make_key(1, 0, 0), 300), make_key(2, 0, 3, iteration=4)
    inner_key = make_key(2, 0, 3 + Stream.VALUES, iteration=4)
    for outer in (TopK, RandK, UnbiasedRandK):
        compressor = outer(k=40, values=values)
        chosen = largest(x, 40) if outer is TopK else floyd(300, 40, key)
        payload, decoded = compress(compressor, x, key)
        inner_payload, kept = compress(values, x[chosen], inner_key)
        assert payload.endswith(inner_payload)
        factor = compressor.factor(300)
        np.testing.assert_array_equal(decoded[chosen], factor * kept)
        assert np.count_nonzero(decoded) <= 40
        inner, whole = values.guarantee(40, Relative), compressor.guarantee(300, Relative)
        assert whole.r == pytest.approx(factor * inner.r)
        assert whole.psi == pytest.approx(inner.psi * 40 / 300)


def test_keeping_all_has_the_guarantees_of_the_values():
    assert TopK(k=9, values=Uniform()).guarantees(9) == Uniform().guarantees(9)
    assert TopK(k=9).guarantee(9, Absolute) == Absolute(p=np.inf, C=0.0)
    assert TopK(k=8).guarantee(9, Local) is None


def test_values_may_be_a_table():
    made = TopK(k=3, values={"name": "quantize", "bits": 2})
    assert made == TopK(k=3, values=Quantize(bits=2))


def test_damaged_values_behind_good_indices_change_nothing():
    compressor = TopK(k=3, values=NormSign())
    payload = np.frombuffer(compress(compressor, normal(make_key(1, 0, 0), 50))[0], np.uint8).copy()
    acc = np.ones(50)
    payload[-2] = 0xFF  # the scale's highest byte
    with pytest.raises(MessageError, match="a scale is negative"):
        compressor.decode_add(payload, 1.0, acc, make_key(0, 0, 0), {}, Workspace())
    assert (acc == 1).all()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, r"but none is given; accepted: exactly one of the two\."),
        ({"k": 1, "fraction": 0.5}, "but both are given"),
        ({"k": 0}, r"compressor\.k = 0 is not acceptable; accepted: a number >= 1\."),
        ({"fraction": 1.5}, r"compressor\.fraction = 1\.5 is not acceptable"),
        ({"k": 1, "values": {"bits": 3}}, r"compressor\.values\.name is missing"),
        ({"k": 1, "values": {"name": "quantise"}},
         r'compressor\.values\.name = "quantise" is not known; did you mean "quantize"\?'),
        ({"k": 1, "values": {"name": "quantize", "bits": 99}},
         r"compressor\.values\.bits = 99 is not acceptable; accepted: a number <= 15\."),
        ({"k": 1, "values": {"name": "quantize", "bit": 9}},
         r'compressor\.values\.bit is not known; did you mean "bits"\?'),
        ({"k": 1, "values": {"name": "top_k", "k": 1}}, "is a sparsifier itself"),
        ({"k": 1, "values": 7}, r"compressor\.values = 7 is not acceptable"),
    ],
)  # fmt: skip
def test_arguments_are_refused_with_a_sentence(arguments, sentence):
    with pytest.raises(ConfigError, match=sentence):
        TopK(**arguments)
