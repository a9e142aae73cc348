"""What the metrics of entropy and of its production share: sums over coordinates, and their errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional import Estimate, kinetic_temperature_contributions, momentum_response
from thermo_callbacks.functional.momentum import innovations, pair_scale
from thermo_callbacks.functional.statistics import check_window, helmert_contrasts, sampling_variance_from_sums
from thermo_callbacks.functional.window.coordinate_terms import FEWEST_STEPS, CoordinateSums, coordinate_terms
from thermo_callbacks.functional.window.statistics import WindowStatistics
from thermo_callbacks.metrics.base import EstimatedMetric, Windows


class WatchedLayers(NamedTuple):
    """How the layers were watched.

    Attributes:
        watched: Watched coordinates of each layer, ``[L]``.
        sizes: All coordinates, ``[L]``.
        momentum: Momentum of its optimizer, ``[L]`` on the CPU.
        steps: Steps W in the window.
    """

    watched: Tensor
    sizes: Tensor
    momentum: Tensor
    steps: int

    def present(self, sums: CoordinateSums) -> Tensor:
        """Layers that take part: something of what had a gradient moved."""
        return (sums.moving > 0) & (self.watched > 0)


class EntropyMetric(EstimatedMetric):
    """Base of means over windows of sums over all coordinates; the global value is the sum of the layers'.

    The last column of each state is the whole model. A layer in which nothing moved takes no part; a layer that moved
    and yet has no value leaves the whole without one, since a sum without it would be another quantity.
    """

    value_sum: Tensor
    step_variance: Tensor
    sampling_variance: Tensor
    degrees: Tensor
    windows: Tensor

    def __init__(
        self, sizes: Sequence[int] | None = None, *, momentum: float = 0.0, nesterov: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(sizes, **kwargs)
        self.response = momentum_response(momentum, nesterov=nesterov)
        self.nesterov = nesterov
        columns = self.num_layers + 1
        self._add_sum_state("value_sum", "step_variance", "sampling_variance", "degrees", length=columns)
        self.add_state("windows", torch.zeros(columns, dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self, parameters: Windows, displacements: Windows, gradients: Windows, mobility: Tensor | Sequence[Tensor]
    ) -> None:
        """Add a window of consecutive steps.

        Args:
            parameters: Parameters before each step, ``[W, n]`` or one for each layer, W at least 4.
            displacements: What the optimizer moved, likewise.
            gradients: Gradients of the same steps, likewise.
            mobility: Whole displacement per unit of gradient, a scalar or ``[n]``, or one for each layer.
        """
        layers = self._layer_windows(
            parameters=parameters, displacements=displacements, gradients=gradients, mobility=mobility
        )
        momentum = self.response.momentum
        for q, d, g, _ in layers:
            check_window(FEWEST_STEPS, parameters=q, displacements=d, gradients=g)
        contributions = [
            kinetic_temperature_contributions(d, g, momentum, nesterov=self.nesterov) for _, d, g, _ in layers
        ]
        terms = [
            torch.stack([term.sum() for term in coordinate_terms(q.var(0), m * self._temperatures(d, g), len(q))])
            for q, d, g, m in layers
        ]
        sizes = self._weights(layers)
        decays = torch.full((self.num_layers,), momentum, dtype=torch.float64)
        watch = WatchedLayers(sizes / self._sample_scale(layers), sizes, decays, len(layers[0][0]))
        self._add(CoordinateSums(*torch.stack(terms, 1)), torch.stack(contributions, 1), watch)

    def _temperatures(self, displacements: Tensor, gradients: Tensor) -> Tensor:
        """Kinetic temperature of each coordinate, ``[n]``."""
        moves, fresh = innovations(displacements, gradients, self.response.momentum)
        pairs = len(moves)
        covariance = (helmert_contrasts(moves) * helmert_contrasts(fresh)).sum(0) / (pairs - 1)
        return covariance * self.response.factor * pair_scale(1, pairs, self.response.momentum)

    def _accept(self, window: WindowStatistics) -> None:
        if window.steps < FEWEST_STEPS or window.pairs < 2:  # so many steps were left out that nothing fluctuates
            return
        self._add(
            CoordinateSums(*(getattr(window, name) for name in CoordinateSums._fields)),
            window.innovation_gradient * pair_scale(window.watched, window.pairs, window.momentum),
            WatchedLayers(window.watched, window.sizes, window.momentum, window.steps),
        )

    def _add(self, sums: CoordinateSums, contributions: Tensor, layers: WatchedLayers) -> Tensor:
        """Add a window's sums by layer, and its contributions to the layers' temperatures, ``[m, L]``.

        Args:
            sums: Sums over the watched coordinates, each ``[L]``.
            contributions: One row for each replicate.
            layers: How the layers were watched.

        Returns:
            Whether each column has a value in this window, ``[L + 1]``.
        """
        present = layers.present(sums)
        values, response, sampling = self._quantity(sums, layers)
        relative = contributions / contributions.mean(0)
        # layers share the noise of a step: the whole model's is summed step by step
        noise = with_total(relative * response, present)
        count = len(noise)
        variance = noise.var(0) / count if count > 1 else torch.full_like(noise[0], torch.nan)
        value = with_total(values, present)
        columns = torch.stack((value, variance, with_total(sampling, present))).to(self.value_sum)
        counted = (value.isfinite() & torch.cat([present, present.any().view(1)])).to(columns.device)
        value, variance, sampling = torch.where(counted, columns, 0.0)
        self.value_sum = self.value_sum + value
        self.step_variance = self.step_variance + variance
        self.sampling_variance = self.sampling_variance + sampling
        self.degrees = self.degrees + counted * float(count - 1)
        self.windows = self.windows + counted
        return counted

    def _quantity(self, sums: CoordinateSums, layers: WatchedLayers) -> tuple[Tensor, Tensor, Tensor]:
        """Values of the layers, their standard errors in relative errors of the temperature, sampling variances."""
        raise NotImplementedError

    def _estimates(self) -> Estimate:
        count = self.windows.to(self.value_sum)
        variance = self.step_variance / count.square() + self.sampling_variance / count
        return Estimate(self.value_sum / count, variance.sqrt(), self.degrees)


def with_total(layers: Tensor, present: Tensor) -> Tensor:
    """Values of the layers that take part, ``[..., L]``, with their sum behind them.

    Args:
        layers: Values of all layers.
        present: Which of them take part, ``[L]``.

    Returns:
        The values, 0 for a layer that takes no part, and the sum, ``[..., L + 1]``.
    """
    layers = torch.where(present, layers, 0.0)
    return torch.cat([layers, layers.sum(-1, keepdim=True)], -1)


def sampling_variance(terms: Tensor, squares: Tensor, layers: WatchedLayers) -> Tensor:
    """Variance of a sum over all coordinates of each layer from watching a part of them.

    Args:
        terms: Sum of the terms over the watched coordinates, ``[L]``.
        squares: Sum of their squares, ``[L]``.
        layers: How the layers were watched.

    Returns:
        The variance, ``[L]``; 0 where all are watched.
    """
    mean_variance = sampling_variance_from_sums(terms, terms, squares, watched=layers.watched, total=layers.sizes)
    return mean_variance * layers.sizes.square()
