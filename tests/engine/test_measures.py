"""Numbers that costs give besides their values: in records, files, tables and stopping tests."""

import subprocess
import sys

import h5py
import numpy as np
import pytest

import distopt
from distopt.config.build import make_config
from distopt.core.errors import ConfigError, DataError, DistoptError, TransportError
from distopt.engine.run import resume, run
from distopt.mpirun.launcher import find_mpirun
from distopt.record.reader import load
from distopt.show import run_figures
from distopt.show.export import gather, records
from distopt.studies.best import Best
from distopt.studies.compare import compare_folders
from distopt.studies.comparison_table import tabulate

COST = """
class Cost:
    dimension, smoothness = 2, 1.0

    def __init__(self, agent):
        self.agent = agent

    def value(self, x):
        return 0.5 * float((x - self.agent) @ (x - self.agent))

    def gradient(self, x, out):
        out[:] = x - self.agent

    def measures(self, x):
        told = {"first": x[0], "far": float("nan") if self.agent == 1 else abs(x - self.agent).max()}
        return told if self.agent < 3 else {}

def make_cost(agent, agents):
    return Cost(agent)
"""
TABLES = {
    "problem": {"name": "python", "file": "own.py", "agents": 4},
    "algorithm": {"name": "gt", "eta": 0.2, "gamma": 0.5},
    "run": {"iterations": 20, "record_every": 5, "checkpoint_every": 5},
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "own.py").write_text(COST)
    return tmp_path


def config(folder, *settings):
    return make_config(TABLES, folder, settings)


def test_measures_are_series_like_any_other(folder):
    out = folder / "out"
    result = run(config(folder), engine="simulate", out=out)
    xbar = np.mean(result.x, axis=0)
    last = result.rows[-1]
    assert last["measures.first"] == pytest.approx(xbar[0], rel=1e-12)
    # Agent 1 says nan and agent 3 nothing: they do not count.
    assert last["measures.far"] == pytest.approx(np.mean([xbar[0], abs(xbar[0] - 2)]), rel=1e-12)
    assert result.summary["measures"] == {
        "first": last["measures.first"], "far": last["measures.far"],
    }  # fmt: skip
    with h5py.File(out / "metrics.h5") as file:
        assert (
            file["series/measures.far"].attrs["description"].startswith("far of the costs at xbar")
        )
    data = load(out)
    assert data["measures.first"][-1] == last["measures.first"]
    keys = [column.key for column in records(gather([out], None)).columns]
    assert {"measures.first", "measures.far"} <= {*keys}
    assert data.units["measures.far"] == "1"
    assert "measures" in [s.name for s in run_figures.of_run(data, Best(0.0, "known"))]
    (table,) = tabulate(compare_folders([out, out], [1e-3]))
    assert table.rows[0]["measures.first"] == last["measures.first"]
    more = resume(out, engine="simulate", iterations=30)
    straight = run(config(folder, "run.iterations=30"), engine="simulate")
    assert [r["measures.far"] for r in more.rows] == [r["measures.far"] for r in straight.rows]


def test_a_run_stops_at_a_measure(folder):
    result = run(config(folder, "run.stop.measures.first=>= 1"), engine="simulate")
    assert result.summary["stop_reason"] == "stop.measures.first"
    assert result.rows[-2]["measures.first"] < 1 <= result.rows[-1]["measures.first"]
    again = make_config(result_tables(folder), folder)
    assert again.run.stop.measures == {"first": ">= 1"}


def result_tables(folder):
    return config(folder, "run.stop.measures.first=>= 1").resolved()


