"""A rank yields its core as long as that is short, and sleeps where other programs keep it."""

from time import perf_counter, sleep

import pytest

from distopt.transport import pace
from distopt.transport.pace import LONG_SECONDS, SHORT_SECONDS, YIELD_SECONDS, Pace


@pytest.fixture
def yields(monkeypatch):
    """Count yields, each of which takes as long as `yields.seconds` say."""

    class Yields:
        count, seconds = 0, 0.0

        def __call__(self):
            self.count += 1
            sleep(self.seconds)

    found = Yields()
    monkeypatch.setattr(pace.os, "sched_yield", found)
    return found


def test_a_long_yield_lets_a_rank_sleep_from_then_on(yields):
    yields.seconds = 2 * LONG_SECONDS
    waiting = Pace()
    assert waiting.spin() == YIELD_SECONDS
    assert not waiting.rest(perf_counter())
    assert yields.count == 1
    assert waiting.spin() == SHORT_SECONDS
    assert waiting.rest(perf_counter() - 2 * SHORT_SECONDS)
    assert yields.count == 1


def test_yields_are_tried_again(yields):
    waiting = Pace()
    waiting.felt(0.0)
    assert waiting.spin() == YIELD_SECONDS


def test_a_longer_pause_is_not_cut_short():
    waiting = Pace()
    waiting.felt(1e6)
    waiting.felt(0.0)
    assert waiting.spin() == SHORT_SECONDS


def test_a_long_wait_sleeps(yields):
    assert Pace().rest(perf_counter() - 2 * YIELD_SECONDS)
    assert yields.count == 0


def test_the_user_can_say_that_others_need_the_cores(monkeypatch):
    monkeypatch.setenv("DISTOPT_BUSY_WAIT", "0")
    assert Pace().spin() == SHORT_SECONDS
