"""The equations that several algorithms share, each one loop, no temporaries."""

from distopt.core.arrays import F64
from distopt.core.kernel import kernel


@kernel
def descend(x: F64, mixed: F64, y: F64, gamma: float, eta: float) -> None:
    """x = x + gamma mixed - eta y."""
    for i in range(x.size):
        x[i] = x[i] + gamma * mixed[i] - eta * y[i]


@kernel
def track(y: F64, mixed: F64, g_next: F64, g: F64, gamma: float) -> None:
    """y = y + gamma mixed + g_next - g."""
    for i in range(y.size):
        y[i] = y[i] + gamma * mixed[i] + (g_next[i] - g[i])


@kernel
def difference(v: F64, h: F64, scale: float, out: F64) -> float:
    """out = (v - h) / scale; return max |out|."""
    largest = 0.0
    for i in range(v.size):
        out[i] = (v[i] - h[i]) / scale
        largest = max(largest, abs(out[i]))
    return largest


@kernel
def accumulate(m: F64, beta: float, g: F64) -> None:
    """m = beta m + g."""
    for i in range(m.size):
        m[i] = beta * m[i] + g[i]


@kernel
def descend_both(x: F64, m: F64, D: F64, eta: float, out: F64) -> None:
    """out = x - eta (m + D)."""
    for i in range(x.size):
        out[i] = x[i] - eta * (m[i] + D[i])


@kernel
def correct(x: F64, D: F64, z: F64, mixed: F64, eta: float) -> None:
    """D = D - mixed / (2 eta); x = z + mixed / 2."""
    factor = 0.5 / eta
    for i in range(x.size):
        D[i] -= factor * mixed[i]
        x[i] = z[i] + 0.5 * mixed[i]


@kernel
def correct_after(x: F64, D: F64, z: F64, mixed: F64, gamma: float, ratio: float) -> None:
    """D = D - ratio mixed; x = z + gamma mixed."""
    for i in range(x.size):
        D[i] -= ratio * mixed[i]
        x[i] = z[i] + gamma * mixed[i]


@kernel
def correct_and_descend(x: F64, g: F64, D: F64, mixed: F64, ratio: float, eta: float) -> None:
    """D = D - ratio mixed; x = x - eta (g + D)."""
    for i in range(x.size):
        D[i] -= ratio * mixed[i]
        x[i] -= eta * (g[i] + D[i])


@kernel
def aim(
    x: F64, g: F64, D: F64, nu: F64, h: F64, eta: float, beta: float, omega: float,
    m: F64, z: F64, e: F64,
) -> None:  # fmt: skip
    """m = beta m + g; z = x - eta (m + D) + omega nu; e = z - h."""
    for i in range(x.size):
        m[i] = beta * m[i] + g[i]
        z[i] = x[i] - eta * (m[i] + D[i]) + omega * nu[i]
        e[i] = z[i] - h[i]


@kernel
def mix_exactly(
    z: F64, e: F64, q: F64, mixed: F64, weights: F64, c0: float, ratio: float,
    x: F64, D: F64, nu: F64,
) -> None:  # fmt: skip
    """nu = q - e; D = D - ratio mixed; x = z + c0 (mixed + weights nu), for each agent's part."""
    d = x.size // weights.size
    for agent in range(weights.size):
        w = weights[agent]
        for i in range(agent * d, (agent + 1) * d):
            nu[i] = q[i] - e[i]
            D[i] -= ratio * mixed[i]
            x[i] = z[i] + c0 * (mixed[i] + w * nu[i])
