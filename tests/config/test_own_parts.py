"""Compressors, algorithms and graphs of the user's own files, named in a configuration."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from distopt.config.build import load_config, make_config
from distopt.core.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DistoptError,
    TransportError,
)
from distopt.engine.run import resume, run
from distopt.mpirun.jobfile import Case
from distopt.mpirun.launcher import find_mpirun
from distopt.record.reader import load
from distopt.studies.suite import load_suite

PAGE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
EXAMPLES = dict(
    re.findall(r"```python\n# distopt/(?:[^\n]*/)?(\w+\.py)\n(.*?)```", PAGE, re.DOTALL)
)
GRAPH = """
import networkx
from distopt.core.parameters import parameters
from distopt.problems.topologies.base import GraphKind

@parameters("topology")
class Wheel(GraphKind):
    spokes: int = 1

    def graph(self, agents):
        graph = networkx.wheel_graph(agents)
        networkx.set_edge_attributes(graph, 0.15, "weight")
        return graph
"""
TABLES = {
    "problem": {"name": "quadratic", "agents": 4, "dimension": 5},
    "topology": {"file": "mygraph.py"},
    "algorithm": {"name": "python", "file": "extra.py", "eta": 0.02},
    "compressor": {"name": "identity"},
    "run": {"iterations": 12, "record_every": 4, "checkpoint_every": 4},
}
TRACKING = {"name": "cgt1", "eta": 0.2, "gamma": 0.3, "alpha": 1.0}


@pytest.fixture
def folder(tmp_path):
    for name, text in (EXAMPLES | {"mygraph.py": GRAPH}).items():
        (tmp_path / name).write_text(text)
    return tmp_path


def tables(**changes):
    return {**TABLES, **changes}


def mean_sign(**keys):
    own = {"name": "python", "file": "mean_sign.py", **keys}
    return tables(algorithm=TRACKING, compressor=own)


def test_an_own_algorithm_and_graph_run_and_are_written_into_the_configuration(folder):
    config = make_config(TABLES, folder)
    result = run(config, engine="simulate", out=folder / "run")
    assert result.summary["algorithm"] == "Extra"
    assert result.summary["stationarity"] < result.rows[0]["stationarity"] / 2
    assert config.problem.topology.matrix()[0, 1] == 0.15
    again = load_config(folder / "run" / "config.toml")
    assert again.resolved() == config.resolved()
    assert again.resolved()["algorithm"] == {
        "name": "python", "file": str(folder / "extra.py"), "class": "Extra", "eta": 0.02,
    }  # fmt: skip
    assert again.resolved()["topology"]["class"] == "Wheel"


def test_an_own_compressor_gives_the_bytes_that_it_gives_when_registered(folder):
    result = run(make_config(mean_sign(), folder), engine="simulate")
    assert result.summary["compressor"] == "MeanSign"
    assert result.summary["bytes_per_agent"] == 12 * 2 * (8 + 1)
    nested = {"name": "top_k", "k": 4, "values": {"name": "python", "file": "mean_sign.py"}}
    made = make_config(tables(algorithm=TRACKING, compressor=nested), folder)
    assert type(made.compressor.values).__name__ == "MeanSign"
    assert make_config(made.resolved(), Path()).resolved() == made.resolved()


def test_a_changed_file_is_another_run(folder):
    run(make_config(mean_sign(), folder), engine="simulate", out=folder / "run")
    case = Case(folder=folder / "run", config=make_config(mean_sign(), folder))
    resume(folder / "run", engine="simulate", iterations=16)
    assert load(folder / "run").bits == pytest.approx(8 * 9 / 5)
    path = folder / "mean_sign.py"
    path.write_text(path.read_text() + "\n# another\n")
    with pytest.raises(CheckpointError, match=r"mean_sign.py \(compressor.file\) has changed"):
        resume(folder / "run", engine="simulate", iterations=20)
    with pytest.raises(ConfigError, match=r"the problem's files on host .* are not those"):
        Case.model_validate(case.model_dump(mode="json"))


def test_a_run_on_an_own_graph_resumes_as_long_as_its_code_is_the_same(folder):
    first = run(make_config(TABLES, folder), engine="simulate", out=folder / "run")
    more = resume(folder / "run", engine="simulate", iterations=20)
    straight = run(make_config(TABLES, folder, ["run.iterations=20"]), engine="simulate")
    assert first.summary["iterations"] == 12
    assert np.array_equal(more.x, straight.x)
    path = folder / "mygraph.py"
    path.write_text("raise SystemExit\n")
    with pytest.raises(CheckpointError, match=r"mygraph.py \(topology.file\) has changed"):
        resume(folder / "run", engine="simulate", iterations=30)


def test_settings_go_from_an_own_part_to_another_one(folder):
    config = make_config(mean_sign(), folder, ["compressor.name=top_k", "compressor.k=2"])
    assert config.resolved()["compressor"]["name"] == "top_k"
    config = make_config(TABLES, folder, ["algorithm.name=gt", "topology.graph=ring"])
    assert config.resolved()["algorithm"]["eta"] == 0.02
    assert config.problem.topology.name == "ring"


def test_a_suite_takes_own_parts(folder):
    (folder / "suite.toml").write_text(
        '[problem]\nname = "quadratic"\nagents = 4\n[algorithm]\nname = "cgt1"\n'
        '[[variant]]\nlabel = "own"\ncompressor = { name = "python", file = "mean_sign.py" }\n'
    )
    (case,) = load_suite(folder / "suite.toml", [], folder / "out").cases
    assert type(case.config.compressor).__name__ == "MeanSign"


SIGN = EXAMPLES["mean_sign.py"]


@pytest.mark.parametrize(
    ("section", "text", "keys", "error", "sentence"),
    [
        ("compressor", None, {}, ConfigError, r'compressor.file = ".*own.py" is not a file'),
        ("compressor", SIGN, {"file": 3}, ConfigError, r"compressor.file = 3 is not a string"),
        ("compressor", SIGN, {"file": "own.txt"}, ConfigError, r'own.txt" is not a file'),
        ("compressor", "x = 1\n", {}, ConfigError, r"has no class for \[compressor\]; decorate one"),
        ("compressor", "1 / 0\n", {}, DataError, r"own.py, line 1: the import failed with ZeroDiv"),
        ("compressor", SIGN, {"class": "MeanSin"}, ConfigError, r'did you mean "MeanSign"'),
        ("compressor", SIGN, {"bits": 2}, ConfigError, r"compressor.bits is not known.*: class, file"),
        ("algorithm", SIGN, {}, ConfigError, r"has no class for \[algorithm\]"),
        (
            "compressor",
            SIGN.replace('@parameters("compressor")\n', ""),
            {"class": "MeanSign"},
            ConfigError,
            r'"MeanSign" is not decorated with @parameters\("compressor"\)',
        ),
        (
            "compressor",
            SIGN.replace("def encode", "def encod"),
            {},
            DataError,
            r"the class MeanSign has no encode",
        ),
        (
            "compressor",
            SIGN.replace("return 8 +", "return 1 / 0 +"),
            {},
            DataError,
            r"own.py, line \d+: max_nbytes failed with ZeroDivisionError",
        ),
        (
            "compressor",
            SIGN + SIGN.partition('@parameters("compressor")')[2].join(
                ['\n@parameters("compressor")', ""]).replace("class MeanSign", "class Other"),
            {},
            ConfigError,
            r"has several classes \(MeanSign, Other\) for \[compressor\]; compressor.class says which",
        ),
        (
            "topology",
            GRAPH.replace("wheel_graph(agents)", "wheel_graph(3)"),
            {},
            DistoptError,
            r"Wheel.* 3 nodes .*problem.agents = 4",
        ),
        (
            "topology",
            GRAPH.replace("return graph", "return 3"),
            {},
            DistoptError,
            r"graph\(\) returned int",
        ),
    ],
)  # fmt: skip
def test_wrong_files_are_named(tmp_path, section, text, keys, error, sentence):
    if text is not None:
        (tmp_path / "own.py").write_text(text)
    names = {"topology": {"graph": "python"}}.get(section, {"name": "python"})
    own = {section: {**names, "file": "own.py", **keys}}
    base = tables(topology={"graph": "ring"}, algorithm=TRACKING)
    with pytest.raises(error, match=sentence):
        run(make_config(base | own, tmp_path), engine="simulate")


def test_a_step_that_fails_is_named_with_its_line(folder):
    path = folder / "extra.py"
    path.write_text(path.read_text().replace("if k > 0:", "if k == 3: [][1]\n        if k > 0:"))
    with pytest.raises(DataError, match=r"extra.py, line \d+: step failed with IndexError"):
        run(make_config(TABLES, folder), engine="simulate")


def test_laws_take_a_class_of_a_file(folder):
    from distopt.core.usercode import own_class
    from distopt.testing import check_algorithm, check_compressor

    check_compressor(own_class("compressor", str(folder / "mean_sign.py"), None)(), 9)
    check_algorithm(own_class("algorithm", str(folder / "extra.py"), "Extra")(eta=0.01))


@pytest.mark.slow
def test_own_parts_over_ranks_give_the_bits_of_one_process(folder):
    try:
        find_mpirun()
    except TransportError as error:
        pytest.skip(str(error))
    import tomli_w

    (folder / "own.toml").write_text(tomli_w.dumps(TABLES))
    found = []
    for more in (["--simulate"], []):
        out = folder / f"out{len(more)}"
        line = [sys.executable, "-m", "distopt", "run", folder / "own.toml", "--json", "-q"]
        done = subprocess.run(
            [*map(str, line), "--out", str(out), *more], capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, done.stderr
        summary = json.loads(done.stdout.splitlines()[-1])
        found.append((summary["algorithm"], summary["stationarity"], summary["bytes_on_wire"]))
    assert found[0] == found[1]
    assert np.isfinite(found[0][1])
