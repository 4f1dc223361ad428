"""What one agent's own computing takes."""

from dataclasses import dataclass


@dataclass
class Seconds:
    """Seconds that one agent spent in each phase of its own computing, and how often it did."""

    gradient: float = 0.0
    encoding: float = 0.0
    mixing: float = 0.0  # decoding included
    gradients: int = 0
    encodings: int = 0  # messages
    mixings: int = 0

    @property
    def compression(self) -> float:
        """Encoding, decoding and mixing."""
        return self.encoding + self.mixing
