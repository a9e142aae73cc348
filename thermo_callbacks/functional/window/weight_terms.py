"""What each coordinate of a window adds to the size of the weights, to its growth, and to the work of weight decay."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class WeightSums(NamedTuple):
    """Means over the W steps of a window, coordinate by coordinate or summed over coordinates."""

    position_square: Tensor  # parameters squared
    decay_square: Tensor  # what weight decay moved them by, squared
    decay_displacement: Tensor  # products of what weight decay would add to the parameter, and the displacement


class GrowthSums(NamedTuple):
    """Products of which the spread of growth over coordinates is made, coordinate by coordinate or summed."""

    growth_square: Tensor
    growth_position: Tensor
    position_fourth: Tensor


def weight_terms(position_square: Tensor, force: Tensor, contraction: Tensor | float) -> WeightSums:
    """Terms from the parameters' mean squares and mean products with displacements; a contraction of 0: no decay."""
    # a contraction that is not known is NaN; times the zeros of padding it would be no zero
    shrunk = contraction * position_square.sqrt()
    known = torch.where(position_square > 0, shrunk, 0.0)
    return WeightSums(position_square, known.square(), torch.where(force != 0, contraction * force, 0.0))


def growth_terms(position_square: Tensor, force: Tensor) -> GrowthSums:
    """Terms of the growth of squared parameters, 2 q D a step, and of the squared parameters it is relative to."""
    growth = 2.0 * force
    return GrowthSums(growth.square(), growth * position_square, position_square.square())


def growth_sampling_variance(
    sums: GrowthSums, growth: Tensor, position_square: Tensor, *, watched: Tensor, total: Tensor
) -> Tensor:
    r"""Variance of the growth of all N coordinates' squares from watching n of them, a ratio estimate, any shape.

    Args:
        sums: Sums over the watched coordinates.
        growth: Sum of their growth.
        position_square: Sum of their squares.
        watched: Watched coordinates n.
        total: All coordinates N.

    Returns:
        :math:`N^2 (1 - n/N)\,\mathrm{Var}_i(e_i)/n` with :math:`e_i` what a coordinate's growth differs from its share
        at the layer's rate; 0 where all are watched.
    """
    rate = growth / position_square
    scatter = sums.growth_square - 2.0 * rate * sums.growth_position + rate.square() * sums.position_fourth
    variance = scatter.clamp(min=0.0) / (watched - 1.0) / watched * total * (total - watched)
    return torch.where((watched < total) & (watched > 1), variance, 0.0)
