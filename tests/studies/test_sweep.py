"""distopt threshold: the farm does what is needed, once, and gives what single trials give."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from distopt.cli.app import app
from distopt.core.errors import CheckpointError, ConfigError, TransportError
from distopt.studies import farm as farming
from distopt.studies.farm import farm
from distopt.studies.sweep import load_sweep
from distopt.studies.threshold import threshold, trial
from distopt.studies.trials import Trials, tabulate

SWEEP = """
[threshold]
widths = [6, 8]
measured = [6]
samples = [2, 1, 4]
seeds = [0, 1]
measurements = 0.5
target = 0.05
epochs = 150
[problem]
snr = 20
[[network]]
label = "LISTA"
name = "lista"
layers = 2
[[network]]
name = "ffnn"
layers = 3
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The whole sweep, done once: its file of results."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "sweep.toml").write_text(SWEEP)
    results = Trials.opened(folder / "threshold.h5", load_sweep(folder / "sweep.toml"), False)
    farm(results, ThreadPoolExecutor(1))
    return results


def written(tmp_path, text=SWEEP):
    (tmp_path / "sweep.toml").write_text(text)
    return load_sweep(tmp_path / "sweep.toml")


def test_the_farm_climbs_and_stops_at_the_first_failure(finished):
    sweep = finished.sweep
    assert sweep.section.samples == (1, 2, 4)
    seen = {True: 0, False: 0}
    for label in ("LISTA", "ffnn"):
        for m in (6, 8):
            family = sweep.family(label, m)
            assert (family.m, family.n, family.snr) == (m, m // 2, 20)
            for seed in (0, 1):
                for T in (1, 2, 4):
                    expected = trial(family, T, seed, 0.05, 150, 0.5, 14, label)
                    assert finished.trials[label, m, seed, T] == expected
                    seen[expected.passed] += 1
                    if not expected.passed:
                        break
            passed = finished.threshold(label, m)
            assert passed == threshold(finished.of(label, m))
    assert len(finished.trials) == sum(seen.values())
    assert min(seen.values()) > 0  # both outcomes occur
    assert set(finished.starts) == {(label, 6, s) for label in ("LISTA", "ffnn") for s in (0, 1)}


def test_the_file_is_read_by_h5py_alone_and_gives_everything_back(finished):
    with h5py.File(finished.path, "r") as file:
        assert set(file["trials/network"].asstr()[()]) == {"LISTA", "ffnn"}
        assert file["trials/nmse"].shape == (len(finished.trials),)
        assert file.attrs["target"] == 0.05
    again = Trials.opened(finished.path, finished.sweep, False)
    assert again.trials == finished.trials
    assert again.to_json() == finished.to_json()


class StopError(Exception):
    """The end of a farm from outside."""


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_farm_that_was_stopped_goes_on(finished, tmp_path, monkeypatch, jobs):
    sweep, counted = written(tmp_path), []
    work = farming.work
    monkeypatch.setattr(farming, "work", lambda *place: counted.append(place[1:]) or work(*place))
    saved = []

    def stop(done):
        saved.append(done)
        if len(saved) == 7:
            raise StopError

    results = Trials.opened(tmp_path / "threshold.h5", sweep, False)
    pool = ThreadPoolExecutor(jobs)
    with pytest.raises(StopError):
        farm(results, pool, stop)
    pool.shutdown(wait=True)
    counted.clear()
    again = Trials.opened(tmp_path / "threshold.h5", sweep, False)
    assert len(again.trials) + len(again.starts) == 7
    farm(again, ThreadPoolExecutor(jobs))
    assert len(counted) == len(finished.trials) + len(finished.starts) - 7
    assert again.trials == finished.trials
    assert again.starts == finished.starts
    counted.clear()
    farm(Trials.opened(tmp_path / "threshold.h5", sweep, False), ThreadPoolExecutor(1))
    assert counted == []


def test_a_wider_sweep_goes_on_with_the_same_file(finished, tmp_path):
    shutil.copy(finished.path, tmp_path)
    wider = written(tmp_path, SWEEP.replace("widths = [6, 8]", "widths = [6, 8, 10]"))
    results = Trials.opened(tmp_path / "threshold.h5", wider, False)
    assert results.trials == finished.trials
    assert results.next_samples("LISTA", 10, 0) == 1


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("target = 0.05", "target = 0.1", r"made with threshold\.target = 0\.05, not 0\.1"),
        ("snr = 20", "snr = 10", r"made with networks\.LISTA\.snr = 20\.0, not 10\.0"),
        ("layers = 3", "layers = 4", r"made with networks\.ffnn\.layers = 3, not 4"),
    ],
)
def test_a_file_of_another_sweep_is_refused(finished, tmp_path, old, new, sentence):
    other = written(tmp_path, SWEEP.replace(old, new))
    with pytest.raises(CheckpointError, match=sentence):
        Trials.opened(finished.path, other, False)
    assert Trials.opened(finished.path, other, True).trials == {}


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "threshold.h5").write_bytes(b"no HDF5 at all")
    with pytest.raises(CheckpointError, match=r"cannot be read as results of a sweep"):
        Trials.opened(tmp_path / "threshold.h5", written(tmp_path), False)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("widths = [6, 8]", "widths = []", r"threshold\.widths"),
        ("widths = [6, 8]", "width = [6, 8]", r'width is not known; did you mean "widths"'),
        ("target = 0.05", "target = 2", r"threshold\.target = 2 .* < 1"),
        ("epochs = 150", "epochs = 0", r"threshold\.epochs = 0"),
        ("epochs = 150", 'epochs = "many"', r"threshold\.epochs"),
        ('name = "lista"', 'name = "lsta"', r'not a network; did you mean "lista"'),
        ('name = "lista"', 'name = "pl"', r"not a network\. Known: admm_csnet, ffnn, lista"),
        ("layers = 2", "layers = 2\nm = 9", r"m is set by the sweep; see threshold\.widths"),
        ("layers = 2", "layers = 0", r"problem\.layers = 0"),
        ("layers = 2", "depth = 2", r"Network LISTA: depth is not known"),
        ("snr = 20", "snrr = 20", r'snrr is not known; did you mean "snr"'),
        ('label = "LISTA"', 'label = "ffnn"', r'Two networks have the label "ffnn"'),
        ("[problem]", "[run]\nseed = 1\n[problem]", r"\[run\] is not a section"),
        ("snr = 20", 'data = "patches"', r"problem\.m = 6 is not a square"),
    ],
)
def test_what_is_wrong_is_said_before_the_first_trial(tmp_path, old, new, sentence):
    assert old in SWEEP
    with pytest.raises(ConfigError, match=sentence):
        written(tmp_path, SWEEP.replace(old, new, 1))


