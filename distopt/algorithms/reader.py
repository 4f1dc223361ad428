"""How an agent reads messages: by kernels over all members at once, or member by member."""

from collections.abc import Collection, Sequence
from typing import Any, Protocol

import numpy as np

from distopt.algorithms.codecs import Codecs, copy_state
from distopt.algorithms.memory import Memory, Replicas
from distopt.compressors.base import CodecState, Compressor
from distopt.compressors.fused import FINE, Fused, Mail, first_left_over
from distopt.core.arrays import F64, U8, U32, Precision
from distopt.core.errors import MessageError
from distopt.core.workspace import Workspace


class Owner(Protocol):
    """The agent, as far as its reader knows it."""

    compressor: Compressor
    dimension: int
    dtype: Precision
    iteration: int
    work: Workspace

    def message_error(self, member: int, reason: str) -> MessageError:
        """Make the error that names receiver, sender and iteration."""
        ...


class Board:
    """What the agents of a process have decoded in this exchange, so that a message is decoded once.

    All replicas of a vector are equal to the bit, and so are the states of its decoders: who comes later
    copies both. That holds where all hear the sender's own buffer, so the board is off for messages that
    travel.
    """

    def __init__(self) -> None:
        self.on = False
        self.codecs: dict[int, Codecs] = {}  # of each agent, where codes are kept of what it sent
        # By sender and stream: the message, the replica that has taken it, the state behind it, the bytes.
        self.taken: dict[tuple[int, int], tuple[U8, F64, CodecState, int]] = {}
        self.copies: dict[tuple[int, int], F64] = {}  # of what stands in work arrays

    def begin(self, on: bool) -> None:
        """Begin the next exchange."""
        self.on = on
        self.taken.clear()

    def copy_of(self, place: tuple[int, int], decoded: F64) -> F64:
        """Return a copy in an array that is made once."""
        if place not in self.copies:
            self.copies[place] = np.empty_like(decoded)
        self.copies[place][:] = decoded
        return self.copies[place]


