"""Tensors of a class of somebody's own, past the methods that this class has in the place of torch's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

PLAIN = frozenset({Tensor, nn.Parameter})


def is_labelled(tensor: Tensor) -> bool:
    """Whether a tensor is torch's own with attributes and methods on top, and no shell around other tensors."""
    kind = type(tensor)
    return kind not in PLAIN and kind.__torch_dispatch__ is Tensor.__torch_dispatch__


def as_plain(value: Any) -> Any:
    """The numbers of a labelled tensor as torch's own tensor, with their graph; anything else itself."""
    if not isinstance(value, Tensor) or not is_labelled(value):
        return value
    with torch._C.DisableTorchFunctionSubclass():
        return Tensor.as_subclass(value, Tensor)


def labelled_like(tensor: Tensor, model: Tensor) -> Tensor:
    """A plain tensor with the class and the attributes of another one."""
    if not is_labelled(model):
        return tensor
    with torch._C.DisableTorchFunctionSubclass():
        labelled = Tensor.as_subclass(tensor, type(model))
    vars(labelled).update(vars(model))
    return labelled
