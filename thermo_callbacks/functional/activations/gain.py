"""Search on a grid for a point with |f(z)| > |z|, where a function gives out more than it takes in."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from thermo_callbacks.functional.activations.checks import Activation

SMALLEST = 1e-8  # magnitude of the innermost points but 0
PER_DECADE = 2000  # points in a decade of magnitudes
NEAR, NEAR_STEP = 20.0, 1e-3  # an even grid besides, for features of one width
ROUNDING = 4.0  # tolerance in units of the last place, of z and of 1: intermediate results are of that size
PEAKS, PEAK_POINTS = 256, 129


def exceeding_point(function: Activation, limit: float) -> float | None:
    """A point of magnitude up to ``limit`` with |f(z)| > |z| beyond rounding, or None if there is none on the grid."""
    points = search_grid(limit)
    ratios, excess = _compare(function, points)
    if not excess.any():  # between points, peaks are searched once more on a grid sixty times finer
        inner = ratios[1:-1]
        peaks = (inner >= torch.maximum(ratios[:-2], ratios[2:])) & (inner > torch.minimum(ratios[:-2], ratios[2:]))
        highest = torch.where(peaks, inner, -1.0).topk(min(PEAKS, inner.numel())).indices
        share = torch.linspace(0.0, 1.0, PEAK_POINTS, dtype=torch.float64, device="cpu")
        points = torch.lerp(points[highest][:, None], points[highest + 2][:, None], share).flatten()
        _, excess = _compare(function, points)
    return points[excess][0].item() if excess.any() else None


def _compare(function: Activation, points: Tensor) -> tuple[Tensor, Tensor]:
    """Ratios |f(z)|/|z|, and where f gives out more than rounding explains."""
    with torch.no_grad():
        values = function(points)
    rounding = ROUNDING * torch.finfo(values.dtype).eps
    outputs, inputs = values.double().abs(), points.abs()
    finite = outputs.isfinite()
    excess = finite & (outputs > inputs + rounding * (inputs + 1.0))
    if not finite.all() and not excess.any():
        raise ValueError(
            f"activation must be finite where it is looked at, got {values[~finite][0].item()} at "
            f"{points[~finite][0].item():g}: write it in a form that doesn't overflow, or lower limit"
        )
    return torch.where(inputs > 0, outputs / inputs, 0.0), excess


def search_grid(limit: float) -> Tensor:
    """Points from -limit to limit that lie densest near 0, in increasing order, with 0 among them."""
    decades = np.log10(limit / SMALLEST)
    far = np.geomspace(SMALLEST, limit, int(np.ceil(decades * PER_DECADE)) + 1)
    near = np.arange(0.0, min(NEAR, limit), NEAR_STEP)
    magnitudes = np.unique(np.concatenate([near, far]))
    return torch.as_tensor(np.concatenate([-magnitudes[:0:-1], magnitudes]), device="cpu")
