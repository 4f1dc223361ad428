"""`run.dtype = "float32"`: the agents' vectors in float32, by the same code, and records in float64."""

import numpy as np
import pytest
from algorithms.reference import quantize
from engine.test_hot_loop import allocated, compiled
from run_table import (
    DIMENSION,
    SINGLE,
    assert_equal_states,
    comparable,
    configure,
    play,
    states,
)

import distopt
from distopt.algorithms import REGISTRY
from distopt.config.build import make_config
from distopt.core.errors import CheckpointError, ConfigError, DataError
from distopt.core.randomness import make_key, normal
from distopt.engine.audit import Audit
from distopt.engine.diagnostics import Diagnostics
from distopt.engine.identity import differences, facts_of
from distopt.engine.run import resume, resumed_config, run
from distopt.engine.team import prepare
from distopt.problems.costs.quadratic import QuadraticCost
from distopt.record import checkpoint
from distopt.transport.local import LocalTransport

MANY, LONG = 1000, 20_000  # coordinates
EPS = 2.0**-24  # of a rounding to float32, relative
# Work arrays of what takes float64 only: costs with `wide`, top_k, sparse_zoom; and a tile of quantize.
WIDENED = {"wide x", "wide gradient", "widened", "difference", "one difference", "scales"}


def single(algorithm, message, **run):
    return configure(algorithm, message, dtype="float32", **run)


def hosted(config, together=False):
    return prepare(config, LocalTransport(config.problem.topology), together=together)


def long_problem(algorithm, d):
    """Return the keys of a problem with so many coordinates."""
    start = {"start": "zeros"} if algorithm.endswith("-x0") else {}
    return {"dimension": d, "basis": "diagonal"} | start


def wide_arrays(thing, name, seen):
    """Name the float64 arrays of at least so many numbers that an object refers to."""
    if id(thing) in seen or isinstance(thing, str | bytes | int | float | type):
        return
    seen.add(id(thing))
    if isinstance(thing, np.ndarray):
        if thing.dtype == np.float64 and thing.size >= MANY:
            yield name
    elif isinstance(thing, dict):
        for key, value in thing.items():
            yield from wide_arrays(value, f"{name}.{key}", seen)
    elif isinstance(thing, list | tuple):
        for i, value in enumerate(thing):
            yield from wide_arrays(value, f"{name}.{i}", seen)
    elif type(thing).__module__.startswith("distopt.") and hasattr(thing, "__dict__"):
        yield from wide_arrays(vars(thing), name, seen)


def test_what_cannot_is_named():
    assert set(REGISTRY) - {n for n in REGISTRY if REGISTRY.get(n).single} == {
        "zest",
        "fixed_point_gd",
    }
    assert {a.partition("-")[0] for a, _ in SINGLE} == {
        n for n in REGISTRY if REGISTRY.get(n).single
    }


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(("algorithm", "message"), SINGLE)
def test_no_vector_of_an_agent_is_in_float64(algorithm, message, together):
    team = hosted(single(algorithm, message, problem=long_problem(algorithm, MANY)), together)
    for _ in range(9):
        team.iterate()
    for h in [*team.hosted, *team.driven]:
        seen = {id(h.agent.topology), *(id(h.agent.cost) for h in team.hosted)}
        found = set(wide_arrays([vars(h.state), vars(h.agent)], "", seen))
        assert {name for name in found if not WIDENED & set(name.split("'")) - {""}} == set()
        assert h.state.x.dtype == np.float32


@pytest.mark.parametrize(("algorithm", "message"), SINGLE)
def test_a_crowd_and_agents_by_themselves_have_the_same_bits(algorithm, message):
    config = single(algorithm, message)
    crowd, result = play(config)
    alone, expected = play(config, together=False)
    assert_equal_states(states(crowd), states(alone))
    assert comparable(result.rows) == comparable(expected.rows)


@pytest.mark.parametrize(("algorithm", "message"), SINGLE)
def test_a_resumed_run_has_the_same_bits(algorithm, message, tmp_path):
    whole, _ = play(single(algorithm, message, iterations=60))
    run(single(algorithm, message, iterations=29), engine="simulate", out=tmp_path / "run")
    result = resume(tmp_path / "run", engine="simulate", iterations=60)
    assert [x.tobytes() for x in result.x] == [h.state.x.tobytes() for h in whole.hosted]
    assert result.x[0].dtype == np.float32


