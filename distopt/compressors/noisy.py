"""Noisy: what another compressor says, plus bounded noise that all who hear it hear alike."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import BeforeValidator

from distopt.compressors.base import Absolute, CodecState, Compressor, Guarantee, Local
from distopt.compressors.saturating import Saturating
from distopt.compressors.sparse import make_compressor
from distopt.core.arrays import F64, U8, U32
from distopt.core.errors import ConfigError
from distopt.core.kernel import kernel
from distopt.core.parameters import Field, parameters
from distopt.core.randomness import TILE, fill_tile
from distopt.core.streams import Stream
from distopt.core.workspace import Workspace


@parameters("compressor")
class Noisy(Compressor):
    """C(x)_i = C'(x)_i + noise u_i, u_i uniform in [-1, 1), drawn anew for every message; C' is `values`.

    The draws are a function of (seed, sender, iteration, stream, index): a channel whose noise the sender
    and all receivers hear alike, so their copies stay equal.

    Class, derived (docs: compressors/noisy), with n = noise (p = inf) or noise d^(1/p):

    * absolute: C' + n for C' of `values`;
    * local: 1 - phi = 1 - phi' + n, where that is below 1.

    Wire: the payload of `values`.

    >>> from distopt.compressors.base import compress
    >>> payload, decoded = compress(Noisy(noise=0.25), [0.9, -0.3])
    >>> payload.hex(" "), decoded.tolist()
    ('5f', [1.1157402899116278, -0.35338730399962515])
    """

    noise: Annotated[float, Field(gt=0, le=2.0**60)] = 0.1  # largest |C(x)_i - C'(x)_i|
    values: Annotated[Compressor, BeforeValidator(make_compressor)] = Field(
        default_factory=Saturating
    )

    def fitted(self, blocks: Callable[[], Sequence[int] | None]) -> Compressor:
        return replace(self, values=self.values.fitted(blocks))

    def check(self, d: int) -> None:
        self.values.check(d)
        if not self.guarantees(d):
            raise ConfigError(
                f"compressor.noise = {self.noise:g} is not acceptable: with it compressor.values has "
                "neither an absolute nor a local guarantee. Accepted: uniform with any noise, or one_bit "
                "or saturating with less noise than its phi."
            )

    def guarantees(self, d: int) -> tuple[Guarantee, ...]:
        found: list[Guarantee] = []
        for g in self.values.guarantees(d):
            if isinstance(g, Absolute | Local):
                noise = self.noise if np.isinf(g.p) else self.noise * d ** (1 / g.p)
                if isinstance(g, Absolute):
                    found.append(Absolute(g.p, g.C + noise))
                elif noise < g.phi:
                    found.append(Local(g.p, g.phi - noise))
        return tuple(found)

    @property
    def ends_message(self) -> bool:
        return self.values.ends_message

    def magnitudes(self) -> tuple[float, float]:
        return self.values.magnitudes()

    def max_nbytes(self, d: int) -> int:
        return self.values.max_nbytes(d)

    def new_state(self, d: int) -> CodecState:
        return self.values.new_state(d)

    def new_room(self, d: int) -> CodecState:
        return self.values.new_room(d)

    def encode(self, x: F64, out: U8, key: U32, state: CodecState, work: Workspace) -> int:
        return self.values.encode(x, out, key, state, work)

    def decode_add(
        self, payload: U8, weight: float, acc: F64, key: U32, state: CodecState, work: Workspace
    ) -> int:
        heard = work.array("heard", acc.size, acc.dtype.type)
        heard.fill(0.0)
        nbytes = self.values.decode_add(payload, 1.0, heard, key, state, work)
        other = work.array("noise key", 5, np.uint32)
        other[:] = key
        other[4] += np.uint32(Stream.CHANNEL)
        add_noise(heard, self.noise, other, work.array("noise", TILE, np.uint32), weight, acc)
        return nbytes


@kernel
def add_noise(v: F64, noise: float, key: U32, words: U32, weight: float, acc: F64) -> None:
    """acc += weight (v + noise u), u_i = word i / 2^31 - 1; words : uint32[TILE] is work space."""
    for start in range(0, v.size, TILE):
        fill_tile(key, start // TILE, words)
        part, out = v[start : start + TILE], acc[start : start + TILE]
        for i in range(part.size):
            u = np.float64(words[i]) * 2.0**-31 - 1.0
            out[i] += weight * (part[i] + noise * u)
