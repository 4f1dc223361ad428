"""What a newcomer gives to simulate and minimize: names and tables are taken, mistakes are sentences."""

import warnings

import networkx
import numpy as np
import pytest

import distopt


class Parabola:
    """f(x) = ||x - target||^2 / 2, whose smoothness nobody has told."""

    dimension = 3

    def __init__(self, target=1.0, wrong=""):
        self.target, self.wrong = target, wrong

    def value(self, x):
        if self.wrong == "value":
            raise RuntimeError("no data")
        return 0.5 * float((x - self.target) @ (x - self.target))

    def gradient(self, x, out):
        if self.wrong == "far" and np.any(x):
            raise RuntimeError("too far")
        written = 2 if self.wrong == "left" else 3
        np.subtract(x[:written], self.target, out=out[:written])


COSTS = [Parabola(1.0), Parabola(2.0), Parabola(4.0)]
STEPS = {"name": "gt", "eta": 0.1, "gamma": 0.5}


def simulate(costs=COSTS, x0=None, **given):
    return distopt.simulate(costs, x0, **{"algorithm": STEPS, "iterations": 3} | given)


def test_names_and_tables_stand_for_parts():
    objects = simulate(
        algorithm=distopt.CompressedTracking1(eta=0.1, gamma=0.5), compressor=distopt.NormSign()
    )
    table = {"name": "cgt1", "eta": 0.1, "gamma": 0.5}
    named = simulate(algorithm=table, compressor="norm_sign", topology=networkx.cycle_graph(3))
    assert named.summary["parameters"] == objects.summary["parameters"]
    np.testing.assert_array_equal(named.x, objects.x)
    assert simulate(algorithm="gt").summary["algorithm"] == "gt"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"algorithm": "gtt"}, r'algorithm\.name = "gtt" is not known; did you mean "gt"'),
        ({"algorithm": distopt.Zed}, r"algorithm is the class Zed; accepted: an object, Zed\(\.\.\.\)"),
        ({"algorithm": distopt.TopK(k=1)}, r"algorithm is of type TopK; accepted: an object, \w+\("),
        ({"compressor": distopt.NormSign}, r"compressor is the class NormSign; .*NormSign\(\.\.\.\)"),
        ({"compressor": "top_k"}, r"compressor\.k or compressor\.fraction says how much is kept"),
        ({"compressor": 3}, "compressor is of type int; accepted: an object"),
        ({"topology": None}, r'topology is of type NoneType; accepted: a name such as "ring"'),
        ({"topology": networkx.path_graph([2, 1, 0, 3])}, "topology has 4 agents, .* 3 costs"),
        ({"topology": networkx.path_graph("abc")}, "nodes of the topology are not 0, 1, 2"),
        ({"costs": COSTS[0]}, "costs is of type Parabola; accepted: a list with a cost for every"),
        ({"costs": [Parabola] * 3}, "cost of agent 0 is the class Parabola; accepted: an object"),
        ({"x0": "normal"}, 'x0 is "normal"; accepted: real numbers'),
        ({"x0": np.array([1j, 0, 0])}, "x0 is of type ndarray; accepted: real numbers"),
        ({"x0": np.array([np.nan, 0, 0])}, "x0 holds numbers that are not finite"),
        ({"out": 3}, "out is of type int; accepted: the path of a folder"),
        ({"on_record": 3}, "on_record is of type int; accepted: a function"),
        ({"stationarity": 1e-6}, r'stopping tests; accepted: stop=\{"stationarity": 1e-06\}'),
        ({"eta": 0.1}, r'eta belongs to the algorithm; .*algorithm=\{"name": "gt", "eta": 0.1\}'),
    ],
)  # fmt: skip
def test_a_mistake_is_a_sentence(given, sentence):
    with pytest.raises(distopt.DistoptError, match=sentence):
        simulate(**given)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("left", r"^The cost of agent 1: gradient\(x, out\) .* left out\[2\] unwritten"),
        ("value", r"^The cost of agent 1: .*test_arguments.py, line \d+: value failed .*no data"),
        ("far", r"^The cost of agent 1: .*: gradient failed with RuntimeError: too far"),
    ],
)
def test_a_cost_that_fails_at_the_start_is_named_by_its_agent(wrong, sentence):
    # Its step follows from the smoothness, which is estimated beside the start.
    dgd = {"name": "dgd"}
    with pytest.raises(distopt.DistoptError, match=sentence):
        simulate([COSTS[0], Parabola(2.0, wrong), COSTS[2]], algorithm=dgd)


def test_costs_may_come_from_a_generator():
    assert simulate(Parabola(t) for t in (1.0, 2.0)).summary["agents"] == 2


def test_what_a_user_should_know_is_said_where_simulate_was_called():
    still = [Parabola(0.0)] * 3
    with pytest.warns(distopt.DistoptWarning, match="gradients are exactly zero at the") as told:
        result = simulate(still)
    assert [str(one.message) for one in told] == result.warnings
    assert told[0].filename == __file__


def test_a_method_that_compresses_says_that_it_does_not_for_want_of_a_compressor():
    cgt1 = distopt.CompressedTracking1(eta=0.1, gamma=0.5)
    (sentence,) = simulate(algorithm=cgt1).warnings
    assert sentence.startswith("No compressor is named, so cgt1 sends its vectors uncompressed")
    for named in ({"compressor": "identity"}, {"algorithm": "zed"}, {"algorithm": STEPS}):
        assert simulate(**{"algorithm": cgt1} | named).warnings == []


def test_an_estimated_smoothness_is_warned_of_where_a_step_follows_from_it():
    auto = simulate(algorithm={"name": "dgd"}).warnings
    assert [w for w in auto if 'estimated around the start, for algorithm.eta = "auto"' in w]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        simulate(algorithm={"name": "cgt1", "eta": 0.1}, compressor="norm_sign")


def test_a_smoothness_that_nothing_uses_is_not_estimated():
    class Counted(Parabola):
        calls = 0

        def gradient(self, x, out):
            self.calls += 1
            super().gradient(x, out)

    def calls(algorithm):
        costs = [Counted(1.0), Counted(2.0)]
        simulate(costs, algorithm=algorithm, compressor="identity")
        return [cost.calls for cost in costs]

    for_lyapunov, for_nothing = calls(STEPS | {"name": "cgt1", "alpha": 1.0}), calls(STEPS)
    estimates = [more - fewer for more, fewer in zip(for_lyapunov, for_nothing, strict=True)]
    assert estimates == [21, 21]


def test_run_load_config_and_resume_take_paths_as_text(tmp_path):
    (tmp_path / "one.toml").write_text('problem = { name = "quadratic", agents = 2 }\n')
    config = distopt.load_config(str(tmp_path / "one.toml"), ["run.iterations=2"])
    distopt.run(config, engine="simulate", out=str(tmp_path / "run"))
    resumed = distopt.resume(str(tmp_path / "run"), engine="simulate", iterations=4)
    assert resumed.summary["iterations"] == 4
    with pytest.raises(distopt.DistoptError, match="config is of type str; accepted: what"):
        distopt.run("one.toml", engine="simulate")
