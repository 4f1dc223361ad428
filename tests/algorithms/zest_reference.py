"""zest once more, in plain numpy, from the equations of docs/algorithms/zest.md.

Nothing of the package is used: no codec, no step, no tree but its parents.
"""

import numpy as np

INSET = 0.08


def quantise(e, step):
    q = np.sign(e) * np.floor(np.abs(e / step) + 0.5)
    # The compressor rounds halves up; that differs on a set of measure zero.
    return (q - INSET * q * (np.abs(q) == 1)) * step


def grid(most, d):
    """The largest 2^(k / 4) with errors of at most `most` in the two-norm."""
    return 2 ** (np.floor(4 * np.log2(most / ((0.5 + INSET) * np.sqrt(d)))) / 4)


def octave(largest):
    return 2.0 ** np.round(np.log2(largest))


def spectrum(hvp, x):
    H = np.empty((x.size, x.size))
    for row, unit in zip(H, np.eye(x.size), strict=True):
        hvp(x, unit, row)
    values, V = np.linalg.eigh((H + H.T) / 2)
    return np.abs(values), V


def first_matrix(pairs, eta, own):
    """H_0 of L-BFGS as a map."""
    if own is None:
        if not pairs:
            return lambda q: eta * q
        s, y = pairs[-1]
        return lambda q: (s @ y) / (y @ y) * q
    size, V = own
    mean = size.mean()

    def B(nu):
        return lambda q: V @ ((V.T @ q) / (size + nu * mean))

    if not pairs:
        return lambda q: eta * (size + 1e6 * mean).mean() * B(1e6)(q)

    def misfit(nu):
        images = [(s, B(nu)(y)) for s, y in pairs[-5:]]
        return sum(1 - (s @ b) ** 2 / ((s @ s) * (b @ b)) for s, b in images)

    best = B(min((0.05, 0.2, 0.7, 2.0, 1e6), key=misfit))
    s, y = pairs[-1]
    return lambda q: (s @ y) / (y @ best(y)) * best(q)


def direction(pairs, G, eta, own):
    q, a = -G, []
    for s, y in reversed(pairs):
        a.append((s @ q) / (s @ y))
        q = q - a[-1] * y
    q = first_matrix(pairs, eta, own)(q)
    for (s, y), factor in zip(pairs, reversed(a), strict=True):
        q = q + (factor - (y @ q) / (s @ y)) * s
    return q


def listing(parents, depths, grad, x, eta, iterations, hvp, form="newton", hessian="pairs"):
    """Return x after the iterations."""
    n, d = len(parents), x.size
    norm = np.linalg.norm
    order = sorted(range(n), key=lambda i: -depths[i])
    root = parents.index(-1)
    eta = eta / 2 if form == "gradient" else eta
    x, S, b, dx = x.copy(), np.zeros((n, d)), np.zeros(n), np.zeros(d)
    pairs, last, sizes, radius, r, phi, up = [], None, [], np.inf, 1.0, 1.0, 0.0
    for k in range(iterations):
        g = grad(np.tile(x, (n, 1)))
        total = g.copy()
        for i in order:
            if i == root:
                continue
            pi = S[i] + b[i] * dx
            step = octave(2 * norm(total[i]) / np.sqrt(d)) if k == 0 else up
            new = pi + quantise(total[i] - pi, step)
            if k > 0:
                w = (new - S[i]) @ dx / (dx @ dx)
                b[i] = w if k == 1 else (b[i] + w) / 2
            S[i] = new
            total[parents[i]] += new
        G = total[root] / n
        if form == "gradient":
            p = -eta * G
            down, up = grid(0.2 * norm(p), d), grid(0.2 * n / (n - 1) * norm(G), d)
        else:
            if k > 0:
                y, slope = G - last, last @ dx
                t = G @ dx / slope if slope < 0 else 1.0
                good = dx @ y > 0.05 * norm(dx) * norm(y)
                pairs = [*pairs, (dx, y)][-30:] if good else []
                radius = norm(dx) * (3 if t >= 0.99 else min(max(1.5 / (1 - t), 0.4), 3))
                eta = eta if pairs else radius / norm(G)
            own = spectrum(hvp, x) if hessian == "own" else None
            p = direction(pairs, G, eta, own)
            length = norm(p)
            if p @ G > -0.01 * length * norm(G):
                p, pairs = -length * G / norm(G), []
            p = p * radius / length if length > radius else p
            if k > 0:
                r = np.clip(np.sqrt(r * np.clip(norm(G) / norm(last), 0.05, 3)), 0.3, 1)
            stuck = k > 0 and abs(t) < 0.5 and norm(G) > 0.9 * min(sizes[-8:])
            phi = max(phi / 2, 0.25) if stuck else min(1, 1.5 * phi)
            down = grid(phi * 0.8 * r * norm(p), d)
            up = grid(phi * 0.4 * np.sqrt(n) * r * norm(G), d)
            sizes.append(norm(G))
            last = G
        dx = quantise(p, down)
        x = x + dx
    return x
