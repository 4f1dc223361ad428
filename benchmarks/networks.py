"""Unfolded networks: speed against bare matrix products, training to zero, PL* against width.

    python benchmarks/networks.py [speed] [training] [held-out] [width] [threshold] [longer] [--short]

Without a name: all but threshold and longer (some fifteen minutes), which take as long again.
`distopt threshold launch/experiments/threshold.toml` does the same as threshold for several widths.
--short only proves that all of it runs. One BLAS thread: set OPENBLAS_NUM_THREADS=1.
"""

import sys
import tracemalloc
from time import perf_counter

import numpy as np
from shared import machine_line, show

from distopt.core import units
from distopt.problems.costs.networks.family import FFNN, LISTA, ADMMCSNet
from distopt.studies.results import Column
from distopt.studies.threshold import descend, threshold, trial
from distopt.theory.pl_star import (
    condition,
    curvature_bound,
    kernel_extremes,
    loss_curvature,
    output_curvature,
    sample_curvature,
)


def products(cost, w):
    """Return the matrix products of one gradient and nothing else, as a function."""
    layout, random = cost.shape.layout, np.random.default_rng(0)
    L, m, T = layout.layers, layout.m, cost.samples
    C, into = layout.matrices(w), layout.matrices(np.empty_like(w))
    width = layout.n + m if layout.injects else m
    widths = [layout.n] + [width] * (L - 1)  # a is 0 in the first layer
    phi = [random.normal(size=(T, width)) for width in widths]
    P, G = random.normal(size=(L, T, m)), np.empty((T, m))

    def run():
        for l in range(L):
            np.matmul(phi[l], C[layout.used_by[l]][: widths[l]], out=P[l])
        for l in reversed(range(L)):
            np.matmul(phi[l].T, P[l], out=into[l][: widths[l]])
            if l:
                np.matmul(P[l], C[l][-m:].T, out=G)

    flops = sum(4 * T * width * m for width in widths) + (L - 1) * 2 * T * m * m
    return run, flops


