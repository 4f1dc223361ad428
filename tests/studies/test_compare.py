"""The arithmetic of a comparison, on runs whose numbers are known."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
import tomli_w
from handmade import write_run
from typer.testing import CliRunner

from distopt.cli.app import app
from distopt.core.files import slug
from distopt.record.reader import load
from distopt.show import render
from distopt.show.comparison import write_comparison
from distopt.studies import comparison_table
from distopt.studies.compare import VariantRun, compare, compare_folders


def entry(folder: Path, label: str, seed=None, failure=None, **options) -> VariantRun:
    history = load(write_run(folder / f"{label}-{seed}", **options))
    return VariantRun(label, seed, history, failure)


def tabulate(comparison):
    (table,) = comparison_table.tabulate(comparison)
    return table


def cells(results, row: int) -> list[str]:
    """Return what a reader sees of one row."""
    return [render.content(cell, results.rows[row]) for cell in render.cells_of(results)]


def header(results) -> str:
    return "\n".join(render.heading(cell) for cell in render.cells_of(results))


@pytest.fixture
def three(tmp_path):
    """An uncompressed baseline, a better uncompressed variant, and a compressed one."""
    return [
        entry(tmp_path, "gt", compressor="identity", algorithm="gt", nbytes=1000),
        entry(tmp_path, "lead", compressor="identity", algorithm="lead", nbytes=400),
        entry(tmp_path, "cgt1", nbytes=100, stationarity=[1.0, 1e-1, 1e-2, 1e-4, 1e-6, 1e-9]),
    ]


def test_iterations_bytes_and_ratios(three):
    gt, lead, cgt1 = compare(three, [1e-2, 1e-5]).variants
    assert [t.accuracy for t in gt.efforts] == [1e-2, 1e-5]
    assert [t.iterations for t in gt.efforts] == [10, 20]
    assert [t.iterations for t in cgt1.efforts] == [20, 40]
    assert [t.bytes_per_agent for t in cgt1.efforts] == [2_000, 4_000]
    assert [t.to_baseline for t in cgt1.efforts] == [0.2, 0.2]
    assert [t.to_uncompressed for t in cgt1.efforts] == [0.5, 0.5]
    assert [t.to_baseline for t in lead.efforts] == [0.4, 0.4]
    assert [t.to_uncompressed for t in gt.efforts] == [2.5, 2.5]
    assert [t.seconds for t in gt.efforts] == [0.1, 0.2]


def test_accuracies_are_sorted_from_coarse_to_fine(three):
    comparison = compare(three, [1e-8, 1e-2, 1e-5])
    assert comparison.accuracies == {1e-2: "1e-2", 1e-5: "1e-5", 1e-8: "1e-8"}
    assert list(comparison.accuracies) == [1e-2, 1e-5, 1e-8]
    assert comparison.references == {1e-2: "lead", 1e-5: "lead", 1e-8: "lead"}
    assert not comparison.baseline_is_best


def test_baseline_is_the_first_uncompressed_variant_or_the_named_one(three):
    assert compare(three[::-1]).baseline == "lead"
    named = compare(three, [1e-2], baseline="cgt1")
    assert [row.efforts[0].to_baseline for row in named.variants] == [5.0, 2.0, 1.0]


def test_nothing_uncompressed_means_no_ratio(three):
    comparison = compare(three[2:], [1e-2])
    assert comparison.baseline is None
    assert comparison.variants[0].efforts[0].to_baseline is None
    assert "of " not in header(tabulate(comparison))


def test_accuracy_that_is_not_reached(three):
    comparison = compare(three, [1e-2, 1e-12])
    row = comparison.variants[2]
    assert row.efforts[1].iterations is None
    assert (row.converged, row.status) == ("0/1", "not reached")
    assert cells(tabulate(comparison), 2)[1:3] == [
        "20, 2.00 kB\n20.0 %, 50.0 %\n2.05 kB",
        "-",
    ]


def test_lost_accuracy_is_marked_and_explained(tmp_path):
    lost = [entry(tmp_path, "a", stationarity=[1.0, 1e-6, 1e-2])]
    comparison = compare(lost, [1e-5])
    assert comparison.variants[0].efforts[0].held == 0
    table = tabulate(comparison)
    assert cells(table, 0)[1].startswith("10*, ")
    assert any("rose above" in sentence for sentence in table.notes)


def test_medians_over_seeds_and_paired_ratios(tmp_path):
    runs = []
    for seed, (plain, packed) in enumerate([(100, 10), (200, 40), (400, 20)]):
        runs.append(entry(tmp_path, "gt", seed, compressor="identity", nbytes=plain))
        runs.append(entry(tmp_path, "cgt1", seed, nbytes=packed))
    gt, cgt1 = compare(runs, [1e-2]).variants
    assert gt.efforts[0].bytes_per_agent == 2_000
    assert cgt1.efforts[0].bytes_per_agent == 200
    assert cgt1.efforts[0].to_baseline == 0.1  # of 0.1, 0.2 and 0.05; not 20 / 200
    assert (cgt1.converged, cgt1.status) == ("3/3", "converged")


def test_seeds_that_do_not_get_there_are_counted(tmp_path):
    runs = [
        entry(tmp_path, "a", 0, stationarity=[1.0, 1e-3]),
        entry(tmp_path, "a", 1, stationarity=[1.0, 1e-5]),
        entry(tmp_path, "a", 2, stationarity=[1.0, 1e-6]),
    ]
    comparison = compare(runs, [1e-4])
    (row,) = comparison.variants
    assert (row.efforts[0].reached, row.efforts[0].runs) == (2, 3)
    assert cells(tabulate(comparison), 0)[0] == "a\n2/3"
    assert "(2/3)" in cells(tabulate(comparison), 0)[1]
    assert row.status == "not reached"


def test_tables_tell_the_spread_over_the_seeds(tmp_path):
    runs = [entry(tmp_path, "a", seed, nbytes=nbytes) for seed, nbytes in enumerate((10, 20, 60))]
    (effort,) = compare(runs, [1e-2]).variants[0].efforts
    assert effort.spread["bytes_per_agent"] == {
        "smallest": 100, "lower_quartile": 150, "upper_quartile": 400, "largest": 600,
    }  # fmt: skip
    table = tabulate(compare(runs, [1e-2]))
    assert cells(table, 0)[1] == "10, 200 B\n100 B to 600 B\n225 B"
    assert table.rows[0]["bytes_per_agent_upper_quartile_to_1e-2"] == 400
    assert "100--600" in render.to_latex(table)
    assert "to 600" not in cells(tabulate(compare(runs[:1], [1e-2])), 0)[1]


def test_identical_runs_are_said_to_be_so(tmp_path):
    runs = [entry(tmp_path, "a", 1), entry(tmp_path, "a", 2), entry(tmp_path, "b", 1, nbytes=1)]
    found = "Identical to the last digit: a (seeds 1, 2)."
    assert found in tabulate(compare(runs)).notes
    assert not any("Identical" in note for note in tabulate(compare(runs[1:])).notes)


def test_the_objective_stands_in_the_table_and_other_ends_are_named(tmp_path):
    runs = [entry(tmp_path, "a"), entry(tmp_path, "b")]
    table = tabulate(compare(runs, [1e-5]))
    assert table.rows[0]["objective"] == 1 + 1e-8
    assert not any("different points" in note for note in table.notes)
    runs[1].history.series["objective"][:] += 0.5
    (note,) = [n for n in tabulate(compare(runs, [1e-5])).notes if "different points" in n]
    assert note.endswith("the objective of a is 1, that of b 1.5.")


def test_a_suites_folder_is_compared_with_its_labels_and_seeds(tmp_path):
    for seed in (1, 2):
        for label in ("gt, float64", "a b"):
            write_run(tmp_path / slug(label) / f"seed-{seed}", compressor="identity")
    labels = [v.label for v in compare_folders([tmp_path], None).variants]
    assert labels == ["a-b", "gt-float64"]
    told = {"title": "T", "measure": "stationarity", "accuracies": [1e-3], "baseline": "a b"}
    told["variants"] = [{"variant": "gt, float64"}, {"variant": "a b"}]
    (tmp_path / "comparison.json").write_text(json.dumps(told))
    found = compare_folders([tmp_path], None)
    assert [(v.label, [r.seed for r in v.runs]) for v in found.variants] == [
        ("gt, float64", [1, 2]), ("a b", [1, 2]),
    ]  # fmt: skip
    assert (found.title, found.baseline, list(found.accuracies)) == ("T", "a b", [1e-3])


def test_variants_that_were_not_run_have_not_failed(tmp_path):
    runs = [VariantRun("a", None, None, "not run, because the suite was stopped by SIGINT")]
    assert compare(runs).variants[0].status == "not run"
    runs.append(VariantRun("a", None, None, "Agent 0 diverged at iteration 3"))
    assert compare(runs).variants[0].status == "diverged"


def test_failures_keep_what_was_recorded(tmp_path):
    reason = "Agent 1 diverged at iteration 24: x[0] is nan."
    runs = [
        entry(tmp_path, "a", failure=reason, stationarity=[1.0, 1e-3]),
        VariantRun("b", None, None, "The MPI job ended."),
    ]
    comparison = compare(runs, [1e-2])
    assert [row.status for row in comparison.variants] == ["diverged", "failed"]
    assert comparison.variants[0].efforts[0].iterations == 10
    assert comparison.failures == [f"a: {reason}", "b: The MPI job ended."]
    assert cells(tabulate(comparison), 1)[1:4] == ["-", "-", "-"]


def test_violations_and_certificates_are_noted(tmp_path):
    runs = [
        entry(tmp_path, "a", ball_violations=12),
        entry(tmp_path, "b", certified=True),
    ]
    table = tabulate(compare(runs, [1e-2]))
    assert [cells(table, number)[-1] for number in (0, 1)] == ["12 outside ball", "certified"]


def test_labels_of_run_directories(tmp_path):
    paths = [write_run(tmp_path / name) for name in ("x/a", "y/a", "b")]
    labels = [variant.label for variant in compare_folders(paths, None).variants]
    assert labels == [str(paths[0]), str(paths[1]), "b"]


def test_json_holds_every_number_and_is_strict(three, tmp_path):
    comparison = compare(three, [1e-2, 1e-12])
    write_comparison(comparison, comparison_table.tabulate(comparison), tmp_path / "out")
    text = (tmp_path / "out" / "comparison.json").read_text()
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert found["best_uncompressed"] == ["lead", None]
    cgt1 = found["variants"][2]
    assert cgt1["variant"] == "cgt1"
    assert cgt1["accuracies"][0]["bytes_per_agent"] == 2000
    assert cgt1["accuracies"][1]["bytes_per_agent"] is None
    assert cgt1["runs"][0]["reached"][0]["held"] is True
    assert set(cgt1["seconds"]) == {"algorithm", "communication", "diagnostics"}


def test_page_and_figures_are_written(three, tmp_path):
    three.append(VariantRun("broken", None, None, "It broke."))
    comparison = compare(three, [1e-2, 1e-12])
    paths = write_comparison(comparison, comparison_table.tabulate(comparison), tmp_path)
    assert [path.name for path in paths] == [
        "comparison.html", "comparison.json", "curves.png", "bytes.png",
    ]  # fmt: skip
    page = paths[0].read_text()
    assert page.count("<svg") == 6  # three panels of curves, their legend, two of bars
    assert "broken: It broke." in page
    assert "http" not in page
    assert paths[2].read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_table_fits_the_terminal_and_loses_nothing(three, width):
    from io import StringIO

    from rich.console import Console

    results = tabulate(compare(three, [1e-1, 1e-2, 1e-4, 1e-8]))
    console = Console(file=StringIO(), width=width)
    tables = render.rich_tables(results, width)
    assert (len(tables) == 1) == (width == 200)
    for table in tables:
        console.print(table)
    text = console.file.getvalue()
    assert "…" not in text
    for row in range(3):
        for cell in cells(results, row):
            assert all(part in text for part in re.split("\n|, ", cell))


def test_eighty_letters_show_three_accuracies_in_two_tables(tmp_path):
    labels = ("gt, float64", "lead, float64", "cgt1, quantize 2 bits dithered")
    runs = [entry(tmp_path, label, compressor="identity") for label in labels[:2]]
    runs.append(entry(tmp_path, labels[2]))
    results = tabulate(compare(runs, [1e-2, 1e-5, 1e-8]))
    first, second = render.rich_tables(results, 80)
    assert [column.header.split("\n")[0] for column in first.columns][1:] == [
        "P ≤ 1e-2", "P ≤ 1e-5", "P ≤ 1e-8",
    ]  # fmt: skip
    label = list(second.columns[0].cells)[2]
    assert label == "cgt1, quantize 2\nbits dithered\n1/1"


def test_runs_without_a_suite_are_compared_where_they_stop(tmp_path):
    def accuracies(*stops, P=(1.0, 1e-2, 1e-5, 1e-8)):
        folders = []
        for number, stop in enumerate(stops):
            run = {"stop": {"stationarity": stop}} if stop else {}
            config = tomli_w.dumps({"problem": {"name": "quadratic"}, "run": run})
            folders.append(write_run(tmp_path / f"{len(P)}-{number}-{stop}", P, config=config))
        return list(compare_folders(folders, None).accuracies.values())

    assert accuracies(1e-7) == ["1e-4", "1e-6", "1e-7"]
    assert accuracies(1e-3, 3e-5) == ["1e-3", "1e-4", "3e-5"]
    assert accuracies(0, 0) == ["1e-4", "1e-6", "1e-8"]  # the finest that were reached
    assert accuracies(0, P=(1.0, 5e-3)) == ["1e-2"]


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("csv", "variant,converged,"),
        ("json", '{"title"'),
        ("md", "| variant, "),
        ("latex", r"% needs \usepackage{booktabs"),
    ],
)
def test_the_command_prints_the_table_alone(name, begins, tmp_path):
    paths = [str(write_run(tmp_path / label)) for label in ("a", "b")]
    done = CliRunner().invoke(app, ["compare", *paths, "--format", name])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(begins)
    if name == "csv":
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        assert [row["variant"] for row in rows] == ["a", "b"]
    refused = CliRunner().invoke(app, ["compare", *paths, "--format", name, "--json"])
    assert refused.exit_code == 1
    assert "--json and --format both write to standard output" in refused.stderr


def test_json_and_csv_hold_what_the_table_leaves_out(three):
    table = tabulate(compare(three, [1e-2, 1e-12]))
    (_, _, row) = json.loads(render.to_json(table))["rows"]
    assert row["seconds_to_1e-2"] == 0.2
    assert row["bytes_on_wire_to_1e-2"] == 16_000
    assert row["iterations_to_1e-12"] is None
    assert {key for one in table.rows for key in one} == {c.key for c in table.columns}
    assert "seconds_to_1e-2" in render.to_csv(table)


def test_only_variants_with_a_lyapunov_function_are_named_as_not_certified(tmp_path):
    paths = [write_run(tmp_path / "a"), write_run(tmp_path / "b", algorithm="zed", lyapunov="")]
    table = tabulate(compare_folders(paths, None))
    (note,) = [n for n in table.notes if "ertified" in n]
    assert note.endswith("Lyapunov function): a.")
    assert "ertified" not in render.to_latex(table)
    table = tabulate(compare_folders(paths[1:], None))
    assert not any("ertified" in n for n in table.notes)


def test_latex_defines_P_and_leaves_out_what_is_too_wide(three):
    text = render.to_latex(tabulate(compare(three, [1e-2])))
    assert r"P = $\|\nabla f(\bar x)\|^2$ + consensus error" in text
    assert not any(word in text for word in ("objective &", "seconds", "diagnostics", "& notes"))


def test_an_accuracy_that_no_run_reached_is_told(tmp_path):
    paths = [write_run(tmp_path / "a", [1.0, 3e-9]), write_run(tmp_path / "b", [1.0, 1e-3])]
    found = "No run reached P ≤ 1e-20; the smallest is 3.0e-09 (a)."
    assert found in tabulate(compare_folders(paths, [1e-2, 1e-20])).notes
    assert not any("No run" in n for n in tabulate(compare_folders(paths, [1e-2])).notes)


def test_runs_of_different_problems_are_told(tmp_path):
    paths = [write_run(tmp_path / "a"), write_run(tmp_path / "b")]
    assert not any("different problems" in n for n in tabulate(compare_folders(paths, None)).notes)
    other = '[problem]\nname = "pl"\nagents = 4\nseed = 1'
    paths[1] = write_run(tmp_path / "c", config=other)
    table = tabulate(compare_folders(paths, None))
    assert "Runs a and c solve different problems ([problem] differs: name)." in table.notes
