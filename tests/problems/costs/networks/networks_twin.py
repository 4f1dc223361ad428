"""The three networks written down once more, plainly and slowly; also for complex weights."""

import numpy as np

PARTS = {"lista": ("W1", "W2"), "admm_csnet": ("W1", "W2"), "ffnn": ("W",)}


def sigma(p, lam, form, k):
    """Smooth soft-threshold by its definition; loses digits for large k lam."""
    if form == "softplus":
        return (np.log(1 + np.exp(k * (p - lam))) - np.log(1 + np.exp(-k * (p + lam)))) / k
    return p + (np.sqrt((p - lam) ** 2 + k**-2) - np.sqrt((p + lam) ** 2 + k**-2)) / 2


def unpack(w, family):
    """Split w into per-layer lists of W1, W2 (or W) in the paper's orientation, and thresholds."""
    m, n, L = family.m, family.n, family.layers
    injects = "W1" in PARTS[name_of(family)]
    layers, at = [], 0
    for l in range(L):
        shapes = [(n, m), (m, m)] if injects else [(n, m) if l == 0 else (m, m)]
        if family.tied and l > (0 if injects else 1):
            layers.append(layers[-1])
            continue
        matrices = []
        for shape in shapes:
            size = shape[0] * shape[1]
            matrices.append(w[at : at + size].reshape(shape).T)
            at += size
        layers.append(matrices)
    lams = w[at:] if family.learn_threshold else np.full(1, family.threshold)
    return layers, np.broadcast_to(lams, L) if lams.size == 1 else lams


def name_of(family):
    return {"LISTA": "lista", "ADMMCSNet": "admm_csnet", "FFNN": "ffnn"}[type(family).__name__]


def outputs(w, family, Y):
    """F for the rows of Y, by the equations of the three networks, samples as columns."""
    name, m, n = name_of(family), family.m, family.n
    layers, lams = unpack(w, family)
    c = m**-0.5 if family.output_scale == "auto" else family.output_scale
    y = Y.T
    x = z = u = np.zeros((m, y.shape[1]))
    for l, (matrices, lam) in enumerate(zip(layers, lams, strict=True)):
        shrink = (lam, family.activation, family.sharpness)
        if name == "lista":
            W1, W2 = matrices
            x = sigma(W1 @ y / np.sqrt(n) + W2 @ x / np.sqrt(m), *shrink)
        elif name == "ffnn":
            (W,) = matrices
            x = sigma(W @ (y / np.sqrt(n) if l == 0 else x / np.sqrt(m)), *shrink)
        else:
            W1, W2 = matrices
            xl = W1 @ y / np.sqrt(n) + W2 @ (z - u) / np.sqrt(m)
            z = sigma(xl + u, *shrink)
            u = u + family.multiplier_step * (xl - z)
    return c * (z if name == "admm_csnet" else x).T


def loss(w, family, Y, X):
    """Mean over the samples of half the squared error."""
    return ((outputs(w, family, Y) - X) ** 2).sum() / (2 * len(Y))


def gradient(w, family, Y, X):
    """Gradient by complex steps: exact to rounding, coordinate by coordinate."""
    g = np.empty(w.size)
    for j in range(w.size):
        moved = w.astype(complex)
        moved[j] += 1e-100j
        g[j] = loss(moved, family, Y, X).imag / 1e-100
    return g
