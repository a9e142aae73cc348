"""Linear algebra of a chain of layers: its matrix G is block tridiagonal, and is never formed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from thermo_callbacks.functional.bulk.lanczos import Operator

Elementwise = Callable[[Tensor], Tensor]


def checked_chain(
    weights: Sequence[Tensor], slopes: Sequence[Tensor], regulator: float
) -> tuple[list[Tensor], list[Tensor]]:
    """Weights ``[n_l, n_(l-1)]`` and slopes ``[..., n_l]`` in one dtype, at least float32, checked to be a chain."""
    check_regulator(regulator)
    if not weights or len(weights) != len(slopes):
        raise ValueError(
            "weights and slopes must hold one tensor for each layer behind the input, and at least one, got "
            f"{len(weights)} and {len(slopes)}"
        )
    for layer, (weight, slope) in enumerate(zip(weights, slopes, strict=True)):
        if weight.ndim != 2 or slope.ndim < 1 or slope.shape[-1] != weight.shape[0]:
            raise ValueError(
                f"weights[{layer}] must be [n_out, n_in] and slopes[{layer}] [..., n_out], got {tuple(weight.shape)} "
                f"and {tuple(slope.shape)}"
            )
    for layer, (below, above) in enumerate(pairwise(weights)):
        if above.shape[1] != below.shape[0]:
            raise ValueError(
                f"weights must be a chain, but weights[{layer}] gives {below.shape[0]} neurons and "
                f"weights[{layer + 1}] takes {above.shape[1]}"
            )
    dtype = torch.float32
    for tensor in (*weights, *slopes):
        dtype = torch.promote_types(dtype, tensor.dtype)
    return [weight.to(dtype) for weight in weights], [slope.to(dtype) for slope in slopes]


def check_regulator(regulator: float) -> None:
    """Check that a regulator m^2 is finite and not negative."""
    number = isinstance(regulator, int | float) and not isinstance(regulator, bool)
    if not number or not 0.0 <= regulator < float("inf"):
        raise ValueError(f"regulator must be finite and not negative (m^2, for example 0.1), got {regulator!r}")


def chain_log_determinant(weights: Sequence[Tensor], slopes: Sequence[Tensor], regulator: float) -> Tensor:
    """Ln det G of a checked chain, of the leading shape of ``slopes``, by block elimination from the output."""
    # With c = 1 + m^2 and A_l = f'_l w_l the Schur complements are D_L = c, D_(l-1) = c + A_l^T (1 - D_l^-1) A_l. In
    # this order D - 1 is never smaller than m^2: nothing cancels, and all D are exactly 1 for m = 0.
    scale = 1.0 + regulator
    one = torch.eye(weights[-1].shape[0], dtype=weights[-1].dtype, device=weights[-1].device)
    block = scale * one.expand(*slopes[-1].shape[:-1], -1, -1)  # D of the layer above
    total = torch.zeros_like(slopes[-1][..., 0])
    for layer in reversed(range(len(weights))):
        weight, slope = weights[layer], slopes[layer]
        if layer == 0 and weight.shape[1] > weight.shape[0]:
            return total + _wide_input(weight, slope, block, scale)
        factor = torch.linalg.cholesky(block)
        total = total + _log_determinant(factor)
        remainder = torch.eye(slope.shape[-1], dtype=slope.dtype, device=slope.device) - torch.cholesky_inverse(factor)
        remainder = slope.unsqueeze(-1) * remainder * slope.unsqueeze(-2)
        one = torch.eye(weight.shape[1], dtype=weight.dtype, device=weight.device)
        block = scale * one + weight.T @ remainder @ weight
    return total + _log_determinant(torch.linalg.cholesky(block))


def _wide_input(weight: Tensor, slope: Tensor, block: Tensor, scale: float) -> Tensor:
    """Logarithm of the determinant of the first two layers together, where the input is the wider one."""
    # c^(n_0 - n_1) det(c + K) det(D_1 - 1 + c / (c + K)) with K = A_1 A_1^T: no matrix of the size of the input
    one = torch.eye(weight.shape[0], dtype=weight.dtype, device=weight.device)
    gram = slope.unsqueeze(-1) * (weight @ weight.T) * slope.unsqueeze(-2)
    outer = torch.linalg.cholesky(scale * one + gram)
    inner = torch.linalg.cholesky(block - one + scale * torch.cholesky_inverse(outer))
    constant = (weight.shape[1] - weight.shape[0]) * torch.log(weight.new_tensor(scale))
    return constant + _log_determinant(outer) + _log_determinant(inner)


def _log_determinant(factor: Tensor) -> Tensor:
    """Twice the sum of the logarithms on the diagonal of a Cholesky factor."""
    return 2.0 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def chain_operator(weights: Sequence[Tensor], slopes: Sequence[Tensor], regulator: float) -> Operator:
    """Product of rows ``[R, n]`` with G of a checked chain, whose slopes are ``[R, n_l]`` or ``[n_l]``."""
    sizes = [weights[0].shape[1], *(weight.shape[0] for weight in weights)]

    def product(rows: Tensor) -> Tensor:
        states = torch.split(rows, sizes, dim=-1)
        forward = [states[0]]
        for weight, slope, below, state in zip(weights, slopes, states, states[1:], strict=False):
            forward.append(state - slope * (below @ weight.T))
        backward = list(forward)
        for layer, (weight, slope) in enumerate(zip(weights, slopes, strict=True)):
            backward[layer] = backward[layer] - (slope * forward[layer + 1]) @ weight
        return torch.cat(backward, -1) + regulator * rows

    return product


def chain_matrix(weights: Sequence[Tensor], slopes: Sequence[Tensor], regulator: float) -> Tensor:
    """G itself, ``[..., n, n]``, for small chains, from checked weights and slopes."""
    sizes = [weights[0].shape[1], *(weight.shape[0] for weight in weights)]
    ends = torch.tensor(sizes).cumsum(0).tolist()
    one = torch.eye(ends[-1], dtype=weights[0].dtype, device=weights[0].device)
    difference = one.repeat(*slopes[0].shape[:-1], 1, 1)
    for layer, (weight, slope) in enumerate(zip(weights, slopes, strict=True)):
        below = slice(ends[layer] - sizes[layer], ends[layer])
        difference[..., ends[layer] : ends[layer + 1], below] = -slope.unsqueeze(-1) * weight
    return difference.mT @ difference + regulator * one


def chain_states(
    inputs: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None], activations: Sequence[Elementwise]
) -> tuple[list[Tensor], list[Tensor]]:
    """States of all layers, the input's first, and slopes of all behind it, differentiable where weights are."""
    states, slopes = [inputs], []
    for weight, bias, activation in zip(weights, biases, activations, strict=True):
        state, slope = _state_and_slope(activation, torch.nn.functional.linear(states[-1], weight, bias))
        states.append(state)
        slopes.append(slope)
    return states, slopes


def _state_and_slope(activation: Elementwise, point: Tensor) -> tuple[Tensor, Tensor]:
    traced = point.requires_grad
    with torch.enable_grad():
        point = point if traced else point.detach().requires_grad_()
        value = activation(point)
        (slope,) = torch.autograd.grad(value.sum(), point, create_graph=traced)
    return (value, slope) if traced else (value.detach(), slope)
