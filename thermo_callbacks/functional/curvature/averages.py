"""Averages of traces and of the Rugh temperature over updates, from weighted sums that add up."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.curvature.trace import rugh_temperature
from thermo_callbacks.functional.statistics import Estimate, RatioMoments


class TraceSums(NamedTuple):
    """Weighted sums over updates k of L layers and, in the last column, of their sum; each ``[L + 1]``."""

    weight_sum: Tensor  # of the weights W_k
    weight_square: Tensor
    weight_cube: Tensor
    trace_sum: Tensor  # of W_k x_k with the traces x_k
    trace_square: Tensor  # of W_k x_k^2
    variance_sum: Tensor  # of W_k^2 s_k^2 with the traces' variances s_k^2

    def estimate(self) -> Estimate:
        r"""Weighted mean of traces with its standard error.

        .. math:: \bar x = \sum_k w_k x_k, \qquad w_k = \frac{W_k}{\sum_j W_j}, \qquad
                  s^2(\bar x) = \max\Big(\frac{\sum_k w_k (x_k - \bar x)^2}{1 - \sum_k w_k^2} \sum_k w_k^2,\
                  \sum_k w_k^2 s_k^2\Big)

        The first member is the scatter between updates, the second what the probes' own variances imply. Degrees of
        freedom: :math:`(1 - S_2)^2 / (S_2 - 2 S_3 + S_2^2)` with :math:`S_p = \sum_k w_k^p` (Satterthwaite 1946).

        Returns:
            The mean, each part ``[L + 1]``; NaN before the first update.
        """
        value = self.trace_sum / self.weight_sum
        second, third = self.weight_square / self.weight_sum.square(), self.weight_cube / self.weight_sum.pow(3)
        several = second < 1.0 - 1e-12  # the sums' rounding leaves 1 - S_2 of a single update at some 1e-16
        spread = (self.trace_square / self.weight_sum - value.square()).clamp(min=0.0)
        scatter = torch.where(several, spread / (1.0 - second) * second, 0.0)
        implied = self.variance_sum / self.weight_sum.square()
        degrees_of_freedom = (1.0 - second).square() / (second - 2.0 * third + second.square())
        # 1 for two updates, whatever their weights; a single one leaves 0 / 0
        degrees_of_freedom = torch.where(several, degrees_of_freedom, 1.0).clamp(min=1.0)
        return Estimate(value, torch.maximum(scatter, implied).sqrt(), degrees_of_freedom)


class RughSums(NamedTuple):
    """Weighted sums over updates of L layers and, in the last column, of their sum; each ``[L + 1]``."""

    square_sum: Tensor  # of weighted squared gradients
    laplacian_sum: Tensor  # of weighted Laplacians
    square_square: Tensor  # of the squares of the weighted ones, as is the next
    laplacian_square: Tensor
    product: Tensor
    weight_sum: Tensor
    weight_square: Tensor

    def estimate(self) -> Estimate:
        """Rugh temperature of the means, with its standard error (delta method), which is NaN for a single update."""
        ratio = rugh_temperature(self.square_sum, self.laplacian_sum)
        moments = RatioMoments(*self[:5], self.weight_sum.square() / self.weight_square)
        return Estimate(ratio, *moments.error(ratio))


def trace_sums(traces: Tensor, variances: Tensor, weight: float = 1.0) -> TraceSums:
    """Sums of one update, float64; a trace that is not finite is left out, and the sum of the layers with it."""
    trace, variance, weights = _weighted(traces, variances, weight)
    return TraceSums(
        weights, weights.square(), weights.pow(3), weights * trace, weights * trace.square(),
        weights.square() * variance,
    )  # fmt: skip


def rugh_sums(gradient_products: Tensor, laplacians: Tensor, weight: float = 1.0) -> RughSums:
    """Sums of one update: products of two independent gradients and Laplacians of each layer, ``[L]``."""
    square, laplacian, weights = _weighted(gradient_products, laplacians, weight)
    return RughSums(
        weights * square, weights * laplacian, (weights * square).square(), (weights * laplacian).square(),
        weights.square() * square * laplacian, weights, weights.square(),
    )  # fmt: skip


def _weighted(first: Tensor, second: Tensor, weight: float) -> tuple[Tensor, Tensor, Tensor]:
    """Two numbers of each layer and of their sum, and the weights; all 0 where one of the two is not finite."""
    if not 0.0 < weight < math.inf:
        raise ValueError(f"weight must be positive and finite, got {weight}")
    layers = torch.stack([side.detach().double().reshape(-1) for side in (first, second)])
    columns = torch.cat([layers, layers.sum(1, keepdim=True)], 1)
    counted = columns.isfinite().all(0)
    columns = torch.where(counted, columns, 0.0)
    return columns[0], columns[1], weight * counted.to(columns)
