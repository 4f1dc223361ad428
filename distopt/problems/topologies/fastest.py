"""The weights that average fastest: a convex problem.

    minimise over the weights of the edges  ||W - 11'/n||_2,   W symmetric, W 1 = 1

(Xiao and Boyd, "Fast linear iterations for distributed averaging"). The largest modulus of an eigenvalue
l_k of W - 11'/n is smoothed to mu log sum_k (exp(l_k / mu) + exp(-l_k / mu)), which L-BFGS minimises for
ever smaller mu, the first being about the spectral gap.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distopt.core.arrays import F64, I64
from distopt.core.errors import ConfigError

LARGEST = 400  # agents; each step takes the eigenvectors of a dense matrix
FALLS = 14  # times that mu is halved
DIGITS = 12  # of the weights, so that hosts with other last bits agree


def fastest_weights(agents: int, edges: Sequence[tuple[int, int]], start: F64) -> F64:
    """Return the weights of the edges, float64[len(edges)], found from those at the start."""
    if agents > LARGEST:
        raise ConfigError(
            f'topology.weights = "fastest" takes at most {LARGEST} agents, not {agents}; accepted for '
            'larger graphs: "metropolis" or "max_degree".'
        )
    from scipy.optimize import minimize

    if len(edges) < 1:
        return start
    ends = np.array(edges)
    best, w = norm(start, ends, agents), start.copy()
    kept, mu = w, 0.5 * max(1 - best, 1e-3) / np.log(2 * agents)
    for _ in range(FALLS):
        w = minimize(smoothed, w, (ends, agents, mu), "L-BFGS-B", jac=True, options=OPTIONS).x
        found = norm(w, ends, agents)
        if found < best:
            best, kept = found, w
        mu /= 2
    return np.round(kept, DIGITS)


OPTIONS = {"maxiter": 200, "ftol": 1e-13, "gtol": 1e-10}


def averaging(w: F64, ends: I64, agents: int) -> F64:
    """Return W - 11'/n, float64[n, n]."""
    W = np.zeros((agents, agents))
    i, j = ends.T
    W[i, j] = W[j, i] = w
    np.fill_diagonal(W, 1 - W.sum(axis=1))
    return W - 1 / agents


def norm(w: F64, ends: I64, agents: int) -> float:
    """||W - 11'/n||_2."""
    return float(np.abs(np.linalg.eigvalsh(averaging(w, ends, agents))).max())


def smoothed(w: F64, ends: I64, agents: int, mu: float) -> tuple[float, F64]:
    """Return the smoothed norm and its gradient: dl_k / dw_ij = -(v_i - v_j)^2."""
    values, vectors = np.linalg.eigh(averaging(w, ends, agents))
    signed = np.concatenate([values, -values]) / mu
    top = signed.max()
    shares = np.exp(signed - top)
    total = shares.sum()
    slope = (shares[:agents] - shares[agents:]) / total
    i, j = ends.T
    return float(mu * (top + np.log(total))), -((vectors[i] - vectors[j]) ** 2) @ slope
