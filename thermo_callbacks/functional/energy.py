"""Energy balance along training: heat and the first law's residual."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from thermo_callbacks.functional.window.arrays import ArrayWindow
from thermo_callbacks.functional.window.estimates import LayerEstimates, with_total, without_error
from thermo_callbacks.functional.window.statistics import WindowStatistics


def heat(displacements: Tensor, gradients: Tensor) -> Tensor:
    r"""Heat of the steps of a window: the change of each batch's own loss that the move made, to first order.

    .. math:: Q = \sum_t g_t \cdot D_t

    Negative while training dissipates. Unit: that of the loss. The first-order error is :math:`\tfrac12 D^\top H D` a
    step. Q of a stochastic step refers to that step's batch: it holds the noise's dissipation as well, so in
    equilibrium it stays negative while the mean loss stands still; fresh batches do the work that makes up for it.

    Source: Lan et al. 2019, "LCA: Loss Change Allocation for Neural Network Training".

    Args:
        displacements: What the optimizer moved, shape ``[W, n]``.
        gradients: Gradients of the same steps, shape ``[W, n]``.

    Returns:
        The heat, a scalar.

    Raises:
        ValueError: If shapes differ or there is no step.

    Example:
        >>> import torch
        >>> g = torch.tensor([[2.0], [1.0]])
        >>> round(heat(-0.1 * g, g).item(), 6)
        -0.5
    """
    return heat_sums(ArrayWindow(1, displacements=[displacements], gradients=[gradients])).heat_sum[-1]


class HeatSums(NamedTuple):
    """Heat of layers and whole, ``[L + 1]``; that of several windows adds up."""

    heat_sum: Tensor

    def estimate(self) -> LayerEstimates:
        """The heat, without errors."""
        return without_error(self.heat_sum)


def heat_sums(window: WindowStatistics) -> HeatSums:
    """Sums of :func:`heat` in each layer."""
    return HeatSums(with_total(heat_by_step(window).sum(0)))


def heat_by_step(window: WindowStatistics) -> Tensor:
    """Heat of all coordinates of each layer in each step of a window, ``[W, L]``."""
    return window.gradient_displacement * window.sample_scale


def first_law_residual(energy_initial: Tensor, energy_final: Tensor, heat: Tensor) -> Tensor:
    r"""What the heat does not explain of a change of energy.

    .. math:: \Delta = (U_1 - U_0) - Q

    For gradient descent on a fixed loss it vanishes like the learning rate (the second order of each step). For
    stochastic batches it is the work that changing batches do on the loss at fixed parameters, plus that second order.
    Unit: the loss.

    Args:
        energy_initial: Loss at the start :math:`U_0`.
        energy_final: Loss at the end :math:`U_1`.
        heat: Cumulative heat Q between the two.

    Returns:
        The residual, of the shape that the arguments broadcast to.

    Example:
        >>> import torch
        >>> first_law_residual(torch.tensor(2.0), torch.tensor(1.5), torch.tensor(-0.75)).item()
        0.25
    """
    return (energy_final - energy_initial) - heat
