"""Where the time of a run went: the phases of all agents in one process add up to its own."""

import time

import numpy as np

import distopt


class Slow:
    """||x||^2 / 2 with a gradient that takes at least 2 ms."""

    dimension, smoothness = 2, 1.0

    def value(self, x):
        return float(x @ x) / 2

    def gradient(self, x, out):
        time.sleep(0.002)
        out[:] = x


def test_one_process_records_the_time_of_all_its_agents():
    result = distopt.simulate(
        [Slow()] * 4, np.ones(2), algorithm={"name": "gt", "eta": 0.1, "gamma": 0.5},
        iterations=10, record_every=10,
    )  # fmt: skip
    row, told = result.rows[-1], result.summary["seconds"]
    assert row["seconds_gradient"] >= 4 * 10 * 0.002
    assert row["seconds"] >= 4 * 10 * 0.002
    # four gradients at the mean in the first record, before the second is made
    assert told["diagnostics"] >= row["seconds_diagnostics"] >= 4 * 0.002
    assert told["communication"] == row["seconds_communication"]
