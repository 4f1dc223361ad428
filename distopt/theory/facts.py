"""What is known of a problem before the run: all that the rules of "auto" and the bounds may use."""

from dataclasses import dataclass

from distopt.compressors.base import Compressor
from distopt.core.errors import ConfigError


@dataclass(frozen=True)
class Facts:
    """What is known of a problem before the run: all that ``"auto"`` rules may use.

    Attributes
    ----------
    agents, dimension : int
    smoothness : float or None
        The largest local smoothness constant L; None where a cost does not have one.
    gap : float
        delta = 1 - ||W - 11'/n||_2, the spectral gap.
    kappa : float
        ||W - I||_2.
    changes : bool
        Whether some edges of the graph are down in some iterations.
    share : float
        Of the iterations in which an edge is up, as a mean.
    diameter : int
        Of the graph; the number of rounds of a max-consensus.
    compressor : Compressor
    flattest : float or None
        The smallest curvature that local descents met; estimated only where a rule asks for it.
    mean_flattest : float or None
        The mean over agents of the smallest that each met.
    estimated : bool
        Whether L is an estimate, which certifies nothing.
    curvature : float or None
        The largest that was found around the agents' start points; only where a step is searched.
    mean_smoothness : float or None
        The mean of the local smoothness constants, a smoothness constant of f.
    same_start : bool
        Whether all agents start from the same point.
    alignment : float
        Of a directed graph, by how much the agents together descend further than a step; else 1.
    spectrum : tuple of complex
        Of a directed graph, the eigenvalues of R and C besides their 1.
    """

    agents: int
    dimension: int
    smoothness: float | None
    gap: float
    kappa: float
    diameter: int
    compressor: Compressor
    flattest: float | None = None
    mean_flattest: float | None = None
    estimated: bool = False
    curvature: float | None = None
    mean_smoothness: float | None = None
    same_start: bool = True
    alignment: float = 1.0
    spectrum: tuple[complex, ...] = ()
    changes: bool = False
    share: float = 1.0

    def require_curvature(self) -> float:
        """Return the curvature at the start; a step is searched, so there is one."""
        assert self.curvature is not None
        return self.curvature

    def require_smoothness(self, key: str) -> float:
        """Return L, or raise `ConfigError` saying that `key` cannot be ``"auto"``."""
        if self.smoothness is None:
            raise ConfigError(
                f'{key} = "auto" needs the smoothness constant of every local cost, and none is '
                f"known; set {key} to a number or give the cost an attribute smoothness."
            )
        return self.smoothness
