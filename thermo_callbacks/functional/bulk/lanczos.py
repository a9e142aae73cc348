"""Stochastic Lanczos quadrature: spectral sums of a symmetric positive operator that is given as a product only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

Operator = Callable[[Tensor], Tensor]
"""Takes vectors ``[R, n]`` and gives the product of each row with a symmetric positive matrix, of its own or shared."""

CHECK_EVERY = 5  # steps between two computations of the bounds: an eigenproblem of the size of the steps


class Tridiagonal(NamedTuple):
    """Lanczos' tridiagonal matrices of R start vectors after k steps, as two diagonals ``[R, k]``."""

    diagonal: Tensor
    coupling: Tensor  # off the diagonal; the last column couples to the step that comes next


class LanczosSums(NamedTuple):
    r"""Quadratic forms :math:`v^T \ln(A)\, v` of R vectors, with the density of states that they see."""

    value: Tensor  # the forms, [R]: the middle of a lower and an upper bound
    truncation: Tensor  # half the distance of the bounds, [R]
    nodes: Tensor  # approximate eigenvalues, [R, k]
    weights: Tensor  # of the nodes, [R, k], of sum 1 in each row


def rademacher_rows(rows: int, like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Independent signs ``[R, n]`` like a vector ``[n]``; from the CPU's global stream without a generator."""
    device = torch.device("cpu") if generator is None else generator.device
    bits = torch.randint(0, 2, (rows, like.numel()), generator=generator, device=device)
    return (2 * bits - 1).to(like)


def lanczos(operator: Operator, start: Tensor, steps: int) -> Iterator[Tridiagonal]:
    """Lanczos' iteration on all rows ``[R, n]`` at once: the matrices after every few steps and the last."""
    steps = min(steps, start.shape[1])
    basis = start.new_zeros(steps, *start.shape)
    current = start / torch.linalg.vector_norm(start, dim=1, keepdim=True)
    diagonal, coupling = start.new_zeros(start.shape[0], steps), start.new_zeros(start.shape[0], steps)
    rounding = 100 * torch.finfo(start.dtype).eps
    for step in range(steps):
        basis[step] = current
        image = operator(current)
        diagonal[:, step] = (current * image).sum(1)
        known = basis[: step + 1]
        # without this rounding lets converged eigenvalues come back as copies; twice is enough
        for _ in range(2):
            image = image - torch.einsum("krn,kr->rn", known, torch.einsum("krn,rn->kr", known, image))
        norm = torch.linalg.vector_norm(image, dim=1)
        # A row whose vectors span an invariant space is finished: what is left is rounding. Zero vectors follow, and
        # the entries they leave are cut off from the first by a coupling of exactly 0.
        finished = norm <= rounding * diagonal[:, : step + 1].amax(1)
        diagonal[:, step] = torch.where(current.any(1), diagonal[:, step], diagonal[:, 0])
        coupling[:, step] = torch.where(finished, 0.0, norm)
        current = torch.where(finished.unsqueeze(1), 0.0, image / norm.unsqueeze(1))
        if (step + 1) % CHECK_EVERY == 0 or step + 1 == steps:
            yield Tridiagonal(diagonal[:, : step + 1], coupling[:, : step + 1])


def gauss_rule(matrix: Tridiagonal) -> tuple[Tensor, Tensor]:
    """Gauss quadrature of each start vector's density of states: nodes and weights of sum 1, float64 ``[R, k]``."""
    diagonal, coupling = matrix.diagonal.double(), matrix.coupling.double()[:, :-1]
    dense = torch.diag_embed(diagonal) + torch.diag_embed(coupling, 1) + torch.diag_embed(coupling, -1)
    nodes, vectors = torch.linalg.eigh(dense)
    return nodes, vectors[:, 0].square()


def radau_rule(matrix: Tridiagonal, end: float) -> tuple[Tensor, Tensor]:
    """Gauss-Radau quadrature: as :func:`gauss_rule`, with one more node, ``end``, below all eigenvalues."""
    diagonal, coupling = matrix.diagonal.double(), matrix.coupling.double()
    size = diagonal.shape[1]
    shifted = torch.diag_embed(diagonal - end)
    if size > 1:
        inner = coupling[:, :-1]
        shifted = shifted + torch.diag_embed(inner, 1) + torch.diag_embed(inner, -1)
    right = torch.zeros_like(diagonal)
    right[:, -1] = coupling[:, -1].square()
    last = end + torch.linalg.solve(shifted, right)[:, -1:]
    zero = coupling.new_zeros(coupling.shape[0], 1)
    return gauss_rule(Tridiagonal(torch.cat([diagonal, last], 1), torch.cat([coupling, zero], 1)))


def lanczos_log_sums(
    operator: Operator, start: Tensor, *, smallest: float, steps: int, tolerance: float
) -> LanczosSums:
    """Quadratic forms of the logarithm of an operator with rows of squared norm n; ``smallest`` bounds it below."""
    # The even derivatives of ln are negative and the odd ones positive, so that Gauss quadrature lies above the form
    # and Gauss-Radau quadrature, with a node below the spectrum, under it (Golub and Meurant 1994). The iteration ends
    # when the bounds of every row are closer than twice the tolerance times n.
    size = start.shape[1]
    # A node must lie strictly below the spectrum, or the shifted matrix is singular where an eigenvalue is the bound.
    end = 0.999 * smallest
    for matrix in lanczos(operator, start, steps):
        nodes, weights = gauss_rule(matrix)
        lower_nodes, lower_weights = radau_rule(matrix, end)
        upper = (weights * nodes.clamp(min=end).log()).sum(1)
        lower = (lower_weights * lower_nodes.clamp(min=end).log()).sum(1)
        truncation = (upper - lower).abs() / 2
        if bool((truncation <= tolerance).all()):
            break
    return LanczosSums(size * (upper + lower) / 2, size * truncation, nodes, weights)
