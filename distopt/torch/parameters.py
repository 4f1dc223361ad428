"""The trained parameters of a module as one vector."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from distopt.core.arrays import F64
from distopt.core.errors import DataError

ACCEPTED = (torch.float32, torch.float64)


def named_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that are trained, by name; one that two layers share has its first name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def other_names(module: nn.Module) -> dict[str, str]:
    """Map the further names of a state dict: of a shared parameter to its first, of a constant to ""."""
    first = {id(p): name for name, p in named_parameters(module).items()}
    kept = module.state_dict(keep_vars=True)
    names = {name: first.get(id(tensor), "") for name, tensor in kept.items()}
    return {name: same for name, same in names.items() if name != same}


class Flat:
    """One vector whose parts are the parameters: writing it moves the module, without a copy of a tensor.

    Parameters
    ----------
    parameters : Mapping[str, nn.Parameter]
        By name, as `require_usable` wants them. Their data become views of `vector`.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self.parameters = [*parameters.values()]
        first, sizes = self.parameters[0], [p.numel() for p in self.parameters]
        self.vector = torch.empty(sum(sizes), dtype=first.dtype, device=first.device)
        for p, piece in zip(self.parameters, self.vector.split(sizes), strict=True):
            view = piece.view(p.shape)
            view.copy_(p.detach())
            p.data = view
        self.host = (
            self.vector.numpy() if self.vector.device.type == "cpu" else None
        )  # the same numbers
        ends = np.cumsum(sizes)
        self.bounds = [*zip(ends - sizes, ends, strict=True)]

    def load(self, x: F64) -> None:
        """Set the parameters to x, rounded to their precision."""
        if self.host is not None and x.dtype == self.host.dtype:
            np.copyto(self.host, x)
            return
        if not x.flags.writeable or self.vector.is_cuda:
            x = x.copy()
        self.vector.copy_(torch.from_numpy(x))  # its conversion takes two thirds of numpy's time

    def store(self, gradients: Sequence[Tensor], out: F64) -> None:
        """Write the gradients of all parameters into out, of any precision."""
        whole = torch.from_numpy(out)
        for (begin, end), gradient in zip(self.bounds, gradients, strict=True):
            whole[begin:end].view(gradient.shape).copy_(gradient)


def require_usable(parameters: Mapping[str, nn.Parameter]) -> None:
    """Raise `DataError` unless these can be views of one vector."""
    if not parameters:
        raise DataError("it has a module without a trained parameter (requires_grad = True).")
    for name, p in parameters.items():
        if isinstance(p, nn.UninitializedParameter):
            raise DataError(
                f"it has the parameter {name} without a shape (a lazy layer); run the module once on an "
                "input before it becomes a cost."
            )
        if p.is_meta:
            raise DataError(
                f"it has the parameter {name} on the device meta, without values; accepted: a module on "
                'a processor or GPU, such as module.to_empty(device="cpu") with its weights loaded.'
            )
    first, *_ = parameters
    kind, device = parameters[first].dtype, parameters[first].device
    for name, p in parameters.items():
        if p.dtype not in ACCEPTED:
            raise DataError(
                f"it has the parameter {name} in {str(p.dtype).removeprefix('torch.')}; accepted: float32 "
                "and float64, which module.float() and module.double() make."
            )
        if (p.dtype, p.device) != (kind, device):
            raise DataError(
                f"it has the parameter {name} in {p.dtype} on {p.device}, but {first} in {kind} on "
                f"{device}; all trained parameters need the same precision and device."
            )
    places = sorted(
        (p.data_ptr(), p.data_ptr() + p.numel() * p.element_size(), n)
        for n, p in parameters.items()
    )
    for (_, end, one), (begin, _, other) in pairwise(places):
        if begin < end:
            raise DataError(
                f"it has the parameters {one} and {other}, which share memory without being one parameter; "
                "give both layers the same Parameter object (a.weight = b.weight), or copy one."
            )
