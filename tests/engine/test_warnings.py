"""What a user is told of a run that ended by itself but went wrong."""

from pathlib import Path

import pytest

from distopt.config.build import make_config
from distopt.core.errors import DivergedError
from distopt.engine.run import run


@pytest.mark.parametrize(("eta", "warned"), [(1e4, True), (0.1, False)])
def test_growth_is_called_divergence(eta, warned):
    tables = {
        "problem": {"name": "logistic", "dataset": "breast_cancer", "agents": 4},
        "topology": {"graph": "ring"},
        "algorithm": {"name": "gt", "eta": eta, "gamma": 0.5},
        "run": {"iterations": 30},
    }
    result = run(make_config(tables, Path()), engine="simulate")
    assert any("P grew from" in w and "algorithm.eta" in w for w in result.warnings) is warned


def test_an_agent_that_diverges_names_the_steps_of_its_algorithm():
    tables = {
        "problem": {"name": "quadratic", "agents": 3},
        "algorithm": {"name": "gt", "eta": 1e9, "gamma": 0.5},
        "run": {"iterations": 200, "record_every": 200},
    }
    with pytest.raises(DivergedError, match=r"smaller algorithm\.eta or algorithm\.gamma may help"):
        run(make_config(tables, Path()), engine="simulate")
