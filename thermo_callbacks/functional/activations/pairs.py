"""Check of two tensors that belong together element by element."""

from __future__ import annotations

import torch
from torch import Tensor


def paired(**tensors: Tensor) -> tuple[Tensor, Tensor]:
    """Check that two tensors are of one shape and floating dtype, and give them the digits that sums of squares need.

    Args:
        **tensors: The two arguments by name.

    Returns:
        Both in their common dtype, at least float32: squares of float16 overflow, sums in bfloat16 stop growing.

    Raises:
        ValueError: If a tensor is empty, has no floating dtype or differs in shape from the first.
    """
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
    dtype = torch.promote_types(torch.promote_types(first.dtype, second.dtype), torch.float32)
    return first.to(dtype), second.to(dtype)
