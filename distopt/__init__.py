"""Decentralized optimization over MPI with really compressed messages.

Everything public is here, imported when it is used: importing distopt starts neither MPI nor numba.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distopt.algorithms.base import Algorithm as Algorithm
    from distopt.algorithms.beer import Beer as Beer
    from distopt.algorithms.cgt1 import CompressedTracking1 as CompressedTracking1
    from distopt.algorithms.cgt2 import CompressedTracking2 as CompressedTracking2
    from distopt.algorithms.cgt3 import CompressedTracking3 as CompressedTracking3
    from distopt.algorithms.choco import Choco as Choco
    from distopt.algorithms.dgd import (
        DecentralizedGradientDescent as DecentralizedGradientDescent,
    )
    from distopt.algorithms.exact_diffusion import ExactDiffusion as ExactDiffusion
    from distopt.algorithms.gt import GradientTracking as GradientTracking
    from distopt.algorithms.lead import Lead as Lead
    from distopt.algorithms.primal_dual import PrimalDual as PrimalDual
    from distopt.algorithms.zed import Zed as Zed
    from distopt.algorithms.zed1 import Zed1 as Zed1
    from distopt.compressors.base import Compressor as Compressor
    from distopt.config.build import Config as Config
    from distopt.config.build import load_config as load_config
    from distopt.config.build import make_config as make_config
    from distopt.core.errors import DistoptError as DistoptError
    from distopt.engine.interface import minimize as minimize
    from distopt.engine.interface import simulate as simulate
    from distopt.engine.outcome import Result as Result
    from distopt.engine.run import resume as resume
    from distopt.engine.run import run as run
    from distopt.problems.costs.base import Cost as Cost
    from distopt.problems.problem import Problem as Problem
    from distopt.problems.topology import Topology as Topology

__version__ = "0.1.0"

_PLACES = {
    "Algorithm": "distopt.algorithms.base",
    "Compressor": "distopt.compressors.base",
    "Config": "distopt.config.build",
    "Cost": "distopt.problems.costs.base",
    "DistoptError": "distopt.core.errors",
    "Problem": "distopt.problems.problem",
    "Result": "distopt.engine.outcome",
    "Topology": "distopt.problems.topology",
    "load_config": "distopt.config.build",
    "make_config": "distopt.config.build",
    "minimize": "distopt.engine.interface",
    "resume": "distopt.engine.run",
    "run": "distopt.engine.run",
    "simulate": "distopt.engine.interface",
}


def _places() -> dict[str, str]:
    """Map every public name to its module; algorithms and compressors come from their registries."""
    from distopt.algorithms import REGISTRY as ALGORITHMS
    from distopt.compressors import REGISTRY as COMPRESSORS

    members = [*ALGORITHMS.members().values(), *COMPRESSORS.members().values()]
    return {name: module for module, _, name in (m.partition(":") for m in members)} | _PLACES


def __getattr__(name: str) -> Any:
    if name.startswith("__") or name not in (places := _places()):
        raise AttributeError(f"module 'distopt' has no attribute {name!r}")
    return getattr(import_module(places[name]), name)


def __dir__() -> list[str]:
    return sorted([*_places(), "__version__"])
