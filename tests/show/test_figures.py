"""Figures: every graph has a place for every agent, every line a look of its own."""

from pathlib import Path

import networkx
import numpy as np
import pytest
import tomli_w
from handmade import write_run

from distopt.problems.topologies import REGISTRY
from distopt.problems.topology import build_topology
from distopt.record.reader import RunData, load
from distopt.show.figures import (
    COLOURS,
    DASHES,
    comparison_bars,
    comparison_curves,
    line,
    middle_run,
)
from distopt.show.run_figures import positions, topology
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


def test_topology_tells_its_gap():
    made = build_topology({"graph": "ring"}, 5, Path())
    config = tomli_w.dumps({"topology": {"graph": "ring"}})
    meta = {"config": config, "spectral_gap": made.gap}
    (axis,) = topology(RunData(Path("x"), meta, made.matrix(), {})).axes
    title = axis.get_title(loc="left")
    assert title == f"ring: 5 agents, 5 edges\nspectral gap {made.gap:.4g}"


def test_thirty_two_lines_look_different():
    looks = [str(line(number)) for number in range(len(COLOURS) * len(DASHES))]
    assert len(set(looks)) == len(looks)


@pytest.fixture
def comparison(tmp_path):
    entries = []
    for label, tail in (("a", 1e-6), ("b", 1e-3)):
        for seed in (1, 2, 3):
            place = write_run(tmp_path / f"{label}{seed}", [1.0, 1e-1 * seed, tail])
            entries.append(VariantRun(label, seed, load(place)))
    return compare([*entries, VariantRun("c", 1, None, "It broke.")], [0.15, 1e-5])


def test_one_labelled_line_per_variant_and_thin_ones_for_seeds(comparison):
    axes = comparison_curves(comparison).axes
    assert [axis.get_xscale() for axis in axes] == ["linear", "log", "linear"]
    labels = [one.get_label() for one in axes[0].lines if not one.get_label().startswith("_")]
    assert labels == ["a", "b"]
    curves = [one for one in axes[0].lines if len(one.get_xdata()) == 3]
    assert len(curves) == 6
    assert sum(one.get_linewidth() < 1 for one in curves) == 4


def test_the_middle_run_is_the_median_one(tmp_path):
    runs = [[1.0, 1e-9], [1.0, 1.0, 1.0, 1e-9], [1.0, 1.0, 1e-9]]
    entries = [
        VariantRun("a", seed, load(write_run(tmp_path / str(seed), values)))
        for seed, values in enumerate(runs)
    ]
    assert middle_run(compare(entries, [1e-8]).variants[0]).name == "2"


def test_bars_say_what_was_not_reached(comparison):
    first, second = comparison_bars(comparison).axes
    assert [text.get_text() for text in second.texts][1:] == ["not reached", "not reached"]
    assert [round(bar.get_width()) for bar in first.patches] == [20_000, 20_000]
    assert [label.get_text() for label in first.get_yticklabels()] == ["a", "b", "c"]
