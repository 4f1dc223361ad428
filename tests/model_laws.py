"""What the costs of all libraries must do in a float32 run."""

import numpy as np

import distopt

ROUNDING = float(np.finfo(np.float32).eps)
ZED = distopt.Zed(eta=0.1)


def assert_own_gradients_in_float32(cost, tmp_path):
    """To the bit, from x and into a gradient that are float32; and it goes on where it was stopped."""
    own, d = cost(at_once=5), cost().dimension
    x = (np.arange(d) / d - 0.4).astype(np.float32)
    wide, narrow = np.empty(d), np.empty(d, np.float32)
    own.gradient(x.astype(np.float64), wide)
    own.gradient(x, narrow)
    np.testing.assert_allclose(narrow, wide, rtol=0, atol=4 * ROUNDING * abs(wide).max())
    chosen = np.arange(0, own.samples, 2)
    own.batch_gradient(x.astype(np.float64), chosen, wide)
    own.batch_gradient(x, chosen, narrow)
    assert (narrow == wide).all()
    run = {"algorithm": ZED, "dtype": "float32", "batch": 3}
    whole = distopt.simulate([cost(i) for i in range(4)], iterations=9, **run)
    folder = {"out": tmp_path / "run"}
    distopt.simulate([cost(i) for i in range(4)], iterations=4, **run, **folder)
    again = distopt.simulate(
        [cost(i) for i in range(4)], iterations=9, resume=True, **run, **folder
    )
    assert whole.x[0].dtype == np.float32
    assert [x.tobytes() for x in again.x] == [x.tobytes() for x in whole.x]
