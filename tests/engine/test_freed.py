"""A run's vectors are freed with it, without Python's search for cycles: many runs share a process."""

import gc
import weakref

import pytest
from run_table import configure, mark_rest

from distopt.engine import run


@pytest.mark.parametrize(("algorithm", "message"), mark_rest(pytest.mark.slow))
def test_the_agents_of_a_run_are_freed_with_it(algorithm, message, monkeypatch):
    held = []

    def prepare(*args):
        team = prepared(*args)
        held.extend(weakref.ref(h.agent) for h in team.hosted)
        held.extend(weakref.ref(h.state) for h in team.hosted)
        return team

    prepared = run.prepare
    monkeypatch.setattr(run, "prepare", prepare)
    gc.disable()
    try:
        result = run.run(configure(algorithm, message, iterations=3), engine="simulate")
        assert result.rows
        assert held
        assert not any(ref() for ref in held)
    finally:
        gc.enable()
