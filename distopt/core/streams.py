"""The table of all streams of random words: no two draws for different purposes share a number.

A key names a stream by seed, agent, iteration and one of these numbers (`distopt.core.randomness`). Each
purpose owns `width` numbers from its first one on; a test shows that all are disjoint.
"""

from enum import IntEnum, unique

_START, _BATCH, _SHARED, _ROUNDING, _BLOCKS = (n << 16 for n in range(1, 6))


@unique
class Stream(IntEnum):
    """First number of a purpose, and its `width`: how many numbers belong to it.

    >>> Stream.BATCH + 1, Stream.BATCH.width
    (131073, 65536)
    """

    width: int

    def __new__(cls, first: int, width: int = 1) -> "Stream":  # noqa: D102
        member = int.__new__(cls, first)
        member._value_, member.width = first, width
        return member

    # Of one agent.
    MESSAGE = 0, 1 << 12  # + v: vector v of a message, in the order in which they are packed
    VALUES = 1 << 12, 1 << 12  # + v: what a sparsifier keeps of vector v, compressed again
    CHANNEL = 1 << 13, 1 << 12  # + v: noise on vector v
    START = _START  # start vectors
    COEFFICIENTS = _START + 1  # of the PL cost
    MATRIX = _START + 2  # of a quadratic cost
    CENTRE = _START + 3
    SAMPLES = _START + 4  # synthetic ones
    BATCH = _BATCH, 1 << 16  # + i: mini-batch i of an iteration

    # Of no agent.
    GRAPH = _SHARED  # a random topology
    BASIS = _SHARED + 1  # of the PL cost
    SPLIT = _SHARED + 2  # of samples over agents
    TEACHER = _SHARED + 3  # of synthetic samples
    TYPICAL = _SHARED + 6  # vectors that the rules of "auto" try compressors on
    AUDIT = _SHARED + 7  # signs of the functional that audits sums
    DIAGONAL = _SHARED + 8  # curvatures and minimisers
    INTEGER_WEIGHTS = _SHARED + 9
    SKETCH = _SHARED + 11  # signs of the sketches that guess P
    LEAVING = _SHARED + 10  # the common start where all gradients are zero at 0
    LINKS = _SHARED + 12  # which edges of a graph are up in an iteration
    SLEEP = _SHARED + 13  # which agents are asleep in an iteration
    WEIGHTS = _SHARED + 16  # of networks; the next six are of their data
    SENSING = _SHARED + 17
    SUPPORT = _SHARED + 18
    ENTRIES = _SHARED + 19
    NOISE = _SHARED + 20
    PATCH = _SHARED + 21
    DICTIONARY = _SHARED + 22
    EXPERIMENT = _SHARED + 100, 28  # benchmarks
    OWN = _SHARED + (1 << 15), 1 << 15  # costs outside this package

    ROUNDING = _ROUNDING, 1 << 16  # + s: site of rounding s
    BLOCKS = _BLOCKS, 1 << 31  # + 2^16 b: added to the number of a vector for its block b


@unique
class Probe(IntEnum):
    """Streams of measurements outside of any run, whose numbers they may therefore share."""

    KERNEL = 0  # where Lanczos's method starts
    CURVATURE = 1  # where a power iteration starts
