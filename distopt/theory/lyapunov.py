"""The Lyapunov functions V1 to V4: terms, certified weights, practical weights (docs: theory).

With the errors, each summed over the agents,

    O1 = sum ||x_i - hx_i||^2    O2 = sum ||y_i - hy_i||^2       (memories, V1 only)
    O3 = sum ||x_i - xbar||^2    O4 = sum ||y_i - ybar||^2       (consensus, tracking)

and N = ||grad f(xbar)||^2, one iteration gives O+ <= M O + n v N + b s^2, derived in docs: theory, and

    f(xbar+) <= f(xbar) - (eta/2) N - (eta/2)(1 - eta L) ||ybar||^2 + (eta L^2 / 2n) O3.

The weights c = (eta L^2 / 2n) ((1 - rho) I - M')^-1 e_3 then make

    V = f(xbar) - f* + c'O        satisfy        V+ <= V - (eta/4) N - rho c'O,

provided c >= 0, n c'v <= eta/4, eta L <= 1 and alpha <= 1/r; in expectation, and on every path if C is
deterministic. V2 and V3 add c5 (sx^2 + sy^2) against the forcing b s^2.

V4 = f(x) - f* + c6 |G|^2 belongs to a method in which all agents hold the same x and move it along
G, a sum of rounded gradients (docs: zest).
"""

from dataclasses import dataclass, fields

import numpy as np

from distopt.compressors.base import Absolute, Guarantee, Local, Relative
from distopt.core.arrays import F64
from distopt.theory.facts import Facts

SHARES = np.linspace(0.95, 0.05, 19)  # of the largest conceivable rho, tried from above


@dataclass(frozen=True)
class Steps:
    """What the Lyapunov function of a method depends on, with numbers for every ``"auto"``.

    Attributes
    ----------
    function : str
        "V1", "V2", "V3" or "V4".
    needs : type[Guarantee] or None
        The class of compressors that the method is for.
    eta, gamma : float
        gamma is not used by V4.
    alpha : float or None
        The memory step of V1; None where the memory itself is mixed, with the memory step 1 (beer).
    mu : float or None
        The factor of the scales of V2 and V3.
    rounding_up, rounding_down : float or None
        delta_u and delta_d of V4: errors of the gradient and of the step, relative to the last G.
    """

    function: str
    needs: type[Guarantee] | None
    eta: float
    gamma: float
    alpha: float | None = None
    mu: float | None = None
    rounding_up: float | None = None
    rounding_down: float | None = None


@dataclass(frozen=True)
class Lyapunov:
    """V = gap + c1 O1 + c2 O2 + c3 O3 + c4 O4 + c5 (sx^2 + sy^2) + c6 |G|^2, with the terms that exist.

    O1 and O2 are the memory errors of x and y, O3 the consensus and O4 the tracking error, each
    summed over agents. A weight of None means that the function has no such term.
    """

    function: str  # "V1", "V2", "V3" or "V4"
    certified: bool  # whether the weights are proven for the steps in use
    rho: float  # certified decrease rate of the error terms; 0 where not certified
    memory_x: float | None
    memory_y: float | None
    consensus: float | None
    tracking: float | None
    scale: float | None
    direction: float | None = None

    def weights(self) -> dict[str, float]:
        """Map the name of each term to its weight; the gap has weight 1."""
        named = {f.name: getattr(self, f.name) for f in fields(self)[3:]}
        return {"gap": 1.0} | {name: w for name, w in named.items() if w is not None}

    def terms(self) -> list[str]:
        """List the names of the terms."""
        return list(self.weights())

    def evaluate(self, **errors: float) -> dict[str, float]:
        """Multiply each term's error by its weight."""
        return {name: weight * errors[name] for name, weight in self.weights().items()}


