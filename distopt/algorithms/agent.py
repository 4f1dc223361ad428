"""One agent: what it knows, how it packs a message, and how it mixes received messages."""

from collections.abc import Callable, Generator, Sequence
from functools import partial
from time import perf_counter
from typing import Any, TypeVar

import numpy as np

from distopt.algorithms.backlog import Backlog
from distopt.algorithms.codecs import Codecs
from distopt.algorithms.envelope import Envelope
from distopt.algorithms.letter import REST
from distopt.algorithms.memory import Memory, MemoryKind, MemoryStart, Replicas, RunningSum
from distopt.algorithms.reader import Board, Reader
from distopt.algorithms.seconds import Seconds
from distopt.compressors.base import Compressor
from distopt.core.arrays import F64, I64, U8, U32, Precision
from distopt.core.errors import DataError, DivergedError, MessageError
from distopt.core.randomness import make_key
from distopt.core.streams import Stream
from distopt.core.workspace import Workspace
from distopt.fixedpoint.format import Codes
from distopt.fixedpoint.kernels import first_nonfinite
from distopt.fixedpoint.problems import IntegerProblem
from distopt.problems.batches import Batches
from distopt.problems.costs.base import Cost
from distopt.problems.costs.precision import advice, in_precision
from distopt.problems.topology import Links, Topology

M = TypeVar("M", bound=Memory)

STREAMS = 2  # a checkpoint holds the compressor states of at least this many vectors, used or not


