"""A loss in JAX, of any pytree of parameters, as the cost of one agent."""

import inspect
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.interpreters.partial_eval import dce_jaxpr

from distopt.core.arrays import F64
from distopt.core.errors import DataError
from distopt.problems.costs.model import AT_ONCE, Chosen, Layout, ModelCost, file_of

Loss: TypeAlias = Callable[..., Any]
ACCEPTED = ("float32", "float64")


class Cost(ModelCost):
    """f_i(x) = mean over agent i's samples of ``loss(parameters, *samples)``, x the leaves of a pytree.

    Parameters
    ----------
    loss : callable
        ``loss(parameters, inputs, targets)`` (as many as `data` has), the mean over the samples as a
        scalar. It is compiled by ``jax.jit`` and must be pure.
    parameters : pytree of arrays
        Where the run starts; all in float32, or float64.
    data : tuple of arrays, or of pytrees
        This agent's samples; the first axis counts them.
    batch : int
        Samples of a gradient where ``run.batch`` does not say it; 0: all.
    held_out : like data, optional
        Samples of no agent, for the series ``measures.loss`` and those of `measures`. Each is a mean over
        the agents that have them, so one agent with all is enough.
    measures : Mapping[str, callable], optional
        ``measure(parameters, inputs, targets)``, a mean over samples, such as the accuracy.
    at_once : int
        Samples whose activations are in memory together where all are needed.
    recorded : int
        With a `batch`: so many of the samples, evenly spaced, stand for all in records; 0: all.

    Examples
    --------
    >>> import distopt, distopt.jax, jax.numpy as jnp, numpy as np
    >>> inputs = np.random.default_rng(0).normal(size=(4, 30, 3)).astype("f4")
    >>> loss = lambda p, a, b: jnp.mean((a @ p["w"] - b) ** 2)
    >>> costs = [distopt.jax.Cost(loss, {"w": np.zeros(3, "f4")}, (a, a.sum(1))) for a in inputs]
    >>> result = distopt.simulate(costs, iterations=100)
    >>> costs[0].parameters_at(result.x[0])["w"].round(3)
    Array([1., 1., 1.], dtype=float32)
    """

    library = f"jax {jax.__version__}"

    def __init__(
        self,
        loss: Loss,
        parameters: Any,
        data: Any,
        *,
        batch: int = 0,
        held_out: Any = None,
        measures: Mapping[str, Loss] | None = None,
        at_once: int = AT_ONCE,
        recorded: int = 0,
    ) -> None:
        super().__init__(batch, at_once, recorded)
        self._loss, self._measures, self._parameters = loss, dict(measures or {}), parameters
        self._data, self._held_out = data, held_out
        self._x: Any = None

    @property
    def source(self) -> str:
        """The file that sentences name."""
        return file_of(inspect.unwrap(self._loss))

    # The parameters as a vector.

    @cached_property
    def layout(self) -> Layout:
        leaves, _ = jax.tree_util.tree_flatten_with_path(self._parameters)
        names = [
            jax.tree_util.keystr(path, simple=True, separator=".") or "x" for path, _ in leaves
        ]
        if not leaves:
            raise DataError("it has no parameter; the pytree of parameters is empty.")
        kinds = {
            name: str(getattr(leaf, "dtype", type(leaf).__name__))
            for name, (_, leaf) in zip(names, leaves, strict=True)
        }
        first = kinds[names[0]]
        for name, kind in kinds.items():
            if kind not in ACCEPTED or kind != first:
                raise DataError(
                    f"it has the parameter {name} in {kind}; accepted: arrays that are all in float32, or "
                    "all in float64. Constants belong into the loss (functools.partial)."
                )
        return Layout({name: np.shape(leaf) for name, (_, leaf) in zip(names, leaves, strict=True)})

    @cached_property
    def start(self) -> F64:
        leaves = jax.tree.leaves(self._parameters)
        return np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in leaves])

    @cached_property
    def dtype(self) -> str:
        kind = str(jax.tree.leaves(self._parameters)[0].dtype)
        if kind == "float64" and not jax.config.jax_enable_x64:
            raise DataError(
                "it has parameters in float64, which JAX would round to float32; set the option "
                "jax_enable_x64, or give float32."
            )
        return kind

    def parameters_at(self, x: F64) -> Any:
        """Return the pytree of parameters at x : float64[d]."""
        return self._unflatten(jnp.asarray(x, self.dtype))

    @cached_property
    def _structure(self) -> Any:
        return jax.tree.structure(self._parameters)

    def _unflatten(self, x: Any) -> Any:
        leaves = [x[part.begin : part.end].reshape(part.shape) for part in self.layout.parts]
        return jax.tree.unflatten(self._structure, leaves)

    # Values and gradients.

    @cached_property
    def samples(self) -> int:
        return count_of(self._samples)

    @cached_property
    def held_out_samples(self) -> int:
        return 0 if self._held_out is None else count_of(self._test)

    @cached_property
    def _samples(self) -> Any:
        return as_columns(self._data)

    @cached_property
    def _test(self) -> Any:
        return as_columns(self._held_out)

    def move_to(self, x: F64) -> None:
        self._x = np.asarray(x, self.dtype)

    def loss_of(self, chosen: Chosen) -> float:
        return float(self._value(self._x, *take(self._samples, chosen)))

    def gradient_of(self, chosen: Chosen, out: F64, training: bool = False) -> float:
        loss, gradient = self._value_and_gradient(self._x, *take(self._samples, chosen))
        out[:] = gradient
        return float(loss)

    def measures_of(self, chosen: Chosen) -> dict[str, float]:
        batch = take(self._test, chosen)
        return {name: float(measure(self._x, *batch)) for name, measure in self._compiled.items()}

    def _scalar(self, x: Any, *batch: Any) -> Any:
        loss = self._loss(self._unflatten(x), *batch)
        shape = getattr(loss, "shape", None)
        if shape != ():
            what = type(loss).__name__ if shape is None else list(shape)
            raise DataError(
                f"it has a loss that is not a scalar array but {what}; take the mean over the samples "
                "(.mean())."
            )
        return loss

    @cached_property
    def _value(self) -> Any:
        return jax.jit(self._scalar)

    @cached_property
    def _value_and_gradient(self) -> Any:
        return jax.jit(jax.value_and_grad(self._scalar))

    @cached_property
    def _compiled(self) -> dict[str, Any]:
        """The measures, compiled."""

        def at(measure: Loss, x: Any, *batch: Any) -> Any:
            return measure(self._unflatten(x), *batch)

        own = {name: jax.jit(partial(at, measure)) for name, measure in self._measures.items()}
        return {"loss": self._value} | own

    def check_model(self) -> None:
        few = take(self._samples, slice(0, min(2, self.samples)))
        leaves = [self._x[part.begin : part.end].reshape(part.shape) for part in self.layout.parts]

        def loss(leaves: Any, *batch: Any) -> Any:
            return self._loss(jax.tree.unflatten(self._structure, leaves), *batch)

        self.loss_of(slice(0, 1))  # a loss that is not a scalar says so
        _, used = dce_jaxpr(jax.make_jaxpr(loss)(leaves, *few).jaxpr, [True])
        for part, there in zip(self.layout.parts, used, strict=False):
            if not there:
                raise DataError(
                    f"it has the parameter {part.name}, which its loss does not depend on; take it out of "
                    "the parameters."
                )


def as_columns(data: Any) -> Any:
    """Return data as a tuple of pytrees of arrays; `DataError` unless their first axes agree."""
    if not isinstance(data, tuple | list):
        raise DataError(
            f"it has a {type(data).__name__} as data; accepted: a tuple of arrays (inputs, targets)."
        )
    columns = jax.tree.map(np.asarray, tuple(data))
    lengths = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(columns)}
    if len(lengths) != 1 or () in lengths:
        shapes = ", ".join(str(list(np.shape(leaf))) for leaf in jax.tree.leaves(columns))
        raise DataError(
            f"it has arrays of the shapes {shapes} as data; all need the same first axis, the samples."
        )
    return columns


def count_of(columns: Any) -> int:
    """Return the number of samples."""
    return len(jax.tree.leaves(columns)[0])


def take(columns: Any, chosen: Chosen) -> Any:
    """Return some samples."""
    return jax.tree.map(lambda column: column[chosen], columns)