@dataclass(frozen=True)
class Inequalities:
    """The constants of one iteration, and the linear inequalities that follow from them.

    Attributes
    ----------
    agents : int
    L : float
        The largest local smoothness constant.
    gap, kappa : float
        delta and ||W - I||_2.
    eta, gamma : float
        Steps.
    contraction : float
        a: the memory step gives E ||z - alpha C(z)||^2 <= (1 - a) ||z||^2. alpha r psi, for beer r psi.
    error : float
        r0: the mixed vectors differ from x by at most r0 O1 (y alike). For beer, which mixes h itself, 1.
    forcing : float
        cp: instead, for V2 and V3, each x_i differs from its mixed vector by at most cp sx.
    """

    agents: int
    L: float
    gap: float
    kappa: float
    eta: float
    gamma: float
    contraction: float = 1.0
    error: float = 0.0
    forcing: float = 0.0

    def system(self) -> tuple[F64, F64]:
        """Return M : float64[4, 4] and v : float64[4] of O+ <= M O + n v N (V1)."""
        g2, L2, mix = (self.gamma * self.kappa) ** 2, self.L**2, 2 / (self.gamma * self.gap)
        young = 1 + 2 / self.contraction
        identity = np.eye(4)
        # ||x+ - x||^2 <= moved_x O + 6 eta^2 n N and ||y+ - y||^2 <= moved_y O + 3 L^2 (the same)
        moved_x = np.array([3 * g2 * self.error, 0, 3 * g2 + 6 * self.eta**2 * L2, 3 * self.eta**2])
        moved_y = np.array([0, 3 * g2 * self.error, 0, 3 * g2]) + 3 * L2 * moved_x
        pull = 6 * self.eta**2
        M = np.array([
            (1 - self.contraction / 2) * identity[0] + young * moved_x,
            (1 - self.contraction / 2) * identity[1] + young * moved_y,
            (1 - self.gamma * self.gap) * identity[2]
            + mix * np.array([g2 * self.error, 0, 0, self.eta**2]),
            (1 - self.gamma * self.gap) * identity[3]
            + mix * (np.array([0, g2 * self.error, 0, 0]) + L2 * moved_x),
        ])  # fmt: skip
        v = pull * np.array([young, 3 * L2 * young, 0, mix * L2])
        return M, v

    def forced(self) -> tuple[F64, F64]:
        """Return bx, by : float64[4], O+ <= M O + n v N + bx sx^2 + by sy^2 (V2, V3; rows 3 and 4)."""
        g2, mix = (self.gamma * self.kappa) ** 2, 2 / (self.gamma * self.gap)
        unit = g2 * self.agents * self.forcing**2 * mix
        return unit * np.array([0, 0, 1, 3 * self.L**2]), unit * np.array([0, 0, 0, 1.0])

    def weights(self, rho: float, terms: slice) -> F64 | None:
        """Solve for the weights of the chosen terms; None where they certify nothing."""
        M, v = self.system()
        M, v = M[terms, terms], v[terms]
        size = v.size
        target = np.zeros(size)
        target[-2] = self.eta * self.L**2 / (2 * self.agents)
        if self.eta * self.L > 1 or np.abs(np.linalg.eigvals(M)).max() >= 1 - rho:
            return (
                None  # M >= 0, so the weights are >= 0 if and only if its radius is below 1 - rho
            )
        c: F64 = np.linalg.solve((1 - rho) * np.eye(size) - M.T, target).astype(np.float64)
        valid = (c >= 0).all() and self.agents * float(c @ v) <= self.eta / 4
        return c if valid else None

    def best(self, terms: slice, most: float = 1.0) -> tuple[float, F64] | None:
        """Find the largest rho below `most` that is certified, with its weights."""
        limit = min(self.gamma * self.gap, most)
        if terms.start == 0:
            limit = min(limit, self.contraction / 2)
        for rho in limit * SHARES:
            c = self.weights(rho, terms)
            if c is not None:
                return float(rho), c
        return None


ALL, LAST_TWO = slice(0, 4), slice(2, 4)


def lyapunov(steps: Steps | None, facts: Facts) -> Lyapunov | None:
    """Return the Lyapunov function of a method with these steps, None where it has none."""
    if steps is None:
        return None
    if steps.function == "V4":
        return along_sums(steps, facts)
    certified = None
    if not facts.estimated and facts.smoothness and facts.agents > 1:
        certify = certified_first if steps.function == "V1" else certified_scaled
        certified = certify(steps, facts)
    return certified or practical(steps, facts)


def inequalities(steps: Steps, facts: Facts) -> Inequalities | None:
    """Collect the constants of an iteration; None outside the range of the theory."""
    found = facts.compressor.guarantee(facts.dimension, steps.needs)
    contraction, error, forcing = 1.0, 0.0, 0.0
    if isinstance(found, Relative):
        alpha = 1.0 if steps.alpha is None else steps.alpha
        if alpha * found.r > 1:
            return None
        contraction = alpha * found.r * found.psi
        error = 1.0 if steps.alpha is None else found.r0
    elif isinstance(found, Absolute | Local):
        forcing = found.in_two_norm(facts.dimension)
    else:
        return None
    return Inequalities(
        agents=facts.agents,
        L=facts.require_smoothness("algorithm.eta"),
        gap=facts.gap,
        kappa=facts.kappa,
        eta=steps.eta,
        gamma=steps.gamma,
        contraction=contraction,
        error=error,
        forcing=forcing,
    )


def certified_first(steps: Steps, facts: Facts) -> Lyapunov | None:
    """V1 with solved weights, None where there are none for these steps."""
    system = inequalities(steps, facts)
    found = system.best(ALL) if system else None
    if found is None:
        return None
    rho, c = found
    x, y, consensus, tracking = (float(w) for w in c)
    return Lyapunov("V1", True, rho, x, y, consensus, tracking, None)


