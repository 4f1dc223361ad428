"""Entropy coders: codes a second as ratios to a copy, bytes as ratios to the entropy, beside rivals.

    python benchmarks/coders.py [--quick]

Two kinds of codes, 5, 30 and 60 % of them not zero, 0.3 % beyond +-1: "independent", and "habits", where a
coordinate that was busy in the last message is busier in this one and keeps its sign. The reference is
the entropy: of the distribution that the codes are drawn from, the past of each coordinate given. zlib gets
the codes as bytes. Every round runs np.copyto of d int8 and then every coder, so that all see the same
machine; medians over the rounds, of processor time (one thread). The coders have seen earlier messages.
"""

import zlib
from statistics import median
from time import thread_time

import numpy as np
from shared import machine_line, options, show

from distopt.compressors.coders.bits import flush_bits
from distopt.compressors.coders.entropy import FastCoder, RangeCoder, RansCoder
from distopt.compressors.coders.gamma import MAX_BITS, read_gamma, write_gamma
from distopt.core.randomness import make_key, uniform
from distopt.core.workspace import Workspace
from distopt.studies.results import Column, write_count

LARGE = 0.003  # of the codes are beyond +-1


class Gamma:
    """Elias-gamma codes, with the interface of a coder."""

    def __init__(self):
        self.integers = np.zeros(0, np.int64)

    def new_state(self, d):
        self.integers = np.zeros(d, np.int64)
        return {}

    def max_nbytes(self, d):
        return MAX_BITS * d // 8 + 8

    def encode(self, codes, out, state, work):
        self.integers[:] = codes
        return flush_bits(out, *write_gamma(self.integers, codes.size, out, 0, np.uint64(0), 0))

    def decode(self, payload, codes, state, work):
        bit = read_gamma(payload, 0, self.integers, codes.size)
        codes[:] = self.integers
        return (bit + 7) // 8


class Zlib:
    """zlib, with the interface of a coder."""

    def __init__(self, level):
        self.level = level

    def new_state(self, d):
        return {}

    def max_nbytes(self, d):
        return 2 * d + 100

    def encode(self, codes, out, state, work):
        packed = zlib.compress(codes.tobytes(), self.level)
        out[: len(packed)] = np.frombuffer(packed, np.uint8)
        return len(packed)

    def decode(self, payload, codes, state, work):
        codes[:] = np.frombuffer(zlib.decompress(payload.tobytes()), np.int8)
        return payload.size


ROWS = {
    "range": lambda: RangeCoder(-127, 127),
    "rans": lambda: RansCoder(-127, 127),
    "fast": lambda: FastCoder(-127, 127),
    "Elias-gamma": Gamma,
    "zlib, level 1": lambda: Zlib(1),
    "zlib, level 6": lambda: Zlib(6),
}


def next_codes(codes, nonzero, habits, k):
    """Draw message k after `codes`; return it and its entropy in bytes."""
    d = codes.size
    busy = codes != 0
    p = np.full(d, nonzero)
    keeps = np.full(d, 0.5)
    if habits:  # the stationary share is `nonzero` in both cases
        p = np.where(busy, min(1.6 * nonzero, 0.9), 0.0)
        p[~busy] = nonzero * (1 - p.max()) / (1 - nonzero)
        keeps = np.where(busy, 0.8, 0.5)
    u, v, w = (uniform(make_key(k, j, 0), d) for j in range(3))
    sign = np.where(v < keeps, np.where(codes < 0, -1, 1), np.where(codes < 0, 1, -1))
    size = 1 + (w < LARGE / nonzero)
    found = np.where(u < p, sign * size, 0).astype(np.int8)
    bits = entropy(p) + p * (entropy(keeps) + entropy(np.full(d, LARGE / nonzero)))
    return found, bits.sum() / 8


def entropy(p):
    """Return the entropy of binary choices in bits."""
    p = np.clip(p, 1e-300, 1 - 1e-16)
    return -(p * np.log2(p) + (1 - p) * np.log2(1 - p))


def compare(nonzero, habits, d, rounds):
    """Print the table of one kind of codes."""
    codes, source, target = np.zeros(d, np.int8), np.zeros(d, np.int8), np.zeros(d, np.int8)
    rows, work = {name: make() for name, make in ROWS.items()}, Workspace()
    states = {name: (c.new_state(d), c.new_state(d)) for name, c in rows.items()}
    outs = {name: np.zeros(c.max_nbytes(d), np.uint8) for name, c in rows.items()}
    times = {name: ([], []) for name in rows}
    sizes, copies = {name: [] for name in rows}, []
    for k in range(rounds + 3):
        codes, ideal = next_codes(codes, nonzero, habits, k)
        began = thread_time()
        np.copyto(target, source)
        copies.append(thread_time() - began)
        for name, coder in rows.items():
            began = thread_time()
            nbytes = coder.encode(codes, outs[name], states[name][0], work)
            middle = thread_time()
            coder.decode(outs[name][:nbytes], target, states[name][1], work)
            ended = thread_time()
            assert (target == codes).all(), name
            if k >= 3:
                times[name][0].append(middle - began)
                times[name][1].append(ended - middle)
                sizes[name].append(nbytes / ideal)
    kind, copy = "with habits" if habits else "independent", median(copies)
    found = []
    for name in rows:
        encode, decode = (median(kept) for kept in times[name])
        found.append(
            {"coder": name, "bytes": median(sizes[name]), "encode": d / encode / 1e6,
             "encode_copies": encode / copy, "decode": d / decode / 1e6, "decode_copies": decode / copy}
        )  # fmt: skip
    title = f"{100 * nonzero:.0f} % not zero, {kind}: entropy {8 * ideal / d:.4f} bits a code"
    show(title, COLUMNS, found)


COLUMNS = [
    Column("coder", ""),
    Column("bytes", "bytes / entropy", write="{:.4f}".format),
    Column("encode", "encode, M/s", write=write_count),
    Column("encode_copies", "in copies", write=write_count),
    Column("decode", "decode, M/s", write=write_count),
    Column("decode_copies", "in copies", write=write_count),
]


if __name__ == "__main__":
    quick = options(__doc__).quick
    print(machine_line())
    for habits in (False, True):
        for nonzero in (0.3,) if quick else (0.05, 0.3, 0.6):
            compare(nonzero, habits, 20_000 if quick else 1 << 20, 3 if quick else 9)
