"""One compressor per layer: the cost's blocks, dead blocks that cost a bit, zeros that stay zero."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distopt.compressors.base import Absolute, Local, Relative, compress
from distopt.compressors.blockwise import Blockwise, block_key, together
from distopt.compressors.laws import check_compressor, check_guarantees
from distopt.compressors.norm_sign import NormSign
from distopt.compressors.one_bit import OneBit
from distopt.compressors.quantize import Quantize
from distopt.compressors.ternary import Ternary
from distopt.compressors.top_k import TopK
from distopt.compressors.uniform import Uniform
from distopt.config.build import make_config
from distopt.core.errors import ConfigError, MessageError
from distopt.core.randomness import make_key, normal
from distopt.core.workspace import Workspace
from distopt.engine.run import run
from distopt.problems.costs.networks.family import LISTA

FAMILY = LISTA(m=10, n=4, layers=3, samples=20)
SIZES = (40, 100) * 3  # W1 and W2 of each layer
DEAD = slice(40, 140)  # W2 of the first
VALUES = [
    Quantize(bits=3),
    Quantize(bits=2, dithered=True),
    Ternary(),
    NormSign(),
    TopK(fraction=0.3, values=Quantize(bits=2, dithered=True)),
    Uniform(delta=0.25),
    Uniform(delta=0.3, dithered=True),
    OneBit(),
]


def gradient():
    cost = FAMILY.cost(0, 1, 0)
    out = np.empty(cost.dimension)
    cost.gradient(cost.start, out)
    return out


def configure(compressor, problem=None, **run):
    return make_config(
        {
            "problem": {"name": "lista", "m": 10, "n": 4, "layers": 3, "samples": 20, "agents": 4}
            | (problem or {}),
            "algorithm": {"name": "cgt1", "eta": 0.1, "gamma": 0.3, "alpha": 1.0},
            "compressor": {"name": "blockwise"} | compressor,
            "run": {"iterations": 60, "record_every": 1} | run,
        },
        Path(),
    )


def test_the_blocks_are_those_of_the_cost_and_are_written_out(tmp_path):
    config = configure({"values": {"name": "quantize", "bits": 2}})
    assert config.compressor.sizes == SIZES
    text = config.to_toml()
    (tmp_path / "config.toml").write_text(text)
    assert configure(
        {"sizes": list(SIZES), "values": {"name": "quantize", "bits": 2}}
    ).compressor == (config.compressor)


@pytest.mark.parametrize("values", VALUES, ids=repr)
def test_a_block_is_compressed_as_if_it_were_alone(values):
    compressor, key = Blockwise(values=values, sizes=(3, 17, 1, 30)), make_key(5, 2, 1, 7)
    x = normal(make_key(1, 0, 0), 51)
    x[3:20] = 0.0
    parts = [(0, x[:3]), (2, x[20:21]), (3, x[21:])]
    alone = [compress(values, part, block_key(key, b, Workspace())) for b, part in parts]
    payload, decoded = compress(compressor, x, key)
    assert payload == bytes([0b1101]) + b"".join(part for part, _ in alone)
    expected = np.concatenate([alone[0][1], np.zeros(17), alone[1][1], alone[2][1]])
    np.testing.assert_array_equal(decoded, expected)
    check_compressor(compressor, 51, samples=10)


def test_the_dead_block_of_a_network_costs_one_bit_and_stays_zero():
    g = gradient()
    assert not g[DEAD].any()
    key, bounds = make_key(1, 2, 3), np.cumsum([0, *SIZES])
    for values in VALUES:
        payload, decoded = compress(Blockwise(values=values, sizes=SIZES), g, key)
        parts = [(b, g[bounds[b] : bounds[b + 1]]) for b in range(6) if b != 1]
        alone = [compress(values, part, block_key(key, b, Workspace()))[0] for b, part in parts]
        assert len(payload) == 1 + sum(map(len, alone))
        assert not decoded[DEAD].any()


@pytest.mark.parametrize("values", VALUES[:3] + VALUES[4:7], ids=repr)
def test_entries_that_are_zero_stay_zero(values):
    x = normal(make_key(2, 0, 0), 60) * (np.arange(60) % 3 == 0)
    for seed in range(5):
        _, decoded = compress(Blockwise(values=values, block=20), x, make_key(seed, 0, 0))
        assert not decoded[x == 0].any()
        assert decoded.any()


def test_blocks_of_different_size_keep_their_accuracy():
    """What it is for: one scale for layers of different magnitude loses the small ones."""
    x = normal(make_key(3, 0, 0), 1000)
    x[:500] *= 1e-4
    _, one = compress(Quantize(bits=4), x)
    _, each = compress(Blockwise(values=Quantize(bits=4), sizes=(500, 500)), x)
    assert not one[:500].any()
    assert np.linalg.norm((each - x)[:500]) < 0.2 * np.linalg.norm(x[:500])


def test_in_a_run_the_dead_block_soon_costs_nothing(tmp_path):
    """Its x is the start's for ever: once the memory holds it, its difference is exactly zero."""
    values = {"values": {"name": "quantize", "bits": 4}}
    rows = run(configure(values), engine="simulate").rows
    spent = np.diff([row["bytes_per_agent"] for row in rows])
    dead = 4 + 5 * 100 / 8  # scale and codes of one vector
    assert spent[0] - spent[-1] == pytest.approx(dead, abs=1)  # y's costs nothing from the start
    assert spent[40:].max() == spent[-1]


