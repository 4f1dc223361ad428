"""Rows in memory by column, and rows on disk, read as lists of dicts."""

import sys

import pytest
from run_table import configure

from distopt.engine.run import resume, run
from distopt.record.rows import Rows, StoredRows

NAMES = ["iteration", "stationarity", "objective_runs"]


def row(k):
    return {"iteration": k, "stationarity": 1 / (k + 1), "objective_runs": [k / 2, k / 3]}


def test_what_was_appended_comes_back():
    rows = Rows(NAMES)
    for k in range(5):
        rows.append(row(k))
    assert list(rows) == [row(k) for k in range(5)]
    assert rows[-1] == row(4)
    assert rows[1:4:2] == [row(1), row(3)]
    assert isinstance(rows[0]["iteration"], int)
    with pytest.raises(IndexError):
        rows[5]
    assert not Rows(NAMES)


def test_a_number_takes_eight_bytes():
    rows = Rows(NAMES)
    for k in range(10_000):
        rows.append(row(k))
    taken = sum(sys.getsizeof(column) for column in rows._columns.values())
    assert taken < 1.3 * 8 * 4 * 10_000


def test_a_run_with_a_folder_keeps_its_rows_there(tmp_path):
    """So memory does not grow with the records; they are the same as without a folder."""
    config = configure("fixed_point_gd", "identity")
    alone = run(config, engine="simulate").rows
    out = run(config, engine="simulate", out=tmp_path / "run")
    assert isinstance(alone, Rows)
    assert isinstance(out.rows, StoredRows)
    # Audits and checkpoints follow the clock, so their bytes do.
    clocks = {"diagnostics_bytes", *(name for name in alone[0] if name.startswith("seconds"))}
    plain = [
        [{k: v for k, v in r.items() if k not in clocks} for r in one] for one in (alone, out.rows)
    ]
    assert plain[0] == plain[1]
    longer = resume(tmp_path / "run", engine="simulate", iterations=80)
    assert [r["iteration"] for r in longer.rows] == [*range(0, 78, 7), 80]
