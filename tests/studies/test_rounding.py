"""Runs in fixed point beside their bounds: which apply, that they hold, and what is drawn."""

from pathlib import Path

import numpy as np
import pytest

from distopt.config.build import make_config
from distopt.engine.run import run
from distopt.record.reader import load
from distopt.show.comparison_figures import bounded, runs
from distopt.show.run_figures import regimes
from distopt.studies.compare import VariantRun, compare
from distopt.studies.comparison_table import tabulate
from distopt.studies.rounding import gaps_of

SR, SR_EPS = {"mode": "SR"}, {"mode": "SR_eps", "eps": 0.25}
VARIANTS = {  # step, gradient, which bounds apply
    "RN": ({"mode": "RN"}, {"mode": "RN"}, {"RN_STALL"}),
    "SR": (SR, {"mode": "RN"}, {"SR", "SR-ref"}),
    "SR, SR": (SR, SR, {"SR", "SR-ref", "SR-unb", "Q"}),
    "SR_eps": (SR_EPS, {"mode": "RN"}, {"A", "C", "D, heuristic"}),
    "SR_eps, SR": (SR_EPS, SR, {"A", "C", "D, heuristic"}),
    "signed": (
        {"mode": "signed_SR_eps", "eps": 0.4}, {"mode": "RN"}, {"A", "C", "D, heuristic"},
    ),
}  # fmt: skip


def play(out, step, gradient, seed=0, problem=None, format="Q3.5", **settings):
    config = make_config(
        {
            "problem": problem
            or {"name": "diagonal", "agents": 2, "dimension": 60, "box": 1.9, "seed": seed},
            "algorithm": {
                "name": "fixed_point_gd", "eta": 0.125, "format": format, "repeats": 20,
                "round_step": step, "round_gradient": gradient,
            },
            "run": {"iterations": 150, "record_every": 1, "seed": seed} | settings,
        },
        Path(),
    )  # fmt: skip
    run(config, engine="simulate", out=out)
    return load(out)


def gaps(history, label="x"):
    return gaps_of(label, [history])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", VARIANTS)
def test_every_bound_holds_along_every_run_that_it_applies_to(name, seed, tmp_path):
    step, gradient, wanted = VARIANTS[name]
    found = gaps(play(tmp_path / "run", step, gradient, seed))
    bounds = found.bounds
    assert set(bounds) == wanted
    assert found.history.last("saturations") == 0
    for bound, values in bounds.items():
        if bound == "RN_STALL":
            assert (np.diff(found.values[-5:], axis=0) == 0).all()  # it stands still
            assert (found.values[-1] <= values[-1]).all()
        else:  # means of 20 runs: C and Q are equalities at first, so up to their noise
            slack = 1.02 if bound in {"C", "Q"} else 1 + 1e-12
            assert (found.mean <= slack * values).all(), bound


def test_no_bound_where_an_assumption_fails(tmp_path):
    """A run that saturates, one with two gaps u, and one on a problem without L have none."""
    far = {"name": "diagonal", "agents": 1, "dimension": 8, "box": 3.9, "grid": 3}
    saturated = play(tmp_path / "far", SR, SR, problem=far, iterations=20)
    assert saturated.last("saturations") > 0
    fine = play(tmp_path / "fine", SR, {"mode": "RN", "format": "Q3.9"}, iterations=5)
    himmelblau = {"name": "himmelblau", "agents": 1}
    other = play(tmp_path / "other", SR, SR, problem=himmelblau, format="Q10.6", iterations=5)
    for history in (saturated, fine, other):
        assert gaps(history).bounds == {}


def test_figures_and_table(tmp_path):
    entries = []
    for name in ("RN", "SR, SR"):
        step, gradient, _ = VARIANTS[name]
        for seed in (1, 2):  # both of one start: seeds of run and problem are apart
            history = play(tmp_path / f"{name}{seed}", step, gradient, seed, iterations=60)
            entries.append(VariantRun(name, seed, history))
    comparison = compare(entries, [1.0])
    found = comparison.gaps
    assert [g.values.shape for g in found] == [(61, 40), (61, 40)]
    _, table = tabulate(comparison)
    assert [row["runs"] for row in table.rows] == [40, 40]
    assert table.rows[0]["first_0.001"] == "never"
    figure = runs(found).whole()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["RN", "SR, SR"]
    (sheet,) = bounded(found)
    panels = sheet.whole().axes
    assert [axis.get_title(loc="left") for axis in panels] == ["RN", "SR, SR"]
    drawn = [[one for one in axis.lines if np.isfinite(one.get_ydata()).any()] for axis in panels]
    assert [len(lines) for lines in drawn] == [2, 5]
    (axis,) = regimes(entries[0].history).whole().axes
    assert len(axis.collections) == 4


def test_other_algorithms_have_no_part_in_it(tmp_path):
    config = make_config(
        {
            "problem": {"name": "pl", "agents": 2, "dimension": 3},
            "algorithm": {"name": "gt", "eta": 0.01, "gamma": 0.5},
            "run": {"iterations": 3},
        },
        Path(),
    )
    run(config, engine="simulate", out=tmp_path / "run")
    assert compare([VariantRun("gt", None, load(tmp_path / "run"))]).gaps == []
