"""zed, zed1 and their compressors: scales, states at both ends, refusals."""

import pickle
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from run_table import configure, play

import distopt
from distopt.algorithms import REGISTRY
from distopt.algorithms.cgt3_zoom import ZoomingTracking3
from distopt.compressors.base import compress
from distopt.compressors.zoom import Zoom
from distopt.compressors.zoom_sign import ZoomSign
from distopt.compressors.zooming import LARGEST, OCTAVE, first_byte, power_of_two
from distopt.config.build import make_config
from distopt.core.errors import ConfigError, MessageError
from distopt.core.randomness import make_key, normal
from distopt.core.workspace import Workspace
from distopt.engine.run import run

KEY = make_key(0, 0, 0)


def test_powers_of_two_are_correct_to_two_units():
    levels = np.random.default_rng(1).integers(-LARGEST, LARGEST, 300).tolist()
    for level in [*levels, -LARGEST, LARGEST, 0, 1, -1, OCTAVE - 1]:
        found = Fraction(power_of_two(level))
        # found^65536 / 2^level = (1 + error)^65536, in whole numbers scaled down for size.
        whole, fraction = divmod(level, OCTAVE)
        exact = Fraction(float(np.exp2(np.longdouble(fraction) / OCTAVE))) * Fraction(2) ** whole
        assert abs(found / exact - 1) < Fraction(1, 2**51)
    assert [power_of_two(OCTAVE * k) for k in (-1000, -1, 0, 3, 1000)] == [
        2.0**-1000, 0.5, 1.0, 8.0, 2.0**1000
    ]  # fmt: skip


def test_first_scale_is_the_nearest_octave():
    for x in (1e-30, 0.70, 0.71, 1.0, 1.41, 1.42, 3.0, 1e20):
        assert first_byte(x) == 128 + round(np.log2(x))
    assert (first_byte(0.0), first_byte(1e-300), first_byte(1e300)) == (0, 1, 255)


@pytest.mark.parametrize("compressor", [Zoom(), Zoom(alone=False), ZoomSign()])
def test_scale_follows_a_shrinking_vector(compressor):
    """An h += C(x - h) that follows a fixed x gets as close as float64 allows: no floor, no mu."""
    d = 40
    x, h = normal(make_key(1, 0, 0), d), np.zeros(d)
    sender, receiver = compressor.new_state(d), compressor.new_state(d)
    out = np.zeros(compressor.max_nbytes(d), np.uint8)
    for _ in range(400):
        payload = out[: compressor.encode(x - h, out, KEY, sender, Workspace())]
        compressor.decode_add(payload, 0.8, h, KEY, receiver, Workspace())
        for name, array in sender.items():
            np.testing.assert_array_equal(array, receiver[name])
    assert np.abs(x - h).max() < 1e-14


def test_a_coordinate_that_moves_alone_is_not_left_behind():
    """The mean of the codes says that nearly all are at rest; the step once fell below all reach."""
    d, compressor = 1000, Zoom()
    x, h = normal(make_key(1, 0, 0), d), np.zeros(d)
    sender, receiver = compressor.new_state(d), compressor.new_state(d)
    out, work = np.zeros(compressor.max_nbytes(d), np.uint8), Workspace()
    for _ in range(200):
        x[7] += 1.0
        nbytes = compressor.encode(x - h, out, KEY, sender, work)
        compressor.decode_add(out[:nbytes], 0.8, h, KEY, receiver, work)
    assert abs(x - h)[7] == pytest.approx(
        0.2 / 0.8, abs=0.02
    )  # it lags by what 0.8 leaves of a step
    assert abs(np.delete(x - h, 7)).max() < 0.02
    assert nbytes < d / 100


def test_scale_grows_back_from_far_too_small():
    compressor, d = Zoom(), 40
    x, h, state, other = np.full(d, 1e6), np.zeros(d), *(Zoom().new_state(40) for _ in range(2))
    out = np.zeros(compressor.max_nbytes(d), np.uint8)
    used = compressor.encode(np.full(d, 1e-6), out, KEY, state, Workspace())
    compressor.decode_add(out[:used], 0.0, h, KEY, other, Workspace())
    for _ in range(150):
        used = compressor.encode(x - h, out, KEY, state, Workspace())
        compressor.decode_add(out[:used], 0.8, h, KEY, other, Workspace())
    assert np.abs(x - h).max() < 1e-3


