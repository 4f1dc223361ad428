"""A transport that changes one message on its way."""

import numpy as np

from distopt.transport.local import LocalTransport


class Garbling(LocalTransport):
    """Hands `change(message)` to one receiver in place of a neighbour's message, once.

    `change` gets a copy; it may return None if this message cannot be changed: then the next one is tried.
    """

    travels = True

    def __init__(self, topology, exchange, receiver, position, change):
        super().__init__(topology)
        self.topology = topology
        self.done, self.exchange_number = False, 0
        self.at, self.receiver, self.change = exchange, receiver, change
        self.position = position % len(topology.links(receiver).hears)

    @property
    def sender(self):
        return self.topology.links(self.receiver).hears[self.position]

    def exchange(self, payloads):
        return self.garble(super().exchange(payloads))

    def deliver(self, letters):
        return self.garble(super().deliver(letters))

    def garble(self, received):
        if not self.done and self.exchange_number >= self.at:
            mine = list(received[self.receiver])
            changed = self.change(mine[self.position].copy())
            if changed is not None:
                mine[self.position], self.done = changed, True
                received[self.receiver] = mine
        self.exchange_number += 1
        return received


def flip(byte, bit):
    """Return a change of one bit; `byte` counts modulo the size of the message."""

    def change(message):
        if message.size == 0:
            return None
        message[byte % message.size] ^= np.uint8(1 << bit)
        return message

    return change
