"""What each coordinate of a window adds to entropy and its error, and what short windows bias."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

FEWEST_STEPS = 4
"""Steps of the shortest window whose variances have a mean inverse."""


class CoordinateSums(NamedTuple):
    """Fields of ``WindowStatistics`` that hold what the entropy needs, term by term or summed."""

    moving: Tensor
    log_variance: Tensor
    log_variance_square: Tensor
    relaxation: Tensor


def coordinate_terms(variances: Tensor, diffusions: Tensor | float, steps: float | None) -> CoordinateSums:
    """What each coordinate adds to a window's sums, of the shape of ``variances``; a variance of 0: it rests."""
    # diffusions: mobility times temperature, of each or of all; steps: below 4 all terms but the count are NaN,
    # None: the variances are exact
    moved = variances != 0
    # without them the logarithm of a variance from independent Gaussian steps, and its inverse, would be biased
    if steps is None:
        bias, correction, shortest = 0.0, 1.0, 0.0
    elif steps >= FEWEST_STEPS:
        half = torch.tensor((steps - 1.0) / 2.0, dtype=torch.float64)
        bias = float(half.digamma() - half.log())
        correction, shortest = (steps - 3.0) / (steps - 1.0), 1.0 / steps
    else:
        bias = correction = shortest = math.nan
    logarithm = variances.log() - bias
    # in equilibrium a coordinate forgets at the rate of diffusion over variance; noise may make a temperature negative
    relaxation = 1.0 / (diffusions / variances * correction).clamp(min=shortest)
    terms = (logarithm, logarithm.square(), relaxation)
    return CoordinateSums(moved.to(variances), *(torch.where(moved, term, 0.0) for term in terms))


def check_steps(steps: int) -> None:
    """Refuse a window that is too short for its variances to have a mean inverse."""
    if steps < FEWEST_STEPS:
        raise ValueError(f"steps must be at least {FEWEST_STEPS} for a variance to have a mean inverse, got {steps}")


def sample_scale(variances: Tensor, total: int | None, steps: int | None) -> float:
    """Factor from watched to all coordinates, after a check of the arguments that the public functions share."""
    if variances.ndim != 1 or not variances.is_floating_point() or not variances.numel():
        raise ValueError(
            f"variances must be a floating-point tensor of shape [n] with n >= 1, got shape {tuple(variances.shape)} "
            f"and {variances.dtype}: flatten it"
        )
    watched = variances.shape[0]
    if total is not None and total < watched:
        raise ValueError(f"total must be at least the {watched} coordinates of variances, got {total}")
    if steps is not None:
        check_steps(steps)
    return 1.0 if total is None else total / watched
