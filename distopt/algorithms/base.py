"""The contract of an algorithm: what one agent does in one iteration, as a generator.

A step is a straight line that stops exactly where messages are exchanged:

    received = yield agent.pack(k, x=..., y=...)

The driver resumes it with the neighbours' messages, under MPI or in one process alike. Between
iterations everything lies in named arrays of the `State`; that is what a checkpoint holds.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Final,
    Literal,
    Protocol,
    Self,
    TypeAlias,
)

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.memory import MemoryStart
from distopt.compressors.base import Absolute, Adaptive, Compressor, Guarantee, Local, Relative
from distopt.core.arrays import F64, I64, U8
from distopt.core.errors import ConfigError
from distopt.core.parameters import Field

Step: TypeAlias = Generator[U8, Sequence[U8], None]

# A parameter may be "auto" until `resolve` has put its rule's number there; a step only ever sees
# numbers, which is what type checkers are told.
AUTO: Final[Any] = "auto"
if TYPE_CHECKING:
    Positive: TypeAlias = float
    NonNegative: TypeAlias = float
    Count: TypeAlias = int
    Fraction: TypeAlias = float
    Rate: TypeAlias = float
else:
    Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)] | Literal["auto"]
    NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)] | Literal["auto"]
    Count = Annotated[int, Field(ge=0)] | Literal["auto"]
    Fraction = Annotated[float, Field(gt=0, le=1)] | Literal["auto"]  # in (0, 1]
    Rate = Annotated[float, Field(gt=0, lt=1)] | Literal["auto"]  # in (0, 1)

ALGORITHM_OF_CLASS = {Relative: "cgt1", Absolute: "cgt2", Local: "cgt3", Adaptive: "zed or zed1"}


class Kept(Protocol):
    """What holds arrays that a checkpoint must hold."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Name them."""
        ...


class State:
    """The state of one agent: arrays and memories by name, as attributes.

    `keep` names what is checkpointed, `work` what may be forgotten between iterations.
    """

    def __init__(self) -> None:
        self._kept: list[str] = []
        self._derive: list[Callable[[], None]] = []

    if TYPE_CHECKING:  # attributes are what `keep` and `work` were given

        def __getattr__(self, name: str) -> Any: ...

        def __setattr__(self, name: str, value: Any) -> None: ...

    def keep(self, **items: "np.ndarray | Kept") -> None:
        """Add arrays that a checkpoint must hold, or what names some, such as a `Memory`."""
        self._kept += [name for name in items if name not in self._kept]
        self.__dict__.update(items)

    def work(self, **items: np.ndarray) -> None:
        """Add temporaries."""
        self.__dict__.update(items)

    def forget(self, *names: str) -> None:
        """Keep some no longer: they follow from what is kept otherwise."""
        self._kept = [name for name in self._kept if name not in names]

    def derive(self, fill: Callable[[], None]) -> None:
        """Call `fill` whenever a checkpoint was loaded, to work out what follows from it."""
        self._derive.append(fill)

    def restored(self) -> None:
        """Say that all that is kept was replaced."""
        for fill in self._derive:
            fill()

    def arrays(self) -> dict[str, np.ndarray]:
        """Name all arrays that a checkpoint must hold; a memory `hx` gives ``hx.h`` and so on."""
        named: dict[str, np.ndarray] = {}
        for name in self._kept:
            item = getattr(self, name)
            if isinstance(item, np.ndarray):
                named[name] = item
            else:
                named |= {f"{name}.{part}": array for part, array in item.arrays().items()}
        return named


@dataclass(frozen=True)
class Facts:
    """What is known of a problem before the run: all that ``"auto"`` rules may use.

    Attributes
    ----------
    agents, dimension : int
    smoothness : float or None
        The largest local smoothness constant L; None where a cost does not tell.
    gap : float
        delta = 1 - ||W - 11'/n||_2, the spectral gap.
    kappa : float
        ||W - I||_2.
    diameter : int
        Of the graph; the number of rounds of a max-consensus.
    compressor : Compressor
    flattest : float or None
        The smallest curvature that local descents met; estimated only where a rule asks for it.
    estimated : bool
        Whether L is an estimate, which certifies nothing.
    """

    agents: int
    dimension: int
    smoothness: float | None
    gap: float
    kappa: float
    diameter: int
    compressor: Compressor
    flattest: float | None = None
    estimated: bool = False

    def require_smoothness(self, key: str) -> float:
        """Return L, or raise `ConfigError` saying that `key` cannot be ``"auto"``."""
        if self.smoothness is None:
            raise ConfigError(
                f'{key} = "auto" needs the smoothness constant of every local cost, and none is '
                f"known; set {key} to a number or give the cost an attribute smoothness."
            )
        return self.smoothness


