"""Mini-batches: what is drawn, that gradients of them are what they say, and that nothing else changes."""

from pathlib import Path

import numpy as np
import pytest
from run_table import assert_equal_states, comparable, play, states
from scipy.stats import chi2

from distopt.config.build import make_config
from distopt.core.errors import ConfigError
from distopt.engine.run import resume, run
from distopt.problems.batches import Batches
from distopt.problems.problem import build_problem

PROBLEMS = {
    "lista": {"name": "lista", "m": 10, "n": 4, "layers": 3, "samples": 23},
    "ffnn": {"name": "ffnn", "m": 10, "n": 4, "layers": 3, "samples": 23},
    "logistic": {"name": "logistic", "dataset": "synthetic", "features": 7, "samples": 6},
}
STEPS = {
    "gt": {"eta": 0.1, "gamma": 0.5},
    "cgt1": {"eta": 0.1, "gamma": 0.3, "alpha": 1.0},
    "lead": {"eta": 0.1, "gamma": 0.5, "alpha": 1.0},
    "led": {"eta": 0.05, "gamma": 0.5, "alpha": 1.0, "local_steps": 2},
    "k_gt": {"eta": 0.05, "gamma": 0.5, "alpha": 1.0, "local_steps": 2},
    "motef": {"eta": 0.05, "gamma": 0.3, "lam": 0.2},
    "cedas": {"eta": 0.1, "gamma": 0.5, "alpha": 1.0, "decay": 0.01},
    "choco": {"eta": 0.1, "gamma": 0.3},
}


def configure(problem="lista", algorithm="cgt1", **run):
    compressor = {"name": "identity"} if algorithm == "gt" else {"name": "quantize", "bits": 4}
    return make_config(
        {
            "problem": PROBLEMS[problem] | {"agents": 4},
            "algorithm": {"name": algorithm} | STEPS[algorithm],
            "compressor": compressor,
            "run": {"iterations": 20, "record_every": 5, "seed": 3} | run,
        },
        Path(),
    )


def drawn(seed=1, agent=2, step=3, samples=50, size=7, count=1):
    batches = Batches(samples, size, seed, agent)
    batches.begin(step)
    return [batches.draw().tolist() for _ in range(count)]


def test_a_batch_is_a_function_of_seed_agent_and_iteration():
    first, second = drawn(count=2)
    assert first == sorted(set(first))
    assert len(first) == 7
    assert 0 <= first[0] <= first[-1] < 50
    assert drawn(count=2) == [first, second]
    others = [drawn(seed=2)[0], drawn(agent=1)[0], drawn(step=4)[0], second]
    assert all(other != first for other in others)
    assert drawn(samples=7) == [list(range(7))]


def test_every_sample_is_drawn_equally_often():
    draws, samples, size = 4000, 13, 4
    batches, counts = Batches(samples, size, 0, 0), np.zeros(samples)
    for step in range(draws):
        batches.begin(step)
        counts[batches.draw()] += 1
    p = size / samples
    # Counts of one subset are correlated by -1 / (samples - 1); this form is chi squared.
    spread = ((counts - draws * p) ** 2).sum() / (draws * p * (1 - p)) * (samples - 1) / samples
    assert chi2.sf(spread, samples - 1) > 1e-6


@pytest.mark.parametrize("name", ["lista", "logistic"])
def test_a_batch_of_all_samples_is_the_exact_gradient_to_the_bit(name):
    problem = build_problem(PROBLEMS[name] | {"agents": 4}, {}, Path())
    cost = problem.cost(0)
    x = problem.start_point(0, cost) + 0.1
    exact, batch = np.empty(x.size), np.empty(x.size)
    cost.gradient(x, exact)
    cost.batch_gradient(x, np.arange(cost.samples), batch)
    assert batch.tobytes() == exact.tobytes()


