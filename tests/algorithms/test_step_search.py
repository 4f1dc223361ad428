"""The step that finds itself: what travels, that all follow together, going back, noise, no answer."""

import itertools
from pathlib import Path

import numpy as np
import pytest

import distopt
from distopt.algorithms import turning
from distopt.algorithms.step_rule import (
    BACK,
    CALM,
    FURTHER_BACK,
    NERVOUS,
    Balance,
    Numbers,
    StepRule,
    Window,
    size,
)
from distopt.algorithms.window_code import WINDOW_NBYTES, decode, encode
from distopt.config.build import Parts, make_config
from distopt.config.run import make_run
from distopt.core.errors import DivergedError, MessageError
from distopt.engine.audit import Audit
from distopt.engine.interface import as_topology
from distopt.engine.run import resume, run
from distopt.engine.team import prepare
from distopt.problems.given import GivenProblem
from distopt.record.reader import load
from distopt.show.report import notes
from distopt.transport.local import LocalTransport

METHODS = {
    "zed": distopt.Zed(),
    "exact_diffusion": distopt.ExactDiffusion(beta=0.1),
    "gt": distopt.GradientTracking(form="atc"),
}


class Bowl:
    """A quadratic of curvatures 1 to 1 / 50 around a point of the agent's own."""

    dimension = 4

    def __init__(self, i):
        self.h, self.a = np.logspace(0, -1.7, 4), np.sin(np.arange(4) + i)

    def value(self, x):
        return float(self.h @ (x - self.a) ** 2) / 2

    def gradient(self, x, out):
        np.multiply(self.h, x - self.a, out=out)


class Ramps:
    """Regression with two ramps, max(a'u, 0) + max(a'v, 0); gradients jump, at the minimum too."""

    dimension = 8

    def __init__(self, i):
        self.A = np.sin(np.arange(1, 81).reshape(20, 4) ** 1.5 * (1.1 + i))
        truth = self.A @ np.array([[1, -1], [-1, 0.5], [0.5, 1], [2, 0]])
        self.y = np.maximum(truth, 0).sum(axis=1) + 0.2 * np.cos(np.arange(20) + i)

    def parts(self, x):
        t = self.A @ x.reshape(2, 4).T
        return t, np.maximum(t, 0).sum(axis=1) - self.y

    def value(self, x):
        return float((self.parts(x)[1] ** 2).mean() / 2)

    def gradient(self, x, out):
        t, r = self.parts(x)
        out[:] = ((r[:, None] * (t > 0)).T @ self.A).ravel() / len(r)


class Wall(Bowl):
    """sum x^4 / 4 - a x; beyond 50, where the first steps lead, there are no numbers."""

    smoothness = 1e-7  # wrong

    def value(self, x):
        return float((x**4).sum() / 4 - self.a @ x)

    def gradient(self, x, out):
        out[:] = x**3 - self.a
        if np.abs(x).max() > 50:
            out[:] = np.nan


def team_of(method, costs, topology="ring", together=False, **settings):
    graph = as_topology(topology, len(costs))
    problem = GivenProblem(dict(enumerate(costs)), None, graph)
    algorithm = METHODS[method]
    parts = Parts(problem, algorithm, algorithm.own_compressor(), make_run(settings))
    return prepare(parts, LocalTransport(graph), together=together)


@pytest.mark.parametrize("e", [1e-3, 1.0, 70.0])
def test_a_window_travels_in_seven_bytes(e):
    curvature = 1.3 / e
    w = Window(
        3e-9, 3e-9 * curvature * -0.2, 3e-9 * curvature**2, 1e-9, -2e-9, False, 3 * curvature
    )
    sent = encode(w, e)
    assert sent.size == WINDOW_NBYTES
    np.testing.assert_allclose(decode(sent, e), w, rtol=0.08)
    for nothing in (Window(), Window(adrift=True), Window(moves=np.inf), Window(1.0, np.nan)):
        found = decode(encode(nothing, e), e)
        assert found.tolist() == [0, 0, 0, 0, 0, nothing != Window(), 0]