@pytest.mark.parametrize(("algorithm", "message"), SINGLE)
def test_it_is_the_float64_run_up_to_rounding(algorithm, message):
    """Three iterations, before a code that falls on the other side moves more."""
    config = configure(algorithm, message, iterations=3)
    wide, narrow = play(config)[0], play(config.with_settings(["run.dtype=float32"]))[0]
    apart = max(
        np.abs(a.state.x - b.state.x).max() / np.abs(a.state.x).max()
        for a, b in zip(wide.hosted, narrow.hosted, strict=True)
    )
    assert 0 < apart < 1e4 * EPS


@pytest.mark.parametrize("algorithm", ["gt", "cgt1"])
def test_steps_are_those_of_a_listing_in_numpy(algorithm):
    """X+ = X + gamma mixed - eta Y and so on, float32[n, d], within rounding.

    Five iterations, before a code falls on the other side.
    """
    message = "identity" if algorithm == "gt" else "quantize"
    config = single(algorithm, message, iterations=5, problem={"basis": "diagonal"})
    if algorithm == "cgt1":
        settings = ['norm="inf"', "block=1000", "bits=6"]
        config = config.with_settings([f"compressor.{setting}" for setting in settings])
    team, _ = play(config)
    costs = [h.agent.cost for h in team.hosted]
    X = np.array([config.problem.start_point(i, c) for i, c in enumerate(costs)], np.float32)
    W = config.problem.topology.matrix().astype(np.float32)
    eta, gamma = np.float32(config.algorithm.eta), np.float32(config.algorithm.gamma)
    alpha = np.float32(getattr(config.algorithm, "alpha", 1.0))

    def gradients(X):
        G = np.empty_like(X)
        for cost, x, g in zip(costs, X, G, strict=True):
            cost.gradient(x, g)
        return G

    def mix(Z, H):
        Q = Z - H if algorithm == "gt" else quantize(6)(Z - H)
        hat = (H + Q).astype(np.float32)
        H += alpha * Q
        return W @ hat - hat

    G = gradients(X)
    Y, HX, HY = G.copy(), np.zeros_like(X), np.zeros_like(X)
    for _ in range(5):
        mixed_x, mixed_y = mix(X, HX), mix(Y, HY)
        X = X + gamma * mixed_x - eta * Y
        new = gradients(X)
        Y = Y + gamma * mixed_y + (new - G)
        G = new
    assert X.dtype == Y.dtype == np.float32
    for h, x, y in zip(team.hosted, X, Y, strict=True):
        np.testing.assert_allclose(h.state.x, x, atol=200 * EPS * np.abs(X).max())
        np.testing.assert_allclose(h.state.y, y, atol=400 * EPS * np.abs(Y).max())


@pytest.mark.parametrize("algorithm", ["gt", "cgt1", "cgt1-sum", "cgt3", "beer", "push_pull"])
def test_the_mean_tracker_is_the_mean_gradient(algorithm):
    message = {"gt": "identity", "cgt3": "saturating"}.get(algorithm, "quantize")
    team, _ = play(single(algorithm, message, iterations=300))
    Y = np.array([h.state.y for h in team.hosted], np.float64)
    G = np.array([h.state.g for h in team.hosted], np.float64)
    # An iteration rounds y a few times; errors are of both signs, and the mean is over the agents.
    most = 4 * np.sqrt(300 / len(Y)) * EPS * np.abs(np.array([G, Y])).max()
    assert 0 < np.abs(Y.mean(0) - G.mean(0)).max() < 20 * most


@pytest.mark.parametrize("algorithm", ["gt", "cgt1", "cgt1-sum", "lead", "zed"])
def test_the_audit_knows_the_precision(algorithm):
    message = {"gt": "identity", "zed": "zoom"}.get(algorithm, "quantize-dithered")
    team = hosted(single(algorithm, message))
    audit = Audit(team)
    for _ in range(5):
        audit.run()
        for _ in range(40):
            team.iterate()
    audit.run()
    # An honest run passes; a changed vector does not.
    vector, _ = team.parts.algorithm.conserved(team.hosted[1].state)
    vector[3] += 10.0
    with pytest.raises(Exception, match="no longer agree"):
        audit.run()


def test_records_are_sums_in_float64():
    team = hosted(single("cgt1", "quantize-dithered"))
    for _ in range(7):
        team.iterate()
    row = Diagnostics(team).row()
    X = np.array([h.state.x for h in team.hosted], np.float64)
    xbar = X.mean(0)
    gradient = np.empty((len(X), DIMENSION))
    for h, g in zip(team.hosted, gradient, strict=True):
        h.agent.cost.gradient(xbar, g)
    consensus, slope = ((X - xbar) ** 2).sum() / len(X), (gradient.mean(0) ** 2).sum()
    assert row["consensus_error"] == pytest.approx(consensus, rel=1e-13)
    assert row["gradient_norm"] ** 2 == pytest.approx(slope, rel=1e-13)
    tracker = np.array([h.state.y for h in team.hosted], np.float64)
    error = ((tracker - tracker.mean(0)) ** 2).sum() / len(X)
    assert row["tracking_error"] == pytest.approx(error, rel=1e-13)


