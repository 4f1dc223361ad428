"""Fixed-point descent as an algorithm of the program: the same bits for any number of agents and graph."""

from pathlib import Path

import numpy as np
import pytest
from run_table import finish

from distopt.config.build import make_config
from distopt.core.errors import ConfigError, DataError
from distopt.engine.run import run
from distopt.engine.team import prepare
from distopt.fixedpoint import Format, Rounding, encode
from distopt.fixedpoint.descent import FixedPointDescent
from distopt.transport.local import LocalTransport

DIAGONAL = {"name": "diagonal", "dimension": 23}
SR_EPS = {"mode": "SR_eps", "eps": 0.25}


def configure(problem=None, algorithm=None, graph="ring", **settings):
    return make_config(
        {
            "problem": {"agents": 3} | (problem or DIAGONAL),
            "topology": {"graph": graph},
            "algorithm": {"name": "fixed_point_gd", "eta": 0.125, "format": "Q3.5"}
            | (algorithm or {}),
            "run": {"iterations": 40, "record_every": 1, "seed": 7} | settings,
        },
        Path(),
    )


def play(config):
    """Run in this process; return the session, whose states hold the codes, and the result."""
    session = prepare(config, LocalTransport(config.problem.topology))
    return session, finish(session)


def codes(config):
    session, _ = play(config)
    found = {h.state.x.tobytes() for h in session.hosted}
    assert len(found) == 1  # all agents hold the same
    return found.pop()


PROBLEMS = {
    "diagonal": DIAGONAL,
    "himmelblau": {"name": "himmelblau"},
    "rosenbrock": {"name": "rosenbrock"},
    "integer_logistic": {"name": "integer_logistic", "split": "iid"},
    "integer_network": {"name": "integer_network", "hidden": [5, 4, 4], "images": 60},
}
STEPS = {"himmelblau": 2**-7, "rosenbrock": 2**-10}
FORMATS = {
    "himmelblau": "Q10.6", "rosenbrock": "Q7.9", "integer_logistic": "Q5.11",
    "integer_network": "Q5.11",
}  # fmt: skip


@pytest.mark.parametrize("problem", PROBLEMS)
def test_any_number_of_agents_and_any_graph_give_the_same_bits(problem):
    algorithm = {
        "eta": STEPS.get(problem, 0.125),
        "format": FORMATS.get(problem, "Q3.5"),
        "round_gradient": {"mode": "SR"},
        "round_step": SR_EPS,
        "repeats": 3,
    }
    layouts = [(1, "ring"), (3, "complete"), (8, "ring")]
    if problem == "diagonal":
        layouts += [(2, "path"), (4, "star"), (5, "path")]
    found = {
        codes(configure(PROBLEMS[problem] | {"agents": n}, algorithm, graph))
        for n, graph in layouts
    }
    assert len(found) == 1


def test_it_is_the_descent_of_the_library():
    """Codes, M, R and regimes are those of `FixedPointDescent.run` on the undivided problem."""
    config = configure(algorithm={"round_step": SR_EPS, "repeats": 4})
    session, result = play(config)
    alone = configure(DIAGONAL | {"agents": 1}).problem.cost(0)
    q = Format(3, 5)
    x0 = np.tile(encode(alone.start, q).codes, (4, 1))
    wanted = FixedPointDescent(step=0.125, step_rounding=Rounding("SR_eps", eps=0.25)).run(
        alone.integer(q), x0, 40, seed=7
    )
    np.testing.assert_array_equal(session.hosted[1].state.x, wanted.x)
    for k, row in enumerate(result.rows[1:]):
        assert row["step_square"] == pytest.approx(wanted.squares[k].mean(), rel=1e-12)
        assert row["step_gain"] == pytest.approx(wanted.gains[k].mean(), rel=1e-12)
        names = ("large", "middle", "small", "zero")
        assert [row[f"regime_{name}"] for name in names] == wanted.regimes[k].tolist()
        np.testing.assert_allclose(row["objective_runs"], wanted.objective[k + 1], rtol=1e-9)
        assert row["objective"] == pytest.approx(np.mean(row["objective_runs"]))
    assert wanted.gains.any()
    assert result.rows[-1]["saturations"] == wanted.saturated


