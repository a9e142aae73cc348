"""What a run is judged by, on test data that it has not seen and that no fault has touched: lower is better."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def wrong(outputs: Tensor, targets: Tensor) -> float:
    """Share of the samples whose likeliest class is not the right one; 1 for outputs that are no numbers."""
    if not bool(outputs.isfinite().all()):
        return 1.0
    return float((outputs.argmax(-1) != targets).float().mean())


def unexplained(outputs: Tensor, targets: Tensor) -> float:
    """Mean squared error over the variance of the targets; infinite for outputs that are no numbers."""
    ratio = float((outputs - targets).square().mean() / targets.var())
    return ratio if math.isfinite(ratio) else math.inf


def distance(made: Tensor, true: Tensor) -> float:
    """Energy distance between two samples of points (Szekely and Rizzo 2013), over the spread of the true one."""
    if not bool(made.isfinite().all()):
        return math.inf

    def apart(one: Tensor, other: Tensor) -> float:
        return float(torch.cdist(one, other).mean())

    return (2 * apart(made, true) - apart(made, made) - apart(true, true)) / apart(true, true)
