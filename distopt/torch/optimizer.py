"""An optimizer for a training loop of one's own: a local step each time, and now and then an exchange."""

from collections.abc import Callable, Iterable
from typing import Any, Self, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from distopt.algorithms.diloco import DiLoCo
from distopt.core.errors import DataError
from distopt.engine.arguments import Code, Graph, Method
from distopt.engine.own_loop import OwnLoop
from distopt.problems.costs.model import Layout
from distopt.torch.parameters import Flat, require_usable

Parameters: TypeAlias = nn.Module | Iterable[nn.Parameter] | Iterable[tuple[str, nn.Parameter]]


class Optimizer:
    """Trains a module together with other ranks; used like an optimizer of ``torch.optim``.

    Each `step` is one local step of this rank along the gradients that ``backward`` left, and every
    ``algorithm.local_steps``-th exchanges with the other ranks. Every rank makes one, and calls `step`
    equally often. The parameters become views of one vector: make it after moving the module to its device.

    Parameters
    ----------
    params : torch.nn.Module, or its ``named_parameters()`` or ``parameters()``
        Those with ``requires_grad``, in one precision, float32 or float64; the optimizer's own vectors
        have that of ``run.dtype``.
    algorithm : DiLoCo or AveragedGradients, or its name or keys
        ``distopt.DiLoCo()`` by default.
    compressor : Compressor, str or dict, optional
        As in `distopt.minimize`.
    comm : mpi4py.MPI.Comm, optional
        COMM_WORLD by default.
    topology : as in `distopt.minimize`
    **run
        Keys of the section [run]: seed, timeout, checked, dtype.

    Raises
    ------
    DistoptError
        While setting up, on all ranks. An error in a step ends the MPI job.

    Examples
    --------
    ``mpirun -n 4 python train.py`` with::

        with distopt.torch.Optimizer(module, distopt.DiLoCo(), distopt.SparseZoom()) as optimizer:
            for inputs, targets in loader:
                optimizer.zero_grad()
                loss(module(inputs), targets).backward()
                optimizer.step()
    """

    def __init__(
        self,
        params: Parameters,
        algorithm: Method = None,
        compressor: Code = None,
        comm: Any = None,
        *,
        topology: Graph = "ring",
        **run: Any,
    ) -> None:
        named = trained(params)
        require_usable(named)
        self._flat, self._named = Flat(named), named
        layout = Layout({name: p.shape for name, p in named.items()})
        start = self._flat.vector.to("cpu", torch.float64).numpy().copy()
        kind = f"torch {torch.__version__}, {str(self._flat.vector.dtype).removeprefix('torch.')}"
        method = DiLoCo() if algorithm is None else algorithm
        self._loop = OwnLoop(start, layout, kind, method, compressor, topology, comm, run)
        self._g = np.empty_like(self._loop.z)
        self._flat.load(self._loop.z)

    @property
    def steps(self) -> int:
        """Local steps taken so far."""
        return self._loop.steps

    @property
    def nbytes(self) -> int:
        """Bytes that this rank has sent so far, every copy counted."""
        return self._loop.nbytes

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self._flat.parameters:
            p.grad = None

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Take one local step, and exchange if it is the last of ``local_steps``.

        Returns what a `closure`, if one is given, returned: it computes loss and gradients.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gradients = []
        for name, p in self._named.items():
            if p.grad is None:
                raise DataError(
                    f"The parameter {name} has no gradient; call loss.backward() before step(), and set "
                    "requires_grad to False for parameters that the loss does not depend on."
                )
            gradients.append(p.grad)
        self._flat.store(gradients, self._g)
        self._loop.step(self._g)
        self._flat.load(self._loop.z)
        return loss

    def state_dict(self) -> dict[str, Tensor]:
        """Return all that a continued training needs beside its batches; each rank saves its own."""
        return {name: torch.from_numpy(array) for name, array in self._loop.arrays().items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from `state_dict`, on all ranks; parameters and all that follows have the same bits.

        Raises
        ------
        CheckpointError
            If it is the state of something else, or the ranks' states do not belong together.
        """
        self._loop.load({name: tensor.numpy() for name, tensor in state.items()})
        self._flat.load(self._loop.z)

    def close(self) -> None:
        """Release what MPI holds, on all ranks together; ``with`` does it, and ends all if one fails."""
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._loop.__exit__(*error)


def trained(params: Parameters) -> dict[str, nn.Parameter]:
    """Return the trained parameters by name."""
    given: list[Any] = list(params.named_parameters() if isinstance(params, nn.Module) else params)
    named = [item if isinstance(item, tuple) else (f"{i}", item) for i, item in enumerate(given)]
    return {name: p for name, p in named if p.requires_grad}
