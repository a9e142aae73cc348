"""The energy balance of single steps: what a step promises to first order, and what it does."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.statistics import Estimate, RatioMoments, ratio_of_sums


def step_efficiency(work: Tensor, heat: Tensor) -> Estimate:
    r"""Step efficiency: the part of the first-order change of the loss that steps really make.

    .. math:: \varepsilon = \frac{\sum_k W_k}{\sum_k Q_k}, \qquad Q_k = g_k \cdot D_k, \qquad
              W_k = L(q_k + D_k; B_k) - L(q_k; B_k)

    with the gradient :math:`g_k` of the step's own batch :math:`B_k` and the displacement :math:`D_k` made. To second
    order :math:`\varepsilon = 1 + D\cdot H D/(2Q)`: close to 1 the step is small against the curvature, 1/2 is the
    exact line search along the step, 0 the edge at which a step gains nothing on its own batch, and below 0 it climbs.
    Whatever the optimizer: no second derivative and no preconditioner is needed. With the loss of an
    *independent* batch in W the same ratio is the step's **transfer**: what of the promise reaches other data.
    Dimensionless; unchanged when the loss is scaled. The standard error takes steps as replicates (delta method); the
    ratio of two sums has a bias of relative order 1/K.

    Args:
        work: Real changes of the loss :math:`W_k`, shape ``[K]``.
        heat: First-order changes :math:`Q_k`, shape ``[K]``.

    Returns:
        The ratio, scalars; NaN where the heats sum to zero or above (the steps promise no descent), its error NaN for
        one step.

    Raises:
        ValueError: If shapes differ or there is no step.

    Example:
        >>> import torch
        >>> q = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)  # loss q^2 / 2 at learning rate 0.2
        >>> moved = 0.8 * q
        >>> efficiency = step_efficiency((moved**2 - q**2) / 2, q * (moved - q))
        >>> round(efficiency.value.item(), 12), round(efficiency.stderr.item(), 12)  # 1 - 0.2 / 2
        (0.9, 0.0)
    """
    if work.ndim != 1 or work.shape != heat.shape or not len(work):
        raise ValueError(
            f"work and heat must have one shape [K] with at least one step, got {tuple(work.shape)} and "
            f"{tuple(heat.shape)}"
        )
    sums = [balance_sums(*pair) for pair in zip(work, heat, strict=True)]
    return BalanceSums(*(torch.stack(parts).sum(0) for parts in zip(*sums, strict=True))).estimate()


class BalanceSums(NamedTuple):
    """Weighted sums of works and heats over steps, any shape; those of several steps add up."""

    work: Tensor
    heat: Tensor
    work_square: Tensor  # of the weighted ones, as are the next two
    heat_square: Tensor
    product: Tensor
    weight: Tensor
    weight_square: Tensor

    def faded(self, factor: float) -> BalanceSums:
        """The same with all weights times a factor."""
        powers = {"work": 1, "heat": 1, "weight": 1}
        return BalanceSums(*(part * factor ** powers.get(name, 2) for name, part in self._asdict().items()))

    def estimate(self) -> Estimate:
        """Ratio of the sums with its error (delta method)."""
        ratio = -ratio_of_sums(self.work, -self.heat)
        moments = RatioMoments(*self[:5], self.weight.square() / self.weight_square)
        return Estimate(ratio, *moments.error(ratio))


def balance_sums(work: Tensor, heat: Tensor) -> BalanceSums:
    """Sums of one step."""
    one = torch.ones_like(work)
    return BalanceSums(work, heat, work.square(), heat.square(), work * heat, one, one)
