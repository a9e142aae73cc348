"""Energy balance along training: heat and the first law's residual."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
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


class Bridge(NamedTuple):
    """Heat of unwatched steps, and how it follows from that of the windows around them."""

    heat: float
    straight: float  # the same by straight lines, whose distance says how far the interpolation can be trusted
    by_before: float  # derivative by the pace of the window before
    by_after: float  # derivative by that of the window after


def bridged_heat(
    before: float, after: float, rates: Tensor, unwatched: int, *, margins: tuple[float, float] = (0.0, 0.0)
) -> Bridge:
    r"""Heat of steps that nobody watched, from the windows before and after them.

    .. math:: Q = \sum_s \eta_s\, y_0^{1-w_s}\, y_1^{w_s}

    with the pace :math:`y = \sum Q / \sum \eta` (heat per learning rate) of each window, and :math:`w_s` the place of
    the step between the windows' middles. Heat follows the learning rate at once, and its pace changes by factors, not
    by amounts, as gradients shrink. Where the schedule jumps (by half or more from one step to the next) the paces on
    both sides have nothing to do with each other: each holds up to the jump. Paces of different sign, or a million
    times apart, are joined by a straight line. Unit: that of the loss.

    Args:
        before: Pace of the window before.
        after: Pace of the window after.
        rates: Learning rates of the unwatched steps and of the one on either side, evenly thinned, ``[K + 2]``.
        unwatched: Their number.
        margins: Steps from the middle of either window to its end.

    Returns:
        The heat, and what its error is made of.

    Example:
        >>> import torch
        >>> bridge = bridged_heat(-4.0, -1.0, torch.ones(5, dtype=torch.float64), 3)  # the step in the middle: -2
        >>> round(bridge.heat, 6), bridge.straight
        (-6.434723, -7.5)
    """
    return bridged_heats([(before, after)], rates, unwatched, margins=margins)[0]


def bridged_heats(
    paces: Sequence[tuple[float, float]], rates: Tensor, unwatched: int, *, margins: tuple[float, float] = (0.0, 0.0)
) -> list[Bridge]:
    """:func:`bridged_heat` of several layers, each with its paces before and after, over the same steps."""
    inner = rates[1:-1]
    count = len(inner)
    if not count or not unwatched:
        return [Bridge(0.0, 0.0, 0.0, 0.0)] * len(paces)
    places = (torch.arange(count, dtype=rates.dtype) + 0.5) * (unwatched / count)
    weights = (margins[0] + places) / (margins[0] + unwatched + margins[1])
    smaller, larger = torch.minimum(rates[1:], rates[:-1]), torch.maximum(rates[1:], rates[:-1])
    if len(jumps := torch.nonzero(larger >= JUMP * smaller)[:, 0]):
        steps = torch.arange(count)
        weights = torch.where(steps < jumps[0], 0.0, torch.where(steps >= jumps[-1], 1.0, 0.5)).to(rates)
    shares, rest = inner * (unwatched / count), 1.0 - weights
    return [_bridge(before, after, shares, weights, rest) for before, after in paces]


def _bridge(before: float, after: float, shares: Tensor, weights: Tensor, rest: Tensor) -> Bridge:
    straight = before * rest + after * weights
    paces = straight
    parts = (rest, weights)
    if before * after > 0.0 and 1.0 / FARTHEST < before / after < FARTHEST:
        paces = before * (after / before) ** weights
        parts = (paces * rest / before, paces * weights / after)
    return Bridge(*(float(shares @ each) for each in (paces, straight, *parts)))


FARTHEST = 1e6
"""Factor between two paces from which on one of them is next to nothing, and no curve leads there."""
JUMP = 1.5
"""Factor between the learning rates of two steps from which on a schedule jumps."""


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
