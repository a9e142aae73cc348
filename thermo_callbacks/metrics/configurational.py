"""Configurational temperature, as a metric."""

from __future__ import annotations

from torch import Tensor

from thermo_callbacks.functional.curvature.averages import RughSums, rugh_sums
from thermo_callbacks.metrics.base import EstimatedMetric


class RughTemperature(EstimatedMetric):
    r"""Rugh (configurational) temperature, over single points of a run.

    .. math:: T_R = \frac{\langle |\nabla U|^2 \rangle}{\langle \mathrm{tr}\,\nabla^2 U \rangle},
              \qquad |\nabla U|^2 \approx g_A \cdot g_B

    with the gradients :math:`g_A, g_B` of two independent batches at the same parameters: their noise has nothing in
    common, so the product is unbiased, while the square of one gradient would hold its noise. Unit: that of the loss.
    Equals the kinetic temperature in equilibrium where the noise is isotropic, and differs where it is not. NaN where
    the mean Laplacian is not positive.

    The standard error is that of a weighted ratio of means (delta method), extra passes being the replicates; its
    relative bias is of the order of one over their number. It is NaN for a single one. The global value is the ratio of
    the sums over layers.

    Source: Rugh 1997; Butler et al. 1998.

    Args:
        sizes: One number for each layer (how many coordinates it has does not matter here). None: a single layer.
        **kwargs: Passed to :class:`torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = RughTemperature()
        >>> metric.update(torch.tensor([2.0]), torch.tensor([8.0]))
        >>> metric.update(torch.tensor([4.0]), torch.tensor([4.0]))
        >>> float(metric.compute())
        0.5
    """

    _sums = RughSums

    def update(self, gradient_products: Tensor, laplacians: Tensor, weight: float = 1.0) -> None:
        """Add one extra pass.

        Args:
            gradient_products: Product of two independent gradients in each layer, ``[L]``.
            laplacians: Laplacian of each layer, ``[L]``.
            weight: Weight of the extra pass in the averages, positive.

        Raises:
            ValueError: If a tensor does not hold one number for each layer, or the weight is not positive and finite.
        """
        for name, column in {"gradient_products": gradient_products, "laplacians": laplacians}.items():
            if column.shape != (self.num_layers,):
                raise ValueError(
                    f"{name} must hold one number for each of the {self.num_layers} layers, got shape "
                    f"{tuple(column.shape)}"
                )
        self._add(rugh_sums(gradient_products, laplacians, weight))
