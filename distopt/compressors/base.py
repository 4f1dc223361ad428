"""The contract of a compressor.

A compressor C maps a vector to bytes and bytes to a vector. Its only definition is
``C(x) = decode(encode(x))``: the bytes are the message, and the sender decodes its own bytes too (or takes
the codes that it has kept, `new_room`), so both ends of an edge hold the same numbers. Users rely on
these properties, and authors must keep them:

* **Dense and self-delimiting.** A code of 3 bits costs 3 bits a coordinate; `decode_add` knows from
  the bytes (and d) where the payload ends, so vectors follow each other in a buffer without headers.
* **Pure.** The same bytes and state decode to the same values on any little-endian IEEE host. Every
  random bit comes from the key (seed, agent, iteration, stream) and the coordinate's index.
* **Hardened.** `decode_add` checks lengths, indices and scales before its first write and raises
  `MessageError`; numba checks no bounds, so a decoder must.
* **Classified.** `guarantee(d)` is the class and the constants that the theory needs.
* **Without allocation** in `encode` and `decode_add`: temporaries come from `work`.

The input of `encode` is finite and not empty; `Agent.pack` has checked that once for all compressors.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from distopt.compressors.fused import Fused, Rows
from distopt.core.arrays import F64, U8, U32
from distopt.core.randomness import make_key
from distopt.core.streams import Stream
from distopt.core.workspace import Workspace

# The adaptive state of one end of one stream, such as a coder's models; {} for most compressors.
CodecState: TypeAlias = dict[str, np.ndarray]


def as_float64(x: F64, work: Workspace) -> F64:
    """Return a vector as float64, by a copy in a work array if it is float32."""
    if x.dtype == np.float64:
        return x
    wide: F64 = work.array("widened", x.size)
    wide[:] = x
    return wide


@dataclass(frozen=True)
class Relative:
    """Class 1: E ||C(x)/r - x||_2^2 <= (1 - psi) ||x||_2^2 for all x (docs: compressors, class 1)."""

    r: float  # > 0; 1 for contractions
    psi: float  # in (0, 1]
    name: ClassVar[str] = "relative"

    @property
    def r0(self) -> float:
        """Bound of E ||C(x) - x||^2 / ||x||^2 (docs: compressors, equation 2)."""
        return 2 * self.r**2 * (1 - self.psi) + 2 * (1 - self.r) ** 2


@dataclass(frozen=True)
class Absolute:
    """Class 2: E ||C(x) - x||_p^2 <= C^2 for all x."""

    p: float  # norm, np.inf for the maximum norm
    C: float  # > 0
    name: ClassVar[str] = "absolute"

    def in_two_norm(self, d: int) -> float:
        """Bound of (E ||C(x) - x||_2^2)^(1/2)."""
        return self.C if self.p == 2 else self.C * float(np.sqrt(d))


@dataclass(frozen=True)
class Local:
    """Class 3: ||C(x) - x||_p <= 1 - phi for all x with ||x||_p <= 1, and nothing outside the ball."""

    p: float  # norm, np.inf for the maximum norm
    phi: float  # in (0, 1]
    name: ClassVar[str] = "local"

    def in_two_norm(self, d: int) -> float:
        """Bound of ||C(x) - x||_2 in the ball."""
        return (1 - self.phi) if self.p == 2 else (1 - self.phi) * float(np.sqrt(d))


@dataclass(frozen=True)
class LocalAndBeyond(Local):
    """Class 3, and for some a, ||C(x) - x||_p <= a + w ||x||_p for all x."""

    w: float  # < 1


@dataclass(frozen=True)
class Adaptive:
    """Nothing for a single vector: the scale follows the codes already exchanged (docs: zooming)."""

    name: ClassVar[str] = "adaptive"


Guarantee: TypeAlias = Relative | Absolute | Local | Adaptive


class Compressor(ABC):
    """A map from vectors to bytes and back; subclasses hold their parameters, frozen.

    Most compressors have no state. An adaptive one (an entropy coder's models, a scale that zooms)
    declares it in `new_state`; the sender holds one per stream, every neighbour's replica holds one,
    and `encode` and `decode_add` advance it identically from the codes alone.

    Attributes
    ----------
    candidates : tuple of dict
        Parameters with which ``distopt plan`` tries the class, each a table; none by default.
    """

    candidates: ClassVar[tuple[dict[str, Any], ...]] = ()

    @abstractmethod
    def guarantees(self, d: int) -> tuple[Guarantee, ...]:
        """Return the classes that this compressor belongs to for vectors of size d, best first."""

    def guarantee(self, d: int, kind: type[Guarantee] | None = None) -> Guarantee | None:
        """Return the guarantee of the wanted class (the first one by default), None without it."""
        return next((g for g in self.guarantees(d) if kind is None or isinstance(g, kind)), None)

    def check(self, d: int) -> None:  # noqa: B027
        """Raise `ConfigError` where the parameters do not fit vectors of size d (such as k > d)."""

    def fitted(self, blocks: Callable[[], Sequence[int] | None]) -> "Compressor":
        """Return this compressor for vectors of a cost whose `blocks` (or None) the argument returns.

        Only compressors that treat layers separately need them.
        """
        return self

    @property
    def ends_message(self) -> bool:
        """Whether `decode_add` must be given exactly what `encode` wrote, so one vector a message."""
        return False

    def magnitudes(self) -> tuple[float, float]:
        """Return the |x_i| > 0 between which `guarantees` is derived; float64 with room to square.

        A narrower format (such as float16) narrows it. Smaller numbers have an absolute error, larger
        ones may be refused with `DivergedError`.
        """
        return 2.0**-960, 2.0**960

    @abstractmethod
    def max_nbytes(self, d: int) -> int:
        """Return the largest number of bytes that `encode` can use for a vector of size d."""

    @abstractmethod
    def encode(self, x: F64, out: U8, key: U32, state: CodecState, work: Workspace) -> int:
        """Write C(x) for x : float64[d] into out : uint8[>= max_nbytes(d)]; return the bytes used."""

    @abstractmethod
    def decode_add(
        self, payload: U8, weight: float, acc: F64, key: U32, state: CodecState, work: Workspace
    ) -> int:
        """acc += weight * C(x); return the number of bytes of `payload` that belong to this vector.

        Parameters
        ----------
        payload : uint8[...]
            Starts with what `encode` wrote; more may follow (the next vector of the message) unless
            `ends_message`.
        weight : float
        acc : float64[d]
        key : uint32[5]
            The sender's key. Only compressors whose indices come from the shared stream use it.
        state : CodecState
            This end's adaptive state, as made by `new_state(d)`.
        work : Workspace
            Where temporaries come from.

        Raises
        ------
        MessageError
            Before anything is written to `acc`: too short, an index out of range, a scale that is
            negative or not finite, ...
        """

    def new_state(self, d: int) -> CodecState:
        """Make the adaptive state of one end of one stream: named arrays, checkpointed like x."""
        return {}

    def new_room(self, d: int) -> CodecState:
        """Make room for what `encode` leaves of a message for its sender, who then need not decode it.

        Such a sender has one state for both ends of its stream. `encode` and `decode_add` are given it
        together with the room; `decode_add` takes what `encode` has left of the same payload there, and
        leaves the state as it is. {}: the sender decodes, with a state of its own.
        """
        return {}

    def fused(self, d: int, members: int, work: Workspace) -> Fused:
        """Return kernels that do several steps of an iteration at once, where there are any.

        They are for one agent with `members` - 1 neighbours, take their temporaries from `work`, and give
        the bits of `encode` and `decode_add`. Only for compressors without state.
        """
        return Fused()

    def rows(self, d: int, work: Workspace) -> Rows | None:
        """Return kernels for the vectors of many agents at once, where there are any.

        They give the bits of `encode` and `decode_add`. Only for compressors without state.
        """
        return None


def compress(compressor: Compressor, x: ArrayLike, key: U32 | None = None) -> tuple[bytes, F64]:
    """Return the payload of one vector and C(x), which is what the payload decodes to.

    For set-up, tests and experiments: it allocates, and starts from the initial adaptive state.

    Parameters
    ----------
    compressor : Compressor
    x : float64[d], finite
    key : uint32[5], optional
        Of the random bits; of agent 0 and seed 0 by default.

    Returns
    -------
    payload : bytes
    decoded : float64[d]
    """
    x = np.array(x, dtype=np.float64)
    compressor.check(x.size)
    key = make_key(0, 0, Stream.MESSAGE) if key is None else key
    out = np.zeros(compressor.max_nbytes(x.size), np.uint8)
    work = Workspace()
    payload = out[: compressor.encode(x, out, key, compressor.new_state(x.size), work)]
    decoded = np.zeros(x.size)
    compressor.decode_add(payload, 1.0, decoded, key, compressor.new_state(x.size), work)
    return payload.tobytes(), decoded
