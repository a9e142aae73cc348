"""Spectra and determinants of large positive operators, and of the bulk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.bulk.chain import chain_matrix, chain_operator, checked_chain
from thermo_callbacks.functional.bulk.lanczos import LanczosSums, Operator, lanczos_log_sums, rademacher_rows
from thermo_callbacks.functional.statistics import Estimate, mean_estimate


class Spectrum(NamedTuple):
    """Density of states of a positive operator.

    Attributes:
        values: Eigenvalues, or quadrature nodes in their place, ``[k]``.
        counts: Number of eigenvalues that each value stands for, ``[k]``; their sum is the operator's size.
    """

    values: Tensor
    counts: Tensor

    def quantiles(self, number: int) -> Tensor:
        """Equally likely representatives, for a histogram: where the counts reach the middles of equal shares.

        Args:
            number: How many.

        Returns:
            The values in rising order, ``[number]``.

        Example:
            >>> import torch
            >>> Spectrum(torch.tensor([3.0, 1.0]), torch.tensor([1.0, 3.0])).quantiles(4).tolist()
            [1.0, 1.0, 1.0, 3.0]
        """
        order = self.values.argsort()
        reached = self.counts[order].double().cumsum(0)
        shares = (torch.arange(number, dtype=torch.float64, device=reached.device) + 0.5) / number
        index = torch.searchsorted(reached, shares * reached[-1]).clamp(max=len(order) - 1)
        return self.values[order][index]


class LogDeterminant(NamedTuple):
    """Logarithm of a determinant by stochastic Lanczos quadrature.

    Attributes:
        estimate: The logarithm with its standard error from the probes, in nats.
        truncation: Largest error by the finite number of steps, in nats: half the distance of an upper and a lower
            bound between which the mean over these probes lies.
        spectrum: The operator's density of states.
    """

    estimate: Estimate
    truncation: Tensor
    spectrum: Spectrum


def stochastic_log_determinant(
    operator: Operator,
    like: Tensor,
    *,
    smallest: float,
    probes: int = 16,
    steps: int = 100,
    tolerance: float = 1e-3,
    generator: torch.Generator | None = None,
) -> LogDeterminant:
    r"""Ln det of a symmetric positive operator that is known by its products with vectors only.

    .. math:: \ln\det A = \mathrm{tr} \ln A = E_v\, v^T \ln(A)\, v, \qquad v_i = \pm 1

    Each form is found by Lanczos' iteration with full orthogonalisation, as the middle between Gauss quadrature, which
    lies above it, and Gauss-Radau quadrature, which lies under it. The iteration ends when these are no more than twice
    the ``tolerance`` apart, per dimension, for every probe. Unbiased up to that; the variance over P probes is
    :math:`\tfrac2P \sum_{i \ne j} (\ln A)_{ij}^2`. Memory: ``probes * steps * n`` numbers.

    Sources: Ubaru, Chen and Saad 2017, "Fast estimation of tr(f(A)) via stochastic Lanczos quadrature"; Golub and
    Meurant 1994, "Matrices, moments and quadrature"; Hutchinson 1990.

    Args:
        operator: Product of vectors ``[P, n]`` with the matrix, row by row.
        like: A vector ``[n]`` of the operator's space, for its size, dtype and device.
        smallest: A positive lower bound of the spectrum, for example a regulator.
        probes: Number of random vectors P, at least 1; 2 for a standard error.
        steps: Largest number of steps.
        tolerance: Error per dimension, in nats, at which the iteration may end.
        generator: Source of the vectors; None is the global stream.

    Returns:
        The logarithm with standard error, the bound of its truncation, and the spectrum.

    Raises:
        ValueError: If ``smallest`` isn't positive and finite, or ``probes`` or ``steps`` is below 1.

    Example:
        >>> import torch
        >>> diagonal = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)  # no off-diagonal, so no variance
        >>> found = stochastic_log_determinant(lambda rows: rows * diagonal, diagonal, smallest=0.5, probes=2)
        >>> print(f"{found.estimate.value.exp():.4f} {found.estimate.stderr:.1f}")
        8.0000 0.0
    """
    if not 0.0 < smallest < math.inf:
        raise ValueError(f"smallest must be a positive lower bound of the spectrum, got {smallest}")
    if probes < 1 or steps < 1:
        raise ValueError(f"probes and steps must be at least 1, got {probes} and {steps}")
    start = rademacher_rows(probes, like, generator)
    sums = lanczos_log_sums(operator, start, smallest=smallest, steps=steps, tolerance=tolerance)
    return LogDeterminant(mean_estimate(sums.value), sums.truncation.mean(), lanczos_spectrum(sums, like.numel()))


def lanczos_spectrum(sums: LanczosSums, size: int) -> Spectrum:
    """Density of states from the quadrature rules of several probes: all nodes, with counts that sum to the size."""
    return Spectrum(sums.nodes.flatten(), sums.weights.flatten() * (size / len(sums.nodes)))


def bulk_spectrum(
    weights: Sequence[Tensor],
    slopes: Sequence[Tensor],
    regulator: float = 0.1,
    *,
    dense_limit: int = 1024,
    steps: int = 60,
    probes: int = 2,
    generator: torch.Generator | None = None,
) -> Spectrum:
    r"""Spectrum of the matrix :math:`G = (1 - f'w)^T (1 - f'w) + m^2` of the bulk of a chain of layers.

    All eigenvalues up to ``dense_limit`` neurons, in O(n^3); above it nodes and weights of Lanczos' iteration, which
    find the ends of the spectrum best and smooth its middle. No eigenvalue is below m^2. Uncoupled neurons have
    1 + m^2. Samples are pooled: the counts sum to n, their density being the mean over the samples.

    Args:
        weights: Weight matrices as in :func:`~thermo_callbacks.functional.bulk.complexity.bulk_complexity`.
        slopes: Slopes, the l-th ``[n_l]`` or ``[S, n_l]``.
        regulator: The regulator m^2; positive above ``dense_limit`` neurons.
        dense_limit: Number of neurons up to which all eigenvalues are found.
        steps: Steps of Lanczos' iteration.
        probes: Random vectors for each sample.
        generator: Source of the vectors; None is the global stream.

    Returns:
        The spectrum.

    Raises:
        ValueError: If the shapes don't make a chain, slopes have more than one leading dimension, or the regulator is
            negative or not finite, or 0 above ``dense_limit`` neurons.

    Example:
        >>> import torch
        >>> spectrum = bulk_spectrum([torch.tensor([[1.5]])], [torch.tensor([1.0])], regulator=0.0)
        >>> print([f"{value:.2f}" for value in spectrum.values])  # det G = 1
        ['0.25', '4.00']
    """
    weights, slopes = checked_chain(weights, slopes, regulator)
    slopes = [slope.unsqueeze(0) if slope.ndim == 1 else slope for slope in slopes]
    samples = slopes[0].shape[0]
    if any(slope.ndim != 2 or slope.shape[0] != samples for slope in slopes):
        raise ValueError(f"slopes must be [n_l] or [S, n_l] with one S, got {[tuple(slope.shape) for slope in slopes]}")
    size = weights[0].shape[1] + sum(weight.shape[0] for weight in weights)
    with torch.no_grad():
        if size <= dense_limit:
            values = torch.linalg.eigvalsh(chain_matrix(weights, slopes, regulator)).flatten()
            return Spectrum(values, torch.full_like(values, 1.0 / samples))
        if not regulator:
            raise ValueError(f"regulator must be positive for more than dense_limit={dense_limit} neurons, got 0")
        rows = [slope.repeat_interleave(probes, 0) for slope in slopes]
        start = rademacher_rows(samples * probes, weights[0].new_empty(size), generator)
        operator = chain_operator(weights, rows, regulator)
        return lanczos_spectrum(
            lanczos_log_sums(operator, start, smallest=regulator, steps=steps, tolerance=1e-3), size
        )
