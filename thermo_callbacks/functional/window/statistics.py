"""Statistics of a window of steps: the sums by layer that every estimate of the window is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class WindowStatistics:
    """Sums over the watched coordinates of each of L layers, step by step.

    Attributes:
        innovation_gradient: Products of contrasts of innovation (times response) and gradient, ``[K - 1, L]``.
        innovation_square: Squares of contrasts of the innovation (times response), each coordinate's divided by its
            mobility, the displacement per unit of gradient; NaN where that is unknown, ``[K - 1, L]``.
        position_gradient: Products of contrasts of parameters and gradients, ``[W - 1, L]``.
        gradient_square: Squares of contrasts of gradients, ``[W - 1, L]``.
        position_displacement: Products of parameters and displacements, ``[W, L]``.
        gradient_displacement: Products of gradients and displacements, ``[W, L]``.
        displacement_square: Squares of displacements, ``[W, L]``.
        mean_gradient_square: Squared norm of the mean gradient, ``[L]``.
        temperature_sampling_variance: Variance of each layer's kinetic temperature from watching a sample, ``[L]``.
        moving: Watched coordinates that moved, ``[L]``. Of these are the sums of the next five.
        log_variance: Logarithms of the parameters' variances, free of the bias of independent steps, ``[L]``.
        log_variance_square: Squares of those logarithms, ``[L]``.
        production: Mobility times temperature over variance, coordinate by coordinate, free of that bias; NaN where the
            mobility is unknown or there are fewer than 4 steps, ``[L]``.
        production_square: Squares of those, ``[L]``.
        relaxation: Inverse of those, the steps in which a coordinate forgets, at most the window's, ``[L]``.
        watched: Watched coordinates that had a gradient, ``[L]``.
        sizes: All coordinates of the layer that had a gradient, ``[L]``.
        momentum: Momentum of the layer's optimizer, ``[L]`` on the CPU.
        batch_size: Samples behind each gradient; NaN if unknown.
        skipped: Steps left out because a gradient was not finite.
    """

    innovation_gradient: Tensor
    innovation_square: Tensor
    position_gradient: Tensor
    gradient_square: Tensor
    position_displacement: Tensor
    gradient_displacement: Tensor
    displacement_square: Tensor
    mean_gradient_square: Tensor
    temperature_sampling_variance: Tensor
    moving: Tensor
    log_variance: Tensor
    log_variance_square: Tensor
    production: Tensor
    production_square: Tensor
    relaxation: Tensor
    watched: Tensor
    sizes: Tensor
    momentum: Tensor
    batch_size: float
    skipped: int

    @property
    def steps(self) -> int:
        """Steps W in the window that counted."""
        return self.displacement_square.shape[0]

    @classmethod
    def join(cls, windows: Sequence[WindowStatistics]) -> WindowStatistics:
        """Layers of several optimizers side by side, as if they were one model's.

        Args:
            windows: One window of each optimizer; the shortest decides how many steps count.

        Returns:
            Statistics of all layers, in the order given.
        """
        if len(windows) == 1:
            return windows[0]
        joined: dict[str, Any] = {}
        for field in fields(cls):
            values = [getattr(window, field.name) for window in windows]
            if not isinstance(values[0], Tensor):
                continue
            if values[0].ndim == 2:
                steps = min(len(value) for value in values)
                values = [value[:steps] for value in values]
            joined[field.name] = torch.cat(values, -1)
        return cls(**joined, batch_size=windows[0].batch_size, skipped=sum(window.skipped for window in windows))

    @property
    def sample_scale(self) -> Tensor:
        """Factor from watched to all coordinates, 0 for a layer without gradient, ``[L]``."""
        return torch.where(self.watched > 0, self.sizes / self.watched, 0.0)

    @property
    def moved(self) -> Tensor:
        """Layers in which something that had a gradient moved, ``[L]``."""
        return (self.moving > 0) & (self.watched > 0)

    @property
    def momentum_memory(self) -> Tensor:
        """Steps for which a displacement goes on because of momentum, ``[L]``."""
        return (self.momentum / (1.0 - self.momentum)).to(self.watched)

    @property
    def pairs(self) -> int:
        """Pairs K of innovation and gradient: W, or W - 2 with momentum; fewer where steps were left out."""
        return self.innovation_gradient.shape[0] + 1
