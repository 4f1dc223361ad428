"""The rivals of `benchmarks/speed.py`: what an expert writes for one method, one graph and one problem.

Loops of fused numba kernels over a ring, with persistent requests and a blocking wait. They know
neither failures nor signals, records, checkpoints, checksums, other graphs nor other compressors, and
they check no number that they receive. Their trajectories are distopt's, to the bit.
"""

import numpy as np
from mpi4py import MPI

from distopt.core.kernel import kernel

TILE = 2048
BITS, LEVELS = 3, 2  # of a coordinate: 2 bits and a sign
HEAD = 4  # bytes of the scale


class Ring:
    """A rank of a ring and its persistent requests: `own` to both neighbours, `received` from them."""

    def __init__(self, comm, own, received):
        left, right = sorted([(comm.rank - 1) % comm.size, (comm.rank + 1) % comm.size])
        self.requests = [
            comm.Recv_init(received[0], left),
            comm.Recv_init(received[1], right),
            comm.Send_init(own, left),
            comm.Send_init(own, right),
        ]

    def exchange(self):
        MPI.Prequest.Startall(self.requests)
        MPI.Request.Waitall(self.requests)


class Bare(Ring):
    """The bytes of an iteration, one pass over memory and the gradient: no method can do with less."""

    def __init__(self, comm, cost, nbytes):
        self.cost, d = cost, cost.dimension
        super().__init__(comm, np.zeros(nbytes, np.uint8), np.zeros((2, nbytes), np.uint8))
        self.x, self.g = np.ones(d), np.ones(d)

    def run(self, iterations):
        for _ in range(iterations):
            self.exchange()
            one_pass(self.x, self.g, 1e-9)
            self.cost.gradient(self.x, self.g)


@kernel
def one_pass(x, g, eta):
    for i in range(x.size):
        x[i] -= eta * g[i]


class GradientTracking(Ring):
    """gt: x and y are the message."""

    def __init__(self, comm, cost, eta, gamma, weights):
        self.cost, d = cost, cost.dimension
        self.own, self.received = np.empty((2, d)), np.empty((2, 2, d))
        super().__init__(comm, self.own, self.received)
        self.x, self.y = self.own
        self.numbers, self.gamma = (*weights, eta, gamma), gamma
        self.g, self.new = np.empty(d), np.empty(d)
        self.x[:] = cost.start
        cost.gradient(self.x, self.g)
        self.y[:] = self.g

    def run(self, iterations):
        for _ in range(iterations):
            self.exchange()
            descend_averaged(self.own, self.received, *self.numbers)
            self.cost.gradient(self.x, self.new)
            track_averaged(self.y, self.received, self.new, self.g, *self.numbers)
            self.g, self.new = self.new, self.g


@kernel
def descend_averaged(own, received, w0, w1, eta, gamma):
    x, y, a, b = own[0], own[1], received[0, 0], received[1, 0]
    for i in range(x.size):
        x[i] = x[i] + gamma * (x[i] * -(w0 + w1) + w0 * a[i] + w1 * b[i]) - eta * y[i]


@kernel
def track_averaged(y, received, new, g, w0, w1, eta, gamma):
    a, b = received[0, 1], received[1, 1]
    for i in range(y.size):
        y[i] = y[i] + gamma * (y[i] * -(w0 + w1) + w0 * a[i] + w1 * b[i]) + (new[i] - g[i])


def packed_size(d):
    return HEAD + (BITS * d + 7) // 8


