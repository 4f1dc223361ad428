"""An agent's samples: tensors, or any map-style data set of PyTorch."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import TensorDataset, default_collate

from distopt.core.errors import DataError
from distopt.problems.costs.model import Chosen


class Samples:
    """Batches of samples on a device.

    Parameters
    ----------
    data : Dataset, or sequence of tensors or arrays
        With ``len(data)`` and ``data[i]``, or columns whose first axis counts the samples, such as
        (inputs, targets). Columns are cut without a loop.
    device : torch.device
    """

    def __init__(self, data: Any, device: torch.device) -> None:
        self.device = device
        self.columns: list[torch.Tensor] | None = None
        if isinstance(data, TensorDataset):
            data = data.tensors
        if isinstance(data, Sequence) and data and all(map(is_column, data)):
            self.columns = [torch.as_tensor(column).to(device) for column in data]
            lengths = [len(column) for column in self.columns]
            if len(set(lengths)) > 1:
                raise DataError(
                    f"it has columns of {', '.join(map(str, lengths))} samples; all columns of its data "
                    "set need the same number."
                )
            self.count = lengths[0]
        elif hasattr(data, "__len__") and hasattr(data, "__getitem__"):
            self.count = len(data)
        else:
            raise DataError(
                f"it has a {type(data).__name__} as data; accepted: (inputs, targets), a TensorDataset, or "
                "a Dataset with len() and [i]. A DataLoader or an IterableDataset cannot be drawn from "
                "by number."
            )
        self.data = data

    def take(self, chosen: Chosen) -> tuple[Any, ...]:
        """Return (input, target, ...) of samples, stacked, on the device."""
        if self.columns is not None:
            index = chosen if isinstance(chosen, slice) else torch.tensor(chosen)
            return tuple(column[index] for column in self.columns)
        places = range(self.count)[chosen] if isinstance(chosen, slice) else chosen.tolist()
        batch = default_collate([self.data[i] for i in places])
        if not isinstance(batch, list | tuple):
            batch = (batch,)
        return tuple(item.to(self.device) if hasattr(item, "to") else item for item in batch)


def is_column(item: Any) -> bool:
    """Whether an item is an array of samples rather than one sample."""
    return hasattr(item, "shape") and len(item.shape) > 0 and not isinstance(item, str)
