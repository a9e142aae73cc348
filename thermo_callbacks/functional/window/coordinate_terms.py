"""What each coordinate of a window adds to entropy and production, and what short windows bias."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

FEWEST_STEPS = 4
"""Steps of the shortest window whose variances have a mean inverse."""


class CoordinateSums(NamedTuple):
    """What entropy and production need of a window, term by term or summed over coordinates; 0 for one that rests.

    Attributes:
        moving: 1 for each coordinate that moved.
        log_variance: Logarithms of their variances, without the bias of independent steps.
        log_variance_square: Squares of those logarithms.
        production: Diffusion coefficients over variances, likewise without bias, in nats per step.
        production_square: Squares of those.
        relaxation: Steps in which a coordinate forgets, the inverse production, at most the window's length.
    """

    moving: Tensor
    log_variance: Tensor
    log_variance_square: Tensor
    production: Tensor
    production_square: Tensor
    relaxation: Tensor


def coordinate_terms(variances: Tensor, diffusions: Tensor, steps: float) -> CoordinateSums:
    """What each coordinate adds to a window's sums.

    Args:
        variances: Variances in the window, ``[..., n]``; 0 for a coordinate that rests.
        diffusions: Mobility times temperature of each coordinate, squared units of the parameter per step, same shape.
        steps: Steps in the window; below 4 all terms but the count are NaN.

    Returns:
        The terms, each of the shape of ``variances``.
    """
    moved = variances != 0
    enough = steps >= FEWEST_STEPS
    logarithm = variances.log() - (log_variance_bias(steps) if enough else math.nan)
    production = diffusions / variances * (inverse_variance_correction(steps) if enough else math.nan)
    relaxation = 1.0 / production.clamp(min=1.0 / max(steps, 1.0))  # noise may make a temperature negative
    terms = (logarithm, logarithm.square(), production, production.square(), relaxation)
    return CoordinateSums(moved.to(variances), *(torch.where(moved, term, 0.0) for term in terms))


def log_variance_bias(steps: float) -> float:
    """Bias of the logarithm of a variance from independent Gaussian steps.

    Args:
        steps: Steps in the window, at least 2.

    Returns:
        Expected logarithm minus the logarithm of the true variance, negative.
    """
    half = torch.tensor((steps - 1.0) / 2.0, dtype=torch.float64)
    return float(half.digamma() - half.log())


def inverse_variance_correction(steps: float) -> float:
    """Factor that makes the inverse of a variance from independent Gaussian steps unbiased.

    Args:
        steps: Steps in the window, at least 4.

    Returns:
        The factor, below 1.
    """
    return (steps - 3.0) / (steps - 1.0)