@pytest.mark.parametrize(
    ("algorithm", "message"),
    [
        pytest.param(
            *pair, marks=[] if pair[0] in {"gt", "cgt1", "lead", "zed"} else pytest.mark.slow
        )
        for pair in SINGLE
    ],
)
def test_an_iteration_compiles_and_allocates_nothing(algorithm, message):
    config = single(algorithm, message, problem=long_problem(algorithm, LONG))
    team = hosted(config, together=True)

    def iterations():
        for _ in range(7):
            team.iterate()

    iterations()
    assert compiled(iterations) == 0
    assert min(allocated(iterations)[1] for _ in range(3)) < 4 * LONG / 2


def test_identity_sends_the_state_and_codes_stay_as_they_are():
    def nbytes(dtype, message, algorithm="cgt1"):
        return play(configure(algorithm, message, dtype=dtype, iterations=1))[1].summary[
            "bytes_per_agent"
        ]

    assert nbytes("float64", "identity", "gt") == 2 * 8 * DIMENSION
    assert nbytes("float32", "identity", "gt") == 2 * 4 * DIMENSION
    for message in ("quantize-dithered", "norm_sign", "cast"):
        assert nbytes("float32", message) == nbytes("float64", message)


@pytest.mark.parametrize("message", ["quantize", "identity"])
def test_a_search_for_the_step_reaches_what_float32_can(message):
    normals = [normal(make_key(i, 0, 0), 30) for i in range(4)]
    costs = [QuadraticCost(np.linspace(1, 10, 30), b) for b in normals]
    found = distopt.simulate(
        costs, algorithm="cgt1", compressor=message, iterations=600, dtype="float32"
    )
    # About EPS^2 |x|^2 L^2, with |x|^2 about 30 and L about 10, and some for what is fed back.
    assert found.summary["stationarity"] < 1e4 * EPS**2 * 30 * 10**2


@pytest.mark.parametrize(("algorithm", "message"), [("zed", "zoom"), ("gt", "identity")])
def test_a_searched_step_stays_where_all_that_moves_is_rounding(algorithm, message):
    """Decisions there were noise; zed had found no step after 16,000 iterations."""
    problem = {"name": "quadratic", "dimension": 50, "start": "zeros"}
    tables = single(algorithm, message, problem=problem, iterations=6000).tables
    tables = tables | {"algorithm": {"name": algorithm}}
    tables["run"]["record_every"] = 1000
    _, found = play(make_config(tables, "."))
    rows = found.rows[3:]
    assert len({row["step"] for row in rows}) == 1
    assert max(row["stationarity"] for row in rows) < 1e-9
    assert rows[-1]["step_decisions"] > rows[0]["step_decisions"]


# What is refused, and what a user's cost may do.


@pytest.mark.parametrize(
    ("algorithm", "words"),
    [
        (
            "zest",
            'algorithm.name = "zest"; accepted there: "float64". Vectors in float32 have aver',
        ),
        ("fixed_point_gd", 'algorithm.name = "fixed_point_gd"; accepted there: "float64"'),
        ("gt-fixed", r"\[arithmetic\], whose formats say the precision; accepted there"),
    ],
)
def test_refusals_name_key_value_and_what_is_accepted(algorithm, words):
    message = "uniform" if algorithm == "zest" else "identity"
    with pytest.raises(ConfigError, match=f'run.dtype = "float32" cannot be combined with {words}'):
        single(algorithm, message)


def test_an_unknown_precision_is_refused():
    with pytest.raises(ConfigError, match=r"run\.dtype = \"float16\".*'float64' or 'float32'"):
        configure("gt", "identity", dtype="float16")


@pytest.mark.parametrize(("was", "wanted"), [("float64", "float32"), ("float32", "float64")])
def test_another_precision_is_another_run(was, wanted, tmp_path):
    out = tmp_path / "run"
    run(configure("gt", "identity", dtype=was, iterations=4), engine="simulate", out=out)
    with pytest.raises(
        CheckpointError, match=rf"run.dtype \('{was}' in the run, '{wanted}' wanted\)"
    ):
        resume(out, engine="simulate", iterations=8, settings=[f"run.dtype={wanted}"])