def rule_and_numbers(level=0, decisions=5, pace=1.0, trust=0.9, returns=0, noisy=False):
    numbers = Numbers(
        level=level, move=0, cap=1e300, trust=trust, pace=pace, failed=0, trouble=0, decisions=decisions,
        length=10, returns=returns, grown=0, done=0, cut=0, least=0, since=0, first=level, ahead=1,
        path=0, marked=0, growth=1.3, looked=0, far=0,
    )  # fmt: skip
    balance = Balance(2.0, 2 * np.sqrt(0.2), trust=0.9)
    return StepRule(balance, gap=0.4, height=2, noisy=noisy), numbers


def test_the_rule_balances_goes_back_and_waits_at_a_saddle():
    # The moves go along a flat direction: the step grows, by half at most.
    rule, n = rule_and_numbers()
    assert rule.decide(Window(1.0, 0.01, 0.001, 0.9, 0.0, False, 1.0), n) == (CALM, 9)
    # But an agent knows of a steeper one, and the step stays below what is stable along that.
    assert rule.decide(Window(1.0, 0.01, 0.001, 0.9, 0.0, False, 2.0), n) == (
        CALM,
        round(16 * np.log2(1 / 0.9)),
    )
    # They have the largest curvature: agents disagree, and the step falls to sqrt(rate) bound.
    rule, n = rule_and_numbers()
    kind, move = rule.decide(Window(1.0, 1.0, 1.0, 0.9, 0.0), n)
    assert kind == CALM
    assert move == round(16 * np.log2(2 * np.sqrt(0.2)))
    # Moves grow along negative curvature: no reason to go back.
    rule, n = rule_and_numbers()
    assert rule.decide(Window(5.0, -0.5, 0.05, 4.9, 0.0), n)[0] == CALM
    # The step is six times what is stable: back, and further if that failed or an agent is adrift.
    rule, n = rule_and_numbers()
    large = Window(1.0, 12.0, 144.0, -0.9, 0.0)
    assert rule.decide(large, n) == (BACK, -43 + 11)
    assert rule.decide(large, n)[0] == FURTHER_BACK
    rule, n = rule_and_numbers()
    assert rule.decide(Window(adrift=True), n) == (FURTHER_BACK, -32)


def test_moves_that_grow_where_all_curve_upwards_make_the_step_fall():
    """As they do only if agents or codes amplify their own errors; what follows waits a window."""
    rule, n = rule_and_numbers()
    rule.decide(Window(1.0, 1.0, 1.0, 0.0, 0.0), n)
    assert rule.decide(Window(2.0, 2.0, 2.0, 0.0, 0.0), n)[0] == CALM
    kind, move = rule.decide(Window(8.0, 8.0, 8.0, 0.0, 0.0), n)
    assert (kind, move) == (NERVOUS, round(16 * np.log2(0.6)))
    assert n.grown == 1
    assert rule.decide(Window(99.0, 99.0, 99.0, 0.0, 0.0), n)[0] == CALM
    # Along flat or negative curvature they may: a valley, a saddle.
    rule, n = rule_and_numbers(pace=0.1)
    assert rule.decide(Window(99.0, 1.0, 9.0, 0.0, 0.0), n)[0] == CALM
    assert n.grown == 0


def test_the_rule_learns_how_steep_is_too_steep_and_forgets_it_slowly():
    """Trouble at 1.3 times the steepest curvature counts for longer the more often all went back."""
    seen = []
    for returns in (0, 1, 9):
        rule, n = rule_and_numbers(returns=returns)
        rule.decide(Window(1.0, 7.0, 49.0, -0.9, 0.0, False, 7 / 1.3), n)
        assert n.trust == pytest.approx(0.95 * 1.3)
        n.cap = 1.0
        rule.decide(Window(1.0, 0.01, 0.001, 0.9, 0.0, False, 1.0), n)
        seen += [n.trust / (0.95 * 1.3), n.cap]
    assert seen == pytest.approx([0.98, 1.1, 0.98**0.5, 1.1**0.5, 0.98**0.1, 1.1**0.1], rel=1e-12)


