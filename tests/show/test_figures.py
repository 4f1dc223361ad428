"""Figures: every graph has a place for every agent, every line a look of its own."""

from pathlib import Path

import networkx
import numpy as np
import pytest
import tomli_w
from handmade import write_run

from distopt.config.build import make_config
from distopt.problems.graph_section import build_topology
from distopt.problems.minimum import reference_minimum
from distopt.problems.topologies import REGISTRY
from distopt.record.reader import RunData, load
from distopt.show.comparison_figures import bars, curves
from distopt.show.figures import COLOURS, DASHES, Sheet, line
from distopt.show.run_figures import DRAWN, lyapunov, of_run, positions, topology
from distopt.studies.best import Best, best_minima
from distopt.studies.compare import VariantRun, compare


@pytest.mark.parametrize("agents", [1, 16, 256])
@pytest.mark.parametrize("name", [*REGISTRY])
def test_agents_do_not_stand_on_each_other(name, agents):
    made = build_topology({"graph": name}, agents, Path())
    graph = networkx.Graph(list(made.edges))
    graph.add_nodes_from(range(agents))
    chosen = positions(graph, name)
    places = np.array([chosen[i] for i in range(agents)], dtype=float)
    assert np.isfinite(places).all()
    assert len({tuple(place.round(6)) for place in places}) == agents


@pytest.mark.parametrize(
    ("name", "agents", "edges"),
    [("ring", 5, 5), ("directed_ring", 5, 5), ("ring", 600, 600), ("directed_ring", 600, 600)],
)
def test_topology_tells_its_edges_and_gap_and_draws_if_it_can(name, agents, edges):
    made = build_topology({"graph": name}, agents, Path())
    config = tomli_w.dumps({"topology": {"graph": name}})
    meta = {"config": config, "spectral_gap": made.gap}
    (axis,) = topology(RunData(Path("x"), meta, made.matrix(), {})).whole().axes
    title = axis.get_title(loc="left")
    assert title == f"{name}: {agents} agents, {edges} edges\nspectral gap {made.gap:.4g}"
    assert any("too many" in text.get_text() for text in axis.texts) == (agents > DRAWN)


def test_thirty_two_lines_look_different_also_without_colours():
    numbers = range(len(COLOURS) * len(DASHES))
    assert len({str(line(number)) for number in numbers}) == len(numbers)
    greys = {(str(look["ls"]), look["marker"]) for look in (line(n, marked=True) for n in numbers)}
    assert len(greys) == len(numbers)


@pytest.fixture
def comparison(tmp_path):
    entries = []
    for label, tail in (("a", 1e-6), ("b", 1e-3)):
        for seed in (1, 2, 3):
            place = write_run(tmp_path / f"{label}{seed}", [1.0, 1e-1 * seed, tail])
            entries.append(VariantRun(label, seed, load(place)))
    return compare([*entries, VariantRun("c", 1, None, "It broke.")], [0.15, 1e-5])


def test_a_line_is_the_median_of_its_seeds_between_two_bands(comparison):
    axes = curves(comparison).whole().axes
    assert [axis.get_xscale() for axis in axes] == ["linear", "log", "linear"]
    first, second = [one for one in axes[0].lines if not one.get_label().startswith("_")]
    assert [first.get_label(), second.get_label()] == ["a", "b"]
    np.testing.assert_allclose(first.get_ydata(), [1.0, 0.2, 1e-6])
    everything, half, *_ = axes[0].collections
    extents = [band.get_paths()[0].vertices for band in (everything, half)]
    at = [np.sort(v[v[:, 0] == 10][:, 1])[[0, -1]] for v in extents]
    np.testing.assert_allclose(at, [[0.1, 0.3], [0.15, 0.25]])


def test_bars_say_what_was_not_reached(comparison):
    first, second = bars(comparison).whole().axes
    assert [text.get_text() for text in second.texts][1:] == ["not reached", "failed"]
    assert [round(bar.get_width()) for bar in first.patches] == [20_000, 20_000]
    assert [label.get_text() for label in first.get_yticklabels()] == ["a", "b", "c"]