def test_a_file_without_networks_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"has no \[\[network\]\]"):
        written(tmp_path, "[threshold]\nepochs = 3\n")


def test_the_command(finished, tmp_path):
    """Everything is done already, so no process has to be started."""
    out = tmp_path / "out"
    out.mkdir()
    shutil.copy(finished.path, out)
    (tmp_path / "sweep.toml").write_text(SWEEP)
    arguments = ["threshold", str(tmp_path / "sweep.toml"), "--out", str(out)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "largest T" in done.output
    assert (out / "threshold.png").read_bytes().startswith(b"\x89PNG")
    table = CliRunner().invoke(app, [*arguments, "--format", "md"]).stdout
    assert table.startswith("| network | m | unknowns | seed | T = 1 | T = 2 | T = 4 | largest T |")
    told = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout.splitlines()[-1])
    assert [t["threshold"] for t in told["thresholds"]] == [
        finished.threshold(label, m) for label in ("LISTA", "ffnn") for m in (6, 8)
    ]
    assert np.isfinite([start["kernel_smallest"] for start in told["starts"]]).all()


def test_the_table_has_a_row_for_each_seed(finished):
    table = tabulate(finished)
    assert [(row["network"], row["m"], row["seed"]) for row in table.rows] == [
        (label, m, seed) for label in ("LISTA", "ffnn") for m in (6, 8) for seed in (0, 1)
    ]
    for row in table.rows:
        climbed = [t for t in finished.of(row["network"], row["m"]) if t.seed == row["seed"]]
        by_key = {column.key: column for column in table.columns}
        for t in climbed:
            assert (by_key[f"nmse_{t.samples}"].text(row) == "pass") == t.passed
    assert finished.threshold("LISTA", 6) == (table.rows[0]["threshold"] or None)


def test_a_setting_changes_the_sweep(tmp_path):
    (tmp_path / "sweep.toml").write_text(SWEEP)
    sweep = load_sweep(tmp_path / "sweep.toml", ["threshold.epochs=7", "problem.snr=5"])
    assert sweep.section.epochs == 7
    assert {family.snr for family in sweep.networks.values()} == {5}
    assert replace(sweep, text="") != sweep


@pytest.mark.slow
@pytest.mark.parametrize("how", [["--jobs", "2"], ["-n", "2"]])
def test_processes_and_ranks_find_the_same(finished, tmp_path, how):
    (tmp_path / "sweep.toml").write_text(SWEEP)
    done = CliRunner().invoke(
        app, ["threshold", str(tmp_path / "sweep.toml"), "--out", str(tmp_path / "out"), "-q", *how]
    )
    assert done.exit_code == 0, done.output
    found = Trials.opened(tmp_path / "out" / "threshold.h5", finished.sweep, False)
    assert found.trials == finished.trials


def test_what_a_killed_process_has_lost_is_done_again(monkeypatch):
    """Three times in a row at most; a job that is finished starts the count anew."""
    rounds, said = [], []

    def broken(trials, pool, tell):
        rounds.append(1)
        if len(rounds) == 3:
            tell("done")
        raise BrokenProcessPool

    class View:
        say, done = said.append, staticmethod(lambda *told: None)

    monkeypatch.setattr(farming, "farm", broken)
    monkeypatch.setattr(farming, "describe", lambda done: ("", ""))
    with pytest.raises(TransportError, match="repeat the command to continue"):
        farming.farm_over_processes(None, 2, View)
    assert [sentence[-11:] for sentence in said] == [f"try {n} of 3." for n in (1, 2, 1, 2, 3)]
