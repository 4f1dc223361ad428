"""The contract of a transport: exchange bytes with neighbours, count them, notice silence.

A transport carries the agents that live in this process: all of them in one process, exactly one
under MPI. One driver serves both. The algorithm's traffic (`exchange`) and the diagnostics' (`mean`,
`scatter`, `collect`) are counted and timed apart, and nothing else ever adds to the first.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

import numpy as np

from distopt.algorithms.letter import Letter
from distopt.core import errors
from distopt.core.arrays import F64, I64, U8
from distopt.core.errors import DistoptError

LOST = 75  # exit code of a job that lost a rank, whose run may go on from its checkpoint
# Tasks, as in "the others wait for it to ...".
SET_UP, COST, COMPILE = "set up", "make its cost", "compile the kernels"
FINISH, RECORD, SAVE, END = "finish", "record", "save", "end the run after"


@dataclass
class Traffic:
    """What the agents of this process have sent so far."""

    nbytes: int = 0  # a broadcast to all neighbours counted once
    nbytes_on_wire: int = 0  # every copy counted
    messages: int = 0  # copies handed to the transport
    diagnostics_nbytes: int = 0  # for records and agreements, apart from all of the above
    seconds: float = 0.0  # in `exchange`, waiting included

    def restore(self, numbers: Mapping[str, float]) -> None:
        """Go on from the numbers of a checkpoint, named as the fields here."""
        for name, value in numbers.items():
            setattr(self, name, type(getattr(self, name))(value))


def send_order(me: int, neighbours: Sequence[int], agents: int) -> list[int]:
    """Sort neighbours from the next agent on, so that on a ring every host hears one at a time.

    >>> [send_order(me, [(me - 1) % 4, (me + 1) % 4], 4) for me in range(4)]
    [[1, 3], [2, 0], [3, 1], [0, 2]]
    """
    return sorted(neighbours, key=lambda j: (j - me) % agents)


def slices(d: int, agents: int) -> list[slice]:
    """Cut d coordinates into one slice for each agent, the longer ones first.

    >>> slices(7, 3)
    [slice(0, 3, None), slice(3, 5, None), slice(5, 7, None)]
    """
    least, longer = divmod(d, agents)
    starts = [least * i + min(i, longer) for i in range(agents + 1)]
    return [slice(a, b) for a, b in pairwise(starts)]


def mean_of(rows: Sequence[F64] | F64) -> F64:
    """Return the mean of vectors, one of each agent, summed in their order."""
    if isinstance(rows, np.ndarray) and rows.shape[1] < len(rows):
        whole: F64 = np.add.accumulate(rows, axis=0, dtype=np.float64)[-1]
        return whole / len(rows)
    total: F64 = rows[0].astype(np.float64)
    for row in rows[1:]:
        total += row
    total /= len(rows)
    return total


class SharedError(Exception):
    """Carries an error that all processes have seen, so each can end on its own."""

    def __init__(self, cause: DistoptError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Transport(ABC):
    """Moves messages between agents.

    Attributes
    ----------
    agents : int
        How many there are in total.
    hosted : tuple of int
        Those that live in this process, ascending.
    root : bool
        Whether this process writes records and prints for the user.
    traffic : Traffic
    told : dict
        Bytes that a hosted agent i has sent so far to each of its neighbours, under (i,), and beyond
        these to agent j alone, under (i, j).
    travels : bool
        Whether messages go through anything that could change them.
    hosts : int
        On how many machines the processes are.
    """

    agents: int
    hosted: tuple[int, ...]
    root: bool
    traffic: Traffic
    told: dict[tuple[int, ...], int]
    travels: bool = True
    hosts: int = 1
    task: str = SET_UP  # what this process does next; completes "the others wait for it to ..."
    iteration: int | None = None  # of the task; None before the run iterates

    def begin(self, task: str, iteration: int | None = None) -> None:
        """Say what this process does from here on, for the sentences about silence."""
        self.task, self.iteration = task, iteration

    @property
    def earliest(self) -> int:
        """Return the least number of iterations done with which this process can stop."""
        return (self.iteration or 0) + (self.task == FINISH)

    @abstractmethod
    def agree_to_stop(self, wish: str) -> str:
        """Tell the others, between two iterations, for which reason this process wants to stop.

        Parameters
        ----------
        wish : str
            "" for none.

        Returns
        -------
        str
            A reason, on all processes after the same iteration, once they have agreed to stop after
            it; until then "". They agree without meeting, so a call costs a look at the clock.
        """

    @abstractmethod
    def exchange(self, payloads: Sequence[U8]) -> list[Sequence[U8]]:
        """Send each hosted agent's payload to its neighbours; return what each received.

        Parameters
        ----------
        payloads : Sequence[uint8[:]]
            One per hosted agent; must stay unchanged until the next call returns.

        Returns
        -------
        list of Sequence[uint8[:]]
            One per hosted agent: its neighbours' payloads in the order of its neighbours, valid
            until the next call.
        """

    def in_parts(self, max_nbytes: int, moved: bool) -> None:
        """Get ready for messages in two parts, the second of at most so many bytes; all processes together.

        With `moved` a thread moves second parts between `first` and `rest`.
        """
        raise NotImplementedError

    def first(self, payload: U8, cut: int) -> Sequence[U8]:
        """Send the agent's payload; return what it received before the cut of each neighbour's.

        It counts as one message. The payload must stay unchanged until `rest` has returned.
        """
        raise NotImplementedError

    def rest(self) -> Sequence[U8]:
        """Return what follows, once it has come."""
        raise NotImplementedError

    def tally(self, sizes: I64) -> None:
        """Count a payload of each agent, where all are hosted, as if `exchange` had been given it."""
        raise NotImplementedError

    @abstractmethod
    def deliver(self, letters: Sequence[Letter]) -> list[Sequence[U8]]:
        """Send each hosted agent's letter to those it names; return what each received, as `exchange`.

        Of neighbours that a letter does not hear the messages are empty.
        """

    @abstractmethod
    def mean(self, rows: Sequence[F64], out: F64) -> None:
        """Set out = the mean over all agents of their rows, summed in the order of the agents.

        The order is fixed, so the result is the same to the bit for any number of processes.
        """

    @abstractmethod
    def scatter(self, rows: Sequence[F64] | F64) -> Iterable[F64]:
        """Give each agent one of the `slices` of all agents' rows: half of what `mean` sends.

        Who wants a number of the mean, such as its norm, need not know all of it.

        Returns
        -------
        iterable of float[agents, :]
            One per hosted agent: its slice of every agent's row, in the order of the agents; not to be
            written. All are to be taken before the rows change.
        """

    @abstractmethod
    def collect(self, rows: F64) -> F64:
        """Gather float64[hosted, m] from all processes into float64[agents, m], on all of them."""

    @abstractmethod
    def share(self, item: Any) -> list[Any]:
        """Gather one item from every process, on all of them; for set-up and checkpoints.

        It travels as JSON: texts, numbers, lists (tuples become lists), tables with texts as keys.
        """

    @abstractmethod
    def warm_up(self, compile_kernels: Callable[[], None]) -> None:
        """Call `compile_kernels` on every process, on one of each host first: the others find its cache."""

    @abstractmethod
    def abort(self, error: BaseException) -> None:
        """End all other processes, which do not know of the error."""

    @abstractmethod
    def close(self) -> None:
        """Release what the transport holds."""

    @contextmanager
    def together(self) -> Iterator[None]:
        """Do in the block something that may fail on any process; then all raise the first one's error.

        Raises
        ------
        SharedError
        """
        failure = None
        try:
            yield
        except DistoptError as error:
            failure = error
        told = None if failure is None else [errors.name_of(failure), str(failure)]
        failures = [f for f in self.share(told) if f is not None]
        if failures:
            own = failure is not None and failures[0] == told
            raise SharedError(failure if own else errors.named(*failures[0]))  # type: ignore[arg-type]

    def __enter__(self) -> Self:
        """Hold the transport's resources for a ``with`` block; what escapes from it ends the job."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release them, if all processes end alike."""
        if error is None or isinstance(error, SharedError):
            try:
                self.close()
            except DistoptError as missing:  # some process, which has not ended like this one
                self.abort(missing)
        else:
            self.abort(error)
        if isinstance(error, SharedError):
            raise error.cause from None

    def count_letter(self, i: int, letter: Letter) -> None:
        """Add agent i's letter to the traffic; its own message counts once, whenever it arrives."""
        self.traffic.nbytes += letter.payload.size
        for j in letter.tells:
            self.traffic.nbytes_on_wire += letter.to(j).size
            self.traffic.messages += 1
            self.told[i, j] = self.told.get((i, j), 0) + letter.to(j).size

    def count(self, payload: U8, copies: int, *links: tuple[int, ...]) -> None:
        """Add one payload that is sent to `copies` neighbours to the traffic; `links` as in `told`.

        What nobody hears, that of a single agent, is not sent.
        """
        self.traffic.nbytes += payload.size if copies else 0
        self.traffic.nbytes_on_wire += payload.size * copies
        self.traffic.messages += copies
        for link in links:
            self.told[link] = self.told.get(link, 0) + payload.size
