"""The rule by which a step finds itself: what a window of iterations says about the next step.

Ours, measured, no proof (docs: auto). The step's size is counted in sixteenths of an octave, so that it
is the same to the bit on every machine; e = 2^(level / 16).
"""

from math import log2, sqrt
from typing import NamedTuple

import numpy as np

from distopt.compressors.zooming import OCTAVE, power_of_two
from distopt.core.arrays import F64

OCTAVES = 16  # levels that double the step
FURTHEST = 32  # levels that it may fall at once
FIRST = 30.0  # the ratio of curvatures that the first step is made for
SHORTEST, LONGEST = 10, 40  # iterations of a window, after the first three
CALM, NERVOUS, BACK, FURTHER_BACK = range(4)
LARGEST_CAP = 1e300
SLOW_CUT = 0.85  # what kinks, or noise in which no progress shows, leave of a step at a time
NOISY = 0.65  # the share of noise in |dx|^2 that asks whether a run still gets anywhere
# Powers of time by which the root's |x - mark|^2 grows (`turning`): it stands, gets on, goes straight.
STANDS, SHOWS, STRAIGHT = 0.6, 1.3, 1.6
NOISE_CUT = 0.7  # what is left of a step with which the root stands
EDGE = 4.0  # of exact diffusion and what is made from it
SEEN = 4  # iterations of a window that are watched with mini-batches, at a further gradient each
SETTLED = 3  # windows until the moves are no longer those of the start
ROUGH = 3.0  # times the steepest curvature around x: what looks steeper is a kink, or rounding
HOPELESS = 40 * OCTAVES  # levels below the first step
PATIENCE = 8.0  # over reach^2: iterations in which |dx|^2 of a disagreement halves
LOWEST = 4 * OCTAVES  # levels below the first step that it may fall to for that
LOWEST_ROUND = 10 * OCTAVES  # where the root goes round
ROUND = 0.4  # of the root's way left as a distance: below, it goes round (`turning`)
UPWARDS = 0.3  # lowest over highest curvature: more, and the costs curve upwards along all moves
GROWN = 3.0  # |dx|^2 over that of the last window; where all curve upwards it grows only if e is too large


class Balance(NamedTuple):
    """What a method's step has to balance.

    Attributes
    ----------
    bound : float
        The largest stable e h: 2 for exact diffusion.
    reach : float
        2 sqrt(s) for exact diffusion, s for gradient tracking, s the speed of mixing.
    factor : float
        eta = factor e; 1 - beta for a method with momentum.
    trust : float
        The share of the agents' steepest curvature that counts as that of the fastest motion, as long as
        no window shows that it is more.
    turns : bool
        Whether the step is to blame where the root goes round: not for lead, whose agents the noise of
        codes keeps in motion at any step.
    edge : float
        With mini-batches, times its bound that e h may be, and times its balance e^2 lowest highest.
    """

    bound: float
    reach: float
    factor: float = 1.0
    trust: float = 1.0
    turns: bool = False
    edge: float = 1.0

    def over(self, local_steps: int) -> "Balance":
        """Return it for the way of all local steps together, which may be as many times longer."""
        return self._replace(bound=self.bound * local_steps, factor=self.factor / local_steps)

    def first(self, curvature: float) -> int:
        """Return the level of the first e, from the largest curvature at the start."""
        e = min(self.bound / 2, self.reach * sqrt(FIRST)) / curvature
        return round(OCTAVES * log2(e))

    def first_eta(self, curvature: float) -> float:
        """Return the first eta."""
        return self.factor * size(self.first(curvature))


class Window(NamedTuple):
    """What a window of iterations says: sums over the agents and the iterations.

    With dx and dg the changes of x and of its gradient in one iteration: |dx|^2, <dg, dx>, |dg|^2, the
    product of dx with the dx before, and -<dx, the change of mixed>, which is what the agents move apart.
    Of mini-batches, dg is between two points on one batch, and the last is e^2 times the square of the
    gradients' noise. A window in which an agent met numbers that are not finite is adrift. `steepest` is
    the largest curvature that an agent found around its model at the end of the window, not a sum.
    """

    moves: float = 0.0
    bend: float = 0.0
    turns: float = 0.0
    along: float = 0.0
    apart: float = 0.0
    adrift: bool = False
    steepest: float = 0.0

    @property
    def lowest(self) -> float:
        """The curvature along the moves, <dg, dx> / |dx|^2: of the slowest motion that there is."""
        return self.bend / self.moves if self.moves > 0 else 0.0

    @property
    def highest(self) -> float:
        """The curvature of the fastest motion, |dg|^2 / <dg, dx>, or |dg| / |dx| if that is unsafe."""
        if not (self.moves > 0 and self.turns > 0):
            return 0.0
        if self.bend >= 0.1 * sqrt(self.moves * self.turns):
            return self.turns / self.bend
        return sqrt(self.turns / self.moves)

    def share(self, part: float) -> float:
        """Return part / |dx|^2."""
        return part / self.moves if self.moves > 0 else 0.0


