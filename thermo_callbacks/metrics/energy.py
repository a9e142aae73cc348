"""Heat of the layers, as a metric."""

from __future__ import annotations

from thermo_callbacks.functional.energy import HeatSums, heat_sums
from thermo_callbacks.metrics.base import WindowMetric, Windows


class LayerHeat(WindowMetric):
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

    _sums = HeatSums

    def update(self, displacements: Windows, gradients: Windows) -> None:
        """Add a window of steps.

        Args:
            displacements: What the optimizer moved, ``[W, n]`` or one for each layer.
            gradients: Gradients of the same steps, likewise.
        """
        self._add(heat_sums(self._window(1, displacements=displacements, gradients=gradients)))