class Algorithm(ABC):
    """Hyper-parameters of a method (frozen) and the step of one agent.

    Class attributes
    ----------------
    vectors : int
        How many vectors an iteration sends (the theory's "messages").
    needs : type[Guarantee] or None
        The class of compressors that the method is for; None if it sends uncompressed vectors only.
    compressor : str
        The compressor where the configuration names none.
    lyapunov : str or None
        Which Lyapunov function belongs to it: "V1", "V2", "V3" (docs: theory).
    pilot : bool
        Whether its rules for ``"auto"`` ask for the flattest curvature that local descents meet.
    repeats : int
        How many independent runs it does at once; `model` and its like are float64[repeats, d] then,
        and records are means over the runs.
    memory_start : "zeros" or "x0"
        Where the memories of x begin; at x0 all agents must start from the same point.
    """

    vectors: ClassVar[int] = 2
    needs: ClassVar[type[Guarantee] | None] = Relative
    compressor: ClassVar[str] = "identity"
    lyapunov: ClassVar[str | None] = None
    pilot: ClassVar[bool] = False
    repeats = 1
    memory_start: MemoryStart = "zeros"

    def accept(self, compressor: Compressor, d: int) -> None:
        """Raise `ConfigError`, naming an algorithm that takes it, for a compressor of another class."""
        from distopt.algorithms import REGISTRY
        from distopt.compressors import REGISTRY as COMPRESSORS

        compressor.check(d)
        me, name = REGISTRY.name_of(type(self)), COMPRESSORS.name_of(type(compressor))
        needs = self.takes()
        if needs is None:
            if name != "identity":
                raise ConfigError(
                    f'algorithm.name = "{me}" sends uncompressed vectors, but compressor.name = '
                    f'"{name}"; use identity, or a compressed algorithm such as '
                    f"{self._alternative(compressor, d)}."
                )
        elif compressor.guarantee(d, needs) is None:
            article = "an" if needs.name[0] in "aeiou" else "a"
            raise ConfigError(
                f'algorithm.name = "{me}" needs a compressor with {article} {needs.name} guarantee, '
                f'but compressor.name = "{name}" has none; '
                f"{self._alternative(compressor, d)} takes it."
            )

        if compressor.ends_message and self.vectors > 1:
            raise ConfigError(
                f'algorithm.name = "{me}" sends {self.vectors} vectors a message, but compressor.name = '
                f'"{name}" is set to send one; set compressor.alone = false.'
            )

    def max_nbytes(self, compressor: Compressor, d: int) -> int:
        """Return the most bytes that one message of an agent can have."""
        return 2 * max(compressor.max_nbytes(d), 8)

    def takes(self) -> type[Guarantee] | None:
        """Return the class of compressors that this one is for; `needs`, unless a parameter decides."""
        return self.needs

    def own_compressor(self) -> Compressor:
        """Make the compressor that is used where none is named."""
        from distopt.compressors import REGISTRY as COMPRESSORS

        made: Compressor = COMPRESSORS.get(self.compressor)()
        return made

    @staticmethod
    def _alternative(compressor: Compressor, d: int) -> str:
        return " or ".join(ALGORITHM_OF_CLASS[type(g)] for g in compressor.guarantees(d))

    def resolve(self, facts: Facts) -> Self:
        """Return this algorithm with every ``"auto"`` replaced by its rule's number (docs: auto)."""
        return self.choose(facts) if AUTO in vars(self).values() else self

    def choose(self, facts: Facts) -> Self:
        """Apply the rules of ``"auto"``, by `with_numbers`; called where at least one field is it."""
        return self

    def with_numbers(self, **numbers: Any) -> Self:
        """Return a copy with the given parameters wherever the present value is ``"auto"``."""
        missing = {k: v for k, v in numbers.items() if getattr(self, k) == "auto"}
        return replace(self, **missing) if missing else self  # type: ignore[type-var]

    @abstractmethod
    def init(self, agent: Agent, x0: F64) -> State:
        """Allocate the agent's state and fill it for iteration 0; evaluates the gradient at x0."""

    def start(self, agent: Agent, s: State, facts: Facts) -> Step:
        """Agree on start values with the neighbours, before iteration 0; most methods need nothing."""
        return
        yield  # makes this a generator

    def started(self, s: State) -> Self:
        """Return this algorithm with the start values that `start` agreed on written out."""
        return self

    @abstractmethod
    def step(self, agent: Agent, s: State, k: int) -> Step:
        """Do iteration k in place."""

    def remedy(self) -> str:
        """Say what may help a run that diverges."""
        steps = [f"algorithm.{key}" for key in ("eta", "gamma") if key in vars(self)]
        return f"a smaller {' or '.join(steps)} may help"

    # What the recorder may look at; it never changes any of it.

    def model(self, s: State) -> F64:
        """Return x_i."""
        return s.x  # type: ignore[no-any-return]

    def gradient(self, s: State) -> F64 | None:
        """Return the gradient at x_i if the state holds it."""
        return s.__dict__.get("g")

    def tracker(self, s: State) -> F64 | None:
        """Return the vector whose mean is the mean gradient, if the method has one."""
        return s.__dict__.get("y")

    def memories(self, s: State) -> dict[str, tuple[F64, F64]]:
        """Map "x" (and "y") to the pair (vector, memory h) whose difference is compressed."""
        pairs = {}
        for name in ("x", "y"):
            memory = s.__dict__.get("h" + name)
            if memory is not None:
                pairs[name] = (getattr(s, name), memory.own)
        return pairs

    def counts(self, s: State) -> dict[str, I64]:
        """Map names of events to their counts so far (int64[1] arrays of the state)."""
        return {}

    def observe(self, s: State) -> dict[str, float]:
        """Return further series of the record (`distopt.record.series`); sums over agents are kept."""
        counted = s.__dict__.get("saturations")  # of fixed-point arithmetic
        return {} if counted is None else {"saturations": float(counted.sum())}

    def squared_scales(self, s: State) -> float:
        """Return sx^2 + sy^2 for methods that scale their messages, else 0."""
        return 0.0
