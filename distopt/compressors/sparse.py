"""The base of sparsifiers: keep k of d values, and let another compressor encode those.

A sparsifier decides which indices it keeps and whether they travel. Its field `values` is the
compressor of the kept values, as a vector of size k in the order of their indices.
"""

from abc import abstractmethod
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator

from distopt.compressors.base import CodecState, Compressor, Guarantee, Relative
from distopt.compressors.coders.wire import NOT_FINITE, accepted
from distopt.compressors.identity import Identity
from distopt.compressors.scales import max_abs
from distopt.core.arrays import F64, I64, U8, U32
from distopt.core.errors import ConfigError
from distopt.core.kernel import kernel
from distopt.core.parameters import Field, parameters
from distopt.core.streams import Stream
from distopt.core.workspace import Workspace


def make_compressor(given: Any) -> Compressor:
    """Return the compressor that a field `values` was given, as such or as a table."""
    if isinstance(given, dict):
        from distopt.compressors import REGISTRY

        try:
            cls, arguments = REGISTRY.select(given)
            given = cls(**arguments)
        except ConfigError as error:
            nested = str(error).replace("compressor.", "compressor.values.", 1)
            raise ConfigError(nested) from None
    if not isinstance(given, Compressor):
        raise ConfigError(
            f"compressor.values = {given!r} is not acceptable; accepted: a compressor or a table such "
            'as { name = "quantize", bits = 4 }.'
        )
    return given


def relative_names(k: int) -> list[str]:
    """List the compressors whose defaults have a relative guarantee for the k kept values."""
    from distopt.compressors import REGISTRY

    classes = {name: REGISTRY.get(name) for name in REGISTRY}
    plain = {name: cls for name, cls in classes.items() if not issubclass(cls, Sparsifier)}
    return [name for name, cls in plain.items() if cls().guarantee(k, Relative)]


def make_values(given: Any) -> Compressor:
    """Return the compressor of a sparsifier's kept values, given as such or as a table."""
    made = make_compressor(given)
    if isinstance(made, Sparsifier):
        raise ConfigError(
            "compressor.values is a sparsifier itself; accepted: a compressor of all k kept values, "
            'such as { name = "quantize", bits = 4 }.'
        )
    return made


@parameters("compressor")
class Sparsifier(Compressor):
    """Keeps k of d values, or a fraction of them (rounded, at least one)."""

    k: Annotated[int, Field(ge=1)] | None = None  # values kept; or else:
    fraction: Annotated[float, Field(gt=0, le=1)] | None = None  # of the d values are kept
    values: Annotated[Compressor, BeforeValidator(make_values)] = Field(default_factory=Identity)

    def __post_init__(self) -> None:
        if (self.k is None) == (self.fraction is None):
            state = "both are given" if self.k is not None else "none is given"
            raise ConfigError(
                f"compressor.k or compressor.fraction says how much is kept, but {state}; "
                "accepted: exactly one of the two."
            )

    def count(self, d: int) -> int:
        """Return the number of values that are kept of d."""
        if self.k is not None:
            return self.k
        return max(1, int(self.fraction * d + 0.5))  # type: ignore[operator]

    def check(self, d: int) -> None:
        if self.count(d) > d:
            raise ConfigError(
                f"compressor.k = {self.k} is larger than the dimension {d}; accepted: 1 to {d}."
            )
        try:
            self.values.check(self.count(d))
        except ConfigError as error:
            nested = str(error).replace("compressor.", "compressor.values.")
            raise ConfigError(nested) from None
        if not self.guarantees(d):
            raise ConfigError(
                "compressor.values has no relative guarantee, so nothing holds for the chain; accepted: "
                f"{', '.join(relative_names(self.count(d)))}."
            )

    def guarantees(self, d: int) -> tuple[Guarantee, ...]:
        k, inner = self.count(d), self.values
        if k == d:
            return inner.guarantees(d)
        relative = inner.guarantee(k, Relative)
        if not isinstance(relative, Relative):
            return ()
        return (Relative(r=self.factor(d) * relative.r, psi=relative.psi * k / d),)

    def factor(self, d: int) -> float:
        """Return the number that the kept values are multiplied by."""
        return 1.0

    def magnitudes(self) -> tuple[float, float]:
        return self.values.magnitudes()

    def max_nbytes(self, d: int) -> int:
        return self.max_indices_nbytes(d) + self.values.max_nbytes(self.count(d))

    def new_state(self, d: int) -> CodecState:
        return self.values.new_state(self.count(d))

    def new_room(self, d: int) -> CodecState:
        return self.values.new_room(self.count(d))

    @abstractmethod
    def max_indices_nbytes(self, d: int) -> int:
        """Return the bytes that the indices take at most; 0 where they do not travel."""

    @abstractmethod
    def choose(self, x: F64, out: U8, key: U32, chosen: I64, kept: F64, work: Workspace) -> int:
        """Fill chosen[:k] and kept[:k], and write the indices to `out`; return their bytes."""

    @abstractmethod
    def recall(self, payload: U8, d: int, key: U32, chosen: I64, work: Workspace) -> int:
        """Fill chosen[:k] from the payload or the key; return the bytes of the indices."""

    def encode(self, x: F64, out: U8, key: U32, state: CodecState, work: Workspace) -> int:
        chosen, kept = self._kept(x, work)
        used = self.choose(x, out, key, chosen, kept, work)
        return used + self.values.encode(kept, out[used:], values_key(key, work), state, work)

    def decode_add(
        self, payload: U8, weight: float, acc: F64, key: U32, state: CodecState, work: Workspace
    ) -> int:
        chosen, kept = self._kept(acc, work)
        used = self.recall(payload, acc.size, key, chosen, work)
        kept.fill(0.0)
        used += self.values.decode_add(
            payload[used:], 1.0, kept, values_key(key, work), state, work
        )
        accepted(scatter_add(kept, chosen, self.factor(acc.size), weight, acc), payload, acc.size)
        return used

    def _kept(self, x: F64, work: Workspace) -> tuple[I64, F64]:
        k = self.count(x.size)
        # One place more: filters without branches write before they count.
        kept = work.array("kept", k + 1, x.dtype.type)[:k]
        return work.array("chosen", k + 1, np.int64), kept


def values_key(key: U32, work: Workspace) -> U32:
    """Return the key of the compressor of the values: another stream of the same vector."""
    other = work.array("values key", 5, np.uint32)
    other[:] = key
    other[4] += np.uint32(Stream.VALUES)
    return other


@kernel
def scatter_add(kept: F64, chosen: I64, factor: float, weight: float, acc: F64) -> int:
    """acc[chosen_j] += weight (factor kept_j); return 0 or a negative status."""
    if not np.isfinite(max_abs(kept) * factor):
        return NOT_FINITE
    for j in range(kept.size):
        acc[chosen[j]] += weight * (factor * kept[j])
    return 0