def test_nothing_is_written_where_a_later_block_is_damaged():
    compressor, key = Blockwise(values=Quantize(bits=4), sizes=(8, 8)), make_key(0, 0, 0)
    payload = np.frombuffer(compress(compressor, normal(key, 16), key)[0], np.uint8).copy()
    payload[-1] = 0xFF  # no code of the second block
    acc = np.ones(16)
    with pytest.raises(MessageError, match="a code is none that the sender can produce"):
        compressor.decode_add(payload, 1.0, acc, key, {}, Workspace())
    assert (acc == 1.0).all()


@pytest.mark.parametrize("values", VALUES, ids=repr)
@given(data=st.data())
def test_guarantees_hold_for_drawn_blocks(values, data):
    sizes = tuple(data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=5)))
    scales = data.draw(st.lists(st.floats(1e-6, 1e6), min_size=len(sizes), max_size=len(sizes)))
    seed = data.draw(st.integers(0, 1000))
    parts = [
        scale * normal(make_key(seed, b, 0), n)
        for b, (n, scale) in enumerate(zip(sizes, scales, strict=True))
    ]
    compressor = Blockwise(values=values, sizes=sizes)
    check_guarantees(compressor, np.concatenate(parts), samples=20, seed=seed)


def test_constants():
    assert together([Relative(1.0, 0.5), Relative(1.0, 0.25)]) == Relative(1.0, 0.25)
    joint = together([Relative(4.0, 0.25), Relative(1.0, 0.75)])
    assert joint.r == 4.0
    assert joint.psi == pytest.approx(min(0.25, 1 - (1 - 0.25 * 0.5) ** 2))
    assert together([Absolute(2, 3.0), Absolute(2, 4.0)]) == Absolute(2, 5.0)
    assert together([Local(np.inf, 0.5), Local(np.inf, 0.75)]) == Local(np.inf, 0.5)
    assert together([Local(2, 0.4), Local(2, 0.2)]) is None  # errors of norm 1
    assert together([Local(2, 0.4), Local(2, 0.4)]).phi == pytest.approx(1 - 0.6 * 2**0.5)


def test_the_bound_for_unequal_r_is_attained_up_to_the_inequality():
    """norm_sign: r = d / 2 differs by block; its worst case for the joint r is a one-hot small block."""
    compressor = Blockwise(values=NormSign(), sizes=(4, 40))
    (joint,) = [g for g in compressor.guarantees(44) if isinstance(g, Relative)]
    x = np.zeros(44)
    x[0] = 1.0
    _, decoded = compress(compressor, x)
    error = np.linalg.norm(decoded / joint.r - x) ** 2
    assert 0.95 < error <= 1 - joint.psi


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"sizes": [40, 100]}, r"sizes add up to 140, but the dimension is 420"),
        ({"sizes": [40, 0, 380]}, r"compressor\.sizes .* >= 1"),
        ({"sizes": [420], "block": 7}, r"are both given"),
        ({"values": {"name": "blockwise"}}, r"compressor\.values is blockwise itself"),
        ({"values": {"name": "top_k", "k": 50}}, r"block of 40 .* compressor\.values\.k = 50"),
        ({"values": {"name": "one_bit"}}, r"needs a compressor with a relative guarantee"),
        ({"values": {"name": "zoom"}}, r"is a zooming compressor, .* use it without blockwise"),
        ({"values": {"name": "quantise"}}, r'did you mean "quantize"'),
    ],
)
def test_what_does_not_fit_is_refused(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        configure(options)


def test_a_cost_without_blocks_needs_them_said():
    with pytest.raises(ConfigError, match="the cost has no attribute blocks"):
        make_config(
            {
                "problem": {"name": "pl", "agents": 4},
                "algorithm": {"name": "cgt1", "eta": 0.01, "gamma": 0.1},
                "compressor": {"name": "blockwise"},
            },
            Path(),
        )


def test_too_many_blocks_are_refused():
    with pytest.raises(ConfigError, match=r"block = 1 makes 40000 blocks .* accepted: 2 or more"):
        Blockwise(block=1).check(40_000)
    Blockwise(block=2).check(40_000)
