"""Noise on what another compressor says: whose it is, how large, and what is refused."""

import numpy as np
import pytest
from run_table import configure, play

from distopt.compressors.base import Absolute, Local, compress
from distopt.compressors.noisy import Noisy
from distopt.compressors.one_bit import OneBit
from distopt.compressors.uniform import Uniform
from distopt.core.errors import ConfigError
from distopt.core.randomness import make_key, words
from distopt.core.streams import Stream

D = 1500  # more than one tile of random words


@pytest.mark.parametrize(("agent", "k", "v"), [(0, 0, 0), (3, 17, 1), (3, 18, 1)])
def test_noise_is_the_word_of_sender_iteration_vector_and_index(agent, k, v):
    x = np.linspace(-1, 1, D)
    key = make_key(5, agent, Stream.MESSAGE + v, k)
    payload, found = compress(Noisy(noise=0.25, values=OneBit()), x, key)
    plain, wanted = compress(OneBit(), x, key)
    u = words(make_key(5, agent, Stream.CHANNEL + v, k), D) / 2.0**31 - 1
    np.testing.assert_array_equal(found, wanted + 0.25 * u)
    assert payload == plain


def test_constants():
    assert Noisy(noise=0.2, values=OneBit()).guarantees(9) == (Local(np.inf, 0.3),)
    dithered = Uniform(delta=0.3, dithered=True)  # in the 2-norm
    inner, outer = dithered.guarantee(9, Absolute), Noisy(noise=0.2, values=dithered)
    assert abs(outer.guarantee(9, Absolute).C - (inner.C + 0.2 * 3)) < 1e-12


@pytest.mark.parametrize(
    ("algorithm", "table", "sentence"),
    [
        ("cgt3", {"noise": 0.5, "values": {"name": "one_bit"}}, r"noise = 0.5 .* less noise than"),
        ("cgt3", {"values": {"name": "ternary"}}, r"neither an absolute nor a local guarantee"),
        ("zed", {"values": {"name": "zoom"}}, r"neither an absolute nor a local guarantee"),
        ("cgt1", {}, r'"noisy" has none; cgt3 or dyna_cold takes it'),
        ("cgt3", {"noise": 0}, r"compressor.noise = 0 is not acceptable"),
        ("cgt3", {"values": {"name": "two_bit"}}, r'compressor.values.name = "two_bit" is not known'),
    ],
)  # fmt: skip
def test_what_noise_cannot_follow_is_refused(algorithm, table, sentence):
    config = configure("cgt3", "noisy")
    settings = [
        f"algorithm.name={algorithm}",
        *(f"compressor.{k}={toml(v)}" for k, v in table.items()),
    ]
    with pytest.raises(ConfigError, match=sentence):
        config.with_settings(["compressor.values={name = 'saturating'}", *settings])


def toml(value):
    return "{" + f"name = '{value['name']}'" + "}" if isinstance(value, dict) else value


def test_a_method_that_scales_converges_through_noise():
    _, result = play(configure("dyna_cold", "noisy", iterations=400, record_every=400))
    first, last = (result.rows[at]["stationarity"] for at in (0, -1))
    assert last < 1e-3 * first
    assert result.summary["ball_violations"] == 0
