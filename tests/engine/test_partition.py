"""The network falls apart during a run: one host of a test bed loses its link, for a moment or for good."""

import subprocess
import sys

import pytest
from test_failures import SILENCE, Run
from test_restart import assert_same_end, whole

from distopt.core.errors import TransportError
from distopt.studies.measure import bed

pytestmark = pytest.mark.slow

try:
    bed.require_tools()
    bed.require_privileges()
except TransportError as error:
    pytest.skip(str(error), allow_module_level=True)

ITERATIONS = 300

SCRIPT = """
{python} -m distopt run {config} --out {out} --quiet & run=$!
while kill -0 $run 2>/dev/null && ! grep -qE '^[0-9][0-9]' {folder}/at-3; do sleep 0.05; done
ip -n switch link set port3 down
{heal}
wait $run; code=$?
for second in $(seq 300); do
    pgrep -f -- '-m [d]istopt.cli.rank {out}' >/dev/null || exit $code
    sleep 1
done
echo 'ranks are left' >&2; exit 99
"""


def cut_off(run, seconds=None):
    """Run on four hosts; cut host h3 off after iteration 10, for so long; return code and lines."""
    (run.folder / "at-3").touch()
    heal = "" if seconds is None else f"sleep {seconds}; ip -n switch link set port3 up"
    script = SCRIPT.format(
        python=sys.executable, config=run.config, out=run.out, folder=run.folder, heal=heal
    )
    command = [sys.executable, "-m", "distopt.studies.measure.bed", "--hosts", "4"]
    done = subprocess.run(
        [*command, "--", "sh", "-c", script],
        capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    return done.returncode, done.stderr.splitlines()


def test_a_short_break_costs_time_only(tmp_path):
    run = Run(tmp_path, "none slow", iterations=ITERATIONS)
    assert cut_off(run, SILENCE / 2) == (0, [])
    assert_same_end(run.out, whole(tmp_path, ITERATIONS))


def test_a_host_that_is_gone_is_named_and_ends_all(tmp_path):
    run = Run(tmp_path, "none slow", iterations=10**6, timeout=SILENCE, setup_timeout=SILENCE)
    code, lines = cut_off(run)
    assert code == 1, lines
    (line,) = lines
    assert "agent 2 (host h3)" in line.replace("Agent", "agent")
    assert "heard nothing" in line or "hangs" in line


def test_a_host_that_comes_back_is_used_by_the_restart(tmp_path):
    how = {"timeout": SILENCE, "setup_timeout": SILENCE, "on_failure": "restart", "tries": 9}
    run = Run(tmp_path, "none slow", iterations=ITERATIONS, **how)
    code, lines = cut_off(run, 3 * SILENCE)
    assert code == 0, lines
    assert lines
    assert all("Restarting from iteration" in line for line in lines), lines
    assert_same_end(run.out, whole(tmp_path, ITERATIONS))
