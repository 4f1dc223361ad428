"""`distopt measure` and `distopt plan`: what they refuse, what they keep, and the whole on a real bed."""

import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from measure_table import bare_entry, entry, variant
from rich.console import Console
from typer.testing import CliRunner

from distopt.cli.app import app
from distopt.core.errors import ConfigError, TransportError
from distopt.show import measured, render
from distopt.studies.measure import break_even, plan, summary, tables
from distopt.studies.measure.computing import busy_cores, computing_seconds
from distopt.studies.measure.link import parse_links
from distopt.studies.measure.model import iteration
from distopt.studies.measure.timed import list_timed_runs, require_hosts
from distopt.studies.measure.timing import require_same
from distopt.studies.suite import load_suite

SUITE = """
[problem]
name = "pl"
dimension = 3000
basis = "diagonal"
agents = 3
[topology]
graph = "ring"
[run]
iterations = 120
record_every = 10
[suite]
accuracies = [1e-1, 1e-2]
[[variant]]
label = "gt"
algorithm = { name = "gt", eta = 0.018, gamma = 0.6 }
[[variant]]
label = "lead, signs"
algorithm = { name = "lead", eta = 0.02, gamma = 0.5, alpha = 1.0 }
compressor = { name = "norm_sign" }
"""


TREE = """
[[variant]]
label = "to some neighbours only"
algorithm = { name = "zest" }
"""


@pytest.fixture
def suite_file(tmp_path: Path) -> Path:
    path = tmp_path / "suite.toml"
    path.write_text(SUITE)
    return path


