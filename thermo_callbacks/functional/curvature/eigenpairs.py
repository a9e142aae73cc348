"""Largest eigenvalues of a symmetric matrix that is given as a product only, and their eigenvectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Eigenpairs(NamedTuple):
    r"""Approximate eigenpairs, the largest eigenvalue first.

    Attributes:
        values: Ritz values :math:`\theta_j`, ``[k]``, each at most the eigenvalue of its rank.
        vectors: Orthonormal Ritz vectors :math:`u_j`, ``[k, n]``.
        residuals: Norms :math:`|A u_j - \theta_j u_j|`, ``[k]``: an eigenvalue lies no farther than this from the Ritz
            value.
    """

    values: Tensor
    vectors: Tensor
    residuals: Tensor


def leading_eigenpairs(operator: Callable[[Tensor], Tensor], start: Tensor, *, count: int, products: int) -> Eigenpairs:
    r"""Eigenpairs of the largest eigenvalues of a symmetric matrix, by Rayleigh and Ritz in a space that grows.

    The space begins with the rows of ``start``, and takes in the largest residual :math:`A u_j - \theta_j u_j` of the
    wanted pairs until it has as many dimensions as there may be products. From one row this is Lanczos' iteration with
    full orthogonalisation; from the vectors of a matrix that was nearly the same, a few products more than there are
    rows find the new ones. Memory: two rows of n numbers for each product.

    An eigenvalue that the start has no part in is not found, and of one that is there several times a single row finds
    one. Largest means uppermost, not largest in size: negative eigenvalues come last.

    Source: Lanczos 1950; Davidson 1975 for the growth by residuals.

    Args:
        operator: Product of the matrix with a vector ``[n]``.
        start: Rows to begin with, ``[m, n]``, at least one that is not zero; those that depend on the others are left
            out.
        count: Pairs wanted, at least 1; fewer come back where the space is smaller.
        products: Products that may be taken, at least 1.

    Returns:
        The pairs; a single one of NaN where a product is not finite.

    Raises:
        ValueError: If ``start`` is not ``[m, n]`` with a row that is finite and not zero, or ``count`` or ``products``
            are below 1.

    Example:
        >>> import torch
        >>> matrix = torch.diag(torch.tensor([1.0, 5.0, 3.0], dtype=torch.float64))
        >>> start = torch.ones(1, 3, dtype=torch.float64)
        >>> pairs = leading_eigenpairs(lambda vector: matrix @ vector, start, count=2, products=3)
        >>> [round(value, 6) for value in pairs.values.tolist()]
        [5.0, 3.0]
    """
    if count < 1 or products < 1:
        raise ValueError(f"count and products must be at least 1, got {count} and {products}")
    if start.ndim != 2 or not bool(torch.isfinite(start).all()) or not bool(start.any()):
        raise ValueError(f"start must be finite rows [m, n], one of them not zero, got shape {tuple(start.shape)}")
    size = start.shape[1]
    limit = min(products, size)
    basis, images = start.new_zeros(limit, size), start.new_zeros(limit, size)
    taken = 0
    waiting = list(start)
    while taken < limit:
        given = bool(waiting)
        candidate = waiting.pop(0) if given else _largest_residual(basis[:taken], images[:taken], count)
        fresh = None if candidate is None else _orthogonal(candidate, basis[:taken])
        if fresh is not None:
            basis[taken] = fresh
            images[taken] = operator(fresh)
            taken += 1
            if not bool(torch.isfinite(images[taken - 1]).all()):
                nothing = start.new_full((1,), torch.nan)
                return Eigenpairs(nothing, fresh[None], nothing)
        elif not given:
            break  # the space is invariant: what there is to be found from this start is found
    values, vectors, residuals = _ritz(basis[:taken], images[:taken], count)
    return Eigenpairs(values, vectors, torch.linalg.vector_norm(residuals, dim=1))


def _ritz(basis: Tensor, images: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ritz values, vectors and residual vectors of the largest values."""
    projected = basis.double() @ images.double().T if basis.numel() < 2**20 else (basis @ images.T).double()
    values, weights = torch.linalg.eigh((projected + projected.T) / 2.0)
    values, weights = values.flip(0)[:count].to(basis), weights.flip(1)[:, :count].T.to(basis)
    vectors = weights @ basis
    return values, vectors, weights @ images - values[:, None] * vectors


def _largest_residual(basis: Tensor, images: Tensor, count: int) -> Tensor | None:
    """The largest residual of the wanted pairs; None if all are rounding."""
    values, _, residuals = _ritz(basis, images, count)
    norms = torch.linalg.vector_norm(residuals, dim=1)
    rounding = 100.0 * torch.finfo(basis.dtype).eps * values.abs().max()
    return residuals[norms.argmax()] if bool(norms.max() > rounding) else None


def _orthogonal(vector: Tensor, basis: Tensor) -> Tensor | None:
    """What a vector adds to a space, of length 1; None if that is rounding."""
    norm = torch.linalg.vector_norm(vector)
    if not norm > 0.0:
        return None
    vector = vector / norm
    for _ in range(2):  # once leaves rounding behind, twice is enough
        vector = vector - (basis @ vector) @ basis
        left = torch.linalg.vector_norm(vector)
        if not left > 100.0 * torch.finfo(vector.dtype).eps:
            return None
        vector = vector / left
    return vector
