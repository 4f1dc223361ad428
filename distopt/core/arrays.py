"""The array types that the package passes around, whether they fit into memory, and their files."""

import os
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from distopt.core.errors import ConfigError, DataError
from distopt.core.files import reason
from distopt.core.units import nbytes

# Vectors of the algorithms; float32 where `run.dtype` says so.
F64: TypeAlias = NDArray[np.float64]
Precision: TypeAlias = type[np.float64]  # or numpy.float32, as of F64
U8: TypeAlias = NDArray[np.uint8]  # bytes of a message
U16: TypeAlias = NDArray[np.uint16]
U32: TypeAlias = NDArray[np.uint32]  # random words, and the key of a stream
U64: TypeAlias = NDArray[np.uint64]
I32: TypeAlias = NDArray[np.int32]  # numbers of C
I64: TypeAlias = NDArray[np.int64]  # integer codes, counters
Bools: TypeAlias = NDArray[np.bool_]
Codes: TypeAlias = NDArray[Any]  # integer codes: int8, int16, int32 or int64

FEWEST = 3  # vectors of an agent: the model, a gradient, what was sent last


def require_room(d: int, agents: int = 1) -> None:
    """Raise `ConfigError` for a dimension whose vectors, for some agents, exceed this machine's memory."""
    have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    need = 8 * FEWEST * d * agents
    if need > have:
        whose = "an agent" if agents == 1 else f"the {agents} agents of this process"
        raise ConfigError(
            f"The dimension {d} is too large for this machine: the vectors of {whose} take at least "
            f"{nbytes(need)}, and it has {nbytes(have)}; accepted: at most {have // (need // d)}."
        )


def read_npy(path: Path, key: str) -> F64:
    """Read the numbers of a .npy file; `key` names the file in sentences."""
    try:
        with path.open("rb") as file:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False), np.float64)
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise DataError(f'{key} = "{path}" cannot be read: {reason(error)}.') from None
