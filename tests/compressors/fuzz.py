"""Payloads made to do harm, for every decoder: ``PYTHONPATH=tests python tests/compressors/fuzz.py``.

Each payload is an honest one that was changed, or noise. A decoder must raise `MessageError` and leave the
accumulator as it was, or take at most the bytes that there are and give finite numbers; it never writes
elsewhere, and needs no more memory than for an honest message. A payload that breaks this is kept in
``corpus.txt``, a line each: row of the table, d, key, payload in hexadecimal; all tests replay them.

    fuzz.py [--payloads 1000000] [--seed 0] [ROW ...]
"""

import argparse
import faulthandler
import sys
import tracemalloc
from pathlib import Path
from time import perf_counter

import numpy as np
from compressors.compressor_table import COMPRESSORS

from distopt.compressors.base import compress
from distopt.core.errors import MessageError
from distopt.core.randomness import make_key
from distopt.core.workspace import Workspace

CORPUS = Path(__file__).with_name("corpus.txt")
SIZES = (1, 7, 8, 33, 100)
GUARD = 16  # numbers around the accumulator
MEMORY = 1 << 20  # bytes that decoding these sizes may allocate


class Target:
    """One decoder at one size, with everything that it is given."""

    def __init__(self, row, d):
        self.row, self.d, self.compressor = row, d, COMPRESSORS[row]
        self.compressor.check(d)
        self.work, self.state = Workspace(), self.compressor.new_state(d)
        self.fresh = {name: array.copy() for name, array in self.state.items()}
        self.acc = np.zeros(d + 2 * GUARD)

    def try_payload(self, payload, key):
        """Decode; return what is wrong, None if nothing is."""
        acc = self.acc
        acc.fill(0.5)
        for name, array in self.state.items():
            array[...] = self.fresh[name]
        inner = acc[GUARD : GUARD + self.d]
        try:
            used = self.compressor.decode_add(payload, 1.0, inner, key, self.state, self.work)
        except MessageError as error:
            if not str(error):
                return "no sentence"
            return None if (acc == 0.5).all() else "wrote before it refused"
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        if not 0 <= used <= payload.size:
            return f"took {used} of {payload.size} bytes"
        if not (acc[:GUARD] == 0.5).all() or not (acc[-GUARD:] == 0.5).all():
            return "wrote outside"
        return None if np.isfinite(inner).all() else "not finite"


def honest(target, rng):
    """Encode a vector of a kind that is drawn."""
    d, kind = target.d, rng.integers(4)
    x = rng.standard_normal(d)
    if kind == 1:
        x *= 10.0 ** rng.integers(-9, 4)
    elif kind == 2:
        x[rng.random(d) < 0.8] = 0.0
    elif kind == 3:
        x = np.full(d, float(rng.integers(-2, 3)))
    key = make_key(int(rng.integers(2**32)), 0, 0)
    return np.frombuffer(compress(target.compressor, x, key)[0], np.uint8), key


def mutate(payload, rng):
    """Change a payload in one of several ways."""
    data, way = payload.copy(), rng.integers(8)
    if way <= 2 and data.size:  # bits
        for _ in range(1 << rng.integers(4)):
            data[rng.integers(data.size)] ^= np.uint8(1 << rng.integers(8))
    elif way == 3 and data.size:  # bytes that are often special
        some = np.array([0x00, 0xFF, 0x7F, 0x80, 0xF0], np.uint8)
        for _ in range(1 + rng.integers(8)):
            data[rng.integers(data.size)] = some[rng.integers(some.size)]
    elif way == 4:
        data = data[: rng.integers(data.size + 1)]
    elif way == 5:
        data = np.append(data, rng.integers(0, 256, rng.integers(1, 20), np.uint8))
    elif way == 6 and data.size:  # a part of it elsewhere
        data = np.roll(data, rng.integers(data.size))
    else:
        data = rng.integers(0, 256, rng.integers(0, 2 * data.size + 8), np.uint8)
    return np.ascontiguousarray(data)


def fuzz(row, payloads, seed=0):
    """Try so many payloads; return the faults: (row, d, key, payload, what is wrong)."""
    found, left = [], payloads
    for number, d in enumerate(SIZES):
        share = left // (len(SIZES) - number)
        left -= share
        try:
            target = Target(row, d)
        except Exception:  # this size is not for this compressor
            left += share
            continue
        rng = np.random.default_rng([seed, d])
        for n in range(share):
            if n % 64 == 0:
                base, key = honest(target, rng)
            payload = mutate(base, rng)
            if n % 1024 == 1:  # every sixteenth, since this makes all slower
                tracemalloc.start()
            wrong = target.try_payload(payload, key)
            if n % 1024 == 64:
                peak = tracemalloc.get_traced_memory()[1]
                wrong = wrong or (f"allocated {peak} bytes" if peak > MEMORY else None)
                tracemalloc.stop()
            if wrong:
                found.append((row, d, key, payload, wrong))
        tracemalloc.stop()
    return found


def corpus():
    """Read the payloads that once broke a decoder."""
    cases = []
    for line in CORPUS.read_text().splitlines():
        if line and not line.startswith("#"):
            row, d, key, payload = line.split()
            words = np.frombuffer(bytes.fromhex(key), "<u4").copy()
            content = "" if payload == "-" else payload
            cases.append((row, int(d), words, np.frombuffer(bytes.fromhex(content), np.uint8)))
    return cases


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", default=[])
    parser.add_argument("--payloads", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    faulthandler.enable()
    total = 0
    for row in asked.rows or COMPRESSORS:
        began = perf_counter()
        found = fuzz(row, asked.payloads, asked.seed)
        total += len(found)
        spent = perf_counter() - began
        say(f"{row}: {asked.payloads} payloads, {len(found)} faults, {spent:.0f} s")
        with CORPUS.open("a") as file:
            for _, d, key, payload, wrong in found[:5]:
                say(f"  d = {d}: {wrong}")
                file.write(f"{row} {d} {key.tobytes().hex()} {payload.tobytes().hex() or '-'}\n")
    raise SystemExit(total > 0)


if __name__ == "__main__":
    main()
