"""An agent of this process together with its state."""

from dataclasses import dataclass

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.state import State


@dataclass(frozen=True)
class Hosted:
    """One agent of this process, with its state."""

    agent: Agent
    state: State

    def arrays(self) -> dict[str, np.ndarray]:
        """Name all arrays that a checkpoint must hold."""
        return self.state.arrays() | self.agent.codec_arrays()