class CompressedTracking(Ring):
    """cgt1, alpha = 1, 2 bits and a sign to the nearest level."""

    def __init__(self, comm, cost, eta, gamma, weights):
        self.cost, d = cost, cost.dimension
        self.size = packed_size(d)
        self.own, self.received = (
            np.zeros(2 * self.size, np.uint8),
            np.zeros((2, 2 * self.size), np.uint8),
        )
        super().__init__(comm, self.own, self.received)
        self.numbers = (*weights, eta, gamma)
        self.x, self.g, self.new = cost.start.copy(), np.empty(d), np.empty(d)
        self.hx, self.hy, self.codes = np.zeros((3, d)), np.zeros((3, d)), np.empty(TILE, np.uint8)
        cost.gradient(self.x, self.g)
        self.y = self.g.copy()

    def run(self, iterations):
        size, (x, y, hx, hy, own, received) = self.size, (
            self.x, self.y, self.hx, self.hy, self.own, self.received
        )  # fmt: skip
        for _ in range(iterations):
            encode(x, hx[0], self.codes, own[:size])
            encode(y, hy[0], self.codes, own[size:])
            self.exchange()
            decode_descend(own, received, hx, x, y, self.codes, *self.numbers)
            self.cost.gradient(x, self.new)
            decode_track(own, received, size, hy, y, self.new, self.g, self.codes, *self.numbers)
            self.g, self.new = self.new, self.g


class Lead(Ring):
    """lead, alpha = 1, 2 bits and a sign to the nearest level."""

    def __init__(self, comm, cost, eta, gamma, weights):
        self.cost, d = cost, cost.dimension
        size = packed_size(d)
        self.own, self.received = np.zeros(size, np.uint8), np.zeros((2, size), np.uint8)
        super().__init__(comm, self.own, self.received)
        self.eta, self.numbers = eta, (*weights, eta, gamma)
        self.x, self.g, self.D, self.z = cost.start.copy(), np.empty(d), np.zeros(d), np.empty(d)
        self.h, self.codes = np.zeros((3, d)), np.empty(TILE, np.uint8)
        cost.gradient(self.x, self.g)

    def run(self, iterations):
        x, g, D, z, h = self.x, self.g, self.D, self.z, self.h
        for _ in range(iterations):
            largest = aim(x, g, D, h[0], self.eta, z)
            encode_known(z, largest, self.codes, self.own)
            self.exchange()
            decode_correct(self.own, self.received, h, x, g, D, self.codes, *self.numbers)
            self.cost.gradient(x, g)


@kernel
def aim(x, g, D, h, eta, z):
    largest = np.int64(0)
    for i in range(x.size):
        z[i] = (g[i] + D[i]) * -eta + x[i] - h[i]
        largest = max(largest, np.float64(z[i]).view(np.int64) & np.int64(0x7FFFFFFFFFFFFFFF))
    return np.int64(largest).view(np.float64)


@kernel
def round_up(norm):
    """The smallest float32 that is not below."""
    scale = np.float32(norm)
    if np.float64(scale) < norm:
        scale = np.uint32(np.float32(scale).view(np.uint32) + np.uint32(1)).view(np.float32)
    return scale


@kernel
def store_head(scale, out):
    word = np.float32(scale).view(np.uint32)
    for i in range(4):
        out[i] = np.uint8(word >> np.uint32(8 * i))


@kernel
def load_head(payload):
    word = np.uint32(0)
    for i in range(4):
        word |= np.uint32(payload[i]) << np.uint32(8 * i)
    return np.float64(np.uint32(word).view(np.float32))


