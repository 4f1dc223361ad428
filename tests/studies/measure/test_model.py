"""The alpha-beta model: what it is fitted to it gives back; where two variants are equally fast."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from distopt.config.build import make_config
from distopt.studies.measure.link import parse_link
from distopt.studies.measure.model import (
    CorrectedModel,
    ExchangeModel,
    Iteration,
    MeasuredExchange,
    break_even_rate,
    crossing,
    fit,
)
from distopt.studies.measure.plan import Goal, predict
from distopt.studies.measure.trial import Trial, iterations_to, simulate

NETWORK = ExchangeModel(alpha=2e-4, beta=3e-9, sigma=1.15)
RATES = (1e7, 1e8, 1e9, None)


def test_a_fit_gives_back_the_constants_of_exact_times() -> None:
    points = [
        MeasuredExchange(m, 2, r, NETWORK.exchange(m, 2, r))
        for m in (64, 5e3, 1e5, 3e6)
        for r in RATES
    ]
    found = fit(points)
    assert found.alpha == pytest.approx(NETWORK.alpha, rel=1e-6)
    assert found.beta == pytest.approx(NETWORK.beta, rel=1e-6)
    assert found.sigma == pytest.approx(NETWORK.sigma, rel=1e-6)


@pytest.mark.parametrize(("graph", "height", "degree"), [("ring", 3, 2), ("star", 1, 5)])
def test_a_trial_counts_exchanges_that_wait_for_each_other(
    graph: str, height: int, degree: int
) -> None:
    """zest goes up its tree and down again; what others send at once is one exchange."""
    tables = {"problem": {"name": "pl", "agents": 6}, "topology": {"graph": graph}}
    zest = simulate(make_config(tables | {"algorithm": {"name": "zest"}}, Path()), 1e-3, 60.0)
    assert zest.exchanges == 2 * height
    assert 1 <= zest.copies <= 1 + degree / (2 * height)
    gt = simulate(
        make_config(tables | {"algorithm": {"name": "gt", "eta": 0.01}}, Path()), 1e-3, 1.0
    )
    assert (gt.exchanges, gt.copies, gt.message) == (1, degree, 16 * 20)


@pytest.mark.parametrize("gradient", [1e-3, 0.02, 1.0])
def test_a_gradient_hides_the_second_half_of_a_message(gradient: float) -> None:
    whole = Iteration(computing=1.5, exchanges=1, message=1e6, copies=2, iterations=10)
    halves = replace(whole, gradient=gradient)
    second = NETWORK.exchange(1e6, 2, 1e8) - NETWORK.exchange(5e5, 2, 1e8)
    gain = whole.seconds(NETWORK, 1e8) - halves.seconds(NETWORK, 1e8)
    assert gain == pytest.approx(10 * min(gradient, second))


def test_a_trial_knows_what_may_travel_during_a_gradient() -> None:
    problem = {"name": "pl", "agents": 3, "dimension": 4000, "basis": "diagonal"}

    def tried(**algorithm: object) -> Trial:
        return simulate(
            make_config({"problem": problem, "algorithm": algorithm}, Path()), 1e-3, 0.1
        )

    gt = tried(name="gt", eta=0.01)
    assert gt.second == 8 * 4000
    assert 0 < gt.gradient < gt.computing
    assert tried(name="gt").second == 0  # its step is searched, so messages go whole
    assert tried(name="lead", eta=0.01).second == 0


def test_a_plan_overlaps_where_a_run_would() -> None:
    problem = {"name": "pl", "agents": 3, "dimension": 4000, "basis": "diagonal"}

    def planned(computing: float, **run: object) -> tuple[bool, float]:
        tables = {"problem": problem, "algorithm": {"name": "gt", "eta": 0.01}, "run": run}
        config = make_config(tables, Path())
        goal, links = Goal(1e-3, 0.1, None), [parse_link("10mbit")]
        found = predict("gt", config, goal, links, NETWORK, lambda *_: computing)
        return found["overlaps"], found["links"][0]["seconds_per_iteration"]

    (on, short), (off, long) = planned(10.0), planned(10.0, overlap=False)
    assert (on, off) == (True, False)
    assert short < long
    assert not planned(1e-3)[0]  # a gradient is below 1 ms
    assert planned(1e-3, overlap=True)[0]


def test_latency_is_in_every_exchange() -> None:
    one = Iteration(computing=1e-3, exchanges=6, message=100, copies=2, iterations=10)
    more = one.seconds(NETWORK.later(0.01), 1e7) - one.seconds(NETWORK, 1e7)
    assert more == pytest.approx(10 * 6 * 0.01)


def test_a_fit_to_noisy_times_is_near_and_never_negative() -> None:
    rng = np.random.default_rng(5)
    points = [
        MeasuredExchange(m, 2, r, NETWORK.exchange(m, 2, r) * rng.uniform(0.9, 1.1))
        for m in (64, 5e3, 1e5, 3e6)
        for r in RATES
        for _ in range(5)
    ]
    found = fit(points)
    assert found.sigma == pytest.approx(NETWORK.sigma, rel=0.05)
    assert min(found.alpha, found.beta, found.sigma) >= 0
    assert (
        fit([MeasuredExchange(100, 2, None, 1e-3), MeasuredExchange(200, 2, None, 1e-3)]).sigma
        == 0.0
    )


def test_at_a_measured_rate_the_models_error_is_made_good() -> None:
    off = {1e3: 1.0, 1e5: 1.3}  # what the model misses for large messages
    points = [MeasuredExchange(m, 2, 1e8, f * NETWORK.exchange(m, 2, 1e8)) for m, f in off.items()]
    better = CorrectedModel(**vars(NETWORK), measured=tuple(points))
    for m, f in [*off.items(), (1e4, 1.15), (1e7, 1.3)]:
        assert better.exchange(m, 2, 1e8) == pytest.approx(f * NETWORK.exchange(m, 2, 1e8))
    assert better.exchange(1e5, 2, 1e9) == NETWORK.exchange(1e5, 2, 1e9)  # not measured there


def test_headers_are_most_of_what_a_link_carries_for_a_few_bytes() -> None:
    small, none = (NETWORK.exchange(m, 2, 1e6) - NETWORK.exchange(m, 2, None) for m in (8, 0))
    assert none == pytest.approx(8 * 1.15 * 2 * (24 + 66) / 1e6)
    assert small - none == pytest.approx(8 * 1.15 * 2 * 8 / 1e6)
    full = NETWORK.exchange(1_448_000, 1, 1e6) - NETWORK.exchange(1_448_000, 1, None)
    assert full == pytest.approx(8 * 1.15 * 1.4480e6 * (1 + 1.5 * 66 / 1448) / 1e6, rel=1e-3)


def test_at_the_break_even_rate_both_take_equally_long() -> None:
    plain = Iteration(computing=0.010, exchanges=1, message=1_600_000, copies=2, iterations=100)
    packed = Iteration(computing=0.030, exchanges=1, message=30_000, copies=2, iterations=150)
    rate = break_even_rate(packed, plain, NETWORK)
    assert packed.seconds(NETWORK, rate) == pytest.approx(plain.seconds(NETWORK, rate))
    assert packed.seconds(NETWORK, rate / 2) < plain.seconds(NETWORK, rate / 2)
    assert packed.seconds(NETWORK, 2 * rate) > plain.seconds(NETWORK, 2 * rate)


def test_what_is_never_or_always_faster_has_no_break_even_rate() -> None:
    plain = Iteration(0.010, 1, 1000, 2, 100)
    assert break_even_rate(Iteration(0.005, 1, 100, 2, 100), plain, NETWORK) == float("inf")
    assert break_even_rate(Iteration(0.020, 1, 2000, 2, 100), plain, NETWORK) == 0.0


def test_measured_times_cross_where_their_lines_in_1_over_r_do() -> None:
    rates = [1e7, 1e8, 1e9]
    one = [1 + 1e6 / r for r in rates]
    other = [0.5 + 1e8 / r for r in rates]
    assert crossing(rates, one, other) == pytest.approx(99e6 / 0.5)
    assert crossing(rates, one, [t + 1 for t in one]) is None


def test_iterations_are_read_off_or_projected_or_unknown() -> None:
    falling = [{"iteration": float(k), "stationarity": 10.0 ** (-k / 10)} for k in range(0, 50, 10)]
    assert iterations_to(1e-3, falling) == (30.0, False)
    assert iterations_to(1e-9, falling) == (90.0, True)
    flat = [{"iteration": float(k), "stationarity": 1.0} for k in range(8)]
    for still in (flat, flat[:1]):
        assert iterations_to(1e-3, still) == (None, False)


@pytest.mark.parametrize(
    ("P", "accuracy", "expected"),
    [
        (lambda k: 10.0 ** (-k / 100) + 1e-4 * (1 + 1e-3 / (1 + k)), 1e-6, None),  # stands at 1e-4
        (lambda k: 1e-4 * (1 + 0.3 * math.sin(k)), 1e-6, None),  # wanders there
        (lambda k: 0.99 ** k * (1 + 0.3 * math.sin(k)), 1e-9, 2062),  # falls, not monotonously
        (lambda k: 1 / (1 + k), 1e-4, 9999),  # falls as 1 / k
        (lambda k: 1 / (1 + k), 1e-6, None),  # too far to tell
        (lambda k: math.nan if k > 900 else 1.0, 1e-6, None),
    ],
)  # fmt: skip
def test_a_run_that_stands_still_is_not_projected(P, accuracy, expected) -> None:
    rows = [{"iteration": float(k), "stationarity": P(k)} for k in range(0, 1001, 10)]
    iterations, _ = iterations_to(accuracy, rows)
    assert iterations == (None if expected is None else pytest.approx(expected, rel=0.06))


def test_a_trial_ends_at_its_accuracy_its_end_or_its_share() -> None:
    tables = {
        "problem": {"name": "quadratic", "agents": 3, "dimension": 4, "start": "normal"},
        "algorithm": {"name": "gt", "eta": 0.1, "gamma": 0.5},
        "run": {"iterations": 5000, "record_every": 2},
    }
    config = make_config(tables, Path())
    reached = simulate(config, 1e-3, 60.0)
    assert reached.rows[-1]["stationarity"] <= 1e-3 < reached.rows[-2]["stationarity"]
    assert reached.of_iteration("bytes_per_agent") == 2 * 8 * 4
    assert 0 < reached.computing < 1
    assert simulate(make_config(tables, Path(), ["run.iterations=7"]), 0.0, 60.0).iterations == 7
    assert simulate(config, 0.0, 0.0).iterations < 5000
