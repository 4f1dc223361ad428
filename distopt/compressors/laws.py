"""What every compressor must obey; for the tests of this package and of users' own compressors."""

from collections.abc import Iterator

import numpy as np

from distopt.compressors.base import Absolute, Adaptive, CodecState, Compressor, Local, Relative
from distopt.core.arrays import F64, U8, U32
from distopt.core.errors import DivergedError, MessageError
from distopt.core.laws import law
from distopt.core.randomness import make_key, normal, words
from distopt.core.workspace import Workspace

GUARD = 64  # bytes or numbers around a buffer that must stay as they are
EPS = float(np.finfo(np.float64).eps)


def check_compressor(
    compressor: Compressor, d: int = 100, samples: int = 100, seed: int = 0
) -> None:
    """Raise `AssertionError` with a sentence unless a compressor keeps the contract of `Compressor`.

    On vectors that are zero, one-hot, equal, alternating, heavy-tailed, tiny, huge or random: the
    same input and key give the same bytes, at most `max_nbytes`; nothing is written outside; decoding
    takes exactly those bytes, adds the weighted values, and keeps both ends' states equal; cut or
    damaged payloads raise `MessageError` before anything was written, or decode to finite numbers;
    and every guarantee holds.

    Parameters
    ----------
    compressor : Compressor
    d : int
        Size of the vectors.
    samples : int
        Keys over which an expectation is averaged; the margin is six standard errors.
    seed : int
        Of the vectors and keys.

    Examples
    --------
    >>> from distopt.compressors.norm_sign import NormSign
    >>> check_compressor(NormSign(), d=10)
    """
    compressor.check(d)
    check_constants(compressor, d)
    if not is_random(compressor, d):
        samples = 1
    for number, (name, x) in enumerate(vectors(compressor, d, seed).items()):
        key = make_key(seed, agent=number, stream=0)
        try:
            check_encoding(compressor, x, key)
            check_decoding(compressor, x, key)
            check_hardening(compressor, x, key)
            check_guarantees(compressor, x, samples, seed)
        except AssertionError as error:
            raise AssertionError(f"{compressor!r}, d = {d}, vector {name!r}: {error}") from None
    check_states(compressor, d, seed)
    check_own(compressor, d, seed)
    check_extremes(compressor, d)


