"""Tracking in fixed point: equal replicas, an exact invariant, and nothing outside of the formats."""

from pathlib import Path

import numpy as np
import pytest
from run_table import finish

from distopt.config.build import make_config
from distopt.core.errors import ConfigError
from distopt.engine.team import prepare
from distopt.fixedpoint import Format
from distopt.transport.local import LocalTransport

# Wide enough for what the runs below meet: no y saturates, so the invariant must hold exactly.
FORMATS = {"x": {"format": "Q6.10"}, "y": {"format": "Q12.12"}, "gradient": {"format": "Q12.10"}}
COMPRESSORS = {
    "gt": {"name": "identity"},
    "cgt1": {"name": "fixed_point", "bits": 6},
    "cgt1-alpha": {"name": "quantize", "bits": 4, "dithered": True},
    "cgt2": {"name": "uniform"},
    "cgt3": {"name": "saturating", "bits": 4},
}
PARAMETERS = {
    "gt": {"eta": 0.02, "gamma": 0.5},
    "cgt1": {"eta": 0.01, "gamma": 0.2, "alpha": 1.0},
    "cgt1-alpha": {"eta": 0.01, "gamma": 0.2, "alpha": 0.5},
    "cgt2": {"eta": 0.02, "gamma": 0.3, "mu": 0.97, "s0x": 2.0, "s0y": 8.0},
    "cgt3": {"eta": 0.02, "gamma": 0.3, "mu": 0.97, "s0x": 4.0, "s0y": 32.0},
}
MODES = [
    {"mode": "RN"}, {"mode": "RD"}, {"mode": "SR"}, {"mode": "SR_eps", "eps": 0.3},
]  # fmt: skip


def configure(name, mode, arithmetic=None, problem=None, **parameters):
    chosen = FORMATS if arithmetic is None else arithmetic
    return make_config(
        {
            "problem": {"name": "pl", "agents": 5, "dimension": 11, "start": "normal"}
            | (problem or {}),
            "topology": {"graph": "ring"},
            "algorithm": {"name": name.partition("-")[0]} | PARAMETERS[name] | parameters,
            "arithmetic": {place: table | mode for place, table in chosen.items()},
            "compressor": COMPRESSORS[name],
            "run": {"iterations": 60, "record_every": 10, "seed": 4},
        },
        Path(),
    )


def begun(config):
    return prepare(config, LocalTransport(config.problem.topology))


def sums(session):
    """Sum over agents of y and of 2^lift g, as integers."""
    states = [h.state for h in session.hosted]
    y = sum(s.y_codes.astype(np.int64) for s in states)
    return y, sum(s.g_codes.astype(np.int64) << s.updates.lift for s in states)


@pytest.mark.parametrize("mode", MODES, ids=lambda m: m["mode"])
@pytest.mark.parametrize("name", PARAMETERS)
def test_invariant_is_exact_and_replicas_are_equal(name, mode):
    session = begun(configure(name, mode))
    for k in range(60):
        y, g = sums(session)
        assert np.array_equal(y, g), f"iteration {k}"
        session.iterate()
        for h in session.hosted:
            for vector in ("hx", "hy"):
                own = getattr(h.state.updates, vector).own
                for j in h.agent.neighbours:
                    other = session.hosted[j]
                    place = 1 + other.agent.neighbours.index(h.agent.index)
                    assert getattr(other.state.updates, vector).h[place].tobytes() == own.tobytes()
    states = [h.state for h in session.hosted]
    assert sum(int(s.saturations[0]) for s in states) == 0
    assert len({s.x_codes.tobytes() for s in states}) > 1  # not for want of any difference
    assert all(s.y_codes.any() for s in states)
    for s in states:  # x is codes of its format, and s.x what they stand for
        assert s.x_codes.dtype == np.int16
        assert np.array_equal(s.x, s.x_codes * 2.0**-10)


