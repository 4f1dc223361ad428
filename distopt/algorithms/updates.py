"""The equations that several algorithms share, each one loop, no temporaries."""

from distopt.arrays import F64
from distopt.randomness import kernel


@kernel
def descend(x: F64, mixed: F64, y: F64, gamma: float, eta: float) -> None:
    """X = x + gamma mixed - eta y."""
    for i in range(x.size):
        x[i] = x[i] + gamma * mixed[i] - eta * y[i]


@kernel
def track(y: F64, mixed: F64, g_next: F64, g: F64, gamma: float) -> None:
    """Y = y + gamma mixed + g_next - g."""
    for i in range(y.size):
        y[i] = y[i] + gamma * mixed[i] + (g_next[i] - g[i])


@kernel
def difference(v: F64, h: F64, scale: float, out: F64) -> float:
    """Out = (v - h) / scale; return max |out|."""
    largest = 0.0
    for i in range(v.size):
        out[i] = (v[i] - h[i]) / scale
        largest = max(largest, abs(out[i]))
    return largest
