"""One table in every format: nothing is lost, nothing breaks out of its cell."""

import csv
import io
import json
import shutil
import subprocess

import pytest
from rich.console import Console

from distopt.core import units
from distopt.show.render import (
    FORMATS,
    rich_tables,
    to_csv,
    to_html,
    to_json,
    to_latex,
    to_markdown,
)
from distopt.studies.results import Column, Results, write_count

TABLE = Results(
    "Bytes & seconds_to P",
    [
        Column("variant", "variant"),
        Column("converged", "converged", join="\n"),
        Column("iterations", "iterations", write=write_count, under="P ≤ 1e-6", marks={"lost": "{}*"}),
        Column("nbytes", "sent", "B", "sent per agent", under="P ≤ 1e-6", join=", "),
        Column("part", "of gt", "%", under="P ≤ 1e-6", join="\n"),
        Column("seconds", "time", "s"),
        Column("end", "final\nP", write=units.small),
        Column("lost", "lost", shown=False),
    ],
    [
        {"variant": "gt | a_b", "converged": "5/5", "iterations": 195, "nbytes": 62_400.0, "part": 1.0,
         "seconds": 0.0123, "end": 1.5e-7, "lost": True},
        {"variant": "<b>", "converged": "0/5", "iterations": None, "nbytes": None, "part": None,
         "seconds": 2.0, "end": float("inf"), "lost": False},
    ],
    ["* P rose above 1e-6 | again."],
)  # fmt: skip


def test_csv_parses_back_to_equal_values():
    first, second = csv.DictReader(io.StringIO(to_csv(TABLE)))
    assert list(first) == [column.key for column in TABLE.columns]
    for row, given in ((first, TABLE.rows[0]), (second, TABLE.rows[1])):
        for key, value in given.items():
            if value is None:
                assert row[key] == ""
            else:
                assert type(value)(row[key]) == value or row[key] == str(value)
    assert float(second["end"]) == float("inf")


def test_json_has_every_value_and_is_strict():
    found = json.loads(
        to_json(TABLE), parse_constant=lambda name: pytest.fail(f"{name} is no JSON")
    )
    assert found["rows"][0] == TABLE.rows[0]
    assert found["rows"][1]["end"] is None
    assert found["columns"][3] == {
        "key": "nbytes", "header": "sent", "unit": "B", "meaning": "sent per agent",
    }  # fmt: skip
    assert found["notes"] == TABLE.notes


def test_markdown_joins_cells_and_escapes_pipes():
    head, rule, first, second, _, note = to_markdown(TABLE).splitlines()
    assert head == "| variant, converged | P ≤ 1e-6: iterations, sent, of gt | time | final P |"
    assert rule == "|---|---|---|---|"
    assert first == "| gt \\| a_b, 5/5 | 195*, 62.4 kB, 100 % | 12.3 ms | 1.5e-07 |"
    assert second == "| <b>, 0/5 | - | 2.00 s | inf |"
    assert note == TABLE.notes[0]


def test_latex_has_units_in_the_header_and_escapes():
    text = to_latex(TABLE)
    assert r"\caption{Bytes \& seconds\_to P}" in text
    assert r"\begin{tabular}{lrrrrrr}" in text
    assert r"\multicolumn{3}{c}{P $\le$ $10^{-6}$}" in text
    assert r"\cmidrule(lr){3-5}" in text
    assert (
        r"variant & converged & iterations & sent [kB] & of gt [\%] & time [ms] & final P \\"
        in text
    )
    assert r"gt $|$ a\_b & 5/5 & 195* & 62.4 & 100 & 12.3 & $1.5\times10^{-7}$ \\" in text
    assert r"$<$b$>$ & 0/5 & - & - & - & 2000 & inf \\" in text


def test_latex_chooses_units_by_the_smallest_and_keeps_zeros():
    column = Column("sent", "sent", "B")
    text = to_latex(Results("", [column], [{"sent": 4520.0}, {"sent": 1.2e6}]))
    assert all(line in text for line in ("sent [kB]", "4.52", "1200", r"\label{tab:results}"))
    text = to_latex(Results("", [column], [{"sent": 200.0}, {"sent": 2000.0}]))
    assert all(line in text for line in ("sent [kB]", "0.200", "2.00"))


def test_a_wide_latex_table_is_scaled_to_the_line():
    columns = [Column(f"k{n}", f"a long heading {n}") for n in range(8)]
    text = to_latex(Results("Wide", columns, [{}]))
    assert text.startswith("% needs \\usepackage{booktabs,graphicx}\n")
    assert r"\resizebox{\linewidth}{!}{\begin{tabular}" in text
    assert r"\end{tabular}}" in text
    few = to_latex(Results("Few", [Column(f"k{n}", "m" * 13) for n in range(4)], [{}]))
    assert "resizebox" not in few
    few = to_latex(Results("Few", [Column(f"k{n}", "m" * 14) for n in range(4)], [{}]))
    assert "resizebox" in few  # larger type than that of tables with many columns


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex here")
def test_latex_compiles(tmp_path):
    body = to_latex(TABLE)
    whole = (
        rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{body}\end{{document}}"
    )
    (tmp_path / "table.tex").write_text(whole)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"], cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_html_escapes_and_makes_further_lines_small():
    text = to_html(TABLE)
    assert "<td>&lt;b&gt;<br><small>0/5</small></td>" in text
    assert "<td>195*, 62.4 kB<br><small>100 %</small></td>" in text
    assert '<p class="remark">* P rose above 1e-6 | again.</p>' in text


@pytest.mark.parametrize("width", [30, 50, 200])
def test_terminal_is_never_wider_than_it_is_and_loses_nothing(width):
    console = Console(file=io.StringIO(), width=width)
    parts = rich_tables(TABLE, width)
    assert (len(parts) == 1) == (width >= 50)
    for part in parts:
        console.print(part)
    text = console.file.getvalue()
    assert "…" not in text
    for words in (
        "gt | a_b",
        "5/5",
        "195*",
        "62.4 kB",
        "100 %",
        "12.3 ms",
        "1.5e-07",
        "inf",
        "P ≤ 1e-6",
    ):
        assert words in text


@pytest.mark.parametrize("name", FORMATS)
def test_a_table_without_rows_can_be_written(name):
    assert FORMATS[name](Results("none", TABLE.columns, []))