@pytest.mark.parametrize("name", PARAMETERS)
def test_it_converges_to_the_gap_of_its_formats(name):
    result = finish(begun(configure(name, {"mode": "SR"})))
    first, last = result.rows[0], result.rows[-1]
    assert last["stationarity"] < 0.05 * first["stationarity"]
    assert [row["invariant"] for row in result.rows] == [0.0] * len(result.rows)
    assert last["saturations"] == 0


def test_saturation_of_y_breaks_the_invariant_and_is_counted():
    """Where the arithmetic does not allow it: a y beyond its range loses what was cut off."""
    narrow = FORMATS | {"y": {"format": "Q2.12"}}
    session = begun(configure("cgt1", {"mode": "SR"}, narrow))
    result = finish(session)
    assert result.rows[-1]["saturations"] > 0
    assert result.rows[-1]["invariant"] > 0
    y, g = sums(session)
    assert not np.array_equal(y, g)


def test_the_terms_of_an_edge_are_rounded_without_bias_by_sr():
    """Sums of many roundings of one difference, at both ends: opposite, and right in the mean."""
    session = begun(
        configure(
            "gt", {"mode": "SR"}, problem={"agents": 2, "dimension": 1000, "basis": "diagonal"}
        )
    )
    session.iterate()
    a, b = (h.state.updates.hx for h in session.hosted)
    assert np.array_equal(a.codes, -b.codes)
    exact = a.scaled[0] * (a.h[1] - a.h[0]) / a.format.unit
    error = a.codes - exact
    assert np.abs(error).max() < 1
    assert abs(error.mean()) < 5 * 0.5 / np.sqrt(1000)  # five standard deviations at least


def test_section_is_written_out_and_read_again(tmp_path):
    config = configure("cgt1", {"mode": "SR"})
    resolved = config.resolved()
    assert "arithmetic" not in resolved["algorithm"]
    assert resolved["arithmetic"]["x"] == {"format": "Q6.10", "mode": "SR", "eps": 0.0}
    assert make_config(resolved, tmp_path).resolved() == resolved
    assert config.algorithm.arithmetic.format_of("y") == Format(12, 12)
    assert config.with_settings(["arithmetic.x.mode=RN"]).algorithm.arithmetic.x.mode == "RN"


@pytest.mark.parametrize(
    ("name", "arithmetic", "parameters", "sentence"),
    [
        ("cgt1", {"x": {"format": "Q6.10"}}, {}, r"arithmetic\.y\.format is missing"),
        ("cgt1", FORMATS | {"z": {}}, {}, r"arithmetic\.z is not known\. Accepted: x, y, gradient"),
        ("cgt1", FORMATS | {"x": {"format": "Q6"}}, {}, r'arithmetic\.x\.format = "Q6" is not a fix'),
        (
            "cgt1", FORMATS | {"gradient": {"format": "Q4.14"}}, {},
            r'arithmetic\.gradient\.format = "Q4\.14" has more fraction bits than arithmetic\.y',
        ),
        ("cgt1", FORMATS, {"memory": "sum"}, r"memory = \"sum\" cannot be combined with \[arithmetic\]"),
        ("gt", FORMATS, {"form": "atc"}, r"\"atc\" cannot be combined with \[arithmetic\]; .*\"cta\""),
        ("gt", FORMATS, {"beta": 0.5}, r"beta = 0\.5 cannot be combined with \[arithmetic\]"),
    ],
)  # fmt: skip
def test_refusals(name, arithmetic, parameters, sentence):
    with pytest.raises(ConfigError, match=sentence):
        configure(name, {}, arithmetic, **parameters)


def test_refusals_of_the_section():
    with pytest.raises(ConfigError, match=r"arithmetic\.x\.mode = \"signed_SR_eps\" would need"):
        configure("cgt1", {"mode": "signed_SR_eps", "eps": 0.1})
    with pytest.raises(
        ConfigError,
        match=r"cannot be combined with algorithm\.name = \"lead\".*accepted: cgt1, cgt2, cgt3, gt",
    ):
        make_config(
            {
                "problem": {"name": "pl", "agents": 2},
                "algorithm": {"name": "lead"},
                "arithmetic": FORMATS,
            },
            Path(),
        )
