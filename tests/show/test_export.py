"""Results that leave the program: data, tables and figures, by one command each."""

import csv
import io
import json
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from handmade import write_run
from matplotlib.figure import Figure
from typer.testing import CliRunner

import distopt
from distopt.cli.app import app
from distopt.core.errors import ConfigError
from distopt.show.plot import grouped, label_of, paper_figure


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """Two variants with two seeds each, as a suite leaves them."""
    place = tmp_path_factory.mktemp("suite")
    for label, nbytes in (("gt", 1000), ("zed", 10)):
        for seed in (1, 2):
            P = [1.0, 1e-2 * seed, 1e-6]
            how = {"compressor": "identity" if label == "gt" else "zoom"}
            write_run(place / label / f"seed-{seed}", P, nbytes=nbytes * seed, **how)
    return place


@pytest.fixture(autouse=True)
def pyplot():
    """What keeps figures until somebody closes them, and warns of many."""
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


def export(*arguments):
    done = CliRunner().invoke(app, ["export", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_records_are_exported_with_all_series(suite, tmp_path):
    rows = list(csv.DictReader(io.StringIO(export(suite, "--format", "csv"))))
    assert len(rows) == 12
    assert [rows[5][key] for key in ("variant", "seed", "iteration", "stationarity")] == [
        "gt", "2", "20", "1e-06",
    ]  # fmt: skip
    whole = json.loads(export(suite, "--format", "json"))
    assert {c["key"]: c["unit"] for c in whole["columns"]}["bytes_per_agent"] == "B"
    assert whole["rows"][5]["bytes_per_agent"] == 40_000
    pandas = pytest.importorskip("pandas")
    name = tmp_path / "records.parquet"
    assert export(suite, "--out", name).strip() == str(name)
    frame = pandas.read_parquet(name)
    assert frame["stationarity"].tolist() == [float(row["stationarity"]) for row in rows]
    assert frame.attrs["units"]["seconds"] == "s"


def test_figures_that_are_written_are_not_kept(suite, tmp_path, pyplot):
    export(suite, "--out", tmp_path / "figure.png")
    assert pyplot.get_fignums() == []
    distopt.plot(suite)
    assert len(pyplot.get_fignums()) == 1


def test_a_latex_table_has_one_accuracy_and_ranges(suite):
    text = export(suite, "--format", "latex")
    assert text.startswith("% needs \\usepackage{booktabs}\n\\begin{table}")
    assert "P $\\le$ $10^{-6}$" in text
    assert "10^{-4}" not in text
    assert "0.300 & 1.00 & 0.200--0.400 \\\\" in text
    assert r"of gt [\%] & range of bytes [kB] \\" in text
    text = export(suite, "--format", "latex", "--accuracy", "1e-2")
    assert "P $\\le$ $10^{-2}$" in text


@pytest.mark.parametrize("ending", ["svg", "pdf", "png"])
def test_figures_are_written_the_same_each_time(ending, suite, tmp_path):
    names = [tmp_path / f"{n}.{ending}" for n in range(2)]
    for name in names:
        export(suite, "--out", name, "--x", "bytes", "--x", "gradients", "--y", "objective")
    first, second = (name.read_bytes() for name in names)
    assert first == second
    assert first.startswith({"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}[ending])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "What shall be written? Give --format (csv, parquet, json, latex, svg, pdf, png)"),
        (["--out", "a.doc"], "What shall be written?"),
        (
            ["--format", "png", "--x", "byte"],
            'x = "byte" is nothing that can be drawn along; did you',
        ),
        (
            ["--format", "png", "--y", "objectve"],
            'has no series "objectve"; did you mean "objective"?',
        ),
        (
            ["--format", "png", "--size", "big"],
            'size = "big" is not known. Known: one-column, two-',
        ),
        (["--format", "png", "--style", "nothing"], "--style nothing cannot be used"),
    ],
)
def test_mistakes_are_sentences(arguments, words, suite):
    done = CliRunner().invoke(app, ["export", str(suite), *arguments])
    assert (done.exit_code, "Traceback" in done.output) == (1, False)
    assert words in done.stderr


def test_a_suite_that_was_not_run_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = """
        problem = { name = "pl", agents = 2 }
        algorithm = { name = "gt", eta = 0.01, gamma = 0.5 }
        [[variant]]
        label = "a"
    """
    (tmp_path / "s.toml").write_text(text)
    done = CliRunner().invoke(app, ["export", "s.toml", "--format", "csv"])
    assert done.exit_code == 1
    assert "runs/s holds no run of s.toml: run `distopt compare s.toml` first" in done.stderr
    write_run(tmp_path / "runs" / "s" / "a")
    assert export("s.toml", "--format", "csv").startswith("variant,seed,iteration")


def test_plot_takes_folders_data_dicts_and_axes(suite):
    axis = distopt.plot(suite)
    assert [one.get_label() for one in axis.lines] == ["gt", "zed"]
    assert (axis.get_xscale(), axis.get_xlabel()) == ("log", "bytes sent per agent")
    assert axis.figure.get_size_inches()[0] == 3.5
    data = distopt.load(suite / "gt" / "seed-1")
    (own,) = mpl.figure.Figure().subplots(1, 1, squeeze=False)[0]
    runs = {"mine": data, "theirs": [suite / "zed" / "seed-1", suite / "zed" / "seed-2"]}
    assert distopt.plot(runs, x="iterations", y="gap", ax=own) is own
    mine, theirs = own.lines
    np.testing.assert_allclose(mine.get_ydata()[:2], [1 - 1e-6, 1e-2 - 1e-6])
    assert len(own.collections) == 2
    assert theirs.get_linestyle() != mine.get_linestyle()
    assert list(grouped([data, suite / "zed"])) == ["gt", "zed"]
    with pytest.raises(ConfigError, match='x = "distance" is nothing that can be drawn along'):
        distopt.plot(data, x="distance")


def test_matplotlibs_settings_are_the_users(suite):
    before = dict(mpl.rcParams)
    with mpl.rc_context({"font.size": 13.0}):
        label = distopt.plot(suite).yaxis.label
        assert label.get_fontsize() == 13.0
    assert distopt.plot(suite).yaxis.label.get_fontsize() == 8.0
    assert dict(mpl.rcParams) == before
    with mpl.rc_context({"text.usetex": True}):
        figure = paper_figure(
            {"top_k, 5 %": [distopt.load(suite / "gt" / "seed-1")]}, ["bytes"], "nmse"
        )
        (line,) = figure.axes[0].lines
    assert line.get_label() == r"top\_k, 5 \%"


def test_a_run_that_ended_keeps_its_last_value_until_half_have(tmp_path):
    runs = [write_run(tmp_path / f"seed-{n}", [1.0] * n + [1e-4]) for n in (1, 2, 4)]
    axis = distopt.plot(runs, x="iterations", band=[(0, 1)])
    ((line,), (band,)) = axis.lines, axis.collections
    np.testing.assert_allclose(line.get_xdata(), [0, 10, 20])
    np.testing.assert_allclose(line.get_ydata(), [1.0, 1.0, 1e-4])
    corners = band.get_paths()[0].vertices
    assert corners[:, 0].max() == 40
    assert set(corners[corners[:, 0] == 30][:, 1]) == {1e-4, 1.0}


def test_ticks_of_short_axes_are_apart_and_in_one_style(tmp_path):
    P = [2e-2, 2e-2, 1e-2, 9e-3, 5e-3, 3e-3, 3e-4]
    runs = {"a": [distopt.load(write_run(tmp_path / "a", P, nbytes=5.3))]}
    figure = paper_figure(runs, ["bytes", "seconds"], "stationarity")
    figure.canvas.draw()
    nbytes, seconds = figure.axes
    assert not any(label.get_text() for label in nbytes.get_xticklabels(minor=True))
    at = [t.get_text() for t in nbytes.get_xticklabels()]
    assert ("100 B" in at, "200 B" in at, "300 B" in at) == (True, True, False)
    assert " ".join(seconds.get_xlabel().split()) == "time of the algorithm [ms]"
    assert seconds.get_xticklabels()[1].get_text() == "150"
    assert "$2\\times10^{-3}$" in [t.get_text() for t in nbytes.get_yticklabels()]
    (axis,) = paper_figure(runs, ["iterations"], "objective").axes
    assert "1.2" in [t.get_text() for t in axis.get_yticklabels()]
    assert label_of("measures.test_accuracy") == "test accuracy"


def test_labels_of_bytes_stay_apart_over_nearly_two_decades(tmp_path):
    run = distopt.load(write_run(tmp_path / "a", np.geomspace(1, 0.1, 60), nbytes=1.2e3))
    axis = Figure(figsize=(7, 2.8), layout="constrained").subplots(1, 2)[1]
    distopt.plot(run, x="bytes", ax=axis, legend=False)
    axis.figure.canvas.draw()
    low, high = axis.get_xlim()
    ticks = zip(axis.get_xticks(), axis.get_xticklabels(), strict=True)
    boxes = [label.get_window_extent() for tick, label in ticks if low <= tick <= high]
    assert len(boxes) > 2
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_what_is_written_below_narrow_panels_is_short(tmp_path):
    run = distopt.load(write_run(tmp_path / "a", np.geomspace(1, 1e-9, 2000), nbytes=7.0))
    figure = paper_figure({"a": [run]}, ["bytes", "seconds"], "stationarity")
    figure.canvas.draw()
    nbytes = figure.axes[0]
    assert [a.get_xlabel() for a in figure.axes] == [
        "bytes sent per\nagent",
        "time of the\nalgorithm [s]",
    ]
    low, high = nbytes.get_xlim()
    assert sum(low <= tick <= high for tick in nbytes.get_xticks()) <= 3
    wide = paper_figure({"a": [run]}, ["bytes", "seconds"], "stationarity", size="two-column")
    assert wide.axes[1].get_xlabel() == "time of the algorithm [s]"


@pytest.mark.parametrize(
    ("values", "scale"),
    [((0.5, 0.9, 0.95), "linear"), ((-1.0, 0.0, 1.0), "linear"), ((1.0, 1e-3, 1e-6), "log")],
)
def test_measures_have_the_axis_that_suits_them(values, scale, tmp_path):
    run = distopt.load(write_run(tmp_path / "a", [1.0, 1e-2, 1e-4]))
    run.series["measures.own"] = np.array(values)
    axis = distopt.plot(run, "iterations", "measures.own")
    (line,) = axis.lines
    assert axis.get_yscale() == scale
    np.testing.assert_array_equal(line.get_ydata(), values)
