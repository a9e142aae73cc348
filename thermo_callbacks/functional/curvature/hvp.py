"""Hessian-vector products by double backward, and checks that all methods share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def hessian_vector_product(
    gradients: Sequence[Tensor | None],
    parameters: Sequence[Tensor],
    vectors: Sequence[Tensor],
    *,
    retain_graph: bool = False,
) -> list[Tensor]:
    r"""Product of the Hessian with a vector, exactly, by a second backward pass (Pearlmutter 1994).

    .. math:: (H v)_i = \frac{\partial}{\partial q_i} \sum_j \frac{\partial L}{\partial q_j}\, v_j

    A gradient that does not require grad is that of a loss which is linear in the parameter, and one that is None
    belongs to a parameter that the loss does not use: both have no curvature. The last product of a graph frees it,
    and with it the graph of the loss.

    Args:
        gradients: Gradients :math:`\partial L/\partial q` of the loss, made with ``create_graph=True``.
        parameters: Parameters q, one for each gradient.
        vectors: The vector v, in the parameters' shapes.
        retain_graph: Keep the graph, for another product or a backward pass.

    Returns:
        The product, in the parameters' shapes; in units of the loss per unit of parameter squared, times that of v.

    Raises:
        ValueError: If the three sequences differ in length.
        RuntimeError: From autograd, if an operation of the loss has no second derivative, or the graph is freed.

    Example:
        >>> import torch
        >>> q = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> gradients = torch.autograd.grad(q[0] ** 2 * q[1], [q], create_graph=True)
        >>> hessian_vector_product(gradients, [q], [torch.tensor([1.0, 0.0])])  # first column of [[4, 2], [2, 0]]
        [tensor([4., 2.])]
    """
    check_lengths(parameters, gradients=gradients, vectors=vectors)
    curved = [(g, v) for g, v in zip(gradients, vectors, strict=True) if g is not None and g.requires_grad]
    if not curved:
        return [torch.zeros_like(parameter) for parameter in parameters]
    outputs, directions = zip(*curved, strict=True)
    products = torch.autograd.grad(
        outputs, list(parameters), grad_outputs=directions, retain_graph=retain_graph, allow_unused=True
    )
    return [
        torch.zeros_like(parameter, requires_grad=False) if product is None else dense(product)
        for product, parameter in zip(products, parameters, strict=True)
    ]


def dense(tensor: Tensor) -> Tensor:
    """The same numbers as a dense tensor, where one is sparse, such as the gradient of an embedding."""
    return tensor if tensor.layout == torch.strided else tensor.to_dense()


def check_lengths(parameters: Sequence[Tensor], **sequences: Sequence[Tensor | None]) -> None:
    """Check that all sequences, given by name, hold one entry for each parameter."""
    for name, sequence in sequences.items():
        if len(sequence) != len(parameters):
            raise ValueError(
                f"{name} must hold one entry for each of the {len(parameters)} parameters, got {len(sequence)}"
            )