def fails(*arguments: str) -> str:
    """Run a command that must fail; return its complaint, without colours and line breaks."""
    done = subprocess.run(
        [sys.executable, "-m", "distopt", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    return " ".join(done.stderr.split())


def test_items_alternate_variants_links_and_rounds(suite_file: Path, tmp_path: Path) -> None:
    suite = load_suite(suite_file, [], tmp_path)
    items = list_timed_runs(suite, parse_links("10mbit,1gbit"), 2)
    assert [(i.case.label, i.link_name, i.round) for i in items[:5]] == [
        ("gt", "10mbit", 1), ("lead, signs", "10mbit", 1), ("gt", "1gbit", 1),
        ("lead, signs", "1gbit", 1), ("gt", "10mbit", 2),
    ]  # fmt: skip
    assert len({i.path for i in items}) == len({i.name for i in items}) == 8


def test_a_result_is_kept_for_the_same_configuration_only(suite_file: Path, tmp_path: Path) -> None:
    (item, *_) = list_timed_runs(load_suite(suite_file, [], tmp_path), parse_links("10mbit"), 1)
    assert item.kept(1.0) is None
    item.keep({"a": 1}, 1.0)
    assert item.kept(1.0) == item.kept(None) == {"a": 1}
    assert item.kept(2.0) is None
    other = load_suite(suite_file, ["problem.dimension=2000"], tmp_path)
    assert list_timed_runs(other, parse_links("10mbit"), 1)[0].kept(1.0) is None
    item.path.write_text("{")
    assert item.kept(1.0) is None


def test_too_few_hosts_are_refused_with_the_number_needed(suite_file: Path, tmp_path: Path) -> None:
    suite = load_suite(suite_file, [], tmp_path)
    assert require_hosts(suite, None) == require_hosts(suite, 3) == 3
    with pytest.raises(ConfigError, match=r"--hosts 2.*3 agents.*--hosts 3.*problem\.agents=2"):
        require_hosts(suite, 2)


def test_bad_options_are_sentences(suite_file: Path) -> None:
    assert "--hosts 5" in fails("measure", str(suite_file), "--hosts", "5")
    assert "100mbit" in fails("measure", str(suite_file), "--link", "fast")
    assert "measured.json" in fails("plan", str(suite_file), "--network", str(suite_file))


def test_a_run_with_another_p_than_the_recorded_one_is_refused() -> None:
    class RunData:
        place = Path("runs/x")

        def __getitem__(self, name: str) -> Any:
            import numpy as np

            return {"iteration": np.array([0.0, 10.0]), "stationarity": np.array([1.0, 0.5])}[name]

    require_same(RunData(), 10, 0.5)  # type: ignore[arg-type]
    require_same(RunData(), 7, 0.3)  # type: ignore[arg-type]  # not recorded: nothing to compare
    with pytest.raises(TransportError, match="another run"):
        require_same(RunData(), 10, 0.25)  # type: ignore[arg-type]


def test_rounds_are_merged_to_medians_and_sums(suite_file: Path, tmp_path: Path) -> None:
    (item, *_) = list_timed_runs(load_suite(suite_file, [], tmp_path), parse_links("10mbit"), 1)
    merged = summary.merged(item, [bare_entry(s) for s in (0.010, 0.030, 0.012)])
    assert merged["seconds_per_iteration"]["total"] == 0.012
    assert merged["seconds_per_iteration"]["least"] == 0.010
    assert merged["accounting"]["counted"] == 3 * bare_entry(0.01)["accounting"]["counted"]
    assert merged["accounting"]["balanced"]
    assert merged["accuracies"][0]["seconds"] == pytest.approx(1.2)
    assert merged["accuracies"][1] is None
    assert merged["bare"]["raw_seconds"] > 0


def test_break_even_is_where_the_measured_lines_cross() -> None:
    plain = variant("gt", {1e7: 10.0, 1e8: 2.0, None: 1.0})
    packed = variant("packed", {1e7: 1.5, 1e8: 1.4, None: 1.3})
    slow = variant("slow", {1e7: 20.0, 1e8: 20.0, None: 20.0})
    quick = variant("quick", {1e7: 0.5, 1e8: 0.5, None: 0.5})
    network = break_even.judge([plain, packed, slow, quick], 1e-6, "gt")
    assert network is not None
    assert "break_even" not in plain
    assert packed["break_even"]["measured"] > 1e8
    assert slow["break_even"]["measured"] == "never"
    assert quick["break_even"]["measured"] == "always"
    figure = measured.seconds_against_rate([plain, packed, slow, quick], 1e-6, "title")
    assert [x.get_text() for x in figure.axes[0].get_xticklabels()][-1] == "no limit"


def test_in_the_model_exchanges_of_a_tree_wait_for_each_other() -> None:
    """As fast at every measured rate as the baseline, with as many bytes; but 6 exchanges, not 1."""
    seconds = {1e7: 10.0, 1e8: 2.0, None: 1.0}
    plain, tree = variant("gt", seconds), variant("tree", seconds)
    for e in tree["links"]:
        e["bare"] |= {"exchanges": 6.0, "copies": 1.0}
    network = break_even.judge([plain, tree], 1e-6, "gt")
    assert network is not None
    assert tree["break_even"]["model"] == "never"
    for v, waiting in (
        (plain, network.exchange(1000, 2.0, 1e7)),
        (tree, 6 * network.exchange(1000, 1.0, 1e7)),
    ):
        one = iteration(v["links"][0])
        assert one.seconds(network, 1e7) == pytest.approx(one.computing + waiting, rel=1e-12)


def test_the_tables_hold_every_variant_link_and_phase() -> None:
    v = variant("gt", {1e7: 10.0, None: 1.0})
    for e in v["links"]:
        e["seconds_per_iteration"] |= {"diagnostics": 0.001}
        e["accuracies"][0] |= {"seconds_recorded": 11.0, "bytes_recorded": 3e6}
        e |= {"hosts": {"h1": {}, "h2": {}, "h3": {}}, "phases": bare_entry(0.01)["phases"]}
    packed = v | {"variant": "packed", "break_even": {"against": "gt", "accuracy": 1e-6,
                  "measured": "never", "model": 2.5e8}}  # fmt: skip
    one, even, phases = tables.tabulate([v, packed], [1e-6, 1e-3], None)
    assert [(r["variant"], r["link"]) for r in one.rows] == [
        ("gt", "1e+07"), ("packed", "1e+07"), ("gt", "unlimited"), ("packed", "unlimited"),
    ]  # fmt: skip
    first, *_ = render.to_markdown(one).splitlines()[2:]
    assert first.startswith("| gt, 1e+07 | 100 ms | 25.0 ms |")
    assert first.endswith("| 2.00 kB | - | 1.00 | - | ≈10.0 s | ≈11.0 s | 3.00 MB |")
    assert "| packed | never | 250 Mbit/s |" in render.to_markdown(even)
    assert len(phases.rows) == 4 * 5
    console = Console(file=StringIO(), width=160)
    render.to_terminal(phases, console)
    assert console.file.getvalue().count("packed") == 2  # once for its five phases


def test_an_interface_that_tells_nothing_is_said_once() -> None:
    broken = entry(1e7, 1.0)
    broken["accounting"] = {"problem": "the interfaces saw 3 bytes"}
    told = summary.problems([{"links": [broken, broken]}, {"links": [entry(1e7, 1.0)]}])
    assert len(told) == 1
    assert "3 bytes" in told[0]


def test_a_plan_counts_what_a_simulation_counts(suite_file: Path) -> None:
    done = CliRunner().invoke(
        app, ["plan", str(suite_file), "--link", "1mbit,1gbit", "--agents", "4", "--json", "-q",
              "--accuracy", "1e-2"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    gt, signs = [json.loads(x) for x in done.output.splitlines() if x.startswith("{")]
    assert gt["agents"] == 4
    assert gt["message_bytes"] == 2 * 8 * 3000
    assert signs["message_bytes"] == 4 + 3000 / 8
    assert gt["bytes_per_agent"] == gt["iterations"] * gt["message_bytes"]
    slow, fast = (at["seconds"] for at in gt["links"])
    least = gt["iterations"] * 2 * gt["message_bytes"] * 8 / 1e6
    assert slow > least > fast
    assert signs["links"][0]["seconds"] < slow
    command = [
        "plan",
        str(suite_file),
        "--link",
        "1gbit",
        "--accuracy",
        "1e-2",
        "--format",
        "latex",
    ]
    table = CliRunner().invoke(app, command).stdout
    assert r"variant & iterations & message [kB] &" in table


@pytest.mark.slow
def test_processes_on_all_cores_measure_together(suite_file: Path) -> None:
    config = plan.candidates(suite_file, [])[0][1]
    with busy_cores() as beside_others:
        times = computing_seconds(config, 30), beside_others(config, 30)
    assert 0.2 < times[1] / times[0] < 20  # on a core's own threads more than 1, elsewhere less


def test_a_plan_of_a_configuration_tries_other_compressors(tmp_path: Path) -> None:
    path = tmp_path / "one.toml"
    path.write_text(
        SUITE.split("[suite]")[0] + '[algorithm]\nname = "cgt1"\neta = 0.01\ngamma = 0.4\nalpha = 1.0\n'
        '[compressor]\nname = "quantize"\nbits = 4\n'
    )  # fmt: skip
    labels = [label for label, _ in plan.candidates(path, [])]
    assert labels[:3] == ["cgt1, quantize, bits 4", "zed, zoom", "exact_diffusion, identity"]
    assert {"cgt1, identity", "cgt1, cast, bfloat16", "cgt1, norm_sign"} < set(labels)
    assert "cgt1, one_bit" not in labels  # cgt1 does not take it


def test_variants_of_a_plan_share_the_time(monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr(plan, "process_time", lambda: now[0])
    shares = []
    for _, _, goal in plan.in_turn(
        [("a", None), ("b", None), ("c", None)], plan.Goal(1e-6, 12, None)
    ):
        shares.append(goal.seconds)
        now[0] += 10.0 if len(shares) == 2 else 0.0
    assert shares == [4.0, 6.0, 2.0]


@pytest.mark.slow
def test_a_suite_is_measured_on_a_bed_and_leaves_nothing(suite_file: Path, tmp_path: Path) -> None:
    from test_bed import MINE, missing, traces

    if missing():
        pytest.skip(missing())
    before = traces()
    suite_file.write_text(SUITE + TREE)
    out = tmp_path / "out"
    command = [
        sys.executable, "-m", "distopt", "measure", str(suite_file), "--hosts", "3", "--rounds", "1",
        "--link", "20mbit,unlimited", "--seconds", "1", "--out", str(out), "--json",
    ]  # fmt: skip
    environment = os.environ | MINE
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=900, env=environment
    )
    assert done.returncode == 0, done.stderr
    gt, signs, tree = [json.loads(x) for x in done.stdout.splitlines()[-3:]]
    for v in (gt, signs, tree):
        for e in v["links"]:
            assert set(e["hosts"]) == {"h1", "h2", "h3"}
            assert e["accounting"]["balanced"], e["accounting"]
            parts = e["seconds_per_iteration"]
            whole = sum(parts[k] for k in ("gradient", "compression", "waiting", "rest"))
            assert whole == pytest.approx(parts["total"], rel=0.25)
    bare = [v["links"][0]["bare"] for v in (gt, tree)]
    assert [(b["neighbours"], b["exchanges"], b["copies"]) for b in bare] == [
        (2, 1, 2),
        (2, 2, 1.5),
    ]
    limited = gt["links"][0]
    sent = 2 * 2 * 8 * 3000  # to two neighbours
    assert limited["seconds_per_iteration"]["total"] > 0.9 * 8 * sent / 20e6
    assert limited["bytes_on_wire"] == 3 * sent
    assert (
        gt["links"][1]["seconds_per_iteration"]["total"] < limited["seconds_per_iteration"]["total"]
    )
    assert (out / "measured.png").exists()
    again = subprocess.run(
        [*command, "--reuse"],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        env=environment,
    )
    assert json.loads(again.stdout.splitlines()[-3]) == gt
    assert traces() == before


@pytest.mark.slow
def test_the_demo_makes_its_figure() -> None:
    from test_bed import missing

    if missing():
        pytest.skip(missing())
    root = Path(__file__).parents[3]
    done = subprocess.run(
        ["sh", str(root / "launch" / "netns" / "demo.sh"), "--seconds", "0.5"],
        capture_output=True, text=True, check=False, timeout=800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    figure = Path(done.stdout.splitlines()[-1])
    assert figure.read_bytes()[:4] == b"\x89PNG"
