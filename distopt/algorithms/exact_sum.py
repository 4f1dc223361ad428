"""The exact sum of integer vectors over all agents, along a spanning tree of the graph.

Integers add without rounding, so the sum is the same to the bit for any graph, any number of agents and
any order. It is a reduction to agent 0 and a broadcast back: 2 `height` exchanges, in which an agent
with nothing to say sends an empty message.
"""

from collections.abc import Generator, Iterator, Sequence
from typing import TypeAlias

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.control import as_numbers
from distopt.core.arrays import I64, U8
from distopt.core.errors import MessageError

Sum: TypeAlias = Generator[U8, Sequence[U8], None]

NOTHING = np.zeros(0, np.uint8)
FAR = 1 << 30


class SpanningTree:
    """One agent's part of a breadth-first tree with agent 0 at its root.

    Attributes
    ----------
    depth : int64[2]
        The distance from agent 0, and the height of the tree.
    parent : int64[1]
        Position among the neighbours of the one nearer to agent 0; -1 at agent 0 itself.
    children : int64[degree]
        1 where a neighbour has this agent as its parent.
    """

    def __init__(self, agent: Agent) -> None:
        degree = len(agent.neighbours)
        self.depth = np.zeros(2, np.int64)
        self.parent = np.full(1, -1, np.int64)
        self.children = np.zeros(degree, np.int64)

    def arrays(self) -> dict[str, np.ndarray]:
        """Name the arrays that a checkpoint must hold."""
        return {"place": self.depth, "parent": self.parent, "children": self.children}

    def grow(self, agent: Agent, rounds: int) -> Sum:
        """Find parent and children by `rounds` + 2 exchanges; `rounds` >= the diameter of the graph."""
        # Distance, parent, height.
        told = np.array([0 if agent.index == 0 else FAR, -1, 0], np.int64)
        for _ in range(rounds):
            received = yield told.copy().view(np.uint8)
            for position, (distance, _, _) in places(agent, received):
                if distance + 1 < told[0]:
                    told[:2] = distance + 1, agent.neighbours[position]
                    self.parent[0] = position
        told[2] = told[0]
        received = yield told.copy().view(np.uint8)
        for position, (_, parent, _) in places(agent, received):
            self.children[position] = int(parent == agent.index)
        for _ in range(rounds):
            received = yield told.copy().view(np.uint8)
            told[2] = max(
                [int(told[2]), *(height for _, (_, _, height) in places(agent, received))]
            )
        self.depth[:] = told[0], told[2]

    def add_up(self, agent: Agent, vector: I64) -> Sum:
        """Replace every agent's vector by the sum of all; the vector itself travels, 8 bytes an entry."""
        depth, height = (int(number) for number in self.depth)
        flat = vector.reshape(-1)
        own = flat.view(np.uint8)
        for level in range(height, 0, -1):  # from the leaves to agent 0
            received = yield own if depth == level else NOTHING
            if depth == level - 1:
                for position, child in enumerate(self.children):
                    if child:
                        flat += read(agent, position, received[position], flat.size)
        for level in range(height):  # and back
            received = yield own if depth == level else NOTHING
            if depth == level + 1:
                position = int(self.parent[0])
                flat[:] = read(agent, position, received[position], flat.size)

    def spread(self, agent: Agent, vector: I64) -> Sum:
        """Replace every agent's vector by that of agent 0."""
        if agent.index != 0:
            vector[...] = 0
        return self.add_up(agent, vector)


def places(agent: Agent, received: Sequence[U8]) -> Iterator[tuple[int, list[int]]]:
    """Read what neighbours tell of the tree, by position: distance, parent, height."""
    n = agent.topology.agents
    for position, numbers in as_numbers(agent, received, np.int64, 3):
        distance, parent, height = numbers.tolist()
        if not (0 <= distance <= FAR and -1 <= parent < n and 0 <= height < max(n, 2)):
            raise agent.message_error(position + 1, "it tells of an impossible place in the tree")
        yield position, [distance, parent, height]


def read(agent: Agent, position: int, message: U8, count: int) -> I64:
    """View a neighbour's message as integers; it must have the right length."""
    if message.size != 8 * count:
        raise MessageError(
            f"Agent {agent.index} cannot read the message of agent {agent.neighbours[position]} at "
            f"iteration {agent.iteration}: {message.size} bytes, but {count} integers need {8 * count}."
        )
    return message.view(np.int64)  # type: ignore[no-any-return]