@pytest.mark.parametrize("algorithm", STEPS)
def test_gradients_come_from_the_batch_of_their_iteration(algorithm):
    """A twin that draws by itself: the first step of every algorithm, from the equations."""
    config = configure(algorithm=algorithm, batch=2, iterations=0)
    session, _ = play(config)
    agent, x0 = session.hosted[1].agent, session.hosted[1].state.x.copy()
    g = np.empty(x0.size)
    if algorithm != "choco":  # those hold the gradient of the start
        agent.cost.batch_gradient(x0, np.array(drawn(3, 1, 0, agent.cost.samples, 2)[0]), g)
        assert session.hosted[1].state.g.tobytes() == g.tobytes()
    asked = []
    inner = agent.cost.batch_gradient

    def watched(x, index, out):
        asked.append(index.tolist())
        inner(x, index, out)

    agent.cost.batch_gradient = watched
    session.iterate()
    session.iterate()
    count = STEPS[algorithm].get("local_steps", 1)
    first, second = (drawn(3, 1, step, agent.cost.samples, 2, count) for step in (1, 2))
    assert asked == first + second


def test_trackers_follow_the_sampled_gradients_and_records_the_exact_ones():
    _, exact = play(configure(algorithm="gt", iterations=40, record_every=1))
    session, result = play(configure(algorithm="gt", iterations=40, record_every=1, batch=2))
    for name in ("objective", "gradient_norm", "stationarity"):  # at the common start
        assert result.rows[0][name] == exact.rows[0][name]
    assert result.rows[-1]["objective"] != exact.rows[-1]["objective"]
    assert max(row["invariant"] for row in result.rows) < 1e-13
    mean = np.mean([h.state.x for h in session.hosted], axis=0)
    value = np.mean([h.agent.cost.value(mean) for h in session.hosted])
    assert result.rows[-1]["objective"] == pytest.approx(value, rel=1e-12)


def test_a_run_with_batches_certifies_nothing():
    tables = {
        "problem": PROBLEMS["logistic"] | {"agents": 4},
        "algorithm": {"name": "cgt1", "eta": 1e-7, "gamma": 1e-4, "alpha": 1.0},
        "compressor": {"name": "quantize", "bits": 8},
    }
    flags = []
    for batch in (0, 3):
        config = make_config(tables | {"run": {"iterations": 1, "batch": batch}}, Path())
        flags.append(play(config)[1].summary["certified"])
    assert flags == [True, False]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_resumed_run_draws_the_same_batches(problem, tmp_path):
    run(configure(problem, batch=2), engine="simulate", out=tmp_path / "whole")
    run(configure(problem, batch=2, iterations=9), engine="simulate", out=tmp_path / "parts")
    again = resume(tmp_path / "parts", engine="simulate", iterations=20)
    whole, result = play(configure(problem, batch=2))
    assert comparable(again.rows) == comparable(result.rows)
    for mine, h in zip(again.x, whole.hosted, strict=True):
        assert mine.tobytes() == h.state.x.tobytes()


def test_a_resume_with_another_batch_is_refused(tmp_path):
    run(configure(batch=2, iterations=3), engine="simulate", out=tmp_path / "run")
    with pytest.raises(Exception, match=r"run\.batch \(2 in the run, 3 wanted\)"):
        resume(tmp_path / "run", engine="simulate", settings=["run.batch=3"])


def test_two_runs_of_other_seeds_differ():
    first, second = (play(configure(batch=2, seed=seed))[0] for seed in (3, 4))
    assert not np.array_equal(first.hosted[0].state.x, second.hosted[0].state.x)
    same, _ = play(configure(batch=2))
    assert_equal_states(states(same), states(first))


@pytest.mark.parametrize(
    ("problem", "batch", "sentence"),
    [
        ({"name": "pl"}, 2, r"run\.batch = 2 needs costs that are means over samples"),
        (PROBLEMS["lista"], 6, r"run\.batch = 6 is more than the 5 samples of agent 3"),
    ],
)
def test_what_has_no_such_batches_is_refused(problem, batch, sentence):
    tables = {
        "problem": problem | {"agents": 4},
        "algorithm": {"name": "gt", "eta": 0.01, "gamma": 0.5},
        "run": {"batch": batch, "iterations": 2},
    }
    with pytest.raises(ConfigError, match=sentence):
        run(make_config(tables, Path()), engine="simulate")


def test_a_negative_batch_is_refused():
    with pytest.raises(ConfigError, match=r"run\.batch = -1 .* >= 0"):
        configure(batch=-1)
