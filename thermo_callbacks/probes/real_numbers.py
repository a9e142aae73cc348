"""Real numbers that a parameter is made of: its elements, or real and imaginary parts where these are complex."""

from __future__ import annotations

import torch
from torch import Tensor


def as_real(tensor: Tensor) -> Tensor:
    r"""A tensor's real numbers, a view where that can be: real and imaginary parts are a last dimension of size 2.

    An optimizer moves both parts of a complex element, and the gradient that autograd leaves is
    :math:`\partial L/\partial a + i\,\partial L/\partial b`, so that seen like this it is that of the real numbers.

    Returns:
        The tensor itself if it is real, else one with a last dimension of size 2.

    Example:
        >>> import torch
        >>> as_real(torch.tensor([1.0 + 2.0j]))
        tensor([[1., 2.]])
        >>> as_real(torch.tensor([3.0]))
        tensor([3.])
    """
    if not tensor.is_complex():
        return tensor
    dense = tensor if tensor.layout == torch.strided else tensor.to_dense()
    return torch.view_as_real(dense.resolve_conj())


def in_the_place_of(parameter: Tensor, value: Tensor) -> Tensor:
    """A value's view as what the parameter is: complex where that is and the value is its :func:`as_real`."""
    return torch.view_as_complex(value) if parameter.is_complex() and not value.is_complex() else value


def real_count(parameter: Tensor) -> int:
    """Number of real numbers of a parameter: each is a coordinate, and a degree of freedom.

    Returns:
        The number of elements, twice that if they are complex.

    Example:
        >>> import torch
        >>> real_count(torch.zeros(3)), real_count(torch.zeros(3, dtype=torch.complex64))
        (3, 6)
    """
    return parameter.numel() * (2 if parameter.is_complex() else 1)