class Numbers:
    """Numbers by name, as attributes, in one float64 array that a checkpoint can hold."""

    names: tuple[str, ...]
    array: F64

    def __init__(self, **first: float) -> None:
        self.__dict__.update(names=tuple(first), array=np.array(list(first.values()), np.float64))

    def __getattr__(self, name: str) -> float:
        if name not in self.names:
            raise AttributeError(name)
        return float(self.array[self.names.index(name)])

    def __setattr__(self, name: str, value: float) -> None:
        self.array[self.names.index(name)] = value


def first_numbers(trust: float) -> Numbers:
    """Return the numbers of an agent before the first window."""
    return Numbers(
        level=0, cap=LARGEST_CAP, trust=trust, steepest=0, pace=0, failed=0,
        trouble=0, first=0, decisions=0, iterations=0, length=3, stretch=SHORTEST,
        kind=0, move=0, fresh=1, anew=0, adrift=0, returns=0, grown=0, nbytes=0, done=0, cut=0,
        largest=0, larger=0, least=0, since=0, path=0, marked=0, ahead=1,
        growth=SHOWS, looked=0, far=0,
    )  # fmt: skip


class Pace:
    """What a search says of its step, and how its windows follow each other."""

    numbers: Numbers
    balance: Balance

    @property
    def eta(self) -> float:
        """The step in use."""
        return self.balance.factor * size(int(self.numbers.level))

    @property
    def first(self) -> float:
        """The step at iteration 0."""
        return self.balance.factor * size(int(self.numbers.first))

    def series(self) -> dict[str, float]:
        """Return the series of the search."""
        n = self.numbers
        return {
            "step": self.eta,
            "step_decisions": n.decisions,
            "step_returns": n.returns,
            "step_bytes": n.nbytes,
        }

    @property
    def hopeless(self) -> bool:
        """Whether no step was found, however small."""
        return self.numbers.level < self.numbers.first - HOPELESS

    def no_step(self, agent: int, iteration: int) -> str:
        """Say so."""
        return (
            f"Agent {agent} found no step at iteration {iteration}: however small it is, "
            "the run grows. Is the gradient that of the cost? Else set algorithm.eta to a number."
        )

    def next_window(self, kind: int) -> None:
        """Begin the window after a decision."""
        n = self.numbers
        n.decisions += 1
        n.trouble = float(n.trouble or kind != CALM)
        settled = abs(n.move) <= 3 if n.trouble else -3 <= n.move <= 0
        n.stretch = min(LONGEST, 1.5 * n.stretch) if settled and kind < BACK else SHORTEST
        n.length = (3, 3, 4)[int(n.decisions)] if n.decisions < 3 else int(n.stretch)
        n.iterations = 0.0


