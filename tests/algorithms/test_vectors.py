"""A method may send any number of vectors a message."""

import numpy as np
from algorithms.three_vectors import ThreeVectors

import distopt
from distopt.engine.laws import quadratic
from distopt.testing import check_algorithm

STEPS = {"eta": 0.02, "gamma": 0.3, "alpha": 1.0}
CODED = distopt.Quantize(bits=3, entropy="range")  # a state for each vector at both ends


def test_three_vectors_keep_the_contract():
    check_algorithm(ThreeVectors(**STEPS), CODED)


def test_all_three_are_mixed_and_counted():
    costs = [quadratic(i) for i in range(4)]
    result = distopt.simulate(
        costs, algorithm=ThreeVectors(**STEPS), compressor=distopt.Identity(), iterations=400
    )
    assert result.summary["bits_per_coordinate"] == 64
    assert result.summary["bytes_per_agent"] == 400 * 3 * 8 * 9
    assert result.summary["stationarity"] < 1e-12
    assert np.ptp(result.x, axis=0).max() < 1e-6


def test_messages_have_room_for_all_vectors():
    assert ThreeVectors(**STEPS).max_nbytes(distopt.Identity(), 9) == 3 * 72
    assert distopt.Zed(eta=1.0).max_nbytes(distopt.Identity(), 9) == 72
    assert distopt.Zed().max_nbytes(distopt.Identity(), 9) == 72 + 7  # of the search
