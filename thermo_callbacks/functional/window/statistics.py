"""Statistics of a window of steps: the sums by layer that every estimate of the window is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class WindowStatistics:
    """Sums over the watched coordinates of each of L layers, step by step, ``[.., L]``, or of the window, ``[L]``."""

    # of W steps, of which K pairs of an innovation and a gradient
    innovation_gradient: Tensor  # products of contrasts of innovation (times response) and gradient, [K - 1, L]
    # squares of contrasts of the innovation (times response), each coordinate's divided by its mobility, the
    # displacement per unit of gradient; NaN where that is unknown, [K - 1, L]
    innovation_square: Tensor
    position_gradient: Tensor  # products of contrasts of parameters and gradients, [W - 1, L]
    gradient_square: Tensor  # squares of contrasts of gradients, [W - 1, L]
    position_displacement: Tensor  # products of parameters and displacements, [W, L]
    gradient_displacement: Tensor  # products of gradients and displacements, [W, L]
    displacement_square: Tensor  # squares of displacements, [W, L]
    mean_gradient_square: Tensor  # squared norm of the mean gradient
    temperature_sampling_variance: Tensor  # of each layer's kinetic temperature, from watching a sample
    # of each step, of all coordinates, from a sample: what the innovation's square has over its part that the gradient
    # drives, divided by twice the mobility, and that part; as temperatures times coordinates, [.., L]
    excess_power: Tensor
    driven_power: Tensor
    moving: Tensor  # watched coordinates that moved; of these are the sums of the next three
    log_variance: Tensor  # logarithms of the parameters' variances, free of the bias of independent steps
    log_variance_square: Tensor
    # variance over mobility times temperature, the steps in which a coordinate forgets, at most the window's; NaN where
    # the mobility is unknown or there are fewer than 4 steps
    relaxation: Tensor
    weight_square: Tensor  # mean squared norm of the layer's parameters, of all of them, with a gradient or without
    growth_sampling_variance: Tensor  # of the growth of that in a step, from watching a sample
    # of the watched coordinates, means over the steps: squares of what weight decay moved them by, and products of what
    # it took off them with their displacements; NaN where an optimizer does not tell
    decay_square: Tensor
    decay_displacement: Tensor
    watched: Tensor  # watched coordinates that had a gradient
    sizes: Tensor  # all coordinates of the layer that had a gradient
    momentum: Tensor  # of the layer's optimizer, on the CPU
    batch_size: float  # samples behind each gradient; NaN if unknown
    skipped: int  # steps left out because a gradient was not finite

    @property
    def steps(self) -> int:
        """Steps W in the window that counted."""
        return self.displacement_square.shape[0]

    @classmethod
    def join(cls, windows: Sequence[WindowStatistics]) -> WindowStatistics:
        """Layers of several optimizers side by side, as one model's; the shortest window sets the steps."""
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
