import signal

import numpy as np
import pytest

from distopt.core.errors import ConfigError, DataError
from distopt.problems.costs.laws import check_cost
from distopt.problems.problem import build_problem

GOOD = """
import numpy as np

class Cost:
    def __init__(self, centre):
        self.dimension, self.centre = 2, centre
        self.smoothness = 2.0

    def value(self, x):
        return ((x - self.centre) ** 2).sum()

    def gradient(self, x, out):
        out[:] = 2 * (x - self.centre)

def make_cost(agent, agents, scale=1.0):
    return Cost(scale * agent / agents)
"""


def build(folder, text=GOOD, options=None, **keys):
    (folder / "own.py").write_text(text)
    section = {"name": "python", "file": "own.py", "agents": 2, **keys}
    if options is not None:
        section["options"] = options
    return build_problem(section, {}, folder)


def test_a_users_cost_works(tmp_path):
    problem = build(tmp_path, options={"scale": 4.0})
    cost = problem.cost(1)
    check_cost(cost)
    assert problem.dimension == 2
    assert cost.value(np.zeros(2)) == 8.0
    assert cost.smoothness == 2.0
    assert not hasattr(cost, "lower_bound")
    assert problem.table()["options"] == {"scale": 4.0}


def test_the_problems_seed_reaches_a_factory_that_takes_one(tmp_path):
    text = GOOD.replace("agents, scale=1.0", "agents, seed").replace(
        "scale * agent", "seed * agent"
    )
    problem = build(tmp_path, text, seed=6)
    assert problem.cost(1).value(np.zeros(2)) == 18.0
    assert build(tmp_path, text, {"seed": 2}, seed=6).cost(1).value(np.zeros(2)) == 2.0


def test_the_file_runs_once_and_again_when_it_changed(tmp_path):
    text = GOOD + "\nfrom pathlib import Path\nlog = Path(__file__).with_suffix('.log')\n"
    text += "log.write_text(log.read_text() + 'x' if log.exists() else 'x')\n"
    problem = build(tmp_path, text)
    problem.cost(0)
    problem.cost(1)
    assert (tmp_path / "own.log").read_text() == "x"


def test_siblings_and_dataclasses_can_be_used(tmp_path):
    (tmp_path / "sibling_of_own.py").write_text("CENTRE = 3.0\n")
    text = "from dataclasses import dataclass\nfrom sibling_of_own import CENTRE\n" + GOOD
    text += "\n@dataclass\nclass Data:\n    x: float\n"
    assert build(tmp_path, text).cost(0).dimension == 2


def replaced(old, new):
    assert old in GOOD
    return GOOD.replace(old, new)


@pytest.mark.parametrize(
    ("text", "error", "sentence"),
    [
        ("def make_cost(:\n", DataError, r"own.py, line 1: the import failed with SyntaxError"),
        (
            "\n\n1 / 0\n",
            DataError,
            r"own.py, line 3: the import failed with ZeroDivisionError: div",
        ),
        (
            "import nothing_like_it\n",
            DataError,
            r"own.py, line 1: .*ModuleNotFoundError: No module",
        ),
        ("def make_costs(i, n): pass\n", ConfigError, r'"make_cost" is not .*mean "make_costs"\?'),
        (
            "def make_cost(): pass\n",
            ConfigError,
            r"make_cost must take \(agent, agents\) .* too many",
        ),
        ("def make_cost(i, n, *, m): pass\n", ConfigError, r"must take .*; missing a required"),
        ("def make_cost(i, n): pass\n", DataError, r"agent 0 \(make_cost of .*own.py\) is None"),
        ("def make_cost(i, n): return 3\n", DataError, r'is of type int and has no "dimension"'),
        (
            replaced("return Cost(", "return Cost or ("),
            DataError,
            r"is the class Cost; accepted: an",
        ),
        (replaced("= 2, centre", "= 0, centre"), DataError, r"dimension = 0 is not acceptable"),
        (replaced("= 2, centre", "= 2.0, centre"), DataError, r"dimension = 2.0 is not acceptable"),
        (replaced("gradient", "grad"), DataError, r'is of type Cost and has no "gradient"'),
        (
            replaced("self, x, out", "self, x"),
            DataError,
            r"gradient\(x\) .* writes the gradient into out",
        ),
        (
            replaced("out[:] = 2", "return 2"),
            DataError,
            r"cost of agent 0 \(.*\): gradient\(x, out\) returned an array; it must write into",
        ),
        (replaced("out[:] = 2", "out = 2"), DataError, r"left out\[0\] unwritten or made it nan"),
        (replaced("out[:]", "out[:1]"), DataError, r"own.py, line 13: gradient failed with Value"),
        (
            replaced("out[:] =", "x += 1; out[:] ="),
            DataError,
            r"line 13: gradient failed with ValueError.*x belongs to the run and cannot be changed",
        ),
        (
            replaced("return ((x", "x -= 1; return ((x"),
            DataError,
            r"line 10: value failed with .* x belongs to the run",
        ),
        (
            replaced("out[:] =", "import sys; sys.exit(3); out[:] ="),
            DataError,
            r"line 13: gradient called sys.exit\(3\), which would end one agent",
        ),
        ("import sys\nsys.exit()\n", DataError, r"line 2: the import called sys.exit\(\), which"),
        (
            "def make_cost(i, n): exit(1)\n",
            DataError,
            r"line 1: make_cost\(0, 2, ...\) called sys.e",
        ),
        (
            replaced("= 2, centre", "= 10**13, centre"),
            ConfigError,
            r"10000000000000 is too large for",
        ),
        (replaced(".sum()", ""), DataError, r"value\(x\) returned ndarray, not a number"),
        (replaced("((x", "self.y * ((x"), DataError, r"line 10: value failed with AttributeError"),
        (
            replaced("return Cost", "open('/no/file')\n    return Cost"),
            DataError,
            r"line 16: make_c",
        ),
        (
            replaced("2.0\n", "2.0; self.start = [0]\n"),
            DataError,
            r"start has shape \(1,\).*\(2,\)",
        ),
    ],
)
def test_mistakes_are_named_with_file_and_line(tmp_path, text, error, sentence):
    with pytest.raises(error, match=sentence):
        build(tmp_path, text).cost(0)


