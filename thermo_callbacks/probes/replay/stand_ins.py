"""Copies of tensors and arrays, which take the originals' place in a replay."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from thermo_callbacks.probes.tensor_classes import PLAIN, is_labelled, labelled_like


def stand_in(tensor: Tensor, *, share: bool = False) -> Tensor:
    """A leaf with a tensor's numbers, in single precision at least; ``share``: in the same memory, and as precise."""
    # a subclass that is a shell around other tensors has to copy itself; any other one is copied past its own methods,
    # which may need attributes that a tensor fresh from a copy lacks
    own = is_labelled(tensor)
    with torch._C.DisableTorchFunctionSubclass() if own else contextlib.nullcontext():
        requires_grad = tensor.requires_grad
        copy = Tensor.detach(tensor)
        if not share:
            copy = Tensor.float(copy) if is_narrow(tensor.dtype) else Tensor.clone(copy)
        if isinstance(tensor, nn.Parameter) and not own:
            return nn.Parameter(copy, requires_grad=requires_grad)
        return Tensor.requires_grad_(labelled_like(copy, tensor), requires_grad)


def is_narrow(dtype: torch.dtype) -> bool:
    """Whether numbers have 16 bits or fewer: a replay gives them in single precision."""
    return dtype.is_floating_point and dtype.itemsize < 4


class TensorCopies:
    """Makes copies as long as there is room."""

    def __init__(self, room: float) -> None:
        self._room = room

    def copy(self, value: Tensor | np.ndarray, largest: float) -> Any:
        """A copy to write to, the value itself where nothing can be written to, or None beyond the room."""
        if is_lazy(value) or _was_freed(value) if isinstance(value, Tensor) else not value.flags.writeable:
            return value
        size = _bytes(value)
        if size > min(self._room, largest):
            return None
        self._room -= size
        return stand_in(value) if isinstance(value, Tensor) else value.copy()


def _was_freed(tensor: Tensor) -> bool:
    """Whether a tensor's memory was given back, as that of gathered parameters is: there is nothing to read."""
    if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:  # a shell around other tensors
        flatten = getattr(tensor, "__tensor_flatten__", None)
        return flatten is not None and any(_was_freed(getattr(tensor, name)) for name in flatten()[0])
    if tensor.layout is not torch.strided or not tensor.numel():
        return False
    return tensor.untyped_storage().nbytes() == 0


def _bytes(value: Tensor | np.ndarray) -> int:
    if not isinstance(value, Tensor):
        return value.nbytes
    with torch._C.DisableTorchFunctionSubclass() if type(value) not in PLAIN else contextlib.nullcontext():
        return value.numel() * (4 if is_narrow(value.dtype) else value.element_size())