@pytest.mark.parametrize(
    ("settings", "error", "sentence"),
    [
        (["run.stop.measures.first=1"], ConfigError, r"run.stop.measures = .*string in quotes"),
        (["run.stop.measures.first=> 1"], ConfigError, r'accepted: <= or >= and a number, such as'),
        (["run.stop.measures.first=>= nan"], ConfigError, r"accepted: <= or >= and a number"),
        (
            ["run.stop.measures.frist=>= 1"],
            ConfigError,
            r'measures.frist: the costs do not give it; did you mean "first"\? they give far, first',
        ),
    ],
)  # fmt: skip
def test_stopping_tests_that_make_no_sense(folder, settings, error, sentence):
    with pytest.raises(error, match=sentence):
        run(config(folder, *settings), engine="simulate")


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ("3", r"own.py: measures\(x\) returned int, not a dict"),
        ('{"a b": 1}', r"measures\(x\) returned the name 'a b'; accepted: letters"),
        ('{"a": "high"}', r"measures\(x\) gave a = str, not a number"),
        ("x.fill(0)", r"Agent 0 at iteration 0: .*own.py, line 15: measures failed with ValueError"),
        ('{"b": 1} if x[0] else {"a": 1}', r"measures\(x\) gave b, which no agent gave at its start"),
    ],
)  # fmt: skip
def test_measures_that_are_wrong_are_sentences(folder, told, sentence):
    text = COST.replace("told = {", f"return {told}\n        told = {{")
    (folder / "own.py").write_text(text)
    with pytest.raises(DataError, match=sentence):
        run(config(folder), engine="simulate")


class Plain:
    dimension, smoothness = 2, 1.0

    def value(self, x):
        return 0.5 * float(x @ x)

    def gradient(self, x, out):
        out[:] = x


def test_on_record_sees_every_row(tmp_path):
    seen = []
    how = {"algorithm": distopt.GradientTracking(eta=0.1, gamma=0.5), "iterations": 20}
    result = distopt.simulate([Plain()] * 2, np.ones(2), on_record=seen.append, **how)
    assert seen == list(result.rows)
    assert len(seen) == 3

    def refuse(row):
        if row["iteration"] == 10:
            raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        distopt.simulate([Plain()] * 2, np.ones(2), on_record=refuse, **how)


def test_a_run_from_python_may_be_overwritten(tmp_path):
    how = {"algorithm": distopt.GradientTracking(eta=0.1, gamma=0.5), "out": tmp_path / "run"}
    for overwrite in (False, True):
        distopt.simulate([Plain()] * 2, np.ones(2), iterations=5, overwrite=overwrite, **how)
    with pytest.raises(ConfigError, match="already holds a run"):
        distopt.simulate([Plain()] * 2, np.ones(2), iterations=5, **how)


def test_given_costs_are_guarded():
    class Writing(Plain):
        def gradient(self, x, out):
            x += 1

    with pytest.raises(
        DataError, match=r"test_measures.py, line \d+: gradient failed .* x belongs"
    ):
        distopt.simulate([Writing()] * 2, algorithm=distopt.GradientTracking(eta=0.1, gamma=0.5))


RANK = """
import numpy as np, distopt
from mpi4py import MPI
{cost}
comm = MPI.COMM_WORLD
seen = []
result = distopt.minimize(
    Cost(comm.rank), np.zeros({size}), comm=comm, iterations=20, on_record=seen.append,
    algorithm=distopt.GradientTracking(eta=0.2, gamma=0.5), overwrite=True, out="run",
)
if comm.rank == 0:
    print(repr([seen[-1][name] for name in ("measures.first", "measures.far")]))
else:
    assert not seen
"""


@pytest.mark.slow
def test_over_ranks_the_numbers_are_the_same_and_one_speaks(folder):
    try:
        mpirun = find_mpirun()
    except TransportError as error:
        pytest.skip(str(error))

    def started(size):
        script = folder / "rank.py"
        script.write_text(RANK.format(cost=COST, size=size))
        return subprocess.run(
            mpirun.start(4, [sys.executable, str(script)]), capture_output=True, text=True,
            timeout=900, cwd=folder,
        )  # fmt: skip

    done = started("2")
    assert done.returncode == 0, done.stderr
    last = run(config(folder), engine="simulate").rows[-1]
    assert done.stdout.strip() == repr([last["measures.first"], last["measures.far"]])
    done = started("2 + (comm.rank == 2)")
    assert done.returncode != 0
    assert done.stderr.count("x0 has shape (3,)") == 1, done.stderr


def test_errors_of_the_set_up_are_sentences():
    with pytest.raises(DistoptError, match=r"run\.iterations"):
        distopt.simulate(
            [Plain()] * 2, algorithm=distopt.GradientTracking(eta=0.1, gamma=0.5), iterations=-1
        )
