"""A PyTorch module and its loss as the cost of one agent."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from functools import cached_property
from typing import Any, TypeAlias
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from distopt.core.arrays import F64
from distopt.core.blas import BLAS
from distopt.core.errors import DataError
from distopt.problems.costs.model import AT_ONCE, Chosen, Layout, ModelCost, file_of
from distopt.torch.parameters import Flat, named_parameters, other_names, require_usable
from distopt.torch.samples import Samples

Measure: TypeAlias = Callable[..., Any]


class Cost(ModelCost):
    """f_i(x) = mean over agent i's samples of ``loss(module(input), target)``, x the trained parameters.

    The module is copied: yours stays as it is, its parameters are the start, and one module serves the
    costs of several agents. `module_at` gives it back trained. Parameters with ``requires_grad = False``
    and buffers are constants. Layers in training mode are so in mini-batches only, with random numbers
    (dropout) that depend on the batch alone; `value` and `gradient` are those of ``module.eval()``.

    Parameters
    ----------
    module : torch.nn.Module
        In one precision, float32 or float64, on one device.
    loss : callable
        ``loss(output, target)``, the mean over the samples as a scalar tensor, such as
        ``torch.nn.functional.cross_entropy``.
    dataset : (inputs, targets), or torch.utils.data.Dataset
        This agent's samples. Of more than two columns the first goes to the module, the others to the loss.
    batch : int
        Samples of a gradient where ``run.batch`` does not say it; 0: all.
    held_out : like dataset, optional
        Samples of no agent, for the series ``measures.loss``, ``measures.accuracy`` (where targets are
        whole numbers and outputs have one axis more: classes, the second) and those of `measures`. Each
        is a mean over the agents that have them, so one agent with all is enough.
    measures : Mapping[str, callable], optional
        Further ones: ``measure(output, target)``, a mean over samples.
    at_once : int
        Samples whose activations are in memory together where all are needed.
    recorded : int
        With a `batch`: so many of the samples, evenly spaced, stand for all in records; 0: all.
    device : str, optional
        Where the copy computes, such as ``"cuda"``; by default where the module is.

    Examples
    --------
    >>> import distopt, distopt.torch, torch
    >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
    <torch...>
    >>> inputs, line = torch.randn(4, 30, 3), nn.Linear(3, 1)
    >>> data = [(a, a @ torch.ones(3, 1)) for a in inputs]
    >>> costs = [distopt.torch.Cost(line, nn.functional.mse_loss, own) for own in data]
    >>> result = distopt.simulate(costs, iterations=100)
    >>> [round(weight, 3) for weight in costs[0].module_at(result.x[0]).weight[0].tolist()]
    [1.0, 1.0, 1.0]
    """

    library = f"torch {torch.__version__}"

    def __init__(
        self,
        module: nn.Module,
        loss: Callable[..., Tensor],
        dataset: Any,
        *,
        batch: int = 0,
        held_out: Any = None,
        measures: Mapping[str, Measure] | None = None,
        at_once: int = AT_ONCE,
        recorded: int = 0,
        device: str | None = None,
    ) -> None:
        super().__init__(batch, at_once, recorded)
        self._module, self._loss, self._device = module, loss, device
        self._data, self._held_out, self._own = dataset, held_out, dict(measures or {})
        self._training = False

    @property
    def source(self) -> str:
        """The file that sentences name: that of the module's class, else of the loss."""
        return file_of(type(self._module), self._loss, type(self._loss))

    # The copy of the module.

    @cached_property
    def module(self) -> nn.Module:
        """The copy, whose parameters are views of one vector."""
        if not isinstance(self._module, nn.Module):
            raise DataError(
                f"it has a {type(self._module).__name__} as module; accepted: a torch.nn.Module."
            )
        require_usable(named_parameters(self._module))
        try:
            copy = deepcopy(self._module)
        except RuntimeError as error:
            raise DataError(f"it has a module that cannot be copied: {error}.") from None
        if str(self._device).startswith("cuda") and not torch.cuda.is_available():
            raise DataError(
                f'it has device = "{self._device}", but PyTorch finds no CUDA here; accepted: "cpu".'
            )
        try:
            return copy if self._device is None else copy.to(self._device)
        except (RuntimeError, AssertionError) as error:
            raise DataError(
                f'it has device = "{self._device}", which PyTorch does not find here ({error}); '
                'accepted: "cpu", "cuda", and what else this PyTorch was built for.'
            ) from None

    @cached_property
    def _modes(self) -> list[nn.Module]:
        """The layers that were given in training mode."""
        layers = [layer for layer in self.module.modules() if layer.training]
        self.module.eval()
        return layers

    @cached_property
    def _flat(self) -> Flat:
        return Flat(named_parameters(self.module))

    @cached_property
    def layout(self) -> Layout:
        return Layout({name: p.shape for name, p in named_parameters(self.module).items()})

    @property
    def facts(self) -> dict[str, str]:
        return super().facts | {"others": json.dumps(other_names(self.module))}

    @cached_property
    def start(self) -> F64:
        parameters = named_parameters(self._module).values()
        parts = [p.detach().to("cpu", torch.float64).ravel() for p in parameters]
        return np.concatenate([part.numpy() for part in parts])

    @cached_property
    def _generators(self) -> list[torch.Generator]:
        """PyTorch's own, of the processor and of the device."""
        device = self._flat.vector.device
        own = [torch.cuda.default_generators[device.index or 0]] if device.type == "cuda" else []
        return [torch.default_generator, *own]

    @property
    def dtype(self) -> str:
        return str(self._flat.vector.dtype).removeprefix("torch.")

    @cached_property
    def _samples(self) -> Samples:
        return Samples(self._data, self._flat.vector.device)

    @cached_property
    def _test(self) -> Samples | None:
        return None if self._held_out is None else Samples(self._held_out, self._flat.vector.device)

    @property
    def samples(self) -> int:
        return self._samples.count

    @property
    def held_out_samples(self) -> int:
        return self._test.count if self._test else 0

    # Values and gradients.

    def move_to(self, x: F64) -> None:
        if BLAS.number and torch.get_num_threads() != BLAS.number:
            torch.set_num_threads(BLAS.number)  # the run's; sums depend on it
        self._flat.load(x)

    def loss_of(self, chosen: Chosen) -> float:
        with torch.no_grad(), self._mode(chosen, training=False):
            return float(self._scalar(chosen))

    def gradient_of(self, chosen: Chosen, out: F64, training: bool = False) -> float:
        with torch.enable_grad(), self._mode(chosen, training):
            loss = self._scalar(chosen)
            gradients = torch.autograd.grad(loss, self._flat.parameters)
        self._flat.store(gradients, out)
        return float(loss.detach())

    def measures_of(self, chosen: Chosen) -> dict[str, float]:
        assert self._test is not None
        with torch.no_grad(), self._mode(chosen, training=False):
            inputs, *targets = self._test.take(chosen)
            output = self.module(inputs)
            found = {"loss": self._loss(output, *targets)}
            if targets and is_classes(output, targets[0]):
                found["accuracy"] = (output.argmax(1) == targets[0]).double().mean()
            found |= {name: measure(output, *targets) for name, measure in self._own.items()}
        return {name: float(value) for name, value in found.items()}

    def _scalar(self, chosen: Chosen) -> Tensor:
        inputs, *targets = self._samples.take(chosen)
        loss = self._loss(self.module(inputs), *targets)
        if not isinstance(loss, Tensor) or loss.ndim:
            shape = list(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise DataError(
                f"it has a loss that is not a scalar tensor but {shape}; take the mean over the samples "
                '(reduction="mean", or .mean()).'
            )
        return loss

    @contextmanager
    def _mode(self, chosen: Chosen, training: bool) -> Iterator[None]:
        """Let layers train or not; random numbers of PyTorch are a function of the samples chosen."""
        modes = self._modes
        if training != self._training:
            for layer in modes:
                layer.training = training
            self._training = training
        index = np.arange(chosen.start, chosen.stop) if isinstance(chosen, slice) else chosen
        seed, generators = crc32(index.tobytes()), self._generators
        states = [generator.get_state() for generator in generators]
        for generator in generators:
            generator.manual_seed(seed)
        try:
            yield
        finally:
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)

    # The model, and what it may not be.

    def module_at(self, x: F64) -> nn.Module:
        """Return a copy of the module, in the mode it was given in, with the parameters x : float64[d]."""
        copy, values = deepcopy(self._module), self.layout.split(x)
        with torch.no_grad():
            for name, p in named_parameters(copy).items():
                p.copy_(torch.from_numpy(values[name]))
        return copy

    def check_model(self) -> None:
        few = slice(0, min(2, self.samples))
        for name, layer in self.module.named_modules():
            tracking = getattr(layer, "track_running_stats", True)
            if isinstance(layer, _BatchNorm) and (layer in self._modes or not tracking):
                raise DataError(
                    f"it has the layer {name} ({type(layer).__name__}), whose output depends on the whole "
                    "batch and whose statistics no agent could agree on; take GroupNorm or LayerNorm, or "
                    "freeze a trained one by .eval()."
                )
        before = {name: buffer.clone() for name, buffer in self.module.named_buffers()}
        with torch.enable_grad(), self._mode(np.arange(few.stop), training=True):
            loss = self._scalar(few)
            if not loss.requires_grad:
                raise DataError(
                    "it has a loss that does not depend on any parameter (detached, or under no_grad)."
                )
            found = torch.autograd.grad(loss, self._flat.parameters, allow_unused=True)
        for part, gradient in zip(self.layout.parts, found, strict=True):
            if gradient is None:
                raise DataError(
                    f"it has the parameter {part.name}, which its loss does not depend on; remove it, or "
                    "set its requires_grad to False."
                )
            if gradient.layout != torch.strided:
                raise DataError(
                    f"it has the parameter {part.name}, whose gradient is sparse; give its layer "
                    "sparse = False."
                )
        for name, buffer in self.module.named_buffers():
            if not torch.equal(buffer, before[name]):
                raise DataError(
                    f"it has the buffer {name} ({str(buffer.dtype).removeprefix('torch.')}), which a "
                    "forward pass changes; only x is the agents' model, so buffers must be constant: make "
                    "it a parameter, or call .eval() on its layer."
                )


def is_classes(output: Any, target: Any) -> bool:
    """Whether targets are the numbers of classes, and outputs have a score for each."""
    return (
        isinstance(output, Tensor)
        and isinstance(target, Tensor)
        and not target.is_floating_point()
        and output.ndim == target.ndim + 1
    )
