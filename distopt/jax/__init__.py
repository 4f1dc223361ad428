"""A loss of your own in JAX as the cost of an agent (docs: models)."""

try:
    import jax as _  # noqa: F401
except ImportError:
    raise ImportError(
        'distopt.jax needs JAX; `pip install "distopt-mpi[jax]"` installs it.'
    ) from None

from distopt.jax.cost import Cost

__all__ = ["Cost"]
