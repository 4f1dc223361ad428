"""The PL* condition of a network, measured: tangent kernel, curvature, radii (docs: networks).

For F : R^d -> R^(T m) with Jacobian J, the loss (1/2T) ||F - X||^2 of a cost obeys
(1/2) ||grad f||^2 >= mu f with mu = lambda_min(J J') / T wherever that is positive. Everything here
is about one cost; for a whole problem take the family's cost of a single agent,
``family.cost(0, 1, seed)``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from distopt.core.arrays import F64
from distopt.core.errors import ConfigError
from distopt.core.randomness import make_key, normal
from distopt.core.streams import Probe
from distopt.problems.costs.networks.network import NetworkCost

DENSE = 4096  # kernel size up to which it is formed: 128 MiB, and as much again for the work
EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Extremes:
    """Smallest and largest eigenvalue of a tangent kernel, and how far to believe the smallest.

    Both methods work with K, so they cannot see below `resolution`: a smaller eigenvalue may be 0.
    "dense": within `resolution` of the truth. "lanczos": `smallest` is an
    upper bound (and `largest` a lower bound) of the truth whatever happens; some eigenvalue lies
    within `residual` of `smallest`, which need not be the smallest one.
    """

    smallest: float
    largest: float
    size: int
    method: str  # "dense" or "lanczos"
    residual: float  # of the eigenvector of `smallest`; 0 for "dense"
    spectrum: F64 = field(default_factory=lambda: np.empty(0), repr=False, compare=False)  # "dense"

    @property
    def resolution(self) -> float:
        """Rounding errors in an eigenvalue: size times machine epsilon times the largest one."""
        return self.size * EPS * self.largest

    @property
    def reliable(self) -> bool:
        """Whether the smallest eigenvalue is settled to ten percent."""
        return self.smallest > 10 * max(self.resolution, self.residual)

    def __str__(self) -> str:
        told = f"lambda_min {self.smallest:.3g}, lambda_max {self.largest:.3g} ({self.method})"
        if self.reliable:
            return told
        if self.smallest <= 10 * self.resolution:
            return f"{told}; lambda_min is lost in rounding errors of {self.resolution:.1g}"
        return f"{told}; lambda_min is only an upper bound, residual {self.residual:.1g}"


def tangent_kernel(cost: NetworkCost, w: F64) -> F64:
    """Return K = J J', float64[T m, T m], without forming J.

    Row (s, i) of J is a sum of outer products of features and adjoints, so K is a sum over pairs of
    layers that share a matrix of (adjoints' inner products) times (features' inner products).
    Costs 2 L (T m)^2 m operations for untied weights.
    """
    layout, m, T = cost.shape.layout, cost.shape.layout.m, cost.samples
    features, adjoints, tilts = cost.adjoints(w)
    K = np.zeros((T * m, T * m))
    blocks = K.reshape(T, m, T, m)
    product = np.empty_like(K)
    for k in range(len(layout.inputs)):
        sharing = [l for l, used in enumerate(layout.used_by) if used == k]
        for l in sharing:
            for other in sharing:
                # The first layer's features end where the others' a begins, as a^0 = 0.
                width = min(features[l].shape[1], features[other].shape[1])
                gram = features[l][:, :width] @ features[other][:, :width].T
                np.matmul(adjoints[l], adjoints[other].T, out=product)
                blocks += product.reshape(T, m, T, m) * gram[:, None, :, None]
    if layout.learned:
        tilts = tilts.sum(axis=0, keepdims=True) if layout.tied else tilts
        K += tilts.T @ tilts
    return K


def kernel_extremes(
    cost: NetworkCost, w: F64, dense: int = DENSE, steps: int = 200, seed: int = 0
) -> Extremes:
    """Return the extreme eigenvalues of the tangent kernel at w.

    Parameters
    ----------
    cost : NetworkCost
    w : float64[d]
    dense : int
        Up to this size T m the kernel is formed and all eigenvalues are computed; beyond, `steps`
        steps of the Lanczos method with full orthogonalisation on v -> J (J' v).
    steps, seed : int
        Of the Lanczos method; it holds steps T m numbers.
    """
    size = cost.X.size
    if size <= dense:
        eigenvalues = np.asarray(np.linalg.eigvalsh(tangent_kernel(cost, w)), np.float64)
        ends = float(eigenvalues[0]), float(eigenvalues[-1])
        return Extremes(*ends, size, "dense", 0.0, eigenvalues)
    pulled = np.empty(cost.dimension)

    def apply(v: F64) -> F64:
        cost.vjp(w, v.reshape(cost.X.shape), pulled)
        return cost.jvp(w, pulled).ravel()

    smallest, largest, residual = lanczos(apply, size, steps, seed)
    return Extremes(smallest, largest, size, "lanczos", residual)


def lanczos(
    apply: Callable[[F64], F64], size: int, steps: int, seed: int
) -> tuple[float, float, float]:
    """Bound the smallest and the largest eigenvalue of a symmetric map; return the former's residual.

    The smallest is the largest of largest I - K, against which `steps` steps of Lanczos's method are
    accurate; asked for directly, one near 0 would have to be accurate against itself.
    """
    from scipy.sparse.linalg import LinearOperator, eigsh

    def top(map: Callable[[F64], F64], steps: int, tolerance: float) -> tuple[float, F64]:
        operator = LinearOperator((size, size), matvec=map, dtype=np.float64)
        start = normal(make_key(seed, 0, Probe.KERNEL), size)
        values, vectors = eigsh(
            operator, k=1, which="LA", v0=start, ncv=min(steps, size), tol=tolerance
        )
        return float(values[0]), vectors[:, 0]

    largest, _ = top(apply, 20, 0.0)
    _, v = top(lambda u: largest * u - apply(u), steps, 1e-3)
    image = apply(v)
    smallest = float(v @ image)
    return smallest, largest, float(np.linalg.norm(image - smallest * v))


@dataclass(frozen=True)
class Norm:
    """A spectral norm by power iteration: a lower bound, close to the truth if `converged`."""

    value: float
    iterations: int
    converged: bool  # the last steps changed it by less than the tolerance


def power_iteration(
    apply: Callable[[F64, F64], None], size: int, tolerance: float, limit: int, seed: int
) -> tuple[Norm, F64]:
    """Return the norm of a symmetric map, apply(v, out), and the vector where it was reached.

    ||H v|| never falls from step to step, so the last one is the best; ten steps that gain less
    than `tolerance` together end it.
    """
    v, out = normal(make_key(seed, 0, Probe.CURVATURE), size), np.empty(size)
    v /= np.linalg.norm(v)
    values: list[float] = []
    for _ in range(limit):
        apply(v, out)
        values.append(float(np.linalg.norm(out)))
        if values[-1] == 0.0:
            return Norm(0.0, len(values), True), v
        if len(values) > 10 and values[-1] <= values[-11] * (1 + tolerance):
            return Norm(values[-1], len(values), True), v
        np.divide(out, values[-1], out=v)
    return Norm(values[-1], limit, False), v


def loss_curvature(
    cost: NetworkCost, w: F64, tolerance: float = 1e-6, limit: int = 1000, seed: int = 0
) -> Norm:
    """Return the norm of the loss's Hessian at w, a local smoothness constant beta."""
    return power_iteration(lambda v, o: cost.hvp(w, v, o), w.size, tolerance, limit, seed)[0]


def output_curvature(
    cost: NetworkCost,
    w: F64,
    sample: int,
    output: int,
    tolerance: float = 1e-4,
    limit: int = 300,
    seed: int = 0,
) -> Norm:
    """Return the norm of the Hessian of the single output F[sample, output]."""
    one = cost.with_samples(cost.Y[[sample]], cost.X[[sample]])
    cotangent = np.zeros_like(one.X)
    cotangent[0, output] = 1.0
    apply = along(one, w, cotangent)
    return power_iteration(apply, w.size, tolerance, limit, seed)[0]


def sample_curvature(
    cost: NetworkCost,
    w: F64,
    sample: int,
    output: int | None = None,
    rounds: int = 5,
    tolerance: float = 1e-4,
    limit: int = 300,
    seed: int = 0,
) -> Norm:
    """Return max ||F''(v, v)|| over ||v|| = 1 for one sample's m outputs, from below.

    u = F''(v, v) / ||.|| and v = the top eigenvector of the Hessian of <u, F>, in turn, from
    u = F - x or, where `output` is given, from this output's unit vector. That leads to a local
    maximum, which is at least the norm of the Hessian along the first u.
    """
    one = cost.with_samples(cost.Y[[sample]], cost.X[[sample]])
    u = one.forward(w) - one.X if output is None else np.eye(cost.X.shape[1])[[output]]
    best, iterations, settled = 0.0, 0, False
    for _ in range(rounds):
        u /= np.linalg.norm(u) or 1.0
        norm, v = power_iteration(along(one, w, u), w.size, tolerance, limit, seed)
        iterations += norm.iterations
        u = one.second(w, v)
        value = max(float(np.linalg.norm(u)), norm.value)
        settled = value <= best * (1 + tolerance) and norm.converged
        best = max(best, value)
        if settled:
            break
    return Norm(best, iterations, settled)


def along(cost: NetworkCost, w: F64, cotangent: F64) -> Callable[[F64, F64], None]:
    """Return the Hessian of <cotangent, F> as a map (v, out)."""
    return lambda v, out: cost.output_hvp(w, v, cotangent, out)


def pl_ratio(cost: NetworkCost, w: F64) -> float:
    """Return T ||grad f||^2 / (2 f) = r' K r / r' r, which lies between K's extreme eigenvalues."""
    g = np.empty(w.size)
    cost.gradient(w, g)
    value = cost.value(w)
    return cost.samples * float(g @ g) / (2.0 * value) if value > 0 else float("nan")


@dataclass(frozen=True)
class Condition:
    """The sufficient condition of uniform conditioning, at the start point w0.

    If every Hessian norm in the ball of radius R around w0 is at most H, and
    H <= (lambda_0 - mu) / (2 L_F sqrt(T) R), then the loss is PL* with mu in the ball. Gradient
    descent is known to stay in the ball if R >= 2 L_F ||F(w0) - X|| / mu. `allowed_radius` solves
    the first for R with H measured at w0, which does not bound the whole ball: a necessary check,
    not a certificate.
    """

    mu: float  # in the scale of the kernel: T times the PL constant of the loss
    allowed_radius: float
    needed_radius: float

    @property
    def holds(self) -> bool:
        """Whether the ball that descent needs fits into the ball that the curvature allows."""
        return self.needed_radius <= self.allowed_radius


def condition(extremes: Extremes, curvature: float, distance: float, samples: int) -> Condition:
    """Compare the radii, with mu = lambda_0 / 2.

    Parameters
    ----------
    extremes : Extremes
        At w0.
    curvature : float
        Norm of the Hessian of the outputs: of a sample's m outputs together (then `samples` is T).
    distance : float
        ||F(w0) - X||.
    samples : int
        T.
    """
    mu = max(extremes.smallest, 0.0) / 2
    steep = float(np.sqrt(extremes.largest))
    bend = 2 * steep * np.sqrt(samples) * curvature
    allowed = float((extremes.smallest - mu) / bend) if bend > 0 else float("inf")
    return Condition(mu, max(allowed, 0.0), 2 * steep * distance / mu if mu else float("inf"))


def curvature_bound(cost: NetworkCost, w: F64, radius: float = 0.0) -> float:
    """Bound max ||F''(v, v)||, ||v|| = 1, of every sample in the ball of `radius` around w.

    An explicit bound (docs: networks, derived): valid, and four or more orders of magnitude larger
    than measured values.
    """
    layout, n, m = cost.shape.layout, cost.shape.layout.n, cost.shape.layout.m
    if layout.tied or layout.learned:
        raise ConfigError(
            "The bound of the Hessian is derived for untied weights and fixed thresholds only; set "
            "problem.tied = false and problem.learn_threshold = false."
        )
    beta, gamma = cost.shape.activation.curvature, cost.shape.gamma
    y = float(np.linalg.norm(cost.Y, axis=1).max())
    hz = hu = Az = Au = Ez = Eu = 0.0  # values, first and second derivatives of z and u
    for l, C in enumerate(layout.matrices(w)):
        fed = layout.injects or l == 0
        last = C[-m:] if layout.injects or l else C[:0]
        t = (spectral(C[:n]) + radius) / np.sqrt(n) if fed else 0.0
        s = (spectral(last) + radius) / np.sqrt(m) if last.size else 0.0
        h, A, E = hz + hu, Az + Au, Ez + Eu
        hx = t * y + s * h
        Ax = np.sqrt((y**2 / n if fed else 0.0) + h**2 / m + (s * A) ** 2)
        Ex = A / np.sqrt(m) + s * E
        hz, Az, Ez = hx + hu, Ax + Au, beta * (Ax + Au) ** 2 + Ex + Eu
        hu, Au, Eu = hu + gamma * (hx + hz), Au + gamma * (Ax + Az), Eu + gamma * (Ex + Ez)
    return float(cost.shape.scale * Ez)


def spectral(matrix: F64) -> float:
    """Return the spectral norm."""
    return float(np.linalg.norm(matrix, 2))


@dataclass(frozen=True)
class Report:
    """What `diagnose` finds at a point w."""

    nmse: float
    gradient_norm: float
    pl_ratio: float  # T ||grad f||^2 / (2 f)
    kernel: Extremes
    pl_constant: float  # lambda_min / T, of the loss
    loss_curvature: Norm
    output_curvature: float  # largest of the outputs looked at
    sample_curvature: float  # largest of the samples looked at, and at least the line above
    curvature_bound: float | None  # explicit, at radius 0; None where it is not derived
    moved: float  # ||w - w0||
    start_norm: float  # ||w0||
    condition: Condition  # with the quantities at w

    def numbers(self) -> dict[str, float]:
        """Return everything but the spectrum by plain numbers; nan for a bound that is not derived."""
        return {
            "nmse": self.nmse,
            "gradient_norm": self.gradient_norm,
            "pl_ratio": self.pl_ratio,
            "kernel_smallest": self.kernel.smallest,
            "kernel_largest": self.kernel.largest,
            "kernel_resolution": self.kernel.resolution,
            "kernel_residual": self.kernel.residual,
            "kernel_reliable": self.kernel.reliable,
            "pl_constant": self.pl_constant,
            "loss_curvature": self.loss_curvature.value,
            "output_curvature": self.output_curvature,
            "sample_curvature": self.sample_curvature,
            "curvature_bound": np.nan if self.curvature_bound is None else self.curvature_bound,
            "moved": self.moved,
            "allowed_radius": self.condition.allowed_radius,
            "needed_radius": self.condition.needed_radius,
            "condition_holds": self.condition.holds,
        }


def diagnose(
    cost: NetworkCost, w: F64, start: F64 | None = None, outputs: int = 6, dense: int = DENSE
) -> Report:
    """Measure everything about PL* at one point.

    Parameters
    ----------
    cost : NetworkCost
    w : float64[d]
    start : float64[d], optional
        w0, for the distance moved; the cost's own start by default.
    outputs : int
        How many single outputs' Hessians are measured, spread over samples and outputs; from the
        one that is bent most, the Hessian of all outputs of its sample together.
    dense : int
        As for `kernel_extremes`.
    """
    start = cost.start if start is None else start
    T, m = cost.X.shape
    places = np.unique(np.linspace(0, T * m - 1, outputs).astype(int))
    singles = [output_curvature(cost, w, int(p) // m, int(p) % m).value for p in places]
    single, bent = max(singles), int(places[int(np.argmax(singles))])
    joint = max(single, sample_curvature(cost, w, bent // m, bent % m).value)
    kernel = kernel_extremes(cost, w, dense)
    layout = cost.shape.layout
    g = np.empty(w.size)
    cost.gradient(w, g)
    value = cost.value(w)
    return Report(
        nmse=value / cost.energy,
        gradient_norm=float(np.linalg.norm(g)),
        pl_ratio=pl_ratio(cost, w),
        kernel=kernel,
        pl_constant=kernel.smallest / T,
        loss_curvature=loss_curvature(cost, w),
        output_curvature=single,
        sample_curvature=joint,
        curvature_bound=None if layout.tied or layout.learned else curvature_bound(cost, w),
        moved=float(np.linalg.norm(w - start)),
        start_norm=float(np.linalg.norm(start)),
        condition=condition(kernel, joint, float(np.sqrt(2 * T * value)), T),
    )