@pytest.mark.parametrize("kind", [Zoom, ZoomSign])
def test_blocks_have_scales_of_their_own_and_start_when_they_are_not_zero(kind):
    d = 12
    assert kind().fitted(lambda: [0, 4, 8, 12]).sizes is None
    compressor = kind(per_block=True).fitted(lambda: [0, 4, 8, 12])
    assert compressor.sizes == (4, 4, 4)
    compressor.check(d)
    x = np.concatenate([np.full(4, 1e-8), np.zeros(4), np.full(4, 1e8)])
    sender, receiver = compressor.new_state(d), compressor.new_state(d)
    out, found = np.zeros(compressor.max_nbytes(d), np.uint8), np.zeros(d)
    used = compressor.encode(x, out, KEY, sender, Workspace())
    assert out[:3].tolist() == [128 - 27, 0, 128 + 27]
    assert compressor.decode_add(out[:used], 1.0, found, KEY, receiver, Workspace()) == used
    assert (found[4:8] == 0).all()
    for part in (slice(0, 4), slice(8, 12)):
        assert np.abs(found[part] / x[part] - 1).max() < 0.8
    x[4:8], found[:] = 3.0, 0.0
    used = compressor.encode(x, out, KEY, sender, Workspace())
    assert out[0] == 128 + 2  # only the middle block needs a first scale now
    compressor.decode_add(out[:used], 1.0, found, KEY, receiver, Workspace())
    assert np.abs(found[4:8] / 3.0 - 1).max() < 0.8
    with pytest.raises(ConfigError, match="sizes add up to 12, but the dimension is 13"):
        compressor.check(13)


@pytest.mark.parametrize("compressor", [Zoom(alone=False), ZoomSign()])
def test_a_message_that_is_refused_changes_nothing(compressor):
    d = 50
    x = normal(make_key(2, 0, 0), d)
    payload, _ = compress(compressor, x)
    state, acc = compressor.new_state(d), np.zeros(d)
    before = {name: array.copy() for name, array in state.items()}
    for nbytes in range(len(payload)):
        cut = np.frombuffer(payload[:nbytes], np.uint8).copy()
        with pytest.raises(MessageError):
            compressor.decode_add(cut, 1.0, acc, KEY, state, Workspace())
    assert not acc.any()
    for name, array in state.items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("name", ["zed", "zed1"])
def test_corrections_sum_to_zero_and_every_replica_equals_its_owner(name):
    session, result = play(
        configure(name, "zoom" if name == "zed" else "zoom_sign", iterations=400)
    )
    agents = {h.agent.index: h for h in session.hosted}
    D = np.array([h.state.D for h in agents.values()])
    assert np.abs(D.sum(axis=0)).max() <= 1e-12 * np.abs(D).max()
    assert result.rows[-1]["stationarity"] < 1e-20
    for h in agents.values():
        arrays = h.agent.codec_arrays()
        for j in h.agent.neighbours:
            for key, array in agents[j].agent.codec_arrays().items():
                if key.startswith("encoder.0."):
                    mine = arrays[key.replace("encoder.", f"decoder.{j}.")]
                    np.testing.assert_array_equal(mine, array)


def build(algorithm, compressor=None, **settings):
    return make_config(
        {
            "problem": {"name": "quadratic", "agents": 6, "dimension": 20},
            "algorithm": algorithm,
            "compressor": compressor or {},
            "run": {"iterations": 600, "stop": {"stationarity": 1e-10}} | settings,
        },
        Path(),
    )


@pytest.mark.parametrize(
    ("algorithm", "compressor", "words"),
    [
        ({"name": "zed"}, {"name": "norm_sign"}, "needs a compressor with an adaptive guarantee"),
        ({"name": "cgt1"}, {"name": "zoom"}, "zed or zed1 takes it"),
        ({"name": "cgt3", "scale": "zoom", "mu": 0.9}, {}, r"algorithm\.mu = 0\.9 has no meaning"),
        ({"name": "cgt3", "scale": "zoom"}, {"name": "zoom"}, r"set compressor\.alone = false"),
        ({"name": "zed", "alpha": 1.0}, {}, r"algorithm\.alpha = 1\.0 is not acceptable"),
    ],
)
def test_pairs_that_make_no_sense_are_refused(algorithm, compressor, words):
    with pytest.raises(ConfigError, match=words):
        build(algorithm, compressor)


