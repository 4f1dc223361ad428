"""How fast fixed-point arithmetic is: against a copy of the same bytes, BLAS and other packages.

    python benchmarks/fixedpoint.py [--quick]

1. float64 to 8-bit codes, saturating, against np.copyto of 4.5 bytes a value, which moves the same 9
   bytes (reading 8 of them alone takes longer than that). In cache, and in memory: arrays of
   several times the largest cache, unless --quick.
2. int8 matrix-vector products against numpy's float32, one thread.
3. Packages that have stochastic rounding to fixed point, where they are installed: qtorch, pychop,
   apytypes. They are no dependency of distopt.

Every round runs all rows, so that all see the same machine; printed are medians over the rounds of
processor time, ratios of these, and the best ratio of any round (which a busy machine hides).
"""

import importlib
from statistics import median
from time import thread_time

import numpy as np
from shared import machine_line, options, show
from threadpoolctl import threadpool_limits

from distopt.core.workspace import Workspace
from distopt.fixedpoint import Format, Rounding, encode, matvec, rounding_key
from distopt.studies.results import Column

Q = Format(3, 5)
MODES = {
    "RN": Rounding("RN"),
    "SR": Rounding("SR"),
    "SR_eps, eps = 0.1": Rounding("SR_eps", eps=0.1),
    "signed_SR_eps, eps = 0.1": Rounding("signed_SR_eps", eps=0.1),
}
TARGETS = {"SR": 0.5, "SR_eps, eps = 0.1": 0.4}  # of the copy, in memory


def seconds(function, calls=1):
    began = thread_time()
    for _ in range(calls):
        function()
    return (thread_time() - began) / calls


def interleaved(rows, rounds, calls=1):
    """Time all rows in every round; return {name: [seconds of each round]}."""
    for function in rows.values():
        function()  # compiles, and touches every page
    times = {name: [] for name in rows}
    for _ in range(rounds):
        for name, function in rows.items():
            times[name].append(seconds(function, calls))
    return times


def tabulate(title, times, reference, size, unit, targets=None):
    rows = []
    for name, spent in times.items():
        ratios = sorted(b / s for b, s in zip(times[reference], spent, strict=True))
        rows.append(
            {"row": name, "ns": median(spent) / size * 1e9, "ratio": median(ratios),
             "best": ratios[-1], "target": (targets or {}).get(name)}
        )  # fmt: skip
    columns = [
        Column("row", ""),
        Column("ns", f"ns/{unit}", write="{:.3f}".format),
        Column("ratio", f"of {reference}", write="{:.3f}".format),
        Column("best", "best round", write="{:.3f}".format),
        Column("target", "target"),
    ]
    show(title, columns, rows)


def values(size):
    x = np.random.default_rng(0).normal(size=size)
    return np.clip(x, -3.9, 3.9, out=x)


def rounding(title, size, rounds, calls):
    """float64 -> 8 bits against a copy of the same bytes."""
    x, v, out = values(size), np.ones(size), np.ones(size, Q.dtype)
    source = np.random.default_rng(1).integers(0, 2**63, size * 9 // 16)
    target = np.ones_like(source)
    key, work = rounding_key(0, 0), Workspace()
    rows = {"np.copyto, 9 bytes a value": lambda: np.copyto(target, source)}
    for name, mode in MODES.items():
        codes = encode(x, Q, mode, key, v=v, out=out, checked=True).codes
        assert np.abs(codes[:1_000_000] * Q.unit - x[:1_000_000]).max() <= Q.unit
        rows[name] = lambda mode=mode: encode(
            x, Q, mode, key, v=v, out=out, checked=True, work=work
        )
    rows["SR, finiteness seen first"] = lambda: encode(x, Q, MODES["SR"], key, out=out, work=work)
    times = interleaved(rows, rounds, calls)
    tabulate(title, times, "np.copyto, 9 bytes a value", size, "value", TARGETS)


def products(title, shape, rounds, calls):
    """int8 x int8 -> int64 against float32."""
    generator = np.random.default_rng(0)
    a = generator.integers(-128, 128, shape).astype(np.int8)
    x = generator.integers(-128, 128, shape[1]).astype(np.int8)
    wide, floats, x_floats = x.astype(np.int16), a.astype(np.float32), x.astype(np.float32)
    out, out_floats = np.empty(shape[0], np.int64), np.empty(shape[0], np.float32)
    np.testing.assert_array_equal(matvec(a[:50], x), a[:50].astype(np.int64) @ x.astype(np.int64))
    rows = {
        "numpy float32": lambda: np.matmul(floats, x_floats, out=out_floats),
        "int8 x int8": lambda: matvec(a, x, out),
        "int8 x int16": lambda: matvec(a, wide, out),
    }
    with threadpool_limits(1):
        times = interleaved(rows, rounds, calls)
    tabulate(title, times, "numpy float32", a.size, "product")


def qtorch(x):
    torch = importlib.import_module("torch")
    quant = importlib.import_module("qtorch.quant")
    torch.set_num_threads(1)
    floats = torch.from_numpy(x.astype(np.float32))
    return lambda: quant.fixed_point_quantize(floats, wl=8, fl=5, rounding="stochastic")


def pychop(x):
    chop = importlib.import_module("pychop").Chopf(ibits=3, fbits=5, rmode=5)
    return lambda: chop(x)


def apytypes(x):
    package = importlib.import_module("apytypes")
    wide = package.APyFixedArray.from_float(x, int_bits=3, frac_bits=32)
    mode = package.QuantizationMode.STOCH_WEIGHTED
    saturate = package.OverflowMode.SAT
    return lambda: wide.cast(int_bits=3, frac_bits=5, quantization=mode, overflow=saturate)


def rivals(title, size, rounds):
    """SR to Q3.5 by other packages."""
    x, out, key, work = values(size), np.ones(size, Q.dtype), rounding_key(0, 0), Workspace()
    generator = np.random.default_rng(0)

    def recipe():
        return np.clip(np.floor(x * 32 + generator.random(x.size)), -128, 127).astype(np.int8)

    rows = {
        "distopt SR": lambda: encode(x, Q, MODES["SR"], key, out=out, checked=True, work=work),
        "numpy recipe": recipe,
    }
    for make in (qtorch, pychop, apytypes):
        try:
            rows[make.__name__] = make(x)
        except ImportError as error:
            print(f"  {make.__name__} is not installed ({error.name}): skipped")
    tabulate(title, interleaved(rows, rounds), "distopt SR", size, "value")


def main():
    given = options(__doc__, rounds={"type": int, "default": 9})
    rounds = 3 if given.quick else given.rounds
    print(machine_line())
    rounding("float64 to Q3.5, in cache (16384 values)", 16_384, rounds, calls=20)
    big = 1_000_000 if given.quick else 60_000_000
    rounding(f"float64 to Q3.5, in memory ({big * 9 / 1e6:.0f} MB)", big, rounds, calls=1)
    shape = (2_000, 784) if given.quick else (100_000, 4_096)
    products(f"matrix-vector product, {shape[0]} x {shape[1]}", shape, rounds, calls=1)
    size = 200_000 if given.quick else 10_000_000
    rivals("stochastic rounding to Q3.5 by others", size, 3)


if __name__ == "__main__":
    main()