@pytest.mark.parametrize(("level", "at"), [(0, 3.0), (-160, 3e3)])
def test_in_noise_the_step_grows_on_the_way_and_falls_at_the_end(level, at):
    """Descent on |x|^2 / 2 with noise: near 0 as 1 / k; from afar a step of 2^-10 grows first."""
    rule, n = rule_and_numbers(level=level, noisy=True)
    rng, x = np.random.default_rng(1), np.full(30, at)
    mark, largest = x.copy(), 0.0
    for done in range(1, 10_001):
        x -= size(int(n.level)) * (x + rng.normal(size=30))
        if done % 10 == 0:
            n.done = done
            turning.look(rule, n, x, mark)
            n.level += rule.decide(Window(1.0, 0.1, 0.1, 0.0, 0.9), n)[1]
            largest = max(largest, size(int(n.level)))
    assert largest > 0.03
    assert 3e-6 < size(int(n.level)) < 1e-2


def test_with_mini_batches_a_method_may_bear_more_than_is_stable():
    """Along a curvature of 4.5 / e exact diffusion goes on with batches, and falls without."""
    steep = Window(1.0, 0.1, 0.1 * 4.5, 0.0, 0.1)
    for edge, noisy, expected in ((4.0, True, CALM), (4.0, False, NERVOUS), (1.0, True, NERVOUS)):
        rule, n = rule_and_numbers(noisy=noisy, decisions=5, pace=1.0)
        rule = StepRule(Balance(2.0, 1.0, edge=edge), gap=0.4, height=2, noisy=noisy)
        kind, move = rule.decide(steep, n)
        assert kind == expected
        assert (move > 0) == (expected == CALM)
    assert distopt.Zed(beta=0.2).with_numbers(c1=0.5).balance(0.4).edge > 1
    assert distopt.GradientTracking(gamma=0.5).balance(0.4).edge == 1


def test_gradients_that_jump_are_no_curvature():
    """Onwards over kinks the step may grow; to and fro across one it falls as 1 / k, not to nothing."""
    rule, n = rule_and_numbers()
    onwards = Window(1.0, 0.1, 100.0, 0.9, 0.0, False, 0.1)
    assert rule.decide(onwards, n) == (CALM, 9)
    assert rule.decide(onwards._replace(moves=99.0), n)[0] == CALM  # one that grows may be
    assert rule.decide(Window(999.0, 9e3, 9e5, -900.0, 0.0, False, 0.1), n)[0] == BACK
    rule, n = rule_and_numbers()
    for done in range(10, 100_000, 10):
        n.done = done
        n.level += rule.decide(Window(1.0, 1.5, 900.0, -0.5, 0.0, False, 0.1), n)[1]
    assert 1 / 20_000 < size(int(n.level)) < 1 / 2_000


@pytest.mark.parametrize(
    ("method", "agents"), [(distopt.Zed(), 3), (distopt.GradientTracking(), 5)]
)
def test_jumps_do_not_end_the_search(method, agents):
    """They once looked like curvature without end, and the step fell until the run was given up."""
    x0 = np.array([0.3, 0.1, -0.2, 0.4, -0.4, 0.2, 0.1, -0.3])
    costs = [Ramps(i) for i in range(agents)]
    rows = distopt.simulate(costs, x0, algorithm=method, iterations=1100, record_every=100).rows
    assert rows[-1]["step"] > 1e-3
    assert rows[-1]["stationarity"] < 1e-6 < rows[0]["stationarity"]


class Ripples(Bowl):
    """|x - a|^2 / 2 + sum cos x: the Hessian vanishes at 0, where all start."""

    def value(self, x):
        return float(((x - self.a) ** 2).sum() / 2 + np.cos(x).sum())

    def gradient(self, x, out):
        out[:] = x - self.a - np.sin(x)


@pytest.mark.parametrize("method", METHODS)
def test_a_hessian_that_vanishes_at_the_start_is_no_reason_to_leap(method):
    """The first step was 5e8, and P rose to 1e110."""
    costs = [Ripples(i) for i in range(3)]
    rows = distopt.simulate(costs, algorithm=METHODS[method], iterations=100, record_every=1).rows
    P = [row["stationarity"] for row in rows]
    assert rows[0]["step"] < 2
    assert max(P) < 10 * P[0]
    assert P[-1] < 1e-4


