"""Bits to an accuracy: the search keeps to its budget, the sentences follow from the numbers."""

import importlib
import sys
from math import inf, log, log2
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CASE = ("PL, d = 50", "ring", 10)


@pytest.fixture
def program(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("bits_to_accuracy")
    for name in ("bits_to_accuracy", "shared"):
        sys.modules.pop(name, None)


def valley(program, best, largest=inf):
    """Stand for a method: bytes grow on both sides of the best step, and steps above the largest fail."""

    def play(case, method, numbers, seed, most=program.MOST):
        if numbers["eta"] > largest:
            return None, None
        nbytes = 100 * (1 + abs(log(numbers["eta"] / best)))
        return program.Cost(nbytes, nbytes, nbytes, nbytes), None

    return play


@pytest.mark.parametrize("best", [0.3, 1.0, 4.0])
def test_the_search_finds_the_step_within_its_budget(program, monkeypatch, best):
    monkeypatch.setattr(program, "play", valley(program, best))
    tuning = program.Tuning(CASE, "gt")
    tuning.climb("eta", 1.0, 6, 2.0)
    assert tuning.tried <= 6
    assert abs(log(tuning.numbers["eta"] / best)) <= log(2) / 2


def test_the_search_comes_down_from_steps_that_fail(program, monkeypatch):
    monkeypatch.setattr(program, "play", valley(program, 1.0, largest=0.2))
    tuning = program.Tuning(CASE, "gt")
    tuning.climb("eta", 1.0, 6, 2.0)
    assert tuning.tried <= 6
    assert 0.1 <= tuning.numbers["eta"] <= 0.2


def part(method, *costs):
    return {
        "method": method, "first": [1.0], "dimension": 16,
        "forms": [{"form": "auto", "numbers": {}, "tried": 0, "costs": costs}],
    }  # fmt: skip


def test_losses_of_ours_are_said(program):
    parts = [part("gt", [10, 10, 100, 200]), part("zed", [30, 30, 50, 400]), part("zest", None)]
    text = program.verdict(parts)
    assert "Fewest bytes once: **zed** (50)" in text
    assert "Fewest bytes on links: **gt** (200)" in text
    assert "zed 2 (more)." in text  # of gt's bytes on links
    assert "Not on all seeds, in either form: zest." in text


def test_the_table_of_all_cases_says_where_ours_lose(program):
    """zed1 counts among ours, also where neither zed nor zest is best."""
    won = [part("gt", [9, 9, 90, 90]), part("zed", [9, 9, 99, 50]), part("zed1", [8, 8, 80, 60])]
    lost = [part("gt", [9, 9, 90, 90]), part("zed", [9, 9, 99, 50]), part("zest", None)]
    text = program.summary([(CASE, won), (("PL, d = 50", "star", 10), lost)])
    assert "| gt 90; zed 99; zest - | gt 90; zed **50**; zest - | gt 9; zed 9; zest - |" in text
    assert "| gt **90**; zed 99; zest - | gt 90; zed **50**; zest - |" in text
    ours, zed = text.splitlines()[-2:]
    assert ours.endswith("zed, zed1 and zest: bytes once on PL, d = 50; star of 10 (gt).")
    cells = [f"bytes once on PL, d = 50; {graph} of 10 (gt)" for graph in ("ring", "star")]
    assert zed.endswith(f"no spanning tree: {'; '.join(cells)}.")
    assert "zed 1.1 (more)" in program.verdict(lost)


def test_the_reference_is_half_a_bit_for_each_halving_of_P(program):
    bits = 8 * program.reference([part("gt", None)])
    assert bits == pytest.approx(16 / 2 * log2(1 / program.TARGET))


def test_a_case_says_what_is_missing(program):
    text = program.section(CASE, [part("gt", [10, 10, 100, 200])])
    before, found, after = text.partition("Not measured here yet, so not in these sentences: ")
    assert found
    assert "zest" in after.splitlines()[0]
    assert "| gt |" in before
