"""The contract of an algorithm: what one agent does in one iteration, as a generator.

A step is a straight line that stops exactly where messages are exchanged:

    received = yield agent.pack(k, x=..., y=...)

The driver resumes it with the neighbours' messages, both under MPI and in one process. A step that talks
to some neighbours only yields a `Letter` instead. Between
iterations everything is in named arrays of the `State`, and a checkpoint holds those.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Final,
    Literal,
    Self,
    TypeAlias,
)

from distopt.algorithms import REGISTRY
from distopt.algorithms.agent import Agent
from distopt.algorithms.letter import Letter
from distopt.algorithms.memory import MemoryStart
from distopt.algorithms.state import State, View
from distopt.algorithms.step_rule import Balance
from distopt.algorithms.window_code import WINDOW_NBYTES
from distopt.compressors import REGISTRY as COMPRESSORS
from distopt.compressors.base import Compressor, Guarantee, Relative
from distopt.core.arrays import F64, U8
from distopt.core.errors import ConfigError
from distopt.core.parameters import Field
from distopt.core.units import a
from distopt.problems.topology import Topology
from distopt.theory.facts import Facts
from distopt.theory.lyapunov import Steps

Step: TypeAlias = Generator[U8 | Letter, Sequence[U8], None]

# A parameter may be "auto" until `resolve` has put its rule's number there; a step only sees numbers,
# so type checkers see numbers too.
AUTO: Final[Any] = "auto"
CAREFUL = 0.5  # of a search's first step, where nobody goes back from one that is too large
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


class Algorithm(ABC):
    """Hyper-parameters of a method (frozen) and the step of one agent.

    Class attributes
    ----------------
    vectors : int
        How many vectors an iteration sends (the theory's "messages"), any number.
    needs : type[Guarantee] or None
        The class of compressors that the method takes; None if it sends uncompressed vectors only.
    compressor : str
        The compressor where the configuration names none.
    coding : dict
        Further keys of it there.
    lyapunov : str or None
        Which Lyapunov function belongs to it: "V1", "V2", "V3", "V4" (docs: theory).
    pilot : bool
        Whether its rules for ``"auto"`` need the flattest curvature that local descents meet.
    searches : bool
        Whether ``eta = "auto"`` is searched while the method runs (docs: auto); it has a `balance` then.
    surveys : bool
        Whether the method, or a rule of its ``"auto"``, uses the costs' smoothness, so that it is
        estimated where a cost has none.
    together : bool
        Whether `init` and `step` treat all coordinates alike, so that they may be run once on the vectors
        of all agents of a process instead of once an agent (`distopt.algorithms.crowd`). A subclass with
        methods of its own says it anew.
    overlaps : bool
        Whether the second vector of its messages may arrive behind the gradient: `step` takes it with
        ``yield from agent.rest()`` (`distopt.engine.overlap`). A subclass with a `step` of its own says it
        anew.
    repeats : int
        How many independent runs it does at once; the model is float64[repeats, d] then, and records
        are means over the runs.
    directed : bool
        Whether it takes graphs on which messages go one way along an edge.
    changing : bool
        Whether it takes graphs of which some edges are down in some iterations.
    single : bool
        Whether its state may be in float32: all its vectors are made like x0, or by the agent.
    memory_start : "zeros" or "x0"
        Where the memories of x begin; at x0 all agents must start from the same point.
    """

    vectors: ClassVar[int] = 2
    needs: ClassVar[type[Guarantee] | None] = Relative
    compressor: ClassVar[str] = "identity"
    coding: ClassVar[dict[str, Any]] = {}
    lyapunov: ClassVar[str | None] = None
    pilot: ClassVar[bool] = False
    searches: ClassVar[bool] = False
    directed: ClassVar[bool] = False
    surveys: ClassVar[bool] = True
    changing: ClassVar[bool] = False
    together: ClassVar[bool] = False
    overlaps: ClassVar[bool] = False
    single: ClassVar[bool] = False
    repeats = 1
    memory_start: MemoryStart = "zeros"

    def accept(self, compressor: Compressor, d: int) -> None:
        """Raise `ConfigError`, naming an algorithm that takes it, for a compressor of another class."""
        compressor.check(d)
        me, name = REGISTRY.name_of(type(self)), COMPRESSORS.name_of(type(compressor))
        needs = self.needs
        if needs is None:
            if name != "identity":
                raise ConfigError(
                    f'algorithm.name = "{me}" sends uncompressed vectors, but compressor.name = '
                    f'"{name}"; use identity, or a compressed algorithm such as '
                    f"{takers(compressor, d)}."
                )
        elif compressor.guarantee(d, needs) is None:
            raise ConfigError(
                f'algorithm.name = "{me}" needs a compressor with {a(needs.name)} guarantee, '
                f'but compressor.name = "{name}" has none; '
                f"{takers(compressor, d)} takes it."
            )

        if compressor.ends_message and self.vectors > 1:
            raise ConfigError(
                f'algorithm.name = "{me}" sends {self.vectors} vectors a message, but compressor.name = '
                f'"{name}" is set to send one; set compressor.alone = false.'
            )

    def accept_precision(self, dtype: str) -> None:
        """Raise `ConfigError`, naming algorithms that take it, for vectors of another precision."""
        if dtype == "float64":
            return
        given = ""
        if not self.single:
            given = f'algorithm.name = "{REGISTRY.name_of(type(self))}"'
        elif vars(self).get("arithmetic") is not None:
            given = "[arithmetic], whose formats say the precision"
        if given:
            able = ", ".join(name for name in REGISTRY if REGISTRY.get(name).single)
            raise ConfigError(
                f'run.dtype = "{dtype}" cannot be combined with {given}; accepted there: "float64". '
                f"Vectors in {dtype} have {able}."
            )

    def accept_graph(self, topology: Topology) -> None:
        """Raise `ConfigError`, naming an algorithm that takes it, for a graph of another kind."""
        if topology.directed and not self.directed:
            able = ", ".join(name for name in REGISTRY if REGISTRY.get(name).directed)
            raise ConfigError(
                f'algorithm.name = "{REGISTRY.name_of(type(self))}" needs symmetric weights, but the '
                f"{topology.name} graph is directed; {able} takes it."
            )
        if topology.changes:
            self._accept_changes(topology.cause)

    def _accept_changes(self, given: str) -> None:
        """Raise `ConfigError` unless this method can do without some of the edges."""
        me = REGISTRY.name_of(type(self))
        if not self.changing:
            able = ", ".join(name for name in REGISTRY if REGISTRY.get(name).changing)
            raise ConfigError(
                f'algorithm.name = "{me}" needs all its edges in every iteration, so it cannot be combined '
                f"with {given}; accepted: {able}."
            )
        known = vars(self)
        if known.get("memory", "replicas") != "replicas" or known.get("arithmetic") is not None:
            key = "[arithmetic]" if known.get("arithmetic") else 'algorithm.memory = "sum"'
            raise ConfigError(
                f"{key} cannot be combined with {given}: a sum for all weights cannot follow a graph that "
                "changes."
            )

    def max_nbytes(self, compressor: Compressor, d: int) -> int:
        """Return the most bytes that one message of an agent can have."""
        searching = WINDOW_NBYTES if self.searching else 0
        return self.vectors * max(compressor.max_nbytes(d), 8) + searching

    @property
    def searching(self) -> bool:
        """Whether the step is searched."""
        return self.searches and vars(self)["eta"] == AUTO

    def steps(self) -> Steps | None:
        """Return what its Lyapunov function depends on; None where it has none."""
        if self.lyapunov is None:
            return None
        known = vars(self)
        return Steps(
            self.lyapunov,
            self.needs,
            known["eta"],
            known["gamma"],
            known.get("alpha"),
            known.get("mu"),
        )

    def own_compressor(self) -> Compressor:
        """Make the compressor that is used where none is named."""
        made: Compressor = COMPRESSORS.get(self.compressor)(**self.coding)
        return made

    def resolve(self, facts: Facts) -> Self:
        """Return this algorithm with every ``"auto"`` replaced by its rule's number (docs: auto)."""
        found = self.choose(facts) if AUTO in vars(self).values() else self
        if found.searching and facts.changes:
            # Agents that cannot always hear each other cannot agree to go back from too large a step.
            balance = found.balance(facts.gap * facts.share)
            return found.with_numbers(eta=CAREFUL * balance.first_eta(facts.require_curvature()))
        return found

    def balance(self, gap: float) -> Balance:
        """Return what a step that is searched has to balance on a graph with this spectral gap."""
        raise NotImplementedError

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
        if self.searching:
            s.steps.begin(facts)
        return
        yield  # makes this a generator

    def started(self, s: State) -> Self:
        """Return this algorithm with the start values on which `start` agreed."""
        return self

    @abstractmethod
    def step(self, agent: Agent, s: State, k: int) -> Step:
        """Do iteration k in place."""

    def conserved(self, s: State) -> tuple[F64, F64 | None] | None:
        """Return the vector whose sum over the agents is that of a second one, None standing for zero.

        The audit watches it, and where agents are lost the others restore it. None if the method
        conserves nothing.
        """
        return None

    def remedy(self) -> str:
        """Return advice for a run that diverges."""
        if self.searching:
            return "is the gradient that of the value? `distopt.testing.check_cost` tells"
        steps = [f"algorithm.{key}" for key in ("eta", "gamma") if key in vars(self)]
        return f"a smaller {' or '.join(steps)} may help"

    def view(self, s: State) -> View:
        """Return what may be seen of a state between two iterations; at least the model."""
        return View(s.x)


def takers(compressor: Compressor, d: int) -> str:
    """List the algorithms that take compressors of this one's classes."""
    needs = {name: REGISTRY.get(name).needs for name in REGISTRY}
    names = [name for name, kind in needs.items() if kind and compressor.guarantee(d, kind)]
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