class Agent:
    """Agent i: its cost, its neighbours and their weights, its compressor, its key.

    Parameters
    ----------
    index : int
        i, in 0 .. agents - 1.
    cost : Cost
        f_i; no other agent's cost is reachable from here.
    topology : Topology
        Gives the links of every iteration.
    compressor : Compressor
    seed : int
        Of the run; random bits depend on (seed, agent, iteration, stream, index) only.
    vectors : int
        Number of vectors that it sends in an iteration.
    remedy : str
        Advice for a run that diverges.
    checked : bool
        Whether messages carry a checksum.
    batch : int
        Samples of a gradient, drawn anew for each; 0: all, the exact gradient.
    workspace : Workspace, optional
        Where its temporaries live. Agents that work in turn may share one.
    board : Board, optional
        Agents of one process that share one decode a message once.
    dtype : type
        Of all vectors of its state, numpy.float64 or numpy.float32.
    """

    def __init__(
        self,
        index: int,
        cost: Cost,
        topology: Topology,
        compressor: Compressor,
        seed: int,
        vectors: int = 1,
        batch: int = 0,
        remedy: str = "a smaller algorithm.eta may help",
        checked: bool = False,
        workspace: Workspace | None = None,
        board: Board | None = None,
        dtype: Precision = np.float64,
    ) -> None:
        self.index = index
        self.cost = cost
        self.dimension, self.dtype = cost.dimension, dtype
        self.topology = topology
        self.neighbours = topology.neighbours(index)
        self._memories: list[Memory] = []
        self.compressor = compressor
        self.seed = seed
        self.remedy = remedy
        self.work = workspace or Workspace()
        self.asked = in_precision(cost, dtype, self.work)  # by steps
        self.iteration = 0
        self.checked = checked
        # Whether messages of two vectors travel in two parts; then, of the latest, where the second begins,
        # and what is to be done with the neighbours' second parts.
        self.overlaps, self.cut = False, None  # type: bool, int | None
        self.wanting: Callable[[Sequence[U8]], None] | None = None
        # Numbers that are not finite raise; an agent that forgives is adrift instead, and sends zeros.
        self.forgives = self.adrift = False
        self.batches = Batches(cost.samples, batch, seed, index) if batch else None  # type: ignore[attr-defined]
        self.seconds = Seconds()
        members = (index, *self.neighbours)
        streams = max(vectors, STREAMS)
        self._keys = [
            [make_key(seed, j, Stream.MESSAGE + v) for v in range(streams)] for j in members
        ]
        self.max_nbytes = vectors * max(compressor.max_nbytes(self.dimension), 8)
        self._envelope = Envelope(members, self.max_nbytes, local=board is not None)
        self.append = self._envelope.append  # bytes behind the message that was packed last
        self._nothing = self._envelope.packed  # the message of an agent that sends none to itself
        d = self.dimension
        self.codecs = Codecs(compressor, d, members, vectors, streams)
        self._fused = compressor.fused(d, len(members), self.work)
        self.board = board
        self._reader = Reader(self, self._fused, self._keys, self.codecs, board)
        self.backlog: Backlog | None = None  # of a graph that changes
        self._take_links(topology.at(0).links(index))

    def new_memory(
        self,
        kind: MemoryKind,
        start: MemoryStart = "zeros",
        x0: F64 | None = None,
        pushes: bool = False,
    ) -> Memory:
        """Make a memory of the named layout, for this agent and its neighbours, at 0 or at x0.

        With `pushes` its weights are C_ij of a directed graph.
        """
        layout = Replicas if kind == "replicas" else RunningSum
        weights = self.pushes if pushes else self.weights
        memory: Memory = self.hold(layout(weights, self.dimension, self.work, self.dtype))
        memory.pushes = pushes
        if start == "x0" and x0 is not None:
            memory.start_at(x0)
        return memory

    def hold(self, memory: M) -> M:
        """Keep the weights of a memory equal to those of the present links; return the memory."""
        self._memories.append(memory)
        return memory

    def begin(self, k: int) -> None:
        """Go to iteration k; the driver calls it before the step."""
        self.iteration = k
        self._envelope.begin(k)
        links = self.topology.at(k).links(self.index)
        if links is not self.links:
            self._take_links(links)
        if self.batches:
            self.batches.begin(k + 1)

    def _take_links(self, links: Links) -> None:
        """Weigh every neighbour; those that are not heard in this iteration have the weight 0."""
        heard = dict(zip(links.hears, links.weights, strict=True))
        self.links = links
        self.weights = tuple(heard.get(j, 0.0) for j in self.neighbours)
        pushed = dict(zip(links.hears, links.pushes or links.weights, strict=True))
        self.pushes = tuple(pushed.get(j, 0.0) for j in self.neighbours)
        self.surplus = links.surplus
        self.weight_sum = np.array([sum(self.weights)], np.float64)
        self._silent = {m for m, j in enumerate(self.neighbours, start=1) if j not in heard}
        self._reader.weigh(self.weights, self._silent)
        for memory in self._memories:
            memory.reweigh(self.pushes if memory.pushes else self.weights)

    def gradient(self, x: F64, out: F64) -> None:
        """out = gradient of f_i at x, or of a batch of its samples; `DivergedError` if not finite."""
        if self.adrift:
            out.fill(0.0)
            return
        began = perf_counter()
        try:
            if self.batches:
                self.asked.batch_gradient(x, self.batches.draw(), out)
            else:
                self.asked.gradient(x, out)
        except DataError as error:
            raise self.blame(error) from None
        self.require_finite("gradient", out)
        self.seconds.gradient += perf_counter() - began
        self.seconds.gradients += 1

    def gradient_again(self, x: F64, out: F64) -> None:
        """out = gradient at another x of the mini-batch of the last gradient."""
        began = perf_counter()
        self.asked.batch_gradient(x, self.batches.latest, out)  # type: ignore[union-attr]
        self.seconds.gradient += perf_counter() - began
        self.seconds.gradients += 1

    def integer_gradient(self, problem: IntegerProblem, x: Codes, out: I64) -> None:
        """out = the agent's part of the gradient at each row of x, exact."""
        began = perf_counter()
        problem.gradient(x, out)
        self.seconds.gradient += perf_counter() - began
        self.seconds.gradients += 1

    def blame(self, error: DataError) -> DataError:
        """Add agent and iteration to the error of a user's cost."""
        told = f"Agent {self.index} at iteration {self.iteration}: {error}"
        return DataError(told + advice(error, self.dtype))

    def require_finite(self, name: str, vector: F64) -> None:
        """Raise `DivergedError` naming agent, iteration, vector and entry unless all are finite.

        An agent that `forgives` becomes `adrift` instead, and the vector 0.
        """
        at = -1 if self.adrift else first_nonfinite(vector)
        self.adrift |= at >= 0 and self.forgives
        if self.adrift:
            vector.fill(0.0)
        elif at >= 0:
            raise DivergedError(
                f"Agent {self.index} diverged at iteration {self.iteration}: {name}[{at}]"
                f"{self._named(at)} is {vector[at]}; {self.remedy}."
            )

    def _named(self, at: int) -> str:
        """Say which parameter of a model an entry of x is, if it is one."""
        name_of = getattr(self.cost, "name_of", None)
        return f" ({name_of(at)})" if name_of else ""

    def pack(self, k: int, first: int = 0, /, **vectors: F64) -> U8:
        """Encode vectors one after the other into one buffer; return the bytes to send.

        Parameters
        ----------
        k : int
            Iteration, part of the key of every random bit.
        first : int
            Number of the first vector's stream; not 0 only in the second exchange of an iteration.
        **vectors : float64[d]
            In the order in which the receivers take them; the names appear in error messages.

        Returns
        -------
        uint8[:]
            A view, valid until the second next call.
        """
        began = perf_counter()
        self.iteration = k
        buffer, used, cut = self._envelope.turn(), 0, None
        encode = None if self.adrift else self._fused.encode
        for stream, (name, vector) in enumerate(vectors.items(), start=first):
            if stream > first:
                cut = used
            self.codecs.names[stream] = name
            key = self._keys[0][stream]
            key[2] = k
            out = buffer[used:] if used else buffer
            nbytes = -1 if encode is None else encode(vector, out, key)
            used += nbytes if nbytes >= 0 else self.encode(name, stream, vector, out)
        return self._packed(used, cut, began)

    def pack_differences(self, k: int, /, **pairs: tuple[F64, Memory]) -> U8:
        """Do as `pack` with the difference of each vector to the own part of its memory."""
        began = perf_counter()
        self.iteration = k
        buffer, used, cut = self._envelope.turn(), 0, None
        encode = None if self.adrift else self._fused.encode_difference
        for stream, (name, (vector, memory)) in enumerate(pairs.items()):
            if stream > 0:
                cut = used
            self.codecs.names[stream] = name
            key = self._keys[0][stream]
            key[2] = k
            out = buffer[used:] if used else buffer
            nbytes = -1 if encode is None else encode(vector, memory.own, out, key)
            if nbytes < 0:
                z = self.work.array("differences", self.dimension, self.dtype)
                nbytes = self.encode(name, stream, np.subtract(vector, memory.own, out=z), out)
            used += nbytes
        return self._packed(used, cut, began)

    def _packed(self, used: int, cut: int | None, began: float) -> U8:
        """Return what was packed since `began`; a second vector begins at `cut`."""
        message = self._envelope.pack(used)
        self.codecs.buffer = self._envelope.buffer
        if self.overlaps:
            self.cut = cut
        self.seconds.encoding += perf_counter() - began
        self.seconds.encodings += 1
        return message

    def encode(self, name: str, stream: int, vector: F64, out: U8) -> int:
        """Encode one vector step by step, return its bytes; what is wrong with it becomes a sentence."""
        self.require_finite(name, vector)
        self.codecs.names[stream] = name
        key, state = self._keys[0][stream], self.codecs.own[stream]
        key[2] = self.iteration
        try:
            return self.compressor.encode(vector, out, key, state, self.work)
        except DivergedError as error:
            raise DivergedError(
                f"Agent {self.index} cannot send {name} at iteration {self.iteration}: {error}"
            ) from None

    def decode_own(self, stream: int, message: U8, weight: float, acc: F64) -> int:
        """Add weight times the vector with which this agent's own message goes on; return its bytes."""
        return message.size - self._reader.decode_add(0, stream, message, weight, acc).size

    def seal(self, payload: U8, travels: bool = True) -> U8:
        """Return a message as it is sent: with `checked`, followed by its checksum.

        One that does not travel has as many bytes, and none that say anything.
        """
        return self._envelope.seal(payload, travels) if self.checked else payload

    def open(
        self, received: Sequence[U8], travels: bool = True, hears: Sequence[int] | None = None
    ) -> Sequence[U8]:
        """Return received messages as they were packed; `MessageError` if one has a wrong checksum.

        `hears` are the neighbours from whom one has come, if not from all.
        """
        if not self.checked:
            return received
        for member in self._envelope.wrong(received) if travels else ():
            came = hears is None or self.neighbours[member - 1] in hears
            if came and member not in self._silent:
                raise self.message_error(
                    member, "its checksum is wrong, so it was changed on its way"
                )
        return self._envelope.open(received)

    def mix(
        self,
        received: Sequence[U8],
        *memories: Memory,
        scales: Sequence[float] | None = None,
        alpha: float = 1.0,
    ) -> None:
        """Take in what this agent sent and received; each memory's `mixed` is ready afterwards.

        With q_j = scale C(.) of agent j and hat_j = h_j + q_j, the network's present view of j:

            mixed = sum_j W_ij (hat_j - hat_i),     h_j += alpha q_j

        Parameters
        ----------
        received : Sequence[uint8[:]]
            The neighbours' messages, in the order of `neighbours`; of one that is not heard in this
            iteration, nothing is read.
        *memories : Memory
            One per packed vector, in the same order.
        scales : Sequence[float], optional
            One per memory, 1 by default.
        alpha : float
            Memory step.

        Raises
        ------
        MessageError
            Naming receiver, sender and iteration.
        """
        began = perf_counter()
        if self.backlog:
            self._reader.catch_up(self.backlog.late, memories, alpha)
        if self.cut is None:
            self._reader.mix([self._envelope.packed, *received], memories, scales, alpha)
        else:
            take = partial(self._reader.mix, scales=scales, alpha=alpha)
            self._begin(take, self._envelope.packed, received, memories, 0)
        self.seconds.mixing += perf_counter() - began
        self.seconds.mixings += 1

    def average(self, received: Sequence[U8], *pairs: tuple[F64, F64], first: int = 0) -> None:
        """For each pair (v, out): out = sum_j W_ij (C(v_j) - v_i), without any memory."""
        began = perf_counter()
        if self.cut is None:
            self._reader.average([self._nothing, *received], pairs, first)
        else:
            self._begin(self._reader.average, self._nothing, received, pairs, first)
        self.seconds.mixing += perf_counter() - began
        self.seconds.mixings += 1

    def _begin(
        self,
        take: Callable[..., None],
        own: U8,
        parts: Sequence[U8],
        targets: Sequence[Any],
        first: int,
    ) -> None:
        """Take first parts of messages, and let `rest` take the others."""
        at, last = self.cut, targets[1:]
        take([own[:at], *parts], targets[:1], first=first)
        self.wanting = lambda rest: take([own[at:], *rest], last, first=first + 1)

    def rest(self) -> Generator[U8, Sequence[U8], None] | tuple[()]:
        """Receive what `mix` or `average` still lacks: the second vector, if it travels by itself.

        A step that says ``overlaps`` calls it behind the gradient that does not need this vector.
        """
        return () if self.wanting is None else self._take_rest(self.wanting)

    def _take_rest(self, take: Callable[[Sequence[U8]], None]) -> Generator[U8, Sequence[U8], None]:
        received = yield REST
        began = perf_counter()
        take(received)
        self.wanting = None
        self.seconds.mixing += perf_counter() - began

    def message_error(self, member: int, reason: str) -> MessageError:
        """Make the error that names receiver, sender and iteration (member 0 is this agent)."""
        sender = (self.index, *self.neighbours)[member]
        return MessageError(
            f"Agent {self.index} cannot read the message of agent {sender} at iteration "
            f"{self.iteration}: {reason}."
        )

    def take_over(self, other: "Agent", members: Sequence[int]) -> None:
        """Take clocks and adaptive compressor states of the same agent before others were lost.

        `members` are the places that it and its present neighbours had there.
        """
        vars(self.seconds).update(vars(other.seconds))
        self.codecs.take_over(other.codecs, members)

    @property
    def keys(self) -> list[U32]:
        """The keys of this agent's vectors."""
        return self._keys[0]

    def codec_arrays(self, own: bool = False) -> dict[str, np.ndarray]:
        """Name the arrays of all adaptive compressor states, or of those of its own messages."""
        late = self.backlog.arrays() if self.backlog else {}
        return late | self.codecs.arrays(own)
