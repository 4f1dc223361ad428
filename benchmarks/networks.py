"""Unfolded networks: speed against bare matrix products, training to zero, PL* against width.

    python benchmarks/networks.py [speed] [training] [held-out] [width] [threshold] [longer] [--short]

Without a name: all but threshold and longer (some fifteen minutes), which take as long again.
`distopt threshold launch/experiments/threshold.toml` does the same as threshold for several widths.
--short only proves that all of it runs. One BLAS thread: set OPENBLAS_NUM_THREADS=1.
"""

import platform
import sys
import tracemalloc
from time import perf_counter

import numpy as np

from distopt.problems.costs.networks.admm_csnet import ADMMCSNet
from distopt.problems.costs.networks.ffnn import FFNN
from distopt.problems.costs.networks.lista import LISTA
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
    print("\ngradient against its bare matrix products (medians of interleaved pairs)")
    print(
        "network      m   L    T   gradient ms  products ms  ratio   GF/s   work arrays / L T (n+2m)"
    )
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
            ratio = np.median([a / b for a, b in pairs])
            print(
                f"{cls.__name__:10s} {m:4d} {L:3d} {T:4d}  {1e3 * own:10.2f} {1e3 * bare:12.2f} "
                f"{ratio:7.3f} {flops / own / 1e9:6.1f}   {held / (8 * L * T * (m // 5 + 2 * m)):.2f}"
            )


def training(short):
    """LISTA m = 50, n = 10, L = 6, T = 5, gradient descent: down to 1e-20, and within the rate?"""
    for factor in (1.0, 0.5, 0.25):
        print(f"\nLISTA m = 50, n = 10, L = 6, T = 5, gradient descent with step {factor:g}/beta0")
        print(
            "seed  eta/T  max eta beta_t  lambda_min start, smallest, end  epochs to 1e-20  "
            "NMSE at 1000  worst L/bound, epochs above"
        )
        for seed in range(1 if short else 10):
            print(f"{seed:4d} {descent(seed, factor, 100 if short else 80_000)}", flush=True)


def descent(seed, factor, epochs):
    """Return a line about one run; the bound is L(w0) exp(-eta mu t), mu = min_t lambda_min / T."""
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
    return (
        f"{eta / 5:6.2f} {eta * max(betas):12.2f}       {kernels[0]:.2e}  {min(kernels):.2e}  "
        f"{kernels[-1]:.2e} {t:14d} {losses[min(1000, t)] / cost.energy:16.1e} {ratio.max():12.4f}, "
        f"{(ratio > 1 + 1e-12).sum()}"
    )


def held_out(short):
    """NMSE on the training samples and on a thousand others."""
    epochs = 100 if short else 3000
    print(
        f"\nNMSE after {epochs} epochs at most, until 1e-6 on the training samples; n = 10, 2 seeds"
    )
    print("network    data        m    T   training           1000 others")
    for cls, layers in ((LISTA, 6), (ADMMCSNet, 6), (FFNN, 8)):
        for data, m in (("synthetic", 50), ("patches", 49)):
            for samples in (20,) if short else (20, 80):
                train, test = [], []
                for seed in range(1 if short else 2):
                    family = cls(m=m, layers=layers, data=data, samples=samples)
                    cost = family.cost(0, 1, seed)
                    w = trained(cost, epochs)
                    train.append(f"{cost.nmse(w):.1e}")
                    test.append(f"{family.held_out(1000, seed).nmse(w):.2f}")
                print(
                    f"{cls.__name__:10s} {data:9s} {m:3d} {samples:4d}   "
                    f"{'  '.join(train)}   {'  '.join(test)}",
                    flush=True,
                )


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
    print("\nat the start, T = 5, L = 6 (8 for FFNN), n = m / 5; medians of 3 seeds")
    print(
        "network      m  lambda_max  lambda_min m lambda_min  |H| output  sqrt(m)|H|  "
        "|H| sample   |H| bound   R allowed    R needed"
    )
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
            median = np.median(rows, axis=0)
            print(
                f"{cls.__name__:10s} {m:4d} " + " ".join(f"{value:11.2e}" for value in median),
                flush=True,
            )


def thresholds(short):
    """The largest number of samples trained to an NMSE of 1e-3 within 20,000 epochs, m = 50."""
    grid = (10,) if short else (5, 10, 20, 40, 60, 80, 120, 160)
    seeds = range(1 if short else 2)
    print(
        "\nNMSE by number of samples T, m = 50, equal numbers of unknowns, n = 10 (seeds beside it)"
    )
    families = [LISTA(m=50), ADMMCSNet(m=50)]
    families += [FFNN(m=50, layers=8, gain=gain) for gain in (1.0, 1.45)]
    for family in families:
        trials = []
        for samples in grid:
            now = [trial(family, samples, seed, epochs=200 if short else 20_000) for seed in seeds]
            trials += now
            text = "  ".join(
                f"{each.descent.nmse:.1e} ({each.descent.epochs} epochs, {each.halvings} halvings)"
                for each in now
            )
            print(
                f"{trials[-1].network:10s} gain {family.gain:g} T = {samples:3d}: {text}",
                flush=True,
            )
            if not any(each.passed for each in now):
                break
        print(f"{trials[-1].network:10s} threshold: {threshold(trials)}", flush=True)


def longer(short):
    """The fully connected network with three times the epochs, and with half the step."""
    print("\nFFNN, m = 50, best NMSE within 20,000 and 60,000 epochs (until 1e-3)")
    for samples in (5,) if short else (5, 10, 20):
        for seed in range(1 if short else 2):
            found = trial(FFNN(m=50, layers=8), samples, seed, epochs=200 if short else 2000)
            cost = FFNN(m=50, layers=8, samples=samples).cost(0, 1, seed)
            for part in (1, 2):
                eta = found.descent.eta / part
                runs = [
                    descend(cost, eta, epochs, 1e-3)
                    for epochs in ((100, 200) if short else (20_000, 60_000))
                ]
                text = ", ".join(
                    f"{run.nmse:.1e} after {run.epochs}" + ("" if run.stable else " (blew up)")
                    for run in runs
                )
                print(f"T = {samples:2d}, seed {seed}, step {eta:.3g}: {text}", flush=True)


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
    print(f"Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}")
    for name in chosen or (list(known) if short else list(known)[:-2]):
        known[name](short)


if __name__ == "__main__":
    main()
