"""How long compressors take, as multiples of copying the vector, measured in the same run.

    python benchmarks/compressors.py [--quick]

Every round runs np.copyto of the d float64 and then each compressor, so that all see the same machine.
Printed are medians over the rounds, of processor time (all kernels are single-threaded); "x" columns
are ratios to that copy. The second table is the cost of one call at d = 100, where calling Python and
numba is most of it.
"""

from statistics import median
from time import thread_time

import numpy as np
from shared import machine_line, options, show

from distopt.compressors.base import Relative, compress
from distopt.compressors.cast import Cast
from distopt.compressors.identity import Identity
from distopt.compressors.norm_sign import NormSign
from distopt.compressors.one_bit import OneBit
from distopt.compressors.quantize import Quantize
from distopt.compressors.rand_k import RandK
from distopt.compressors.saturating import Saturating
from distopt.compressors.sparse_zoom import SparseZoom
from distopt.compressors.ternary import Ternary
from distopt.compressors.top_k import TopK
from distopt.compressors.unbiased_rand_k import UnbiasedRandK
from distopt.compressors.uniform import Uniform
from distopt.core.randomness import make_key, normal
from distopt.core.workspace import Workspace
from distopt.studies.results import Column

ROWS = {
    "identity": Identity(),
    "cast float32": Cast(),
    "cast bfloat16": Cast(dtype="bfloat16"),
    "cast float16": Cast(dtype="float16"),
    "norm_sign": NormSign(),
    "one_bit": OneBit(),
    "saturating, 4 bits": Saturating(bits=4),
    "quantize, 2 bits": Quantize(bits=2),
    "quantize, 4 bits": Quantize(bits=4),
    "quantize, 4 bits, dithered": Quantize(bits=4, dithered=True),
    "quantize, 4 bits, blocks of 256": Quantize(bits=4, block=256),
    "quantize, 4 bits, 2-norm, dithered": Quantize(bits=4, norm="two", dithered=True),
    "ternary": Ternary(),
    "uniform": Uniform(),
    "uniform, dithered": Uniform(dithered=True),
    "top_k, 1 %": TopK(fraction=0.01),
    "top_k, 10 %": TopK(fraction=0.1),
    "top_k, 1 %, 4-bit values": TopK(fraction=0.01, values=Quantize(bits=4)),
    "rand_k, 1 %": RandK(fraction=0.01),
    "sparse_zoom, 1/64": SparseZoom(),
    "unbiased_rand_k, 10 %": UnbiasedRandK(fraction=0.1),
}


def seconds(calls, function, *arguments):
    """Time one of so many calls: processor time of this thread, so that a busy machine matters less."""
    began = thread_time()
    for _ in range(calls):
        function(*arguments)
    return (thread_time() - began) / calls


def restored(call, state):
    """Return the call, but from the same adaptive state every time, where there is one."""
    if not state:
        return call
    begun = {name: array.copy() for name, array in state.items()}

    def again(*arguments):
        for name, array in state.items():
            array[:] = begun[name]
        return call(*arguments)

    return again


def exchanges(d):
    """Prepare every row for vectors of size d: its bytes, and its calls of encode and decode_add."""
    x, key = normal(make_key(0, 0, 0), d), make_key(1, 0, 0)
    for name, compressor in ROWS.items():
        _, decoded = compress(compressor, x, key)  # compiles, and checks the answer
        relative = compressor.guarantee(d, Relative)
        if isinstance(relative, Relative):
            error = np.linalg.norm(decoded / relative.r - x) ** 2 / np.linalg.norm(x) ** 2
            assert error <= (1 - relative.psi) * 1.1 + 1e-12, (name, error, relative)
        out, acc = np.zeros(compressor.max_nbytes(d), np.uint8), np.zeros(d)
        state, work = compressor.new_state(d), Workspace()
        encode, decode = restored(compressor.encode, state), restored(compressor.decode_add, state)
        payload = out[: encode(x, out, key, state, work)].copy()
        yield name, payload.size, (encode, x, out, key, state, work), (
            decode, payload, 0.5, acc, key, state, work,
        )  # fmt: skip


def partition(x):
    """Do what top_k of 1 % does with numpy: indices as uint32, then values."""
    places = np.argpartition(np.abs(x), x.size - x.size // 100)[-(x.size // 100) :]
    return places.astype(np.uint32).tobytes() + x[places].tobytes()


def compare(d, rounds, calls):
    """Print the table: medians over the rounds of `calls` calls each, and ratios to a copy."""
    source, target = normal(make_key(0, 0, 0), d), np.zeros(d)
    rows = list(exchanges(d))
    copies, partitions, times = [], [], {name: ([], []) for name, *_ in rows}
    for _ in range(rounds):
        copies.append(seconds(calls, np.copyto, target, source))
        partitions.append(seconds(calls, partition, source))
        for name, _, encode, decode in rows:
            for kept, call in zip(times[name], (encode, decode), strict=True):
                kept.append(seconds(calls, *call))
    copy, found = median(copies), []
    for name, nbytes, *_ in rows:
        encode, decode = (median(kept) for kept in times[name])
        found.append(
            {"compressor": name, "bits": 8 * nbytes / d, "encode": encode, "decode": decode,
             "encode_copies": encode / copy, "decode_copies": decode / copy}
        )  # fmt: skip
    title = f"d = {d}; np.copyto of {8 * d} bytes: {1e6 * copy:.2f} us"
    show(
        f"{title}; numpy's argpartition for 1 %: {median(partitions) / copy:.1f} copies",
        COLUMNS,
        found,
    )


def write_time(span):
    """Write milliseconds, or microseconds where it is only a few."""
    return f"{1e3 * span:.2f} ms" if span >= 2e-5 else f"{1e6 * span:.2f} us"


COLUMNS = [
    Column("compressor", ""),
    Column("bits", "bits a coordinate"),
    Column("encode", "encode", "s", write=write_time),
    Column("encode_copies", "in copies", write="{:.1f}".format),
    Column("decode", "decode", "s", write=write_time),
    Column("decode_copies", "in copies", write="{:.1f}".format),
]


if __name__ == "__main__":
    quick = options(__doc__).quick
    print(machine_line())
    compare(d=20_000 if quick else 1_000_000, rounds=3 if quick else 41, calls=1)
    compare(d=100, rounds=3 if quick else 15, calls=10 if quick else 300)