class StudentT:
    """Regression with the Student-t loss of 3 degrees of freedom, 2 ln(1 + r^2 / 3), and outliers."""

    dimension = 20

    def __init__(self, rng, x):
        self.A = rng.normal(size=(40, 20))
        self.b = self.A @ x + rng.standard_t(2, size=40)

    def value(self, x):
        return float(2 * np.log1p((self.A @ x - self.b) ** 2 / 3).mean())

    def gradient(self, x, out):
        r = self.A @ x - self.b
        np.matmul(self.A.T, 4 * r / (3 + r * r) / r.size, out=out)


@pytest.mark.parametrize("method", [distopt.Zed(), distopt.ExactDiffusion()])
def test_agents_that_part_on_a_star_make_the_step_fall(method):
    """The step once stayed where their disagreement never died down: P >= 1e-6 after 2500 iterations."""
    rng = np.random.default_rng(16)
    x = rng.normal(size=20)
    costs = [StudentT(rng, x) for _ in range(16)]
    result = distopt.simulate(
        costs, algorithm=method, topology="star", iterations=1200, record_every=100, series="light"
    )
    assert result.rows[-1]["stationarity"] < 1e-5


class Factors:
    """|U V' - M_i|^2 / 4, all 2 x 2, with M_i of the agent's own: most curve downwards at the minimum."""

    dimension = 8

    def __init__(self, i):
        self.M = 1.7 * np.random.default_rng([11, i]).normal(size=(2, 2))
        self.start = np.cos(np.arange(8.0)) / 2

    def parts(self, x):
        U, V = x.reshape(2, 2, 2)
        return U, V, (U @ V.T - self.M) / 2

    def value(self, x):
        return float((self.parts(x)[2] ** 2).sum())

    def gradient(self, x, out):
        U, V, R = self.parts(x)
        out[:] = np.concatenate([R @ V, R.T @ U]).ravel()


def test_agents_that_go_round_make_the_step_fall():
    """They once did so for ever, at P >= 1e-2."""
    costs = [Factors(i) for i in range(12)]
    result = distopt.simulate(costs, iterations=600, record_every=100, series="light")
    assert result.rows[-1]["stationarity"] < 1e-6


class Cauchy:
    """sum_j a_j ln(1 + (x_j - b_j)^2), where some agents always curve downwards."""

    def __init__(self, rng, d):
        self.dimension, self.start = d, np.zeros(d)
        self.a, self.b = 10 ** np.linspace(0, 2, d) * rng.uniform(0.7, 1.3, d), rng.normal(size=d)

    def value(self, x):
        return float(self.a @ np.log1p((x - self.b) ** 2))

    def gradient(self, x, out):
        r = x - self.b
        np.divide(2 * self.a * r, 1 + r * r, out=out)


def test_a_disagreement_that_is_a_small_part_of_the_moves_makes_the_step_fall_too():
    rng = np.random.default_rng(7)
    costs = [Cauchy(rng, 2000) for _ in range(6)]
    result = distopt.simulate(costs, iterations=1200, record_every=100, series="light")
    P = [row["stationarity"] for row in result.rows]
    assert max(P[-3:]) < 1e-7 * P[0]