def certified_scaled(steps: Steps, facts: Facts) -> Lyapunov | None:
    """V2 or V3 with solved weights, None where there are none for these steps.

    c5 = max(c'bx, c'by) / (1 - rho - mu^2), which needs mu^2 < 1 - rho.
    """
    system, mu = inequalities(steps, facts), steps.mu
    assert mu is not None
    found = system.best(LAST_TWO, most=1 - mu**2) if system else None
    if system is None or found is None:
        return None
    rho, c = found
    forcing = max(float(c @ b[2:]) for b in system.forced())
    c5 = forcing / (1 - rho - mu**2)
    return Lyapunov(steps.function, True, rho, None, None, float(c[0]), float(c[1]), c5)


def along_sums(steps: Steps, facts: Facts) -> Lyapunov:
    """V4: c6 = eta theta / 2, theta = 1 - delta_d - L eta (1 + delta_d)^2, L that of f.

    Certified where theta > delta_u^2: then V+ <= V - (eta/2)(1 - delta_d) N - rho c6 |G|^2 with
    rho = 1 - delta_u^2 / theta. Else c6 is what eta L = 1/2 gives.
    """
    up, down, L = steps.rounding_up, steps.rounding_down, facts.mean_smoothness or 1.0
    assert up is not None
    assert down is not None
    theta = 1 - down - L * steps.eta * (1 + down) ** 2
    certified = theta > up**2 and not facts.estimated
    if theta <= up**2:
        theta = 1 - down - (1 + down) ** 2 / 2
    rho = 1 - up**2 / theta if certified else 0.0
    weight = steps.eta * theta / 2
    return Lyapunov("V4", certified, rho, None, None, None, None, None, direction=weight)


def practical(steps: Steps, facts: Facts) -> Lyapunov:
    """Weights without proof, chosen so that V falls along runs that converge (docs: theory, practice).

    c1 = c3 = L / n and c2 = c4 = 1 / (n L), the errors in units of the gap; and c5 is 0.3 times their
    c'b / (1 - mu^2): 0.6 gamma kappa^2 cp^2 / (delta L (1 - mu^2)). Measured.
    """
    L = facts.smoothness or 1.0
    x, y = L / facts.agents, 1 / (L * facts.agents)
    if steps.function == "V1":
        return Lyapunov("V1", False, 0.0, x, y, consensus=x, tracking=y, scale=None)
    found = facts.compressor.guarantee(facts.dimension, steps.needs)
    assert isinstance(found, Absolute | Local)
    assert steps.mu is not None
    error = (facts.kappa * found.in_two_norm(facts.dimension)) ** 2
    scale = 0.6 * steps.gamma * error / (facts.gap * L * (1 - steps.mu**2))
    return Lyapunov(steps.function, False, 0.0, None, None, consensus=x, tracking=y, scale=scale)


def largest_steps(
    *,
    agents: int,
    L: float,
    gap: float,
    kappa: float,
    contraction: float = 1.0,
    error: float = 0.0,
    terms: slice = ALL,
) -> tuple[float, float]:
    """Search the steps (eta, gamma) of the largest eta that is certified.

    gamma runs over 1, 2^(-1/4), ... 2^-30; for each one, eta is bisected in its logarithm between
    1e-15 / L and 1 / L to a relative accuracy of about 1e-3.

    Raises
    ------
    ValueError
        Where even the smallest steps are not certified.

    Examples
    --------
    >>> eta, gamma = largest_steps(agents=10, L=1.0, gap=0.1, kappa=1.3, contraction=0.5, error=0.5)
    >>> 1e-8 < eta < 1e-3 and gamma < 0.1
    True
    """

    def valid(eta: float, gamma: float) -> bool:
        trial = Inequalities(agents, L, gap, kappa, eta, gamma, contraction, error)
        limit = min(gamma * gap, contraction / 2) if terms == ALL else gamma * gap
        return trial.weights(limit * SHARES[-1], terms) is not None

    best = (0.0, 0.0)
    for gamma in 2.0 ** np.arange(0, -30, -0.25):
        low, high = 1e-15 / L, 1 / L
        if best[0] > low:
            low = best[0]  # only better ones matter
        if not valid(low, gamma):
            continue
        for _ in range(60):
            middle = float(np.sqrt(low * high))
            low, high = (middle, high) if valid(middle, gamma) else (low, middle)
            if high < 1.001 * low:
                break
        best = max(best, (low, float(gamma)))
    if best[0] == 0.0:
        raise ValueError("No steps are certified for these constants.")
    return best
