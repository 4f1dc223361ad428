"""Hand-made results of timed runs."""

from typing import Any


def bare_exchange(seconds: float, raw: float) -> dict[str, Any]:
    """Return what the bare exchange of 1000 bytes with two neighbours took."""
    return {
        "nbytes": 1000, "seconds": seconds, "raw_seconds": raw,
        "neighbours": 2, "exchanges": 1.0, "copies": 2.0,
    }  # fmt: skip


def bare_entry(seconds: float) -> dict[str, Any]:
    """Return what one timed run gives: 100 iterations, messages of 1000 bytes to two neighbours."""
    names = (
        "gradient",
        "encoding",
        "decoding and mixing",
        "exchange, waiting",
        "updates, the rest",
    )
    phase = {
        "calls": 100,
        "seconds": 100 * seconds / 5,
        "smallest": 1.0,
        "largest": 2.0,
        "bytes": 0.0,
    }
    counts = {"counted": 300_000, "messages": 300, "seen": 300_000 + 90 * 300, "packets": 300}
    return {
        "window": 100,
        "iterations": 103,
        "seconds_per_iteration": seconds,
        "phases": [{"phase": name} | phase for name in names],
        "bytes_per_agent": 100_000.0,
        "bytes_on_wire": 600_000,
        "hosts": {"h1": {"tx_bytes": 1}},
        "accounting": counts,
        "reached": [
            {"accuracy": 1e-1, "iterations": 100, "bytes_per_agent": 1e5, "bytes_on_wire": 6e5,
             "seconds": 100 * seconds, "projected": False},
            None,
        ],
        "bare": bare_exchange(seconds / 2, seconds / 3),
        "records": {"seconds": 0.05, "iterations": 50},
    }  # fmt: skip


def entry(rate: float | None, seconds: float) -> dict[str, Any]:
    """Return one link's merged result of a run of 100 iterations to 1e-6."""
    part = seconds / 100 / 4
    return {
        "link": f"{rate:g}" if rate else "unlimited",
        "rate": rate,
        "seconds_per_iteration": {
            "total": seconds / 100, "gradient": part, "compression": part, "waiting": part, "rest": part,
        },
        "bytes_on_wire": 6000.0,
        "accounting": {"counted": 1},
        "accuracies": [{"accuracy": 1e-6, "iterations": 100, "seconds": seconds, "projected": rate == 1e7}],
        "bare": bare_exchange(part, part),
    }  # fmt: skip


def variant(label: str, seconds: dict[float | None, float]) -> dict[str, Any]:
    """Return a variant with its seconds by rate."""
    return {"variant": label, "agents": 3, "links": [entry(r, s) for r, s in seconds.items()]}
