"""The numbers of a record, as their definitions say, for more agents than coordinates and for fewer."""

from math import sqrt

import numpy as np
import pytest

from distopt.config.build import make_config
from distopt.engine import diagnostics
from distopt.engine.diagnostics import Diagnostics
from distopt.engine.team import prepare
from distopt.transport import local
from distopt.transport.base import slices
from distopt.transport.local import LocalTransport


@pytest.mark.parametrize(("agents", "d"), [(9, 4), (9, 9), (9, 40), (5, 333), (40, 3)])
def test_a_record_is_what_loops_over_slices_and_agents_give(agents, d, monkeypatch):
    """To the bit; agents' sums run in their order, whatever is computed at a time."""
    monkeypatch.setattr(local, "BLOCK", 64)
    monkeypatch.setattr(diagnostics, "BLOCK", 50)
    tables = {
        "problem": {"name": "pl", "dimension": d, "basis": "diagonal", "agents": agents},
        "algorithm": {"name": "gt", "eta": 0.02, "gamma": 0.5},
    }
    config = make_config(tables, ".")
    team = prepare(config, LocalTransport(config.problem.topology))
    for _ in range(3):
        team.iterate()
    row = Diagnostics(team).row()

    def mean(rows):
        total = rows[0].copy()
        for other in rows[1:]:
            total += other
        return total / len(rows)

    x, y, g = (np.array([getattr(h.state, name) for h in team.hosted]) for name in "xyg")
    tracking = residual = slope = 0.0
    at_mean = np.empty((agents, d))
    for h, out in zip(team.hosted, at_mean, strict=True):
        h.agent.cost.gradient(mean(x), out)
    for part in slices(d, agents):
        middle = mean(y[:, part])
        tracking += sum(float(np.dot(v, v)) for v in y[:, part] - middle)
        rest = middle - mean(g[:, part])
        residual += float(np.dot(rest, rest))
        gradient = mean(at_mean[:, part])
        slope += float(np.dot(gradient, gradient))
    norm = max(sqrt(float(np.dot(v, v))) for v in g)
    assert row["tracking_error"] == tracking / agents
    assert row["invariant"] == sqrt(residual) / norm
    assert row["gradient_norm"] == sqrt(slope)