class Reader:
    """Decodes the messages of an agent and its neighbours into memories or averages.

    Where the compressor has a kernel for all members together, that does it; else each message is
    decoded by itself. Both give the same bits.

    Parameters
    ----------
    owner : Owner
    fused : Fused
        Kernels of the compressor.
    keys : lists by member and stream
        Keys of the senders.
    codecs : Codecs
        The states with which their messages are decoded.
    board : Board, optional
        Of the agents of this process.
    """

    def __init__(
        self,
        owner: Owner,
        fused: Fused,
        keys: Sequence[Sequence[U32]],
        codecs: Codecs,
        board: Board | None,
    ) -> None:
        self._owner, self._fused = owner, fused
        self._keys, self._codecs, self._board = keys, codecs, board
        if board:
            board.codecs[codecs.members[0]] = codecs
        self._mail = Mail(len(keys))
        self._weights = np.zeros(len(keys))
        self._total = 0.0
        self._silent: Collection[int] = ()

    def weigh(self, weights: Sequence[float], silent: Collection[int]) -> None:
        """Take the weights of the neighbours, and the members that are not heard."""
        self._weights[1:] = weights
        self._total = float(sum(weights))
        self._silent = silent

    def mix(
        self,
        messages: list[U8],
        memories: Sequence[Memory],
        scales: Sequence[float] | None,
        alpha: float,
        first: int = 0,
    ) -> None:
        """Do `Agent.mix` with the messages of all members, which begin with vector `first`."""
        mix = self._fused.mix
        if mix and alpha == 1 and all([type(m) is Replicas for m in memories]):  # noqa: C419
            self._post(messages)
            memory: Any
            for stream, memory in enumerate(memories, start=first):
                scale = scales[stream] if scales else 1.0
                wrong = mix(self._mail.table, memory.h, memory.weights, scale, memory.mixed)
                if wrong != FINE:
                    self._refuse(wrong, stream, messages)
            self._require_taken(messages)
            return
        shared = self._board if self._board and self._board.on and not self._silent else None
        for stream, memory in enumerate(memories, start=first):
            scale = scales[stream] if scales else 1.0
            board = shared if type(memory) is Replicas else None
            for member, message in enumerate(messages):
                weight, acc = memory.target(member, scale, alpha)
                if board:
                    messages[member] = self._take(
                        board, member, stream, message, weight, acc, alpha
                    )
                elif member not in self._silent:
                    messages[member] = self.decode_add(member, stream, message, weight, acc)
            memory.settle(alpha)
        self._require_empty(messages)

    def catch_up(
        self, late: list[tuple[int, int, U8]], memories: Sequence[Memory], alpha: float
    ) -> None:
        """Advance the memories of members by messages of earlier iterations, and forget these."""
        for member, k, message in late:
            for stream, memory in enumerate(memories):
                weight, acc = memory.target(member, 1.0, alpha)
                message = self.decode_add(member, stream, message, weight, acc, k)
                memory.advance(member, alpha)
            if message.size:
                raise self._owner.message_error(member, f"{message.size} bytes are left over")
        late.clear()

    def average(self, messages: list[U8], pairs: Sequence[tuple[F64, F64]], first: int) -> None:
        """Do `Agent.average` with the messages of all members; that of the agent itself is empty."""
        average = self._fused.average
        if average:
            self._post(messages)
            for stream, (vector, out) in enumerate(pairs, start=first):
                wrong = average(self._mail.table, vector, self._weights, self._total, out)
                if wrong != FINE:
                    self._refuse(wrong, stream, messages)
            self._require_taken(messages)
            return
        for stream, (vector, out) in enumerate(pairs, start=first):
            np.multiply(vector, -self._total, out=out)
            for member, message in enumerate(messages):
                if member and member not in self._silent:
                    weight = self._weights[member]
                    messages[member] = self.decode_add(member, stream, message, weight, out)
        self._require_empty(messages)

    def _take(
        self,
        board: Board,
        member: int,
        stream: int,
        message: U8,
        weight: float,
        acc: F64,
        alpha: float,
    ) -> U8:
        """Do as `decode_add` for a replica, by a copy if another agent has done it."""
        codecs = self._codecs
        place, state = (codecs.members[member], stream), codecs.decoders[member][stream]
        found = board.taken.get(place)
        if found and found[0].base is message.base and found[0].size == message.size:
            _, decoded, other, used = found
            acc[:] = decoded
            if member or not codecs.keeps:
                copy_state(other, state)
            return message[used:]
        rest = self.decode_add(member, stream, message, weight, acc)
        decoded = acc if alpha == 1 else board.copy_of(place, acc)
        board.taken[place] = message, decoded, state, message.size - rest.size
        return rest

    def decode_add(
        self, member: int, stream: int, message: U8, weight: float, acc: F64, k: int | None = None
    ) -> U8:
        """Decode the next vector of a member's message, of iteration k; return what follows it."""
        owner = self._owner
        key, state = self._keys[member][stream], self._codecs.decoders[member][stream]
        key[2] = owner.iteration if k is None else k
        sender = self._sender(member, message)
        reading = sender.own[stream] if sender else state
        try:
            used = owner.compressor.decode_add(message, weight, acc, key, reading, owner.work)
        except MessageError as error:
            raise owner.message_error(member, str(error)) from None
        if sender and member:
            copy_state(sender.encoders[stream], state)
        return message[used:]

    def _sender(self, member: int, message: U8) -> Codecs | None:
        """Return the states of the member itself, if the codes of this message are still with them."""
        codecs, board = self._codecs, self._board
        if not member and codecs.keeps:
            return codecs
        if not codecs.keeps or board is None or not board.on:
            return None
        found = board.codecs.get(codecs.members[member])
        return found if found and found.buffer is message.base else None

    def _post(self, messages: Sequence[U8]) -> None:
        """Let the kernels find the messages."""
        self._mail.post(messages, self._silent)

    def _refuse(self, member: int, stream: int, messages: Sequence[U8]) -> None:
        """Raise what is wrong with the vector with which a member's message goes on."""
        rest = messages[member][self._mail.at(member) :]
        self.decode_add(
            member, stream, rest, 1.0, np.zeros(self._owner.dimension, self._owner.dtype)
        )

    def _require_taken(self, messages: Sequence[U8]) -> None:
        """Demand that the kernels have taken all there was."""
        if first_left_over(self._mail.table) != FINE:
            self._require_empty([m[self._mail.at(j) :] for j, m in enumerate(messages)])

    def _require_empty(self, rests: Sequence[U8]) -> None:
        """Demand that nothing is left of any message."""
        for member, rest in enumerate(rests):
            if rest.size and member not in self._silent:
                raise self._owner.message_error(member, f"{rest.size} bytes are left over")
