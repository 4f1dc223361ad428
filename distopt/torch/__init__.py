"""A PyTorch module of your own as the cost of an agent (docs: models)."""

try:
    import torch as _  # noqa: F401
except ImportError:
    raise ImportError(
        'distopt.torch needs PyTorch; `pip install "distopt-mpi[torch]"` installs it.'
    ) from None

from distopt.torch.cost import Cost

__all__ = ["Cost"]
