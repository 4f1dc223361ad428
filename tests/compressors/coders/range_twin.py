"""The range coder in plain Python, from its page: unbounded integers, one code after the other."""

from math import log2

STARTS = [192, 96, 48, 5, 5]


class Twin:
    """One end of one stream; `encode` gives the payload and the model's ideal length in bits."""

    def __init__(self, d, lowest, highest, alone):
        self.lowest, self.bits, self.alone = lowest, (highest - lowest).bit_length(), alone
        self.age, self.minus = [None] * d, [False] * d
        self.changed, self.busy = [False] * d, [False] * d  # of those at age 0
        self.counts = [STARTS.copy() for _ in range(10)]
        self.digits = {}

    def encode(self, codes, limit):
        self.low, self.width, self.shift, self.ideal = 0, 2**64 - 1, 0, 0.0
        self.keep(0, 65535)
        self.symbols(codes)
        payload = self.ended()
        if len(payload) > limit:
            self.low, self.width, self.shift = 0, 2**64 - 1, 0
            self.keep(65535, 65536)
            for q in codes:
                self.equal(q - self.lowest, self.bits)
            payload = self.ended()
        return payload, self.ideal

    def symbols(self, codes):
        d, due = len(codes), 0
        for i, q in enumerate(codes):
            if i == due:
                due = i + min(max(i // 8, 1), 2048)
                for counts in self.counts:
                    while sum(counts) > 32 * min(max(d // 4, 256), 4096):
                        counts[:] = [(n + 1) // 2 for n in counts]
                table = [self.parts(counts) for counts in self.counts]
            age = self.age[i]
            if age is None:
                context = 9
            elif age == 0:
                context = self.changed[i] + 2 * self.busy[i]
            else:
                context = 3 + sum(age >= a for a in (1, 2, 4, 8, 16))
            symbol = 0 if q == 0 else 1 + ((q < 0) != self.minus[i]) + 2 * (abs(q) > 1)
            self.counts[context][symbol] += 32
            self.keep(table[context][symbol], table[context][symbol + 1])
            if abs(q) > 1:
                self.magnitude(abs(q))
            if q:
                self.changed[i], self.busy[i] = (q < 0) != self.minus[i], age == 0
                self.age[i], self.minus[i] = 0, q < 0
            elif age is not None:
                self.age[i] = age + 1

    @staticmethod
    def parts(counts):
        shares = [1 + n * 65531 // sum(counts) for n in counts[1:]]
        found = [0, 65536 - sum(shares)]
        for share in shares:
            found.append(found[-1] + share)
        return found

    def magnitude(self, m):
        below = bin(m)[3:]
        n = len(below)
        for j in range(1, min(n, 61) + 1):
            self.digit(("flag", j), n > j)
        self.digit(("first", n), below[0] == "1")
        if n > 1:
            self.digit(("second", n, below[0]), below[1] == "1")
            self.equal(int(below[2:] or "0", 2), n - 2)

    def digit(self, place, one):
        counts = self.digits.setdefault(place, [1, 1])
        zeros = 65536 * counts[0] // sum(counts)
        counts[one] += 1
        if sum(counts) > 1024:
            counts[:] = [(n + 1) // 2 for n in counts]
        self.keep(zeros if one else 0, 65536 if one else zeros)

    def equal(self, value, bits):
        while bits > 0:
            step = min(bits, 16)
            bits -= step
            part = (value >> bits) % 2**step << (16 - step)
            self.keep(part, part + 2 ** (16 - step))

    def keep(self, first, last):
        """Low and width are in units of 2^-(64 + shift)."""
        self.ideal -= log2((last - first) / 65536)
        unit = self.width // 65536
        self.low += unit * first
        self.width = unit * (last - first)
        if self.width < 2**32:
            self.low <<= 32
            self.width <<= 32
            self.shift += 32

    def ended(self):
        whole = 8 + self.shift // 8
        for nbytes in range(self.shift // 8, whole + 1):
            unit = 256 ** (whole - nbytes)
            number = -(-self.low // unit)
            reach = 0 if self.alone else unit - 1
            if number * unit + reach < self.low + self.width:
                payload = number.to_bytes(nbytes, "big")
                return payload.rstrip(b"\0") if self.alone else payload
        raise AssertionError
