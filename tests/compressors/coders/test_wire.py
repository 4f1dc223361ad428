"""Numbers on the wire have the precision of the vector that they are of, in kernels and in Python."""

import numpy as np
import pytest

from distopt.compressors.coders.wire import NOT_FINITE, TOO_SHORT, add_numbers, load, store, width
from distopt.core.kernel import kernel


@kernel
def write(out, x):
    for i in range(x.size):
        store(out, 1 + width(x) * i, x, x[i])
    return load(out, 1 + width(x), x)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_numbers_have_the_precision_of_their_vector(dtype):
    x = np.array([0.1, -3.0, 1e-40], dtype)
    compiled, plain = np.zeros(30, np.uint8), np.zeros(30, np.uint8)
    assert write(compiled, x) == load(compiled, 1 + width(x), x) == -3.0
    for i, number in enumerate(x):
        store(plain, 1 + width(x) * i, x, number)
    assert (compiled == plain).all()
    assert compiled[1 : 1 + x.nbytes].tobytes() == x.tobytes()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_vectors_are_added_or_refused_before_the_first_write(dtype):
    x, acc = np.array([0.1, -3.0], dtype), np.ones(2, dtype)
    payload = x.view(np.uint8).copy()
    assert add_numbers(payload, 0.5, acc) == x.nbytes
    np.testing.assert_array_equal(acc, (1 + 0.5 * x.astype(np.float64)).astype(dtype))
    before = acc.copy()
    assert add_numbers(payload[:-1], 0.5, acc) == TOO_SHORT
    for wrong in (np.inf, np.nan):
        bad = np.array([0.1, wrong], dtype).view(np.uint8)
        assert add_numbers(bad, 0.5, acc) == NOT_FINITE
    assert (acc == before).all()
