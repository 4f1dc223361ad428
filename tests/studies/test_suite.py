"""Suites: what a variant changes, what is refused before anything runs, and what is run again."""

import re
import shutil
from concurrent.futures.process import BrokenProcessPool

import pytest

from distopt.core.errors import ConfigError, TransportError
from distopt.core.files import slug
from distopt.engine.failures import failures_in
from distopt.record.reader import load as load_run
from distopt.studies import batch
from distopt.studies.batch import run_case, run_in_turn
from distopt.studies.suite import load_suite

BASE = """
[problem]
name = "quadratic"
agents = 2
dimension = 5
[topology]
graph = "ring"
[algorithm]
name = "cgt1"
eta = 0.1
gamma = 0.5
alpha = 0.5
[compressor]
name = "quantize"
bits = 4
[run]
iterations = 20
stop.stationarity = 1e-9
"""
SUITE = """
[suite]
title = "Two of a kind"
accuracies = [1e-2, 1e-4]
baseline = "plain"
"""
PLAIN = """
[[variant]]
label = "plain"
algorithm = { name = "gt", eta = 0.2, gamma = 0.5 }
compressor = { name = "identity" }
"""
FINE = """
[[variant]]
label = "8 bits"
compressor = { bits = 8 }
run = { iterations = 30, stop.seconds = 60 }
"""


def load(folder, text, settings=()):
    folder.mkdir(exist_ok=True)
    path = folder / "suite.toml"
    path.write_text(text)
    return load_suite(path, settings, folder / "out")


def test_variants_replace_by_name_and_merge_by_key(tmp_path):
    suite = load(tmp_path, SUITE + BASE + PLAIN + FINE)
    assert (suite.title, suite.accuracies, suite.baseline) == (
        "Two of a kind", (1e-2, 1e-4), "plain",
    )  # fmt: skip
    plain, fine = (case.config.resolved() for case in suite.cases)
    assert plain["algorithm"] == {
        "name": "gt", "eta": 0.2, "gamma": 0.5, "form": "cta", "beta": 0.0,
    }  # fmt: skip
    assert plain["compressor"] == {"name": "identity"}
    assert fine["algorithm"]["alpha"] == 0.5
    assert fine["compressor"]["bits"] == 8
    assert fine["run"]["iterations"] == 30
    stop = {"stationarity": 1e-9, "nmse": 0.0, "measures": {}, "seconds": 60.0}
    assert fine["run"]["stop"] == stop
    assert [case.folder for case in suite.cases] == [
        tmp_path / "out" / "plain", tmp_path / "out" / "8-bits",
    ]  # fmt: skip


def test_topology_with_a_graph_is_replaced(tmp_path):
    text = '[[variant]]\nlabel = "a"\ntopology = { graph = "erdos_renyi", p = 0.9 }\n'
    (case,) = load(tmp_path, BASE + text).cases
    assert case.config.problem.topology.name == "erdos_renyi"


def test_seeds_set_both_seeds_and_have_their_folders(tmp_path):
    suite = load(tmp_path, "[suite]\nseeds = [3, 5]\n" + BASE + PLAIN)
    assert [case.name for case in suite.cases] == ["plain [seed 3]", "plain [seed 5]"]
    assert [case.config.problem.seed for case in suite.cases] == [3, 5]
    assert [case.config.run.seed for case in suite.cases] == [3, 5]
    assert suite.cases[1].folder == tmp_path / "out" / "plain" / "seed-5"


def test_settings_come_last_and_reach_every_variant(tmp_path):
    suite = load(tmp_path, BASE + PLAIN + FINE, ["run.iterations=7"])
    assert [case.config.run.iterations for case in suite.cases] == [7, 7]
    assert suite.title == "suite"


