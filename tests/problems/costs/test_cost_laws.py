"""The laws of a cost: failures name the law, and single precision has a tolerance."""

import numpy as np
import pytest

from distopt.problems.costs.laws import check_cost

F32 = float(np.finfo(np.float32).eps)


class Single:
    """Logistic regression in float32."""

    smoothness, lower_bound, samples = 0.25 * 9.0, 0.0, 20

    def __init__(self, wrong=1.0):
        random = np.random.default_rng(0)
        rows = random.standard_normal((20, 6)).astype(np.float32)
        self.A = (rows / np.linalg.norm(rows, axis=1)[:, None] * 3).astype(np.float32)
        self.dimension, self.wrong = 6, wrong

    def value(self, x):
        return np.log1p(np.exp(-self.A @ x.astype(np.float32))).mean()

    def gradient(self, x, out):
        self.batch_gradient(x, np.arange(20), out)

    def batch_gradient(self, x, index, out):
        A = self.A[index]
        s = -1 / (1 + np.exp(A @ x.astype(np.float32)))
        out[:] = self.wrong * (A.T @ s) / len(A)


def test_a_model_in_float32_keeps_the_laws_up_to_its_rounding():
    check_cost(Single(), tolerance=F32)
    with pytest.raises(AssertionError, match='law "'):
        check_cost(Single())


@pytest.mark.parametrize("wrong", [1.02, 0.9, -1.0])
def test_a_wrong_gradient_in_float32_is_found(wrong):
    with pytest.raises(AssertionError, match='law "gradient": gradient says slope'):
        check_cost(Single(wrong), tolerance=F32)


def test_failures_name_their_law():
    class Drifting(Single):
        calls = 0

        def value(self, x):
            self.calls += 1
            return float(self.calls)

    with pytest.raises(AssertionError, match=r'law "purity": value gave 1\.0, then 2\.0'):
        check_cost(Drifting(), tolerance=F32)
    cost = Single()
    cost.smoothness = 1e-3
    with pytest.raises(AssertionError, match=r'law "constants": smoothness = 0\.001'):
        check_cost(cost, tolerance=F32)


def test_failures_of_compressors_and_algorithms_name_their_law():
    from distopt.algorithms.gt import GradientTracking
    from distopt.compressors.base import Relative
    from distopt.compressors.norm_sign import NormSign
    from distopt.testing import check_algorithm, check_compressor

    class Proud(NormSign):
        def guarantees(self, d):
            return (Relative(r=1.0, psi=1.0),)

    class Forgetful(GradientTracking):
        def init(self, agent, x0):
            state = super().init(agent, x0)
            state._kept.remove("x")
            return state

    with pytest.raises(AssertionError, match='law "guarantees": Relative'):
        check_compressor(Proud(), 5)
    with pytest.raises(AssertionError, match='law "continuation": after iteration'):
        check_algorithm(Forgetful(eta=0.01, gamma=0.5))
