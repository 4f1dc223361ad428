"""One model for TOML, --set and Python: what is accepted, what is refused, and with which words."""

import re
from pathlib import Path

import numpy as np
import pytest

from distopt.algorithms.cgt3_zoom import ZoomingTracking3
from distopt.compressors.quantize import Quantize
from distopt.config.build import load_config, make_config
from distopt.config.run import RunConfig, make_run
from distopt.config.tables import apply_settings, parse_value, require_plain
from distopt.core.errors import ConfigError, DistoptError

MYCOST = Path(__file__).parents[2] / "launch" / "experiments" / "mycost.py"
BASE = {
    "problem": {"name": "quadratic", "agents": 4, "dimension": 6},
    "topology": {"graph": "ring"},
    "algorithm": {"name": "cgt1", "eta": 0.1, "gamma": 0.5, "alpha": 0.9},
    "compressor": {"name": "quantize", "bits": 2},
    "run": {"iterations": 50},
}
TOP_K = "compressor.name=top_k"

# Settings, and words that the sentence must hold: the key's full name, what was given, what is
# accepted or meant.
REFUSED = {
    "section": (["algoritm.eta=1"], '[algoritm] is not a section; did you mean "algorithm"?'),
    "setting": (["eta=1"], '--set "eta=1" is not understood; accepted: section.key=value'),
    "no-value": (["algorithm.eta"], '--set "algorithm.eta" is not understood'),
    "into-text": (["algorithm.name.x=1"], "name is not a table"),
    "algorithm-key": (["algorithm.etta=1"], 'algorithm.etta is not known; did you mean "eta"?'),
    "name-key": (["algorithm.nme=1"], 'algorithm.nme is not known; did you mean "name"?'),
    "algorithm": (["algorithm.name=cgt11"], 'algorithm.name = "cgt11" is not known; did you mean'),
    "name-type": (["algorithm.name=3"], "algorithm.name = 3 is not a string in quotes"),
    "compressor": (["compressor.name=topk"], 'did you mean "top_k"? Known: anq, blockwise, cast'),
    "nested": ([TOP_K, "compressor.k=2", "compressor.values.name=topk"], "compressor.values.name"),
    "problem": (["problem.name=quadratik"], 'problem.name = "quadratik" is not known; did you mean'),
    "problem-key": (["problem.dimensions=3"], 'problem.dimensions is not known; did you mean'),
    "graph": (["topology.graph=rng"], 'topology.graph = "rng" is not known; did you mean "ring"?'),
    "graph-key": (["topology.rows=2"], "topology.rows is not known. Accepted with topology.graph"),
    "run-key": (["run.iteratons=3"], 'run.iteratons is not known; did you mean "iterations"?'),
    "stop-key": (["run.stop.seconds_=1"], 'run.stop.seconds_ is not known; did you mean "seconds"?'),
    "stop-table": (["run.stop=3"], "run.stop = 3 is not a table; accepted: a table with the keys"),
    "eta-range": (["algorithm.eta=0"], "algorithm.eta = 0 is not acceptable; accepted: a number >"),
    "eta-nan": (["algorithm.eta=nan"], "eta = nan is not acceptable; accepted: a finite number"),
    "gamma-range": (["algorithm.gamma=1.5"], "algorithm.gamma = 1.5 is not acceptable"),
    "eta-type": (["algorithm.eta=fast"], 'algorithm.eta = "fast" is not acceptable'),
    "bits-type": (["compressor.bits=2.5"], "compressor.bits = 2.5 is not acceptable; accepted: a whole"),
    "bits-range": (["compressor.bits=0"], "compressor.bits = 0 is not acceptable"),
    "run-type": (["run.iterations=many"], 'run.iterations = "many" is not acceptable; accepted: a whole'),
    "run-text": (['run.iterations="50"'], 'run.iterations = "50" is not acceptable'),
    "run-bool": (["run.iterations=true"], "run.iterations = true is not acceptable"),
    "run-range": (["run.record_every=0"], "run.record_every = 0 is not acceptable"),
    "timeout-nan": (["run.timeout=nan"], "run.timeout = nan is not acceptable"),
    "stop-range": (["run.stop.stationarity=-1"], "run.stop.stationarity = -1 is not acceptable"),
    "agents": (["problem.agents=0"], "problem.agents = 0 is not acceptable"),
    "k-too-large": ([TOP_K, "compressor.k=7"], "compressor.k = 7 is larger than the dimension 6"),
    "wrong-class": (["compressor.name=one_bit"], "needs a compressor with a relative guarantee"),
    "wrong-class-gt": (["algorithm.name=gt"], 'algorithm.name = "gt" sends uncompressed vectors'),
    "disconnected": (["topology.graph=erdos_renyi", "topology.p=1e-9"], "no connected graph"),
    "missing-key": (["problem.name=python"], "problem.file is missing"),
    "no-json": (["problem.name=python", f"problem.file={MYCOST}", "problem.options.outliers=nan"],
                "problem.options.outliers = nan is not acceptable; accepted: numbers but nan and -inf"),
    "missing-data": (["problem.name=logistic", "problem.dataset=no.svm"], 'problem.dataset = "no.svm"'),
    "missing-edges": (["topology.file=no.txt"], "topology.file"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_sentence_names_key_value_and_what_is_accepted(name: str, tmp_path: Path) -> None:
    settings, words = REFUSED[name]
    with pytest.raises(DistoptError, match=re.escape(words)) as error:
        make_config(BASE, tmp_path, settings)
    assert str(error.value).rstrip()[-1] in ".?"
    assert "\n" not in str(error.value)


def test_a_value_that_json_does_not_have_is_refused_wherever_it_is() -> None:
    table = {"problem": {"options": {"since": [[1979], parse_value("1979-05-27")]}}}
    with pytest.raises(
        ConfigError, match=r"problem.options.since.1 = 1979-05-27 is not acceptable"
    ):
        require_plain("", table)
    require_plain("", {"run": {"stop": {"seconds": np.inf}}, "problem": {"a": [True, "x", 1.5]}})


MISTAKES = """
run = 3
[problm]
[problem]
name = "logistic"
dataset = 3
split = "sortd"
sed = 1
[topology]
graph = "ring"
rows = 2
[algorithm]
name = "cgt1"
etta = 0.1
gamma = 1.5
alpha = "much"
[compressor]
name = "quantize"
bits = 0
levels = 2
"""
TOLD = [
    "The configuration has 12 mistakes:",
    '  [problm] is not a section; did you mean "problem"?',
    "  run must be a table of keys, not 3.",
    "  problem.agents is missing; it has no default.",
    '  problem.sed is not known; did you mean "seed"?',
    "  problem.dataset = 3 is not acceptable",
    '  problem.split = "sortd" is not acceptable',
    "  topology.rows is not known. Accepted with topology.graph",
    "  algorithm.gamma = 1.5 is not acceptable",
    '  algorithm.alpha = "much" is not acceptable',
    '  algorithm.etta is not known; did you mean "eta"?',
    "  compressor.bits = 0 is not acceptable",
    "  compressor.levels is not known. Accepted with compressor.name",
]


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(write(tmp_path, MISTAKES))
    lines = str(error.value).splitlines()
    assert [line[: len(words)] for line, words in zip(lines, TOLD, strict=True)] == TOLD


def test_a_key_that_is_misspelt_is_not_missing_as_well(tmp_path: Path) -> None:
    tables = BASE | {"problem": {"name": "quadratic", "agnts": 4, "dimension": 6}}
    with pytest.raises(ConfigError, match=r"problem\.agnts is not known") as error:
        make_config(tables, tmp_path)
    assert not error.value.several


def test_settings_and_stopping_tests_are_all_judged(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        make_config(BASE, tmp_path, ["eta=1", "algorithm.eta"])
    assert len(error.value.several) == 2
    with pytest.raises(ConfigError) as error:
        make_run({"iterations": -1, "sed": 2, "stop": {"nmse": -1, "second": 3}})
    assert len(str(error.value).splitlines()) == 1 + 4


def test_a_constructor_tells_all_mistakes() -> None:
    with pytest.raises(ConfigError, match=r"^\[compressor\] has 2 mistakes:\n") as error:
        Quantize(bits=0, dithered=3)
    assert len(error.value.several) == 2


def write(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    return path


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"There is no configuration file .*nothing\.toml"):
        load_config(tmp_path / "nothing.toml")


def test_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read as a configuration"):
        load_config(tmp_path)


def test_bad_toml_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.toml is not valid TOML: .*line 1"):
        load_config(write(tmp_path, "[problem\n"))


def test_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(path)


def test_section_that_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run must be a table of keys, not 3"):
        load_config(write(tmp_path, "run = 3\n"))


@pytest.mark.parametrize(("section", "command"), [("variant", "compare"), ("network", "threshold")])
def test_a_file_of_another_command_is_named_so(tmp_path: Path, section: str, command: str) -> None:
    path = write(tmp_path, f"[problem]\nname = 'pl'\n[[{section}]]\nlabel = 'a'\n")
    with pytest.raises(ConfigError, match=rf"has \[\[{section}\]\] tables.*`distopt {command}`"):
        load_config(path)


def test_missing_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"problem\.name is missing .*Known: admm_csnet, diagonal"
    ):
        make_config({"problem": {"agents": 3}}, tmp_path)


def test_nothing_but_a_problem_is_needed(tmp_path: Path) -> None:
    config = make_config({"problem": BASE["problem"]}, tmp_path)
    tables = config.resolved()
    assert (tables["algorithm"]["name"], tables["compressor"]["name"]) == ("zed", "zoom")
    assert make_config(tables, tmp_path).resolved() == tables
    other = make_config({"algorithm": {"beta": 0.1}} | {"problem": BASE["problem"]}, tmp_path,
                        ["algorithm.name=gt"])  # fmt: skip
    assert "omega" not in other.resolved()["algorithm"]
    with pytest.raises(ConfigError, match=r'algorithm.name = "zed" needs .*cgt1.* takes it'):
        make_config(
            {"problem": BASE["problem"]}, tmp_path, ["compressor.name=top_k", "compressor.k=2"]
        )


def test_defaults_file_and_settings_in_this_order(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        [problem]
        name = "quadratic"
        agents = 3
        [algorithm]
        name = "gt"
        eta = 0.2
        [run]
        iterations = 7
        """,
    )
    config = load_config(path, ["run.iterations=8", "run.iterations=9", "run.stop.seconds=5"])
    assert config.run.iterations == 9
    assert config.run.stop.seconds == 5.0
    assert config.run.record_every == RunConfig.model_fields["record_every"].default
    assert config.problem.agents == 3
    assert config.problem.topology.name == "ring"
    assert config.resolved()["compressor"] == {"name": "identity"}


def test_resolved_configuration_makes_itself_again(tmp_path: Path) -> None:
    config = make_config(BASE, tmp_path)
    again = make_config(config.resolved(), tmp_path)
    assert again.resolved() == config.resolved()


def test_with_settings_starts_from_what_was_given(tmp_path: Path) -> None:
    config = make_config(BASE, tmp_path).with_settings(["algorithm.eta=0.3"])
    assert config.algorithm.eta == 0.3  # type: ignore[attr-defined]
    assert BASE["algorithm"]["eta"] == 0.1


def test_settings_do_not_change_what_they_are_applied_to() -> None:
    tables = {"run": {"stop": {"stationarity": 1.0}}}
    apply_settings(tables, ["run.stop.stationarity=2", "run.iterations=3"])
    assert tables == {"run": {"stop": {"stationarity": 1.0}}}


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("3", 3), ("true", True), ("[1, 2]", [1, 2]), ("iid", "iid"), ('"3"', "3"),
     (" a b ", "a b"), ("", ""), ("{x = 1}", {"x": 1}), ("inf", float("inf"))],
)  # fmt: skip
def test_values_are_toml_or_bare_text(text: str, value: object) -> None:
    assert parse_value(text) == value


# What remains of a section when its name changes


def changed(section: str, *settings: str, **tables: dict[str, object]) -> dict[str, object]:
    result = apply_settings(BASE | tables, settings)[section]
    assert isinstance(result, dict)
    return result


def test_another_algorithm_keeps_the_keys_that_it_knows() -> None:
    assert changed("algorithm", "algorithm.name=cgt2") == {"name": "cgt2", "eta": 0.1, "gamma": 0.5}


def test_the_same_name_keeps_everything() -> None:
    assert changed("algorithm", "algorithm.name=cgt1") == BASE["algorithm"]


def test_keys_that_were_set_stay_and_are_judged(tmp_path: Path) -> None:
    settings = ["algorithm.alpha=0.5", "algorithm.name=cgt2"]
    with pytest.raises(ConfigError, match=r"algorithm\.alpha is not known"):
        make_config(BASE, tmp_path, settings)


def test_keys_that_nobody_knows_stay_and_are_judged() -> None:
    table = changed("algorithm", "algorithm.name=gt", algorithm={"name": "cgt1", "ets": 1})
    assert table == {"name": "gt", "ets": 1}


def test_another_problem_keeps_agents_and_common_keys() -> None:
    problem = {"name": "quadratic", "agents": 4, "seed": 3, "dimension": 6, "spread": 2.0}
    table = changed("problem", "problem.name=pl", problem=problem)
    assert table == {"name": "pl", "agents": 4, "seed": 3, "dimension": 6}


def test_another_graph_drops_the_keys_and_the_file_of_the_former() -> None:
    table = changed(
        "topology", "topology.graph=ring", topology={"graph": "erdos_renyi", "p": 0.3, "seed": 1}
    )
    assert table == {"graph": "ring"}
    assert changed("topology", "topology.graph=star", topology={"file": "e"}) == {"graph": "star"}


def test_an_edge_file_drops_the_graph() -> None:
    table = changed("topology", "topology.file=e.txt", topology={"graph": "grid", "rows": 2})
    assert table == {"file": "e.txt"}


def test_nested_compressor_changes_alone() -> None:
    compressor = {"name": "top_k", "k": 3, "values": {"name": "quantize", "bits": 3}}
    table = changed("compressor", "compressor.values.name=norm_sign", compressor=compressor)
    assert table == {"name": "top_k", "k": 3, "values": {"name": "norm_sign"}}


def test_options_of_a_python_cost_are_never_dropped() -> None:
    problem = {"name": "python", "file": "c.py", "options": {"name": "a", "size": 3}}
    table = changed("problem", "problem.options.name=b", problem=problem)
    assert table["options"] == {"name": "b", "size": 3}


def test_numpy_numbers_are_numbers() -> None:
    run = make_run({"iterations": np.int64(5), "timeout": np.float64(2), "stop": {}})
    assert (run.iterations, run.timeout) == (5, 2.0)


def test_a_class_may_choose_another_form():
    tables = {
        "problem": {"name": "pl", "agents": 4},
        "algorithm": {"name": "cgt3", "scale": "zoom", "eta": 0.02},
        "compressor": {"name": "zoom_sign"},
    }
    assert type(make_config(tables, Path()).algorithm) is ZoomingTracking3