def test_a_disagreement_that_does_not_die_down_is_noticed():
    rule = StepRule(Balance(2.0, 2 * np.sqrt(0.01)), gap=0.02, height=1, noisy=False)
    n = Numbers(pace=1.0, done=10, least=0, since=0, grown=0, level=-64, first=0)
    assert not rule.stands(n, False)
    n.done, n.pace = 200, 0.4  # it has halved
    assert not rule.stands(n, False)
    n.done, n.pace = 399, 0.6
    assert not rule.stands(n, False)
    n.done = 400  # 8 / reach^2 = 200 later it has not
    assert rule.stands(n, False)
    assert not rule.stands(n, False)
    n.done, n.level = 600, -65
    assert not rule.stands(n, False)  # the step is not the reason
    # But here it is: the root goes round, and half the time will do.
    assert rule.stands(n, True)
    n.done = 699
    assert not rule.stands(n, True)
    n.done = 700
    assert rule.stands(n, True)
    n.done, n.level = 900, -161
    assert not rule.stands(n, True)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_root_sees_whether_it_goes_ahead_or_round(dtype):
    balance = Balance(2.0, 0.25, turns=True)  # a turn in 51 iterations
    rule = StepRule(balance, gap=0.02, height=1, noisy=False)

    def ahead(points):
        n, mark = Numbers(ahead=0.7, done=0, marked=0, path=0, looked=0), points[0].copy()
        for n.done, (before, x) in enumerate(itertools.pairwise(points), 1):
            n.path += np.linalg.norm(x - before)
            turning.look(rule, n, x, mark)
            if n.done == 50:
                assert n.ahead == 0.7
        assert (mark == points[51]).all()
        return n.ahead

    t = np.linspace(0, 2 * np.pi, 52)[:, None]
    line = np.hstack([t, 3 + 2 * t]).astype(dtype)
    circle = np.hstack([5 + np.cos(t), np.sin(t)]).astype(dtype)
    assert ahead(line) == pytest.approx(1, rel=1e-5)
    assert ahead(circle) < 1e-5
    assert ahead(circle[:26].repeat(2, axis=0)) == pytest.approx(2 / np.pi, rel=0.03)  # half of it
    # What rounding moves is no way.
    assert ahead((5 + np.finfo(dtype).eps * np.hstack([np.cos(t), np.sin(t)])).astype(dtype)) == 1


def test_a_move_to_and_fro_far_larger_than_the_window_before_is_a_burst():
    """The agent is adrift, and all go back; onwards, as from a saddle, it may move as it likes."""
    team = team_of("zed", [Bowl(i) for i in range(3)], "path")
    agent, search = team.hosted[0].agent, team.hosted[0].state.steps
    search.numbers.largest = 1.0
    search.meet(1e6, 1.0)
    search.meet(10.0, -1.0)
    assert not agent.adrift
    search.meet(1e4, -1.0)
    assert agent.adrift


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("topology", ["path", "star", "ring"])
def test_all_agents_follow_together(method, topology):
    """Every iteration: the same step everywhere; what the root heard is what the agents saw."""
    team = team_of(method, [Bowl(i) for i in range(7)], topology)
    searches = [h.state.steps for h in team.hosted]
    root = next(s for s in searches if s.depth == 0)
    levels, compared = set(), 0
    for _ in range(120):
        if root.numbers.iterations == root.numbers.length + root.height:
            sums = sum(s.sums for s in searches)
            np.testing.assert_allclose(root.window()[:3], sums[:3], rtol=0.15)
            compared += 1
        team.iterate()
        assert len({s.numbers.array.tobytes()[:8] for s in searches}) == 1
        levels.add(searches[0].numbers.level)
    assert len(levels) > 3
    assert compared > 3


@pytest.mark.parametrize("method", METHODS)
def test_going_back_restores_the_snapshot_at_both_ends_of_every_edge(method):
    """Even where numbers were not finite; and the run arrives."""
    team = team_of(method, [Wall(i) for i in range(5)], "path", iterations=1)
    searches = [h.state.steps for h in team.hosted]
    returned = lost = 0
    audit = Audit(team)
    for _ in range(400):
        kept = [{n: a.copy() for n, a in s.older.items()} for s in searches]
        kept_last = [{n: a.copy() for n, a in s.last.items()} for s in searches]
        lost += any(h.agent.adrift for h in team.hosted)
        before = searches[0].numbers.returns
        team.iterate()
        audit.run()
        if searches[0].numbers.returns > before:
            returned += 1
            last = kept if searches[0].numbers.kind == FURTHER_BACK else kept_last
            for s, snapshot in zip(searches, last, strict=True):
                for name, array in s.present().items():
                    np.testing.assert_array_equal(array, snapshot[name], err_msg=name)
    assert returned > 0
    assert lost > 0
    x = np.array([h.state.x for h in team.hosted])
    mean = np.mean([Wall(i).a for i in range(5)], axis=0)
    np.testing.assert_allclose(x, np.tile(np.cbrt(mean), (5, 1)), atol=1e-3)