VARIANT = '[[variant]]\nlabel = "{}"\n'
REFUSED = {
    "no variants": (BASE, "has no [[variant]]"),
    "not a list": ("variant = 3\n" + BASE, "variant must be written as [[variant]] tables"),
    "section": (BASE + PLAIN + "[suit]\n", '[suit] is not a section; did you mean "suite"?'),
    "suite key": ("[suite]\ntitel = 3\n" + BASE + PLAIN, 'suite.titel is not known; did you mean'),
    "accuracy": ("[suite]\naccuracies = [0]\n" + BASE + PLAIN, "suite.accuracies"),
    "no accuracy": ("[suite]\naccuracies = []\n" + BASE + PLAIN, "suite.accuracies"),
    "baseline": ('[suite]\nbaseline = "plane"\n' + BASE + PLAIN, 'is not a variant; did you mean "plain"?'),
    "label": (BASE + "[[variant]]\n", "Variant 1: label is missing; it has no default."),
    "twice": (BASE + PLAIN + PLAIN, 'labels too much alike: "plain" and "plain"'),
    "same folder": (BASE + PLAIN + VARIANT.format("Plain!"), 'too much alike: "plain" and "Plain!"'),
    "variant key": (BASE + VARIANT.format("a") + "algoritm = {}\n",
                    "Variant a: algoritm is not known; did you mean"),
    "no table": (BASE + VARIANT.format("a") + "run = 3\n",
                 "Variant a: run = 3 is not acceptable; accepted: a table."),
    "one wrong": (BASE + PLAIN + VARIANT.format("a") + "run = { iterations = -1 }\n",
                  "Variant a: run.iterations = -1"),
    "all alike": (BASE.replace("ring", "rng") + PLAIN + FINE, 'topology.graph = "rng" is not known'),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_mistakes_are_named_before_anything_runs(name, tmp_path):
    text, words = REFUSED[name]
    with pytest.raises(ConfigError, match=re.escape(words)) as error:
        load(tmp_path, text)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_several_mistakes_are_all_listed(tmp_path):
    text = BASE + PLAIN + VARIANT.format("a") + 'compressor = { name = "one_bit" }\n'
    text += VARIANT.format("b") + "compressor = { bits = 99 }\n"
    text += "run = { seed = -1 }\n" + VARIANT.format("plain")
    with pytest.raises(ConfigError) as error:
        load(tmp_path, "[suite]\naccuracies = []\n" + text)
    assert told(error.value) == [
        "The suite has 2 mistakes:",
        "  suite.accuracies = [] is not acceptable",
        '  Two variants have labels too much alike: "plain" and "plain".',
    ]
    with pytest.raises(ConfigError) as error:
        load(tmp_path, text.removesuffix(VARIANT.format("plain")))
    assert told(error.value) == [
        "The suite has 3 mistakes:",
        '  Variant a: algorithm.name = "cgt1" needs a compressor with a relative guarantee, but '
        'compressor.name = "one_bit" has none',
        "  Variant b: run.seed = -1 is not acceptable",
        "  Variant b: compressor.bits = 99 is not acceptable",
    ]


def told(error):
    """List the lines of an error, each up to what would be accepted."""
    return [line.partition(";")[0] for line in str(error).splitlines()]


@pytest.mark.parametrize("label", ["../../x", "/", "...", "ä ö", "-"])
def test_labels_never_leave_the_folder(label):
    assert re.fullmatch(r"[a-z0-9_][a-z0-9._-]*", slug(label))


def test_a_time_limit_ends_a_variant_not_the_suite(tmp_path):
    """A signal ends the whole suite; a limit of one run does not."""
    limited = SUITE + BASE + PLAIN + FINE.replace("seconds = 60", "seconds = 1e-9")
    suite = load(tmp_path, limited + PLAIN.replace("plain", "again"))
    assert not run_in_turn(suite.cases, "simulate", SilentView())
    reasons = [load_run(case.folder).meta["stop_reason"] for case in suite.cases]
    assert reasons == ["iterations", "stop.seconds", "iterations"]


@pytest.mark.parametrize("on_failure", ["restart", "stop"])
def test_a_killed_process_of_jobs_costs_time_only(on_failure, tmp_path, monkeypatch):
    """Variants that had saved go on from there, the others start again."""
    settings = [f'run.on_failure="{on_failure}"', "run.checkpoint_every=5"]
    suite = load(tmp_path, SUITE + BASE + PLAIN + FINE, settings)
    rounds = []

    def pool(remaining, jobs, view, failures):
        rounds.append({name: case.resume for name, case in remaining.items()})
        for name, case in list(remaining.items()):
            c = case.config
            assert not run_case(c.tables, c.folder, case.folder, case.resume, case.failures)[1]
            if len(rounds) == 1:
                shutil.rmtree(case.folder / "checkpoints" / "000020")  # it came to 15
                raise BrokenProcessPool
            del remaining[name]

    monkeypatch.setattr(batch, "run_in_pool", pool)
    view = SilentView()
    if on_failure == "stop":
        with pytest.raises(TransportError, match="was ended from outside"):
            batch.run_side_by_side(suite.cases, 2, view)
        return
    assert batch.run_side_by_side(suite.cases, 2, view) == {}
    assert rounds == [{"plain": False, "8 bits": False}, {"plain": True, "8 bits": False}]
    assert "2 runs start again, 1 from a checkpoint" in view.said[0]
    assert (
        run_in_turn(load(tmp_path / "x", SUITE + BASE + PLAIN + FINE).cases, "simulate", view) == {}
    )
    for name in ("plain", "8-bits"):
        one, other = (load_run(place / "out" / name) for place in (tmp_path, tmp_path / "x"))
        assert (one["stationarity"] == other["stationarity"]).all()
        assert len(failures_in(one.meta)) == (name == "plain")


def test_processes_that_are_killed_again_and_again_end_the_suite(tmp_path, monkeypatch):
    suite = load(tmp_path, SUITE + BASE + PLAIN + FINE)
    rounds = []

    def pool(remaining, *_):
        rounds.append(len(remaining))
        if len(rounds) == 2:
            del remaining["plain"]
        raise BrokenProcessPool

    monkeypatch.setattr(batch, "run_in_pool", pool)
    with pytest.raises(TransportError, match="Fewer --jobs"):
        batch.run_side_by_side(suite.cases, 2, SilentView())
    assert rounds == [2, 2, 1, 1, 1]  # a variant that ends starts the count of three anew


def test_a_suite_restarts_unless_it_says_otherwise(tmp_path):
    stops = FINE.replace("iterations = 30", 'iterations = 30, on_failure = "stop"')
    plain, fine = load(tmp_path, SUITE + BASE + PLAIN + stops).cases
    assert plain.config.run.on_failure == "restart"
    assert fine.config.run.on_failure == "stop"


class SilentView:
    """Takes what a progress view takes, and shows nothing."""

    def __init__(self):
        self.said = []

    def say(self, sentence):
        """Take a sentence."""
        self.said.append(sentence)

    def begin(self, name):
        """Take a variant's start."""

    def report(self, progress):
        """Take a step."""

    def done(self, name, line):
        """Take an end."""


SADDLE = """
class Cost:
    dimension, smoothness = 1, 12.0
    def value(self, x): return float(x[0] ** 2 - 1) ** 2 / 4
    def gradient(self, x, out): out[:] = (x ** 2 - 1) * x + {slope}
def make_cost(agent, agents): return Cost()
"""


@pytest.mark.parametrize(("slope", "said"), [(0, True), (1, False)])
def test_a_variant_that_leaves_a_saddle_says_so(slope, said, tmp_path):
    (tmp_path / "cost.py").write_text(SADDLE.format(slope=slope))
    tables = {
        "problem": {"name": "python", "file": "cost.py", "agents": 2},
        "algorithm": {"name": "gt", "eta": 0.1, "gamma": 0.5},
        "run": {"iterations": 2},
    }
    line, reason = run_case(tables, tmp_path, tmp_path / "run", False, ())
    assert not reason
    assert ("all gradients are zero at x = 0" in line) is said


def test_a_variant_for_which_no_compressor_is_named_says_that_it_is_uncompressed(tmp_path):
    plain = {"name": "quadratic", "agents": 2}, {"name": "cgt1", "eta": 0.1, "gamma": 0.5}
    lines = []
    for compressor in ({}, {"name": "identity"}):
        tables = dict(
            zip(("problem", "algorithm", "compressor"), (*plain, compressor), strict=True)
        )
        lines.append(
            run_case(tables | {"run": {"iterations": 2}}, tmp_path, tmp_path / "a", False, ())[0]
        )
    assert ["no compressor is named" in line for line in lines] == [True, False]