def speed(short):
    """A gradient against its bare products, interleaved; and its memory."""
    sizes = [(100, 6, 25), (500, 11, 100), (1000, 11, 50)]
    rows = []
    for m, L, T in sizes[:1] if short else sizes:
        for cls in (LISTA, ADMMCSNet, FFNN):
            family = cls(m=m, n=m // 5, layers=L, samples=T)
            family.cost(0, 1, 0)  # what is imported and cached once does not count
            tracemalloc.start()
            cost = family.cost(0, 1, 0)
            held = tracemalloc.get_traced_memory()[0] - 8 * cost.dimension - cost.X.nbytes
            tracemalloc.stop()
            w, out = cost.start, np.empty(cost.dimension)
            run, flops = products(cost, w)
            pairs = []
            cost.gradient(w, out)
            for _ in range(3 if short else 25):
                began = perf_counter()
                cost.gradient(w, out)
                middle = perf_counter()
                run()
                pairs.append((middle - began, perf_counter() - middle))
            own, bare = np.median(pairs, axis=0)
            rows.append(
                {"network": cls.__name__, "m": m, "L": L, "T": T, "own": 1e3 * own, "bare": 1e3 * bare,
                 "ratio": np.median([a / b for a, b in pairs]), "flops": flops / own / 1e9,
                 "arrays": held / (8 * L * T * (m // 5 + 2 * m))}
            )  # fmt: skip
    columns = [
        *(Column(key, key) for key in ("network", "m", "L", "T")),
        Column("own", "gradient, ms", write="{:.2f}".format),
        Column("bare", "products, ms", write="{:.2f}".format),
        Column("ratio", "ratio", write="{:.3f}".format),
        Column("flops", "GF/s", write="{:.1f}".format),
        Column("arrays", "work arrays / L T (n + 2m)", write="{:.2f}".format),
    ]
    show("gradient against its bare matrix products (medians of interleaved pairs)", columns, rows)


def training(short):
    """LISTA m = 50, n = 10, L = 6, T = 5, gradient descent: down to 1e-20, and within the rate?"""
    columns = [
        Column("seed", "seed"),
        Column("step", "eta/T", write="{:.2f}".format),
        Column("beta", "max eta beta_t", write="{:.2f}".format),
        Column("start", "lambda_min: start", write=small),
        Column("smallest", "smallest", write=small, join=", "),
        Column("end", "end", write=small, join=", "),
        Column("epochs", "epochs to 1e-20"),
        Column("nmse", "NMSE at 1000", write=units.small),
        Column("worst", "worst L/bound", write="{:.4f}".format),
        Column("above", "epochs above"),
    ]
    for factor in (1.0, 0.5, 0.25):
        rows = [
            {"seed": seed} | descent(seed, factor, 100 if short else 80_000)
            for seed in range(1 if short else 10)
        ]
        title = f"LISTA m = 50, n = 10, L = 6, T = 5, gradient descent with step {factor:g}/beta0"
        show(title, columns, rows)


def small(value):
    """Write three digits and a power of ten."""
    return units.small(value, 3)


def descent(seed, factor, epochs):
    """Return the numbers of one run; the bound is L(w0) exp(-eta mu t), mu = min_t lambda_min / T."""
    cost = LISTA(m=50, n=10, layers=6, samples=5).cost(0, 1, seed)
    w, g = cost.start.copy(), np.empty(cost.dimension)
    beta = loss_curvature(cost, w).value
    eta, betas = factor / beta, [beta]
    losses, kernels = [cost.value(w)], [kernel_extremes(cost, w).smallest]
    for t in range(1, epochs + 1):
        cost.gradient(w, g)
        w -= eta * g
        losses.append(cost.value(w))
        if t % (20 if t < 1000 else 1000) == 0:
            kernels.append(kernel_extremes(cost, w).smallest)
            betas.append(loss_curvature(cost, w, tolerance=1e-3).value)
        if losses[-1] < 1e-20 * cost.energy:
            break
    losses = np.array(losses)
    mu = min(kernels) / cost.samples
    ratio = losses / (losses[0] * np.exp(-eta * mu * np.arange(losses.size)))
    return {
        "step": eta / 5, "beta": eta * max(betas), "start": kernels[0], "smallest": min(kernels),
        "end": kernels[-1], "epochs": t, "nmse": losses[min(1000, t)] / cost.energy,
        "worst": ratio.max(), "above": int((ratio > 1 + 1e-12).sum()),
    }  # fmt: skip


def held_out(short):
    """NMSE on the training samples and on a thousand others."""
    epochs, rows = 100 if short else 3000, []
    for cls, layers in ((LISTA, 6), (ADMMCSNet, 6), (FFNN, 8)):
        for data, m in (("synthetic", 50), ("patches", 49)):
            for samples in (20,) if short else (20, 80):
                for seed in range(1 if short else 2):
                    family = cls(m=m, layers=layers, data=data, samples=samples)
                    cost = family.cost(0, 1, seed)
                    w = trained(cost, epochs)
                    other = family.held_out(1000, seed).nmse(w)
                    rows.append(
                        {"network": cls.__name__, "data": data, "m": m, "T": samples, "seed": seed,
                         "training": cost.nmse(w), "other": other}
                    )  # fmt: skip
    columns = [
        *(Column(key, key) for key in ("network", "data", "m", "T", "seed")),
        Column("training", "training", write=units.small),
        Column("other", "1000 others", write="{:.2f}".format),
    ]
    show(f"NMSE after {epochs} epochs at most, until 1e-6 on the training samples", columns, rows)


def trained(cost, epochs):
    """Return the weights after gradient descent with step 1/(2 beta0), halved until stable."""
    eta = 0.5 / loss_curvature(cost, cost.start, tolerance=1e-3).value
    limit = 10 * max(1.0, cost.nmse(cost.start))
    g = np.empty(cost.dimension)
    while True:
        w = cost.start.copy()
        for epoch in range(epochs):
            with np.errstate(all="ignore"):  # a blow-up shows as NMSE
                cost.gradient(w, g)
                w -= eta * g
                nmse = cost.nmse(w) if epoch % 20 == 0 or epoch == epochs - 1 else 1.0
            if nmse < 1e-6 or not nmse < limit:
                break
        if nmse < limit:
            return w
        eta /= 2


def width(short):
    """Kernel, curvature and radii at the start against the width, T = 5."""
    table = []
    for cls, layers in ((LISTA, 6), (ADMMCSNet, 6), (FFNN, 8)):
        for m in (50,) if short else (50, 100, 200, 400):
            rows = []
            for seed in range(1 if short else 3):
                cost = cls(m=m, n=m // 5, layers=layers, samples=5).cost(0, 1, seed)
                w = cost.start
                K = kernel_extremes(cost, w)
                outputs = np.linspace(0, m - 1, 6).astype(int)
                H = [output_curvature(cost, w, k % 5, int(s)).value for k, s in enumerate(outputs)]
                k = int(np.argmax(H))
                joint = max(H[k], sample_curvature(cost, w, k % 5, int(outputs[k])).value)
                distance = np.sqrt(10 * cost.value(w))
                found = condition(K, joint, float(distance), 5)
                rows.append((K.largest, K.smallest, m * K.smallest, H[k], np.sqrt(m) * H[k],
                             joint, curvature_bound(cost, w), found.allowed_radius,
                             found.needed_radius))  # fmt: skip
            middle = dict(zip(WIDTH, np.median(rows, axis=0).tolist(), strict=True))
            table.append({"network": cls.__name__, "m": m} | middle)
    columns = [Column("network", "network"), Column("m", "m")]
    columns += [Column(name, name, write=small) for name in WIDTH]
    title = "at the start, T = 5, L = 6 (8 for FFNN), n = m / 5; medians of 3 seeds"
    show(title, columns, table)


WIDTH = (
    "lambda_max", "lambda_min", "m lambda_min", "H of an output", "sqrt(m) H", "H of a sample",
    "bound of H", "R allowed", "R needed",
)  # fmt: skip


def thresholds(short):
    """The largest number of samples trained to an NMSE of 1e-3 within 20,000 epochs, m = 50."""
    grid = (10,) if short else (5, 10, 20, 40, 60, 80, 120, 160)
    families = [LISTA(m=50), ADMMCSNet(m=50)]
    families += [FFNN(m=50, layers=8, gain=gain) for gain in (1.0, 1.45)]
    rows = []
    for family in families:
        trials = []
        for samples in grid:
            now = [
                trial(family, samples, seed, epochs=200 if short else 20_000)
                for seed in range(1 if short else 2)
            ]
            trials += now
            if not any(each.passed for each in now):
                break
        rows += [
            {"network": each.network, "gain": family.gain, "T": each.samples, "seed": each.seed,
             "nmse": each.descent.nmse, "epochs": each.descent.epochs, "halvings": each.halvings,
             "threshold": threshold(trials)}
            for each in trials
        ]  # fmt: skip
    columns = [
        *(Column(key, key) for key in ("network", "gain", "T", "seed")),
        Column("nmse", "NMSE", write=units.small),
        *(Column(key, key) for key in ("epochs", "halvings", "threshold")),
    ]
    show("NMSE by number of samples T, m = 50, equal numbers of unknowns, n = 10", columns, rows)


def longer(short):
    """The fully connected network with three times the epochs, and with half the step."""
    rows = []
    for samples in (5,) if short else (5, 10, 20):
        for seed in range(1 if short else 2):
            found = trial(FFNN(m=50, layers=8), samples, seed, epochs=200 if short else 2000)
            cost = FFNN(m=50, layers=8, samples=samples).cost(0, 1, seed)
            for part in (1, 2):
                eta = found.descent.eta / part
                for limit in (100, 200) if short else (20_000, 60_000):
                    done = descend(cost, eta, limit, 1e-3)
                    rows.append(vars(done) | {"T": samples, "seed": seed, "limit": limit})
    columns = [
        *(Column(key, key) for key in ("T", "seed")),
        Column("eta", "step"),
        Column("limit", "epochs at most"),
        Column("nmse", "NMSE", write=units.small),
        Column("epochs", "epochs"),
        Column("stable", "stable"),
    ]
    show("FFNN, m = 50, best NMSE (until 1e-3)", columns, rows)


def main():
    known = {
        "speed": speed,
        "training": training,
        "held-out": held_out,
        "width": width,
        "threshold": thresholds,
        "longer": longer,
    }
    short = "--short" in sys.argv
    chosen = [name for name in sys.argv[1:] if not name.startswith("-")]
    print(machine_line())
    for name in chosen or (list(known) if short else list(known)[:-2]):
        known[name](short)


if __name__ == "__main__":
    main()