def test_numbers_stand_clear_of_bars_and_ranges(comparison):
    figure = bars(comparison).whole()
    figure.canvas.draw()
    axis = figure.axes[0]
    ends = [line.get_window_extent().x1 for line in axis.lines]
    assert len(ends) == 2
    for text, end in zip(axis.texts, ends, strict=False):
        assert text.get_window_extent().x0 > end + 4
        assert text.get_window_extent().x1 <= axis.get_window_extent().x1


def test_captions_name_only_what_a_run_has_and_a_searched_step_is_drawn(tmp_path):
    absent = ["tracking_error", "compression_error_y"]
    run = load(write_run(tmp_path / "a", absent=absent))
    run.series.update(step=np.array([0.1, 0.4, 0.2, 0.2]), step_decisions=np.array([0.0, 0, 1, 1]))
    run.series["step_returns"] = np.array([0.0, 0, 2, 2])
    sheets = {sheet.name: sheet for sheet in of_run(run, Best(0.0, "a"))}
    told = " ".join(sheet.caption for sheet in sheets.values())
    assert "tracker" not in sheets["errors"].caption + sheets["compression"].caption
    assert "of x to what they remember" in sheets["compression"].caption
    assert sheets["errors"].whole().axes[0].get_title(loc="left") == "Consensus error"
    assert "in 1 decision. It went back to an earlier point 2 times." in told
    (axis,) = sheets["step"].whole().axes
    np.testing.assert_array_equal(axis.lines[0].get_ydata(), run["step"])


def test_panels_of_a_page_follow_its_colours_and_have_a_legend(comparison):
    *panels, legend = curves(comparison).parts()
    assert len(panels) == 3
    for part in (*panels, legend):
        assert part.startswith("<svg viewBox=")
        assert "var(--c0)" in part
        assert not any(colour.lower() in part for colour in COLOURS)
    alone = Sheet("a", "", [lambda axis: axis.plot([1, 2], color=COLOURS[6])])
    assert len(alone.parts()) == 1


def test_the_lyapunov_function_stands_above_the_best_minimum_known(tmp_path):
    run = load(write_run(tmp_path / "a"))
    run.series["objective"] = 5 + run["stationarity"]
    other = load(write_run(tmp_path / "b"))
    other.series["objective"] = 4 + run["stationarity"]
    ours, theirs = best_minima([run, other])
    assert ours == theirs == Best(4 + 1e-8, "the smallest record of 2 runs, in b")
    sheet = lyapunov(run, Best(4.0, "the smallest record"))
    whole, gap, *terms = sheet.whole().axes[0].lines
    np.testing.assert_allclose(gap.get_ydata(), 1 + run["stationarity"])
    parts = sum(np.asarray(one.get_ydata()) for one in (gap, *terms))
    np.testing.assert_allclose(whole.get_ydata(), parts)
    assert "f* replaced by f_best = 4, the smallest record." in sheet.caption


def test_differences_that_are_rounding_stay_on_the_axis():
    best = Best(4.0, "the smallest record")
    gap = best.above(np.array([5.0, np.nextafter(4, 5), 4.0, np.nextafter(4, 3), np.nan, 3.0]))
    np.testing.assert_array_equal(gap, [1, *[2.0**-48] * 3, np.nan, -1])
    np.testing.assert_array_equal(Best(0.0, "f*").above(np.array([1e-30])), [1e-30])


def test_the_minimum_of_a_cheap_problem_is_searched(tmp_path):
    config = {"problem": {"name": "logistic", "agents": 2, "samples": 20, "features": 3}}
    config |= {"algorithm": {"name": "gt", "eta": 0.1, "gamma": 0.5}}
    under_way = write_run(tmp_path / "a", [1.0, 0.5], config=tomli_w.dumps(config))
    (best,) = best_minima([load(under_way)])
    assert best.source == "a reference optimum, by L-BFGS on the average cost"
    assert best.value == pytest.approx(reference_minimum(make_config(config, tmp_path).problem)[0])
    settled = write_run(tmp_path / "c", config=tomli_w.dumps(config))  # at an objective of 1
    (other,) = best_minima([load(settled)])
    assert other.value == 1 + 1e-8
    assert (
        other.source
        == f"the smallest record of this run (a search found {best.value:.6g} elsewhere)"
    )
    (known,) = best_minima([load(write_run(tmp_path / "b", minimum_kind="exact", minimum=0.5))])
    assert known == Best(0.5, "the exact minimum f*")