def vectors(compressor: Compressor, d: int, seed: int = 0) -> dict[str, F64]:
    """Make the awkward vectors of size d, inside the magnitudes that a compressor is derived for."""
    smallest, largest = compressor.magnitudes()
    g = normal(make_key(seed, 0, 1), d)
    few = np.where(np.arange(d) % 7 == 3, g, 0.0)
    found = {
        "zero": np.zeros(d),
        "minus zero": np.full(d, -0.0),
        "one-hot": np.where(np.arange(d) == d // 2, -3.0, 0.0),
        "equal": np.full(d, 0.7),
        "alternating": 1.5 * (-1.0) ** np.arange(d),
        "random": g,
        "sparse": few,
        "integers": np.round(3 * g),
        "heavy-tailed": g / (1e-3 + np.abs(np.roll(g, 1))),
        "tiny": np.full(d, max(smallest, 2.0**-960)) * (-1.0) ** np.arange(d),
        "huge": np.full(d, min(largest, 2.0**500) / 2) * np.sign(g),
    }
    # One large entry, the others at half a step of 0 to 8 bits: the worst case of many quantisers.
    for bits in (0, 1, 2, 4, 8):
        found[f"half steps of {bits} bits"] = np.where(np.arange(d) == 0, 1.0, 0.4999 * 2.0**-bits)
    low, high = smallest, largest
    return {
        name: np.where(np.abs(x) < low, 0.0, np.clip(x, -high, high)) + 0.0
        if name != "minus zero"
        else x
        for name, x in found.items()
    }


def encoded(
    compressor: Compressor, x: F64, key: U32, work: Workspace, state: CodecState | None = None,
    fill: int = 0,
) -> U8:  # fmt: skip
    """Encode into a guarded buffer that held `fill`; return a copy of the payload."""
    state = state or compressor.new_state(x.size)
    limit = compressor.max_nbytes(x.size)
    buffer = np.full(limit + 2 * GUARD, fill, np.uint8)
    given, given_key = x.copy(), key.copy()
    nbytes = compressor.encode(x, buffer[GUARD : GUARD + limit], key, state, work)
    assert 0 <= nbytes <= limit, f"encode used {nbytes} bytes; max_nbytes is {limit}"
    outside = np.concatenate([buffer[:GUARD], buffer[GUARD + limit :]])
    assert (outside == fill).all(), "encode wrote outside its buffer"
    assert np.array_equal(x, given), "encode changed x"
    assert np.array_equal(key, given_key), "encode changed the key"
    return buffer[GUARD : GUARD + nbytes].copy()


def decoded(
    compressor: Compressor, payload: U8, d: int, key: U32, work: Workspace, weight: float = 1.0,
    start: float = 0.0,
) -> tuple[F64, int]:  # fmt: skip
    """Decode into a guarded accumulator with the initial state; return it and the bytes consumed."""
    acc = np.full(d + 2 * GUARD, start)
    acc[:GUARD] = acc[GUARD + d :] = np.nan
    given = payload.copy()
    try:
        nbytes = compressor.decode_add(
            payload, weight, acc[GUARD : GUARD + d], key, compressor.new_state(d), work
        )
    except MessageError:
        assert (acc[GUARD : GUARD + d] == start).all(), "decode_add wrote before it raised"
        raise
    finally:
        assert np.array_equal(payload, given), "decode_add changed the payload"
        outside = np.concatenate([acc[:GUARD], acc[GUARD + d :]])
        assert np.isnan(outside).all(), "decode_add wrote outside acc"
    return acc[GUARD : GUARD + d].copy(), nbytes


@law("constants")
def check_constants(compressor: Compressor, d: int) -> None:
    """The constants of every guarantee are in their ranges, and there is one at least."""
    guarantees = compressor.guarantees(d)
    assert guarantees, f"{compressor!r} has no guarantee for d = {d}; let check(d) refuse it"
    for g in guarantees:
        if isinstance(g, Relative):
            fine = g.r > 0 and 0 < g.psi <= 1
        elif isinstance(g, Absolute):
            fine = g.p >= 1 and g.C >= 0
        elif isinstance(g, Local):
            fine = g.p >= 1 and 0 < g.phi <= 1
        else:
            fine = True
        assert fine, f"{compressor!r}: {g} is out of range for d = {d}"


@law("encoding")
def check_encoding(compressor: Compressor, x: F64, key: U32) -> None:
    """The bytes depend on x, key and state only, never on what buffers held before."""
    work = Workspace()
    first = encoded(compressor, x, key, work, fill=0)
    other = np.cos(np.arange(x.size))
    encoded(compressor, other, make_key(9, 9, 9), work)
    again = encoded(compressor, x, key, work, fill=0xFF)
    assert np.array_equal(first, again), "encode gave other bytes the second time"


@law("decoding")
def check_decoding(compressor: Compressor, x: F64, key: U32) -> None:
    """Decoding takes the bytes of this vector, no matter what follows, and adds weight C(x)."""
    d, work = x.size, Workspace()
    payload = encoded(compressor, x, key, work)
    values, nbytes = decoded(compressor, payload, d, key, work)
    assert nbytes == payload.size, f"decode_add took {nbytes} bytes of {payload.size}"
    assert np.isfinite(values).all(), "C(x) is not finite"
    if not x.any() and isinstance(compressor.guarantee(d, Relative), Relative):
        assert not values.any(), "C(0) is not 0 despite a relative guarantee"
    followers = (np.zeros(GUARD, np.uint8), words(key, GUARD).astype(np.uint8))
    for junk in () if compressor.ends_message else followers:
        longer, nbytes = decoded(compressor, np.concatenate([payload, junk]), d, key, work)
        assert nbytes == payload.size, "what follows the payload changes the bytes consumed"
        assert np.array_equal(longer, values), "what follows the payload changes the values"
    size = max(float(np.abs(values).max()), 1e-300)
    for weight in (0.0, -2.0, 0.3):
        acc, _ = decoded(compressor, payload, d, key, work, weight, start=size)
        error = np.abs(acc - (size + weight * values)).max()
        assert error <= 4 * EPS * size * (1 + abs(weight)), "decode_add does not add weight C(x)"


@law("hardening")
def check_hardening(compressor: Compressor, x: F64, key: U32) -> None:
    """Cut payloads raise, damaged ones raise or give finite values; nothing else is written."""
    d, work = x.size, Workspace()
    payload = encoded(compressor, x, key, work)
    for nbytes in sorted({*range(min(payload.size, 16)), payload.size // 2, payload.size - 1}):
        if not 0 <= nbytes < payload.size or compressor.ends_message:
            continue  # where the length ends the message, a shorter one may be another message
        try:
            decoded(compressor, payload[:nbytes].copy(), d, key, work)
        except MessageError:
            continue
        raise AssertionError(f"{nbytes} of {payload.size} bytes decode without an error")
    for broken in damaged(payload, key):
        try:
            values, nbytes = decoded(compressor, broken, d, key, work)
        except MessageError:
            continue
        assert nbytes <= broken.size, "decode_add took more bytes than there are"
        assert np.isfinite(values).all(), "a damaged payload decodes to nan or infinity"


def damaged(payload: U8, key: U32) -> Iterator[U8]:
    """Make payloads with single flipped bits, bytes set to 255, and noise."""
    noise = words(key, 64 + payload.size)
    if payload.size:
        head = [(i // 8, i % 8) for i in range(min(8 * payload.size, 96))]
        spread = [(int(w) % payload.size, int(w) % 8) for w in noise[:64]]
        for byte, bit in [*head, *spread, (payload.size - 1, 7)]:
            broken = payload.copy()
            broken[byte] ^= np.uint8(1 << bit)
            yield broken
        for byte in range(min(payload.size, 12)):
            broken = payload.copy()
            broken[byte:] = 0xFF
            yield broken
    yield noise[64:].astype(np.uint8)
    yield np.zeros(payload.size, np.uint8)


@law("equal states")
def check_states(compressor: Compressor, d: int, seed: int) -> None:
    """Over several messages the states of both ends advance identically."""
    sender, receiver = compressor.new_state(d), compressor.new_state(d)
    key, work = make_key(seed, 1, 0), Workspace()
    for k in range(4):
        key[2] = k
        payload = encoded(compressor, normal(make_key(seed, k, 2), d) * 0.5**k, key, work, sender)
        compressor.decode_add(payload, 1.0, np.zeros(d), key, receiver, work)
        for name, array in sender.items():
            assert np.array_equal(array, receiver[name]), (
                f"{compressor!r}: state {name!r} differs between the ends after message {k}"
            )


@law("own messages")
def check_own(compressor: Compressor, d: int, seed: int) -> None:
    """What a sender takes from the room for its own messages is what decoding them gives."""
    room, receiver = compressor.new_room(d), compressor.new_state(d)
    if not room:
        return
    sender = compressor.new_state(d) | room
    key, work = make_key(seed, 1, 0), Workspace()
    for k in range(4):
        key[2] = k
        payload = encoded(compressor, normal(make_key(seed, k, 2), d) * 0.5**k, key, work, sender)
        compressor.encode(
            np.ones(d),
            np.zeros(compressor.max_nbytes(d), np.uint8),
            key,
            compressor.new_state(d),
            work,
        )
        own, other = np.ones(d), np.ones(d)
        nbytes = compressor.decode_add(payload, 0.3, own, key, sender, work)
        assert (
            nbytes
            == compressor.decode_add(payload, 0.3, other, key, receiver, work)
            == payload.size
        )
        assert np.array_equal(own, other), (
            f"{compressor!r}: message {k} is another one to its sender"
        )
        for name, array in receiver.items():
            assert np.array_equal(array, sender[name]), (
                f"{compressor!r}: state {name!r} differs between the ends after message {k}"
            )


@law("extremes")
def check_extremes(compressor: Compressor, d: int) -> None:
    """Beyond the range of the guarantees: `DivergedError`, or finite values."""
    key, work = make_key(0, 0, 0), Workspace()
    for x in (np.full(d, 1e300 / d), np.full(d, -5e-324), np.full(d, 1e-310), np.full(d, 1e-42)):
        try:
            payload = encoded(compressor, x, key, work)
        except DivergedError:
            continue
        values, _ = decoded(compressor, payload, d, key, work)
        assert np.isfinite(values).all(), f"{compressor!r}: C(x) is not finite for x = {x[0]}"


@law("guarantees")
def check_guarantees(compressor: Compressor, x: F64, samples: int, seed: int) -> None:
    """Every guarantee holds for x; expectations are averaged over the keys."""
    for guarantee in compressor.guarantees(x.size):
        if isinstance(guarantee, Adaptive):
            continue  # promises nothing of one vector
        errors, bound = measured(compressor, guarantee, x, samples, seed)
        limit = bound * (1 + 1e-9)
        if samples > 1 and not isinstance(guarantee, Local):
            spread = max(float(errors.var()), limit * max(float(errors.max()), limit))
            limit += 6 * float(np.sqrt(spread / samples))
            worst = float(errors.mean())
        else:
            worst = float(errors.max())
        assert worst <= limit, f"{guarantee} allows {bound:.9g}; measured {worst:.9g}"


def is_random(compressor: Compressor, d: int) -> bool:
    """Tell whether C(x) depends on the key for an x of many different entries."""
    x = 1 / np.sqrt(3.0 + np.arange(d))  # on no grid of powers of two, not even for d = 1
    results, work = [], Workspace()
    for sample in range(16):
        key = make_key(sample, 0, 0)
        payload = encoded(compressor, x, key, work)
        results.append(decoded(compressor, payload, d, key, work)[0])
    return any(not np.array_equal(results[0], other) for other in results[1:])


def measured(
    compressor: Compressor, guarantee: Relative | Absolute | Local, x: F64, samples: int, seed: int
) -> tuple[F64, float]:
    """Return what a guarantee bounds, for every sampled key, and its bound."""
    d, largest = x.size, float(np.abs(x).max())
    if isinstance(guarantee, Local) and largest > 0:  # onto the unit sphere
        x = x / largest
        x = np.clip(x / np.linalg.norm(x, guarantee.p), -1.0, 1.0)
    errors, work = np.empty(samples), Workspace()
    for sample in range(samples):
        key = make_key(seed, sample, 0)
        values, _ = decoded(compressor, encoded(compressor, x, key, work), d, key, work)
        if isinstance(guarantee, Relative):
            unit = largest or 1.0
            difference = values / unit / guarantee.r - x / unit
            norm = float(np.linalg.norm(x / unit)) or 1.0
            errors[sample] = (np.linalg.norm(difference) / norm) ** 2
        else:
            errors[sample] = np.linalg.norm(values - x, guarantee.p)
    if isinstance(guarantee, Relative):
        return errors, 1 - guarantee.psi + 8 * EPS
    if isinstance(guarantee, Absolute):
        return errors**2, guarantee.C**2 + (8 * EPS * largest) ** 2
    return errors, 1 - guarantee.phi + 8 * EPS