class Own:
    """A user's cost, f(x) = |A x - 1|^2 / 2, with gradients in float64."""

    dimension, smoothness = 3, 4.0
    A = np.diag([1.0, 1.5, 2.0])

    def value(self, x):
        return 0.5 * float(((self.A @ x - 1) ** 2).sum())

    def gradient(self, x, out):
        out[:] = self.A.T @ (self.A @ x - 1)


class InFloat64(Own):
    """The same, in a way that only float64 goes into."""

    def gradient(self, x, out):
        np.dot(self.A.T, self.A @ x - 1, out=out)


class Wide(InFloat64):
    wide = True


@pytest.mark.parametrize("cost", [Own, Wide])
def test_a_users_cost(cost):
    found = distopt.simulate([cost()] * 3, algorithm="gt", iterations=300, dtype="float32")
    np.testing.assert_allclose(found.x[0], [1, 1 / 1.5, 1 / 2], rtol=1e-5)
    assert found.x[0].dtype == np.float32


def test_a_cost_for_float64_only_gets_a_sentence():
    with pytest.raises(
        DataError, match=r"line \d+: gradient failed with ValueError.*wide = True"
    ) as caught:
        distopt.simulate([InFloat64()] * 3, algorithm="gt", iterations=3, dtype="float32")
    assert 'run.dtype = "float32"' in str(caught.value)


def test_a_start_beyond_float32_gets_a_sentence():
    with pytest.raises(Exception, match=r"the start in float32: x0\[1\] is inf"):
        distopt.simulate(
            [Own()] * 3, np.array([0, 1e39, 0]), algorithm="gt", iterations=3, dtype="float32"
        )


def test_the_key_stands_in_a_configuration(tmp_path):
    tables = {
        "problem": {"name": "quadratic", "dimension": 4, "agents": 3},
        "run": {"dtype": "float32"},
    }
    config = make_config(tables, tmp_path)
    assert 'dtype = "float32"' in config.to_toml()
    assert make_config({"problem": tables["problem"]}, tmp_path).run.dtype == "float64"


def test_a_run_that_does_not_say_its_precision_is_in_float64():
    """Those of earlier versions do not."""
    wide, narrow = (facts_of(configure("gt", "identity", dtype=d)) for d in ("float64", "float32"))
    old = {key: value for key, value in wide.items() if key != "run.dtype"}
    assert differences(old, wide) == []
    assert differences(old, narrow) == [
        "run.dtype ('float64' in the run, 'float32' wanted)",
    ]


@pytest.mark.parametrize("algorithm", ["cgt1-sum", "lead", "zed"])
def test_those_who_are_left_restore_their_sum(algorithm, tmp_path):
    message, out = "zoom" if algorithm == "zed" else "quantize-dithered", tmp_path / "run"
    run(single(algorithm, message, iterations=30), engine="simulate", out=out)
    config = resumed_config(out, None, ["problem.lost=[1]"])
    saved = checkpoint.latest(out / "checkpoints", 4)
    team = prepare(config, LocalTransport(config.problem.topology), saved)
    Audit(team).run()
    pairs = [team.parts.algorithm.conserved(h.state) for h in team.hosted]
    errors = [v - (0 if target is None else target) for v, target in pairs]
    size = max(np.abs(v).max() for v, _ in pairs)
    assert np.abs(np.sum(errors, axis=0)).max() <= 16 * EPS * size
    found = resume(out, engine="simulate", iterations=60, settings=["problem.lost=[1]"])
    assert found.summary["agents"] == 3
    assert found.x[0].dtype == np.float32


@pytest.mark.parametrize("batch", [0, 3])
def test_a_shipped_cost_that_takes_float64_gets_copies(batch):
    tables = {
        "problem": {"name": "logistic", "dataset": "synthetic", "features": 9, "samples": 40, "agents": 4},
        "algorithm": {"name": "cgt1", "eta": 0.1, "gamma": 0.3, "alpha": 0.5},
        "compressor": {"name": "quantize", "bits": 2},
        "run": {"batch": batch, "iterations": 20, "dtype": "float32"},
    }  # fmt: skip
    config = make_config(tables, ".")
    team, _ = play(config)
    alone, _ = play(config, together=False)
    assert_equal_states(states(team), states(alone))
    agent, s = alone.hosted[2].agent, alone.hosted[2].state
    if not batch:
        wide = np.empty(s.x.size)
        agent.cost.gradient(s.x.astype(np.float64), wide)
        assert (s.g == wide.astype(np.float32)).all()


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_give_the_same_bits(workers):
    config = single("cgt1", "top_k", iterations=20)
    team, _ = play(config)
    threads = run(config.with_settings([f"run.workers={workers}"]), engine="simulate")
    assert [x.tobytes() for x in threads.x] == [h.state.x.tobytes() for h in team.hosted]
