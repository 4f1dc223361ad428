"""The state of one agent: the part that a checkpoint holds, and the part that is seen in records."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from distopt.algorithms.memory import Memory, Neighbours
from distopt.core.arrays import F64
from distopt.core.errors import ConfigError


class Kept(Protocol):
    """Something that holds arrays for the checkpoint."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Name them."""
        ...


class State:
    """The state of one agent: arrays and memories by name, as attributes.

    `keep` names what a checkpoint holds, `work` temporaries of an iteration.
    """

    def __init__(self) -> None:
        self._kept: list[str] = []
        self._derive: list[Callable[[], None]] = []

    if TYPE_CHECKING:  # attributes are what `keep` and `work` were given

        def __getattr__(self, name: str) -> Any: ...

        def __setattr__(self, name: str, value: Any) -> None: ...

    def keep(self, **items: np.ndarray | Kept) -> None:
        """Add arrays that a checkpoint must hold, or objects that name some, such as a `Memory`."""
        self._kept += [name for name in items if name not in self._kept]
        self.__dict__.update(items)

    def work(self, **items: Any) -> None:
        """Add temporaries, and constants."""
        self.__dict__.update(items)

    def derive(self, fill: Callable[[], None]) -> None:
        """Call `fill` after a checkpoint was loaded, to compute what follows from it."""
        self._derive.append(fill)

    def restored(self) -> None:
        """Note that everything kept was replaced."""
        for fill in self._derive:
            fill()

    def loaded(self, arrays: dict[str, np.ndarray]) -> None:
        """Note that `arrays`, which this state had named, were filled from a checkpoint."""
        self.restored()

    def take_over(self, other: "State", neighbours: Neighbours) -> None:
        """Take what the state of the same agent kept before others were lost.

        Raises
        ------
        ConfigError
            If something of it belongs to the graph.
        """
        # The other has nothing of what only a root keeps, if it was none.
        for name in self._kept:
            item, old = getattr(self, name), getattr(other, name, None)
            if isinstance(item, np.ndarray):
                item[...] = old
        for name in self._kept:  # afterwards, since they fill what they have mixed
            item, old = getattr(self, name), getattr(other, name, None)
            if hasattr(item, "take_over"):
                item.take_over(old, neighbours, f"{name}.h")
            elif not isinstance(item, np.ndarray):
                raise ConfigError(
                    f"This algorithm cannot lose an agent: its {name} is made for all."
                )
        self.restored()

    def arrays(self, but: str = "") -> dict[str, np.ndarray]:
        """Name all arrays that a checkpoint must hold; a memory `hx` gives ``hx.h`` and so on.

        Those of the item `but` are left out.
        """
        named: dict[str, np.ndarray] = {}
        for name in [name for name in self._kept if name != but]:
            item = getattr(self, name)
            if isinstance(item, np.ndarray):
                named[name] = item
            else:
                named |= {f"{name}.{part}": array for part, array in item.arrays().items()}
        return named


@dataclass(frozen=True)
class View:
    """What records and the audit see of an agent between two iterations; they change nothing.

    Attributes
    ----------
    model : float64[d], or float64[repeats, d] of an algorithm that does several runs at once
        x_i.
    gradient : float64[d] or None
        The gradient at x_i, where the state holds it.
    tracker : float64[d] or None
        The vector whose mean is the mean gradient, if the method has one.
    memories : Mapping[str, tuple[float64[d], Memory]]
        By the name of a vector: the vector, and the memory whose difference to it is compressed.
        Both ends of an edge are compared in every memory; x and y have a series of their error.
    common : ndarray or None
        What all agents hold alike, to the bit.
    squared_scales : float
        sx^2 + sy^2 for methods that scale their messages, else 0.
    squared_direction : float
        |G|^2 of the vector along which x moved last, at the agent that knows it, else 0.
    copies : Mapping[str, Sequence[ndarray or None]]
        By name: what it holds of itself, and what it holds of each neighbour or None. Both are the same
        to the bit.
    series : Mapping[str, float]
        Further series of the record (`distopt.record.series`), to be summed over the agents.
    """

    model: F64
    gradient: F64 | None = None
    tracker: F64 | None = None
    memories: Mapping[str, tuple[F64, Memory]] = field(default_factory=dict)
    common: np.ndarray | None = None
    squared_scales: float = 0.0
    squared_direction: float = 0.0
    copies: Mapping[str, Sequence[np.ndarray | None]] = field(default_factory=dict)
    series: Mapping[str, float] = field(default_factory=dict)
