"""The series of a run and their units: the one list, which writer and report use."""

from collections.abc import Iterable
from typing import NamedTuple


class Series(NamedTuple):
    """One recorded quantity."""

    units: str
    description: str
    dtype: str = "f8"
    by_run: bool = False  # one number for each of the runs that an algorithm does at once


MEASURES = "measures."  # begins the names of what costs give besides their values


class Catalogue(dict[str, Series]):
    """The series by name; those of costs' measures are known by the beginning of theirs."""

    def __missing__(self, name: str) -> Series:
        if not name.startswith(MEASURES):
            raise KeyError(name)
        return Series("1", f"{name.removeprefix(MEASURES)} of the costs at xbar, mean over agents")

    def sort(self, names: Iterable[str]) -> list[str]:
        """Return those of the names that are series, in the order of a record."""
        there = set(names)
        return [
            *(name for name in self if name in there),
            *sorted(name for name in there if name.startswith(MEASURES)),
        ]


# Where an algorithm does several independent runs at once, all but the last kind are means over them.
SERIES = Catalogue(
    {
        "iteration": Series("1", "iterations done", "i8"),
        "seconds": Series(
            "s", "wall time since iteration 0, diagnostics excluded; largest over ranks"
        ),
        "objective": Series("1", "f at the mean, f(xbar) = (1/n) sum_i f_i(xbar)"),
        "objective_runs": Series("1", "f at the mean, of each run", by_run=True),
        "nmse": Series(
            "1", "objective over its value for the answer 0 (costs with `energy`: networks)"
        ),
        "gradient_norm": Series("1", "||grad f(xbar)||_2"),
        "consensus_error": Series("1", "(1/n) sum_i ||x_i - xbar||^2"),
        "stationarity": Series("1", "P = ||grad f(xbar)||^2 + consensus error"),
        "tracking_error": Series("1", "(1/n) sum_i ||y_i - ybar||^2"),
        "invariant": Series("1", "||mean tracker - mean gradient||_2 / max_i ||grad f_i(x_i)||_2"),
        "compression_error_x": Series("1", "(1/n) sum_i ||x_i - hx_i||^2"),
        "compression_error_y": Series("1", "(1/n) sum_i ||y_i - hy_i||^2"),
        "lyapunov": Series("1", "Lyapunov function V, the sum of its terms"),
        "lyapunov_gap": Series(
            "1", "term f(xbar) - f* of V (f* or the lower bound named in /meta)"
        ),
        "lyapunov_memory_x": Series("1", "term c1 sum_i ||x_i - hx_i||^2 of V"),
        "lyapunov_memory_y": Series("1", "term c2 sum_i ||y_i - hy_i||^2 of V"),
        "lyapunov_consensus": Series("1", "term c3 sum_i ||x_i - xbar||^2 of V"),
        "lyapunov_tracking": Series("1", "term c4 sum_i ||y_i - ybar||^2 of V"),
        "lyapunov_scale": Series("1", "term c5 (sx^2 + sy^2) of V"),
        "lyapunov_direction": Series("1", "term c6 |G|^2 of V, G the last direction"),
        "bytes_per_agent": Series(
            "B", "sent by the algorithm, mean over agents, a broadcast counted once"
        ),
        "bytes_on_wire": Series(
            "B", "sent by the algorithm, total over agents, every copy counted", "i8"
        ),
        "messages_per_agent": Series("1", "messages handed to the transport, mean over agents"),
        "gradients": Series(
            "1", "gradients that the algorithm took, mean over agents, that at the start included"
        ),
        "diagnostics_bytes": Series(
            "B", "sent for the records themselves, total over agents", "i8"
        ),
        "ball_violations": Series(
            "1", "times that an argument left the unit ball, total over agents", "i8"
        ),
        "saturations": Series(
            "1", "values so far beyond the range of a fixed-point format, total", "i8"
        ),
        "regime_large": Series(
            "1", "coordinates of all runs with step t |g| >= u, in the latest iteration", "i8"
        ),
        "regime_middle": Series("1", "coordinates with u/2 < t |g| < u", "i8"),
        "regime_small": Series("1", "coordinates with 0 < t |g| <= u/2, where RN stalls", "i8"),
        "regime_zero": Series("1", "coordinates with t g = 0", "i8"),
        "step_square": Series("1", "M = ||rounding error of the step||^2 of the latest iteration"),
        "step_gain": Series("1", "R = sum |bias| ((1 - L t) |g| - c1 u) of the latest iteration"),
        "step": Series("1", "step size eta in use, where it is searched"),
        "step_decisions": Series("1", "decisions on the step so far", "i8"),
        "step_returns": Series(
            "1", "times so far that all went back, to take a smaller step", "i8"
        ),
        "step_bytes": Series("B", "sent so far to agree on the step, total over agents", "i8"),
        "seconds_gradient": Series(
            "s", "in gradients of all agents of a process, mean over processes"
        ),
        "seconds_compression": Series("s", "in encoding, decoding and mixing, likewise"),
        "seconds_communication": Series("s", "in exchanges, waiting included, likewise"),
        "seconds_diagnostics": Series("s", "in records and checkpoints, likewise"),
    }
)
