"""Check of two tensors that belong together element by element."""

from __future__ import annotations

import torch
from torch import Tensor


def paired(**tensors: Tensor) -> tuple[Tensor, Tensor]:
    """Two tensors in one dtype, at least float32, after a check that they are floating and of one shape."""
    (first_name, first), (second_name, second) = tensors.items()
    for name, tensor in tensors.items():
        if tensor.numel() == 0 or not tensor.is_floating_point():
            raise ValueError(
                f"{name} must be a floating-point tensor with at least one element, got shape {tuple(tensor.shape)} "
                f"and {tensor.dtype}"
            )
    if first.shape != second.shape:
        raise ValueError(
            f"{second_name} must have the shape of {first_name}, {tuple(first.shape)}, got {tuple(second.shape)}: an "
            "activation works element by element"
        )
    # squares of float16 overflow, sums in bfloat16 stop growing
    dtype = torch.promote_types(torch.promote_types(first.dtype, second.dtype), torch.float32)
    return first.to(dtype), second.to(dtype)