def test_default_compressors():
    assert build({"name": "zed"}).compressor == Zoom()
    assert build({"name": "zed1"}).compressor == ZoomSign()
    assert build({"name": "cgt3", "scale": "zoom"}).compressor == ZoomSign()


def test_cgt3_with_zoom_is_a_form_of_its_own():
    preset = distopt.CompressedTracking3(eta=0.1, gamma=0.5)
    zooming = distopt.CompressedTracking3(eta=0.1, gamma=0.5, scale="zoom")
    assert type(preset) is distopt.CompressedTracking3
    assert type(zooming) is ZoomingTracking3
    for form in (preset, zooming):
        assert REGISTRY.name_of(type(form)) == "cgt3"
        assert pickle.loads(pickle.dumps(form)) == form  # ranks send it to each other
        assert type(replace(form, eta=0.2)) is type(form)
    with pytest.raises(ConfigError, match=r"algorithm\.scale"):
        distopt.CompressedTracking3(scale="preset zoom")


@pytest.mark.parametrize("name", ["zed", "zed1"])
def test_gains_shrink_where_weights_reach_further_than_they_were_measured_for(name):
    """Of a path, the fastest weights have kappa = 1.87: with the full gains zed runs away there."""
    found = {}
    for weights in ("metropolis", "fastest"):
        tables = {
            "problem": {"name": "logistic", "agents": 6},
            "topology": {"graph": "path", "weights": weights},
            "algorithm": {"name": name},
            "run": {"iterations": 700, "record_every": 100},
        }
        summary = run(make_config(tables, Path()), engine="simulate").summary
        found[weights] = summary["stationarity"], summary["parameters"]["c1"]
    assert found["fastest"][0] < 10 * found["metropolis"][0] < 1e-2
    assert found["metropolis"][1] == REGISTRY.get(name).constants["c1"] > found["fastest"][1]


class Distance:
    """|x - target|^2 / 2."""

    def __init__(self, target):
        self.target, self.dimension = target, target.size

    def value(self, x):
        return 0.5 * float(((x - self.target) ** 2).sum())

    def gradient(self, x, out):
        np.subtract(x, self.target, out=out)


@pytest.mark.parametrize("d", [1, 2, 10])
@pytest.mark.parametrize(
    ("graph", "agents"), [("ring", 3), ("ring", 4), ("complete", 8), ("star", 6)]
)
def test_agents_that_err_alike_settle(graph, agents, d):
    """Equal curvatures and coordinates: no errors of codes average out."""
    costs = [Distance(np.full(d, float(i))) for i in range(agents)]
    stop = {"stationarity": 1e-12}
    result = distopt.simulate(costs, topology=graph, iterations=1000, stop=stop)
    assert result.summary["stop_reason"] == "stop.stationarity"
    if d == 1:
        assert result.summary["iterations"] <= 150


class Uneven:
    """A quadratic of condition 100 whose minimiser is 10^4 in one of 100 coordinates, 0.01 elsewhere."""

    def __init__(self, rng, d):
        self.dimension, self.start = d, np.zeros(d)
        self.curvatures = 10 ** np.linspace(0, 2, d) * (1 + 0.3 * rng.uniform(-1, 1, d))
        self.b = np.where(np.arange(d) % 100 == 0, 1e4, 1e-2) * rng.normal(size=d)

    def value(self, x):
        return float(self.curvatures @ (x - self.b) ** 2 / 2)

    def gradient(self, x, out):
        np.multiply(self.curvatures, x - self.b, out=out)


def test_coordinates_of_uneven_size_all_arrive():
    rng = np.random.default_rng(3)
    costs = [Uneven(rng, 2000) for _ in range(6)]
    result = distopt.simulate(costs, iterations=600, record_every=100, series="light")
    first, last = result.rows[0], result.rows[-1]
    assert last["stationarity"] < 1e-12 * first["stationarity"]