def test_repeats_do_not_depend_on_their_company():
    one, _ = play(configure())
    many, _ = play(configure(algorithm={"repeats": 5}))
    rows = many.hosted[0].state.x
    np.testing.assert_array_equal(rows[0], one.hosted[0].state.x[0])
    assert len({row.tobytes() for row in rows}) == 5


def test_three_places_have_formats_of_their_own():
    """With a finer step format (c) rounds; the result stays on the grid of x and in its range."""
    algorithm = {
        "round_gradient": {"format": "Q6.10"},
        "round_step": {"format": "Q2.12"},
        "round_subtraction": {"mode": "SR"},
    }
    session, result = play(configure(algorithm=algorithm))
    iteration = session.hosted[0].state.iteration
    assert [a.dtype for a in (iteration.g, iteration._d)] == [np.int16, np.int16]
    assert result.rows[-1]["objective"] < 0.1 * result.rows[0]["objective"]
    assert result.rows[-1]["step_square"] > 0
    assert "step_gain" in result.rows[0]


def test_bytes_are_those_of_the_sums():
    """Two exchanges on a complete graph: n - 1 agents send their part, agent 0 sends the sum."""
    problem = DIAGONAL | {"agents": 4}
    config = configure(problem, {"repeats": 2}, "complete", iterations=10)
    before = play(configure(problem, {"repeats": 2}, "complete", iterations=0))[1].summary
    after = play(config)[1].summary
    assert after["bytes_per_agent"] - before["bytes_per_agent"] == 10 * 8 * 2 * 23
    assert after["bits_per_coordinate"] == pytest.approx(64, rel=0.2)
    assert after["consensus_error"] == 0


def test_start_outside_of_the_range_is_refused_or_saturated_and_counted(tmp_path):
    np.save(tmp_path / "start.npy", np.full(23, 5.0))
    problem = DIAGONAL | {"start": str(tmp_path / "start.npy")}
    with pytest.raises(DataError, match=r"start of agent 0: Entry 0 is 5, outside Q3\.5"):
        run(configure(problem), engine="simulate")
    _, result = play(configure(problem, {"overflow": "saturate", "repeats": 2}, iterations=0))
    assert result.rows[0]["saturations"] == 2 * 23
    assert any("46 values did not fit their fixed-point format" in w for w in result.warnings)


@pytest.mark.parametrize(
    ("algorithm", "sentence"),
    [
        ({"eta": 0.1}, r"algorithm\.eta = 0\.1 is not a fixed-point number; accepted: .* 0\.125"),
        ({"format": "Q20.20"}, r"Q20\.20 has 40 bits, sign included; accepted: 2 to 32"),
        ({"format": "8.8"}, r'algorithm\.format = "8\.8" is not a fixed-point format; accepted: Q'),
        (
            {"round_step": {"mode": "SR", "eps": 0.1}},
            r'algorithm\.round_step\.eps = 0\.1 means nothing with algorithm\.round_step\.mode = "SR"',
        ),
        (
            {"round_step": {"mode": "SR_eps", "eps": 1.0}},
            r"algorithm\.round_step\.eps = 1\.0 is not acceptable; accepted: a number < 1",
        ),
        (
            {"round_step": {"mode": "SRR"}},
            r'algorithm\.round_step\.mode = "SRR" is not acceptable; accepted: ',
        ),
        (
            {"round_step": {"fomat": "Q3.5"}},
            r'algorithm\.round_step\.fomat is not known; did you mean "format"',
        ),
        (
            {"round_gradient": {"mode": "signed_SR_eps", "eps": 0.1}},
            r'algorithm\.round_gradient\.mode = "signed_SR_eps" would need a direction',
        ),
        (
            {"round_subtraction": {"format": "Q8.8"}},
            r'algorithm\.round_subtraction\.format = "Q8\.8" differs from algorithm\.format',
        ),
        ({"repeats": 0}, r"algorithm\.repeats = 0 is not acceptable; accepted: a number >= 1"),
    ],
)
def test_refusals(algorithm, sentence):
    with pytest.raises(ConfigError, match=sentence):
        configure(algorithm=algorithm)


def test_problems_without_integer_gradients_are_refused():
    config = configure({"name": "pl", "dimension": 5})
    with pytest.raises(ConfigError, match=r"accepted: problem\.name = diagonal, himmelblau"):
        run(config, engine="simulate")