class StepRule:
    """Decides the next step from a window; the agents' root asks it, and all follow.

    Along a curvature h the mean contracts by 1 - e h, the disagreement of the agents by about 1 - s / (e h)
    with exact diffusion and 1 - s^2 / (e h) with gradient tracking, s the speed of mixing: the step
    reach / sqrt(lowest highest) balances the slowest parts of both. Neither curvature has to be known:
    while the mean is slow the moves have the lowest, and the step grows; while the disagreement is slow
    they have the highest, and it falls.

    With mini-batches noise hides both. A method that bears a step beyond what is stable at the present
    curvature (`edge` above 1) may take it: on networks the curvature falls until it is stable again (Cohen,
    Kaur, Li, Kolter and Talwalkar, "Gradient descent on neural networks typically occurs at the edge of
    stability"). What ends the step's growth there is that moves burst, or get nowhere.

    Parameters
    ----------
    balance : Balance
    gap : float
        The spectral gap.
    height : int
        Of the tree, half the number of iterations that an answer takes.
    noisy : bool
        Whether gradients are those of mini-batches.
    """

    def __init__(self, balance: Balance, gap: float, height: int, noisy: bool) -> None:
        self.bound, self.reach, _, self.trust, self.turns, edge = balance
        if noisy and edge > 1:
            self.bound, self.reach = edge * self.bound, sqrt(edge) * self.reach
        self.gap, self.height, self.noisy = gap, height, noisy

    def decide(self, w: Window, n: Numbers) -> tuple[int, int]:
        """Return what to do and by how many levels the step changes; `n` keeps what the rule remembers."""
        e, bound = size(int(n.level)), self.bound
        pace = w.moves / (min(n.length, SEEN) if self.noisy else n.length)
        if self.rough(w, n, pace):
            return CALM, steps_between(e, self.over_kinks(w, n, pace, e))
        high, low = w.highest, w.lowest
        swings = w.share(w.along) < -0.1 and e * low > 0.6 * bound
        nervous = w.adrift or swings or e * high > 1.65 * bound
        worse = n.decisions == 0 or pace > 30 * n.pace > 0
        if nervous and w.steepest > 0:  # learn how much of it was too much
            n.trust = max(n.trust, 0.95 * min(high / w.steepest, 1.5))
        if w.adrift or e * high > 3 * bound or (nervous and worse):
            found = max(high, n.trust * w.steepest)
            new = min(max(0.88 * bound / found if found > 0 else 0.0, e / 4), e / 2)
            n.cap = sqrt(e * new)
            kind = FURTHER_BACK if w.adrift or n.failed else BACK
            n.failed = 1.0
            return kind, steps_between(e, new)
        grows = self.grows(w, n, pace)
        self.forget(n, pace)
        if nervous:
            new = n.cap = min(0.9 * e, max(0.88 * bound / high, 0.4 * e))
            return NERVOUS, steps_between(e, new)
        if grows:
            n.grown += 1
            n.pace = 0.0  # the next window still has moves of this step
            new = n.cap = 0.6 * e
            return NERVOUS, steps_between(e, new)
        high = max(high, n.trust * w.steepest)
        return CALM, steps_between(e, self.calm(low, high, w.share(w.apart), n, e))

    def rough(self, w: Window, n: Numbers, pace: float) -> bool:
        """Whether gradients jump: they change as no curvature makes them, and yet the moves do not grow."""
        steeper = not (self.noisy or w.adrift) and w.highest > ROUGH * w.steepest > 0
        return steeper and 0 < pace <= GROWN * n.pace

    def over_kinks(self, w: Window, n: Numbers, pace: float, e: float) -> float:
        """Return the next step where gradients jump; it falls as 1 / k where the moves go to and fro."""
        self.forget(n, pace)
        n.least = 0.0  # kinks keep the moves from dying down
        onwards = w.along >= 0
        low, high = (w.lowest if onwards else 0.0), ROUGH * w.steepest
        new = self.calm(low, high, w.share(w.apart), n, e)
        return new if onwards else self.cut(n, e, min(new, e))

    def forget(self, n: Numbers, pace: float) -> None:
        """Forget what caused trouble, the more slowly the more often there was such."""
        n.failed, n.pace = 0.0, pace
        boldness = 1 / (1 + n.returns + n.grown)
        n.trust = max(self.trust, 0.98**boldness * n.trust)
        n.cap = min(1.1**boldness * n.cap, LARGEST_CAP)

    def cut(self, n: Numbers, e: float, new: float) -> float:
        """Return a step that falls as 1 / k, or stays until it is time."""
        if n.done < n.cut / SLOW_CUT:
            return min(new, e)
        n.cut = n.done
        return min(new, SLOW_CUT * e)

    def in_noise(self, n: Numbers, e: float, new: float) -> float:
        """Return the step where moves are mostly noise: it grows only if the root goes straight on.

        It falls where the root stands, and as 1 / k where no progress shows.
        """
        if n.growth < STANDS:
            n.cut = n.done
            return min(new, NOISE_CUT * e)
        if n.growth < SHOWS:
            return self.cut(n, e, new)
        return new if n.growth > STRAIGHT else min(new, e)

    def grows(self, w: Window, n: Numbers, pace: float) -> bool:
        """Whether the moves grow although every direction that they take curves upwards."""
        upwards = w.lowest > UPWARDS * w.highest > 0
        expected = n.pace * size(2 * max(int(n.move), 0))  # |dx|^2 grows as the square of the step
        return upwards and not self.noisy and n.decisions >= SETTLED and pace > GROWN * expected > 0

    def calm(self, low: float, high: float, apart: float, n: Numbers, e: float) -> float:
        """Return the next step after a window without trouble, with these curvatures."""
        new = n.cap
        if high > 0:
            new = min(new, self.bound / (high + max(low, 0.0)))
        if low * high > 0:
            new = min(new, self.reach / sqrt(low * high))
        new = min(max(new, max(0.3, 0.6 ** (1 + self.height / 5)) * e), 1.5 * e)
        if self.noisy:
            return self.in_noise(n, e, new) if apart > NOISY else float(new)
        goes_round = (
            n.ahead < ROUND and low <= UPWARDS * high
        )  # else the noise of codes drives them
        if apart <= self.gap / 4 and not goes_round:
            n.least = 0.0
        elif (apart > self.gap / 2 and e * low < -0.03) or self.stands(n, goes_round):
            # Agents part along negative curvature.
            less = (0.5 if goes_round else 0.7) * e
            new, n.cap = min(new, less), min(n.cap, less)
        return float(new)

    def stands(self, n: Numbers, goes_round: bool) -> bool:
        """Whether a disagreement has not died down in a time in which it would if the step were stable.

        What drives it may be hidden by the noise of codes, and grows no further than the costs let it. A
        step far below the first is not the reason; once all have arrived, the moves are rounding.
        """
        if not 0 < n.least < 2 * n.pace:
            n.least, n.since = n.pace, n.done
        times, lowest = (0.5, LOWEST_ROUND) if goes_round else (1.0, LOWEST)
        patience = times * PATIENCE / self.reach**2
        if n.done < n.since + patience or n.level < n.first - lowest:
            return False
        n.least, n.since = n.pace, n.done
        n.grown += 1
        return True


def size(level: int) -> float:
    """Return 2^(level / 16), the same on every machine."""
    return float(power_of_two(level * (OCTAVE // OCTAVES)))


def steps_between(e: float, new: float) -> int:
    """Return the levels from e to a new step, at most `FURTHEST` in either direction."""
    return min(max(round(OCTAVES * log2(new / e)), -FURTHEST), FURTHEST - 1)
