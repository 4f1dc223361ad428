"""A PyTorch module of your own as the cost of an agent, or in a loop of your own (docs: models)."""

try:
    import torch as _  # noqa: F401
except ImportError:
    raise ImportError(
        'distopt.torch needs PyTorch; `pip install "distopt-mpi[torch]"` installs it.'
    ) from None

from distopt.torch.cost import Cost
from distopt.torch.optimizer import Optimizer

__all__ = ["Cost", "Optimizer"]