def noisy(eta, iterations=1500):
    return make_config(
        {
            "problem": {"name": "logistic", "dataset": "synthetic", "agents": 5},
            "algorithm": {"name": "exact_diffusion"} | eta,
            "run": {"iterations": iterations, "batch": 4, "record_every": 50},
        },
        Path(),
    )


def test_with_mini_batches_the_step_falls_and_so_does_the_floor():
    found = run(noisy({}), engine="simulate").rows
    steps = [row["step"] for row in found]
    assert steps[-1] < max(steps) / 4
    fixed = run(noisy({"eta": max(steps)}), engine="simulate").rows
    late = [np.median([row["stationarity"] for row in rows[-8:]]) for rows in (found, fixed)]
    assert late[0] < late[1] / 2
    # A gradient an iteration, and one more in the at most 4 of 10 or more that a window watches.
    assert found[-1]["gradients"] < 1.5 * found[-1]["iteration"]


def test_agreeing_is_counted_as_bytes_of_the_algorithm_and_said_in_the_summary():
    config = make_config(
        {
            "problem": {"name": "quadratic", "agents": 6, "dimension": 20},
            "algorithm": {"name": "exact_diffusion"},
            "run": {"iterations": 60},
        },
        Path(),
    )
    result = run(config, engine="simulate")
    row, step = result.rows[-1], result.summary["step"]
    assert row["step_bytes"] > 0
    assert row["bytes_per_agent"] == 60 * 20 * 8 + row["step_bytes"] / 6
    assert step["last"] == row["step"] != step["first"]
    assert step["decisions"] == row["step_decisions"]
    assert step["bytes_per_agent"] == row["step_bytes"] / 6
    assert result.summary["parameters"]["eta"] == "auto"


def test_it_resumes_to_the_bit_in_the_middle_of_an_agreement(tmp_path):
    tables = {
        "problem": {"name": "quadratic", "agents": 6, "dimension": 5},
        "topology": {"graph": "path"},
        "algorithm": {"name": "zed"},
        "run": {"iterations": 40},
    }
    whole = run(make_config(tables, Path()), engine="simulate")
    for k in (7, 8, 14):
        tables["run"] = {"iterations": k}
        run(make_config(tables, Path()), engine="simulate", out=tmp_path / str(k))
        found = resume(tmp_path / str(k), engine="simulate", iterations=40)
        np.testing.assert_array_equal(found.x, whole.x)
        assert 'eta = "auto"' in (tmp_path / str(k) / "config.toml").read_text()
        said = "".join(notes(load(tmp_path / str(k))))
        assert f"eta from {found.summary['step']['first']:.3g} to" in said


def test_a_cost_without_a_minimum_ends_in_a_sentence():
    class Hill(Bowl):
        def value(self, x):
            r = x - self.a
            return -float(r @ r + (r @ r) ** 2) / 2

        def gradient(self, x, out):
            r = x - self.a
            np.multiply(-(1 + 2 * (r @ r)), r, out=out)

    with pytest.raises(DivergedError, match=r"found no step.*algorithm\.eta"):
        distopt.simulate(
            [Hill(i) for i in range(3)], algorithm=distopt.ExactDiffusion(), iterations=20000,
            record_every=20000,
        )  # fmt: skip


def test_missing_bytes_of_the_search_are_noticed():
    team = team_of("exact_diffusion", [Bowl(i) for i in range(2)])
    search = team.hosted[0].state.steps
    search.numbers.iterations = search.numbers.length + (0 if search.depth == 0 else 1)
    exchange = search.exchange(team.hosted[0].agent.pack(0, z=np.zeros(4)))
    next(exchange)
    with pytest.raises(MessageError, match="bytes of the search for the step are missing"):
        exchange.send([np.zeros(0, np.uint8)])
