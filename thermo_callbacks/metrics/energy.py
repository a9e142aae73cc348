"""Heat of the layers, as a metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from thermo_callbacks.functional import heat
from thermo_callbacks.functional.window.statistics import WindowStatistics
from thermo_callbacks.metrics.base import LayerMetric, Windows


class LayerHeat(LayerMetric):
    r"""Cumulative heat of the layers and of the whole model; see :func:`~thermo_callbacks.functional.heat`.

    .. math:: Q_l = \frac{N_l}{n_l} \sum_t \sum_i g_{t,i} D_{t,i}

    summed over all windows. Negative while training dissipates. Unit: that of the loss.

    As input to ``update``: ``displacements`` and ``gradients``, each ``[W, n]`` or a list with one for each layer. As
    output of ``compute``: the heat of all layers together, a scalar.

    Args:
        sizes: All coordinates of each layer; None for one layer that is shown whole.
        **kwargs: Passed to :class:`torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = LayerHeat(sizes=[1, 4])  # of the second layer, 2 of 4 coordinates are watched
        >>> g = [torch.tensor([[2.0]]), torch.tensor([[1.0, 1.0]])]
        >>> metric.update([-0.1 * layer for layer in g], g)
        >>> [round(value, 6) for value in metric.compute_layers().tolist()]
        [-0.4, -0.4]
    """

    heat_sum: Tensor

    def __init__(self, sizes: Sequence[int] | None = None, **kwargs: Any) -> None:
        super().__init__(sizes, **kwargs)
        self._add_sum_state("heat_sum", length=self.num_layers)

    def update(self, displacements: Windows, gradients: Windows) -> None:
        """Add a window of steps.

        Args:
            displacements: What the optimizer moved, ``[W, n]`` or one for each layer.
            gradients: Gradients of the same steps, likewise.
        """
        layers = self._layer_windows(displacements=displacements, gradients=gradients)
        self._add(torch.stack([heat(*layer) for layer in layers]) * self._sample_scale(layers))

    def compute(self) -> Tensor:
        """Heat of all layers, a scalar."""
        return self.heat_sum.sum()

    def _layer_values(self) -> Tensor:
        return self.heat_sum

    def _accept(self, window: WindowStatistics) -> None:
        self._add(window.gradient_displacement.sum(0) * window.sample_scale)

    def _add(self, heat_of_layers: Tensor) -> None:
        self.heat_sum = self.heat_sum + heat_of_layers.to(self.heat_sum)
