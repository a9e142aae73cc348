"""Configurational temperature, as a metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from thermo_callbacks.functional import Estimate
from thermo_callbacks.functional.statistics import ratio_of_sums
from thermo_callbacks.metrics.base import EstimatedMetric

_SUMS = ("square_sum", "laplacian_sum", "square_square", "laplacian_square", "product", "weight_sum", "weight_square")


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

    square_sum: Tensor
    laplacian_sum: Tensor
    square_square: Tensor
    laplacian_square: Tensor
    product: Tensor
    weight_sum: Tensor
    weight_square: Tensor

    def __init__(self, sizes: Sequence[int] | None = None, **kwargs: Any) -> None:
        super().__init__(sizes, **kwargs)
        self._add_sum_state(*_SUMS, length=self.num_layers + 1)

    def update(self, gradient_products: Tensor, laplacians: Tensor, weight: float = 1.0) -> None:
        """Add one extra pass.

        Args:
            gradient_products: Product of two independent gradients in each layer, ``[L]``.
            laplacians: Laplacian of each layer, ``[L]``.
            weight: Weight of the look in the averages, positive.

        Raises:
            ValueError: If a tensor does not hold one number for each layer, or the weight is not positive.
        """
        for name, column in {"gradient_products": gradient_products, "laplacians": laplacians}.items():
            if column.shape != (self.num_layers,):
                raise ValueError(
                    f"{name} must hold one number for each of the {self.num_layers} layers, got shape "
                    f"{tuple(column.shape)}"
                )
        if not weight > 0.0:
            raise ValueError(f"weight must be positive, got {weight}")
        square, laplacian = (
            torch.cat([column, column.sum(0, keepdim=True)]).to(self.square_sum)
            for column in (gradient_products.double(), laplacians.double())
        )
        known = torch.isfinite(square) & torch.isfinite(laplacian)
        weights = known * weight
        square, laplacian = torch.where(known, square, 0.0), torch.where(known, laplacian, 0.0)
        self.square_sum = self.square_sum + weights * square
        self.laplacian_sum = self.laplacian_sum + weights * laplacian
        # the error of a weighted sum takes the weights squared
        self.square_square = self.square_square + (weights * square).square()
        self.laplacian_square = self.laplacian_square + (weights * laplacian).square()
        self.product = self.product + weights.square() * square * laplacian
        self.weight_sum = self.weight_sum + weights
        self.weight_square = self.weight_square + weights.square()

    def _estimates(self) -> Estimate:
        ratio = ratio_of_sums(self.square_sum, self.laplacian_sum)
        scatter = self.square_square - 2.0 * ratio * self.product + ratio.square() * self.laplacian_square
        looks = self.weight_sum.square() / self.weight_square  # as many of equal weight would have the same error
        correction = torch.where(looks > 1.0 + 1e-9, looks / (looks - 1.0), torch.nan)
        stderr = (correction * scatter.clamp(min=0.0)).sqrt() / self.laplacian_sum
        return Estimate(ratio, stderr, (looks - 1.0).clamp(min=0.0))
