"""The compressor fixed_point: what the shared laws do not reach."""

import numpy as np
import pytest

from distopt.compressors.base import Local, Relative, compress
from distopt.compressors.fixed_point import FixedPoint
from distopt.core.errors import ConfigError, DivergedError, MessageError
from distopt.core.randomness import make_key, normal
from distopt.core.workspace import Workspace
from distopt.fixedpoint import Format, Rounding, decode, encode
from distopt.testing import check_compressor


@pytest.mark.parametrize("d", [7, 100])
@pytest.mark.parametrize(
    "compressor",
    [
        FixedPoint(bits=2, mode="SR"),
        FixedPoint(bits=3, mode="SR", block=6),
        FixedPoint(bits=12, mode="SR"),
        FixedPoint(format="Q4.4", mode="SR"),
        FixedPoint(bits=5, mode="RU"),
    ],
    ids=str,
)
def test_laws(compressor, d):
    check_compressor(compressor, d, samples=200)


@pytest.mark.parametrize("bits", [2, 3, 8, 16])
@pytest.mark.parametrize("n", [1, 2, 5, 50])
def test_constant_of_sr_is_attained(bits, n):
    """The largest entry just above K/2 steps, the others at the worst fraction: within 1 % of w."""
    k = 2.0 ** (bits - 1) - 1
    w = FixedPoint(bits=bits, mode="SR").guarantee(n, Relative).r - 1
    f = 1 / (2 * (1 + w))  # maximises f (1 - f) - w f^2
    # K is odd, so K/2 has the fraction 1/2.
    ratio = (1 / 4 + (n - 1) * f * (1 - f)) / (k**2 / 4 + (n - 1) * f**2)
    assert ratio == pytest.approx(w, rel=1e-9)


@pytest.mark.parametrize("mode", ["RN", "RD", "RU", "RZ", "SR", "SR_eps"])
@pytest.mark.parametrize("text", ["Q3.5", "Q1.15", "Q2.2"])
def test_a_format_gives_what_encode_gives(mode, text):
    """The same codes as with 32 random bits a value: word i belongs to coordinate i."""
    eps = 0.25 if mode == "SR_eps" else 0.0
    x, key = 3 * normal(make_key(1, 0, 0), 3000), make_key(5, 1, 2, 3)
    _, decoded = compress(FixedPoint(format=text, mode=mode, eps=eps), x, key)
    q = Format.parse(text)
    assert ((decoded >= q.lowest) & (decoded <= q.highest)).all()
    inside = np.clip(x, q.lowest, q.highest)
    assert (np.abs(decoded - inside) < q.unit).all()
    if mode in {"RN", "RD", "RU", "RZ"}:
        np.testing.assert_array_equal(decoded, decode(encode(x, q, Rounding(mode)).codes, q))


def test_units_follow_the_blocks():
    x = np.concatenate([np.full(4, 1000.0), np.full(4, 1e-3), np.zeros(4), np.full(2, -3.0)])
    payload, decoded = compress(FixedPoint(bits=8, block=4), x)
    assert len(payload) == 4 * 2 + 14
    np.testing.assert_allclose(decoded, x, rtol=2.0**-7)
    assert (decoded[8:12] == 0).all()


def test_damage_is_refused():
    compressor, x = FixedPoint(bits=4, block=3), np.array([1.0, 2.0, 3.0, -1.0])
    payload = np.frombuffer(compress(compressor, x)[0], np.uint8)
    for at, value, sentence in [(1, 0x7F, "scale"), (4, 0x00, "code"), (4, 0xF0, "code")]:
        broken = payload.copy()
        broken[at] = value
        acc = np.zeros(4)
        with pytest.raises(MessageError, match=sentence):
            compressor.decode_add(broken, 1.0, acc, make_key(0, 0, 0), {}, Workspace())
        assert not acc.any()


def test_classes():
    assert [type(g) for g in FixedPoint(bits=6, mode="SR_eps", eps=0.1).guarantees(9)] == [Local]
    assert [type(g) for g in FixedPoint().guarantees(9)] == [Relative, Local]
    assert FixedPoint(format="Q1.7").guarantee(9) == Local(p=np.inf, phi=1 - 2.0**-7)
    assert FixedPoint(format="Q2.6").guarantee(9) == Local(p=np.inf, phi=1 - 2.0**-7)


def test_refusals():
    for make, sentence in {
        lambda: FixedPoint(format="Q8.16"): "has 24 bits; accepted: 2 to 16",
        lambda: FixedPoint(format="8"): "not a fixed-point format",
        lambda: FixedPoint(
            format="Q1.7", bits=8
        ): "compressor.bits has no meaning with compressor.format",
        lambda: FixedPoint(format="Q1.7", block=8): "compressor.block has no meaning",
        lambda: FixedPoint(eps=0.1): "compressor.eps = 0.1 means nothing",
        lambda: FixedPoint(format="Q2.0", mode="SR").check(3): "is too coarse",
        lambda: FixedPoint(bits=2, mode="RZ").check(3): "compressor.bits = 2 is too coarse",
    }.items():
        with pytest.raises(ConfigError, match=sentence):
            make()
    with pytest.raises(DivergedError, match=r"beyond 2.1000, which fixed_point does not send"):
        compress(FixedPoint(), [2.0**1001])