@kernel
def pack_tile(codes, count, out):
    """Eight codes are three bytes."""
    for group in range((count + 7) // 8):
        word = np.uint32(0)
        for j in range(8):
            word |= np.uint32(codes[8 * group + j]) << np.uint32(3 * j)
        for j in range(min(3, out.size - 3 * group)):
            out[3 * group + j] = np.uint8(word >> np.uint32(8 * j))


@kernel
def unpack_tile(payload, count, codes):
    for group in range((count + 7) // 8):
        word = np.uint32(0)
        for j in range(min(3, payload.size - 3 * group)):
            word |= np.uint32(payload[3 * group + j]) << np.uint32(8 * j)
        for j in range(8):
            codes[8 * group + j] = (word >> np.uint32(3 * j)) & np.uint32(7)


@kernel
def level(v, scale):
    size = (abs(v) / scale) * LEVELS
    floor = np.int32(size)
    q = floor + np.int32(size - floor >= 0.5)
    return np.int32(LEVELS) + (-q if v < 0.0 else q)


@kernel
def encode(x, h, codes, out):
    largest = np.int64(0)
    for i in range(x.size):
        largest = max(
            largest, np.float64(x[i] - h[i]).view(np.int64) & np.int64(0x7FFFFFFFFFFFFFFF)
        )
    scale = round_up(np.int64(largest).view(np.float64))
    store_head(scale, out)
    wide = np.float64(scale)
    for start in range(0, x.size, TILE):
        xs, hs = x[start : start + TILE], h[start : start + TILE]
        for i in range(xs.size):
            codes[i] = level(xs[i] - hs[i], wide) if wide > 0.0 else LEVELS
        codes[xs.size : (xs.size + 7) // 8 * 8] = 0
        at = HEAD + 3 * start // 8
        pack_tile(codes, xs.size, out[at : at + (3 * xs.size + 7) // 8])


@kernel
def encode_known(z, largest, codes, out):
    scale = round_up(largest)
    store_head(scale, out)
    wide = np.float64(scale)
    for start in range(0, z.size, TILE):
        zs = z[start : start + TILE]
        for i in range(zs.size):
            codes[i] = level(zs[i], wide) if wide > 0.0 else LEVELS
        codes[zs.size : (zs.size + 7) // 8 * 8] = 0
        at = HEAD + 3 * start // 8
        pack_tile(codes, zs.size, out[at : at + (3 * zs.size + 7) // 8])


@kernel
def advance(payload, start, h, codes):
    """h[start:] += the decoded tile."""
    scale = load_head(payload)
    hs = h[start : start + TILE]
    at = HEAD + 3 * start // 8
    unpack_tile(payload[at : at + (3 * hs.size + 7) // 8], hs.size, codes)
    for i in range(hs.size):
        hs[i] += np.float64(np.int32(codes[i]) - np.int32(LEVELS)) * (1.0 / LEVELS) * scale
    return hs


@kernel
def decode_descend(own, received, h, x, y, codes, w0, w1, eta, gamma):
    size = own.size // 2
    for start in range(0, x.size, TILE):
        me = advance(own[:size], start, h[0], codes)
        a = advance(received[0, :size], start, h[1], codes)
        b = advance(received[1, :size], start, h[2], codes)
        xs, ys = x[start : start + TILE], y[start : start + TILE]
        for i in range(xs.size):
            mixed = w0 * (a[i] - me[i]) + w1 * (b[i] - me[i])
            xs[i] = xs[i] + gamma * mixed - eta * ys[i]


@kernel
def decode_track(own, received, size, h, y, new, g, codes, w0, w1, eta, gamma):
    for start in range(0, y.size, TILE):
        me = advance(own[size:], start, h[0], codes)
        a = advance(received[0, size:], start, h[1], codes)
        b = advance(received[1, size:], start, h[2], codes)
        ys, gs, ns = y[start : start + TILE], g[start : start + TILE], new[start : start + TILE]
        for i in range(ys.size):
            mixed = w0 * (a[i] - me[i]) + w1 * (b[i] - me[i])
            ys[i] = ys[i] + gamma * mixed + (ns[i] - gs[i])


@kernel
def decode_correct(own, received, h, x, g, D, codes, w0, w1, eta, gamma):
    ratio = gamma / (2 * eta)
    for start in range(0, x.size, TILE):
        me = advance(own, start, h[0], codes)
        a = advance(received[0], start, h[1], codes)
        b = advance(received[1], start, h[2], codes)
        xs, gs, Ds = x[start : start + TILE], g[start : start + TILE], D[start : start + TILE]
        for i in range(xs.size):
            mixed = w0 * (a[i] - me[i]) + w1 * (b[i] - me[i])
            Ds[i] -= mixed * ratio
            xs[i] -= (gs[i] + Ds[i]) * eta
