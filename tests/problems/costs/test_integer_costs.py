"""Costs on codes: the agents' exact parts add up to one gradient, near the one in float64."""

from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from distopt.core.errors import ConfigError, DataError
from distopt.core.randomness import make_key, normal
from distopt.fixedpoint import Format, decode, encode
from distopt.problems.costs.integer_logistic import FEATURES, MARGINS, reciprocal
from distopt.problems.costs.integer_network import residual_table, tanh_table
from distopt.problems.problem import build_problem

Q = Format(5, 11)
SMALL = {"name": "integer_network", "hidden": (6, 5, 4), "images": 101}
# The largest difference to the gradient in float64. logistic: |a_sj| < 1, so at most the residual's
# 2^-16 and a quarter of the margin's 2^-12. network: measured 7e-4 of gradients of up to 0.9; a coarse
# check, since the rounding of activations to 2^-8 passes through the layers.
PROBLEMS = {
    "logistic": ({"name": "integer_logistic"}, 2**-16 + 2**-14),
    "digits": ({"name": "integer_logistic", "dataset": "digits", "lam_bits": 3}, 2**-16 + 2**-14),
    "network": (SMALL, 5e-3),
    "diagonal": ({"name": "diagonal", "dimension": 9}, 1e-12),
    "himmelblau": ({"name": "himmelblau"}, 1e-12),
    "rosenbrock": ({"name": "rosenbrock"}, 1e-12),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_parts_add_up_to_the_gradient_of_f(name):
    keys, tolerance = PROBLEMS[name]
    sums = []
    for agents in (1, 2, 3, 8):
        problem = build_problem(keys | {"agents": agents}, {}, Path())
        costs = [problem.cost(i) for i in range(agents)]
        parts = [cost.integer(Q) for cost in costs]
        d = problem.dimension
        x = encode(0.5 * normal(make_key(3, 0, 0), 2 * d).reshape(2, d), Q).codes
        total, part = np.zeros(x.shape, np.int64), np.empty(x.shape, np.int64)
        for one in parts:
            one.gradient(x, part)
            total += part
        sums.append(total.tobytes())
        slope, g = np.zeros(x.shape), np.empty(d)
        for row, point in zip(slope, decode(x, Q), strict=True):
            for cost in costs:
                cost.gradient(point, g)
                row += g / agents
        found = total * 2.0 ** -parts[0].gradient_bits
        np.testing.assert_allclose(found, slope, rtol=1e-12, atol=tolerance)
        values = sum(one.value(decode(x, Q)) for one in parts)
        wanted = [sum(c.value(p) for c in costs) / agents for p in decode(x, Q)]
        np.testing.assert_allclose(values, wanted, rtol=1e-10)
    assert len(set(sums)) == 1


def test_threads_of_blas_change_nothing():
    part = build_problem(SMALL | {"agents": 1}, {}, Path()).cost(0).integer(Q)
    x = encode(normal(make_key(1, 0, 0), 3 * part.dimension).reshape(3, -1), Q).codes
    found = [np.empty(x.shape, np.int64) for _ in range(2)]
    for threads, out in enumerate(found, start=1):
        with threadpool_limits(threads):
            part.gradient(x, out)
    np.testing.assert_array_equal(*found)


def test_reciprocals():
    for count in (1, 2, 3, 100, 569, 1797, 65537):
        code, bits = reciprocal(count)
        assert 2**13 < code <= 2**15
        assert abs(code * 2.0**-bits * count - 1) <= 2.0**-14


def test_tables():
    codes = np.arange(MARGINS.lowest_code, MARGINS.highest_code + 1) * MARGINS.unit
    assert (
        np.abs(tanh_table() / 128 - np.tanh(codes)).max() <= 2.0**-7
    )  # 127 / 128 where it saturates
    sigmoid = residual_table() / 2**14
    assert np.abs(sigmoid - 1 / (1 + np.exp(-codes))).max() <= 2.0**-15 + 2.0**-31
    inner = np.abs(codes) < 2.5
    assert np.abs(tanh_table() / 128 - np.tanh(codes))[inner].max() <= 2.0**-8 + 1e-9


def test_features_that_do_not_fit_saturate_and_are_counted_or_are_refused():
    def make(**keys):
        return build_problem({"name": "integer_logistic", "agents": 1} | keys, {}, Path())

    cost = make().cost(0)
    ends = np.isin(cost.rows[:, :-1], (FEATURES.lowest_code, FEATURES.highest_code)).sum()
    assert 0 < cost.saturated <= ends
    assert cost.integer(Q).saturated == cost.saturated
    assert make(scale=13.0).cost(0).saturated == 0
    with pytest.raises(DataError, match=r"problem\.scale = 4 deviations: Entry .* outside Q1\.7"):
        make(overflow="refuse").cost(0)


@pytest.mark.parametrize("name", ["integer_logistic", "integer_network"])
def test_formats_of_weights(name):
    cost = build_problem({"name": name, "agents": 1}, {}, Path()).cost(0)
    with pytest.raises(ConfigError, match="at most 16 bits with at least 4 fraction bits"):
        cost.integer(Format(8, 12))


def test_minimum_of_logistic_regression():
    problem = build_problem({"name": "integer_logistic", "agents": 3}, {}, Path())
    costs = [problem.cost(i) for i in range(3)]
    minimum = problem.minimum
    for seed in range(3):
        x = 2 * normal(make_key(seed, 0, 0), problem.dimension)
        assert sum(c.value(x) for c in costs) / 3 > minimum > 0
