"""The equations that several algorithms share, each one loop, no temporaries.

Where one loop would have too many arrays for vector instructions, each line has its own, over a `TILE`.
"""

from distopt.core.arrays import F64
from distopt.core.kernel import kernel

TILE = 2048  # coordinates of ten vectors stay in the cache between two loops


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
    for start in range(0, x.size, TILE):
        t = slice(start, start + TILE)
        aim_tile(x[t], g[t], D[t], nu[t], h[t], eta, beta, omega, m[t], z[t], e[t])


@kernel
def aim_tile(
    x: F64, g: F64, D: F64, nu: F64, h: F64, eta: float, beta: float, omega: float,
    m: F64, z: F64, e: F64,
) -> None:  # fmt: skip
    """Do `aim` for a few coordinates."""
    for i in range(x.size):
        m[i] = beta * m[i] + g[i]
    for i in range(x.size):
        z[i] = x[i] - eta * (m[i] + D[i]) + omega * nu[i]
    for i in range(x.size):
        e[i] = z[i] - h[i]


@kernel
def mix_exactly(
    z: F64, q: F64, mixed: F64, weights: F64, c0: float, ratio: float, x: F64, D: F64, nu: F64
) -> None:
    """nu = q - e; D = D - ratio mixed; x = z + c0 (mixed + weights nu), for each agent's part.

    nu holds e before.
    """
    d = x.size // weights.size
    for agent in range(weights.size):
        stop = (agent + 1) * d
        for start in range(agent * d, stop, TILE):
            t = slice(start, min(start + TILE, stop))
            mix_exactly_tile(z[t], q[t], mixed[t], weights[agent], c0, ratio, x[t], D[t], nu[t])


@kernel
def mix_exactly_tile(
    z: F64, q: F64, mixed: F64, w: float, c0: float, ratio: float, x: F64, D: F64, nu: F64
) -> None:
    """Do `mix_exactly` for a few coordinates of an agent."""
    for i in range(x.size):
        nu[i] = q[i] - nu[i]
    for i in range(x.size):
        D[i] -= ratio * mixed[i]
    for i in range(x.size):
        x[i] = z[i] + c0 * (mixed[i] + w * nu[i])