def test_exceptions_during_the_run_are_sentences_too(tmp_path):
    text = replaced("return ((x", "assert x[0] < 5, 'too far'\n        return ((x")
    cost = build(tmp_path, text).cost(0)
    with pytest.raises(
        DataError, match=r"own.py, line 10: value failed with AssertionError: too far"
    ):
        cost.value(np.full(2, 9.0))


def test_x_is_read_only_for_every_method_and_no_copy(tmp_path):
    text = GOOD.replace("self.smoothness = 2.0", "self.smoothness, self.samples = 2.0, 3")
    text += "\ndef batch_gradient(self, x, index, out):\n    self.seen = x\n    index[0] = 1\n"
    cost = build(tmp_path, text + "Cost.batch_gradient = batch_gradient\n").cost(0)
    x = np.zeros(2)
    with pytest.raises(DataError, match=r"batch_gradient failed with ValueError: assignment"):
        cost.batch_gradient(x, np.array([0]), np.empty(2))
    assert np.shares_memory(cost._cost.seen, x)
    assert x.flags.writeable


def test_a_keyboard_interrupt_of_the_cost_is_a_sentence_and_ctrl_c_is_not(tmp_path):
    text = replaced("return ((x", "raise KeyboardInterrupt if x[0] else 0\n        return ((x")
    text = text.replace(
        "raise KeyboardInterrupt if x[0] else 0", "if x[0]: raise KeyboardInterrupt"
    )
    cost = build(tmp_path, text).cost(0)
    with pytest.raises(KeyboardInterrupt):
        cost.value(np.ones(2))
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        with pytest.raises(DataError, match="line 10: value failed with KeyboardInterrupt"):
            cost.value(np.ones(2))
    finally:
        signal.signal(signal.SIGINT, before)


def test_options_must_fit_the_factory(tmp_path):
    with pytest.raises(ConfigError, match=r"keys of \[problem.options\]; got an unexp.* 'scal'"):
        build(tmp_path, options={"scal": 1}).cost(0)


def test_an_argument_of_the_factory_among_the_keys(tmp_path):
    with pytest.raises(
        ConfigError, match=r"problem.scale is not known.*it is problem.options.scale\."
    ):
        build(tmp_path, scale=1)


def test_agents_must_agree_in_dimension(tmp_path):
    text = replaced("= 2, centre", "= 2 + int(centre > 0), centre")
    problem = build(tmp_path, text)
    with pytest.raises(DataError, match=r"cost of agent 1 has dimension 3, but the problem has 2"):
        problem.cost(1)


def test_a_rank_builds_its_own_cost_only(tmp_path, monkeypatch):
    """Another agent's data may not even be there."""
    refusing = "    if agent != 1:\n        raise OSError('not my data')\n    return Cost"
    problem = build(tmp_path, replaced("    return Cost", refusing))
    with pytest.raises(DataError, match="not my data"):
        problem.dimension  # noqa: B018
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    assert problem.dimension == 2
    assert problem.cost(1).dimension == 2


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match=r'problem.file = "own.py" is not a file; looked for'):
        build_problem({"name": "python", "file": "own.py", "agents": 2}, {}, tmp_path)
