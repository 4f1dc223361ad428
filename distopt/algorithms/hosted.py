"""An agent of this process together with its state."""

from dataclasses import dataclass

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.state import State


@dataclass(frozen=True)
class Hosted:
    """One agent of this process, with its state, and which of several workers computes it."""

    agent: Agent
    state: State
    worker: int = 0

    def arrays(self) -> dict[str, np.ndarray]:
        """Name all arrays that a checkpoint must hold."""
        return self.state.arrays() | self.agent.codec_arrays()
