"""Drift of a window: whether the size of the parameters changes steadily, or only to and fro."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from scipy.special import betainc
from torch import Tensor

from thermo_callbacks.functional.momentum import MomentumResponse, momentum_response
from thermo_callbacks.functional.statistics import ratio_of_sums
from thermo_callbacks.functional.window.arrays import ArrayWindow
from thermo_callbacks.functional.window.estimates import LayerEstimates, with_total, without_error
from thermo_callbacks.functional.window.statistics import WindowStatistics


def drift_share(parameters: Tensor, displacements: Tensor, momentum: float = 0.0) -> Tensor:
    r"""Drift share: the part of the change of :math:`|q|^2` in a window that is steady, as a squared correlation.

    .. math:: \rho^2 = \frac{t^2}{t^2 + K - 1}, \qquad t = \frac{\bar u}{s(\bar u)}, \qquad
              u_t = \frac{Z_t - \mu Z_{t-1}}{1-\mu}, \qquad Z_t = 2\,q_t\cdot D_t + |D_t|^2

    with :math:`Z_t` the change of :math:`|q|^2` in a step, and :math:`\bar u` and its standard error from K means of
    consecutive steps, each weighted by its length. Without momentum :math:`u = Z`; with it, a displacement goes on for
    :math:`1/(1-\mu)` steps and Z with it, so that a short window would take any motion for a drift: u has the mean of Z
    in a stationary run and leaves that memory out. A batch has half the square root of their number of u: 1 in windows
    of 8 steps, 2 of 16, 4 of 50. Longer batches guard better against noise that carries over from step to step, and
    show less: few batches leave Student's t few degrees of freedom.

    In [0, 1], dimensionless; no change with the scale or the basis of the parameters. 1: nothing but drift. Without
    drift it is distributed as Beta(1/2, (K - 1)/2), with mean 1/K: .08 in a window of 50 steps, up to .14 in one of 8
    to 16, and half of the windows below about half of that. It is not corrected for it, so as to stay in [0, 1]; judge
    by :func:`drift_p_value`. A layer whose loss does not depend on its scale (before BatchNorm or LayerNorm) drifts
    without end unless weight decay holds it.

    Assumes that the momentum is that of the optimizer, and constant in the window, and that the window holds
    consecutive steps. A run in equilibrium whose size swings back slowly reads below the distribution, not above.

    Source: Yaida 2018, "Fluctuation-dissipation relations for stochastic gradient descent" (the relation); Lang et al.
    2019, "Using statistics to automate stochastic optimization" (SASA: testing it); Schmeiser 1982, "Batch size effects
    in the analysis of simulation output".

    Args:
        parameters: Parameters before each step, shape ``[W, n]``.
        displacements: What the optimizer moved, shape ``[W, n]``.
        momentum: Decay :math:`\mu` of the optimizer's momentum buffer (SGD ``momentum``, Adam ``betas[0]``).

    Returns:
        The share, a scalar; NaN when nothing changes :math:`|q|^2`.

    Raises:
        ValueError: If shapes differ, the window is too short (2 steps; 3 with momentum), or momentum is outside [0, 1).

    Example:
        >>> import torch
        >>> q = torch.tensor([[0.0], [1.0], [2.0], [5.0]], dtype=torch.float64).sqrt()  # |q|^2 grows by 1, 1, 3, 3
        >>> after = torch.tensor([[1.0], [2.0], [5.0], [8.0]], dtype=torch.float64).sqrt()
        >>> round(drift_share(q, after - q).item(), 6)  # t = 2 / (2 / sqrt(12)), K = 4: 12 / (12 + 3)
        0.8
    """
    return drift_sums(_window(parameters, displacements, momentum)).estimate().whole.value


def drift_p_value(parameters: Tensor, displacements: Tensor, momentum: float = 0.0) -> Tensor:
    r"""p-value of the :func:`drift_share`: how often a window without drift shows as much by chance.

    .. math:: p = P\big(|t_{K-1}| \ge |t|\big)

    with Student's t of K - 1 degrees of freedom, two-sided. In equilibrium, windows of 8 to 50 steps fall below 0.05 in
    0 to 7 % of cases, with momentum 0 and 0.9 alike (up to 9 % for a single parameter with momentum); less often the
    more of its swing a window sees. A large p-value proves nothing: a slow drift does not show in a short window, and
    parameters that turn without growing show none. To *accept* equilibrium, use
    :func:`~thermo_callbacks.functional.stationarity_test`.

    Args:
        parameters: Parameters before each step, shape ``[W, n]``.
        displacements: What the optimizer moved, shape ``[W, n]``.
        momentum: Decay :math:`\mu` of the optimizer's momentum buffer (SGD ``momentum``, Adam ``betas[0]``).

    Returns:
        The p-value in [0, 1], a scalar; NaN when nothing changes :math:`|q|^2`.

    Raises:
        ValueError: If shapes differ, the window is too short (2 steps; 3 with momentum), or momentum is outside [0, 1).

    Example:
        >>> import torch
        >>> q = torch.tensor([[0.0], [1.0], [2.0], [5.0]], dtype=torch.float64).sqrt()  # |q|^2 grows by 1, 1, 3, 3
        >>> after = torch.tensor([[1.0], [2.0], [5.0], [8.0]], dtype=torch.float64).sqrt()
        >>> round(drift_p_value(q, after - q).item(), 4)  # t = sqrt(12) with 3 degrees of freedom
        0.0405
    """
    return drift_sums(_window(parameters, displacements, momentum)).p_values().whole.value


def _window(parameters: Tensor, displacements: Tensor, momentum: float) -> WindowStatistics:
    response = momentum_response(momentum)
    return ArrayWindow(
        fewest_drift_steps(response), parameters=[parameters], displacements=[displacements], response=response
    )


def fewest_drift_steps(response: MomentumResponse) -> int:
    """Fewest steps of a window whose drift can be compared with anything: the memory of momentum costs one."""
    return 2 if response.momentum == 0.0 else 3


class DriftSums(NamedTuple):
    """Sums over K batches of the changes of :math:`|q|^2`, of layers and whole, ``[L + 1]``; windows add up."""

    change: Tensor
    square: Tensor  # squares of the batches' sums, each over its steps: its mean's square times its steps
    steps: Tensor
    batches: Tensor  # their number K

    def estimate(self) -> LayerEstimates:
        """Drift share; its p-value stands in the place of an error."""
        # t^2 / (t^2 + K - 1) with t from means weighted by their steps, without the cancellation in t
        return without_error(ratio_of_sums(self.change.square(), self.steps * self.square).clamp(max=1.0))

    def p_values(self) -> LayerEstimates:
        """p-values of the drift share, two-sided."""
        share = self.estimate().value
        # the tail of Beta(1/2, (K - 1)/2), which is that of Student's t
        tail = betainc((self.batches.cpu().double().numpy() - 1.0) / 2.0, 0.5, 1.0 - share.cpu().double().numpy())
        return without_error(torch.as_tensor(tail, dtype=share.dtype, device=share.device))


class DriftPValueSums(DriftSums):
    """:class:`DriftSums` whose estimate is the p-value."""

    def estimate(self) -> LayerEstimates:
        """p-values."""
        return DriftSums(*self).p_values()


def drift_sums(window: WindowStatistics) -> DriftSums:
    """Sums of :func:`drift_share`; zeros where so many steps were left out that there is nothing to compare."""
    fresh = _fresh_changes(window)
    count = len(fresh) // max(1, round(math.sqrt(len(fresh)) / 2.0))
    if count < 2:
        return DriftSums(*torch.zeros_like(with_total(window.watched)).expand(4, -1))
    parts = fresh.tensor_split(count)
    sums = torch.stack([part.sum(0) for part in parts])
    lengths = sums.new_tensor([len(part) for part in parts]).view(-1, 1)
    square = (sums.square() / lengths).sum(0)
    changed = (square > 0.0).to(square)  # where nothing moved there is no replicate
    return DriftSums(sums.sum(0), square, changed * len(fresh), changed * count)


def drift_p_value_sums(window: WindowStatistics) -> DriftPValueSums:
    """Sums of :func:`drift_p_value`."""
    return DriftPValueSums(*drift_sums(window))


def _fresh_changes(window: WindowStatistics) -> Tensor:
    """Changes of the squared norm without what momentum repeats of the step before, and in the last column the sum."""
    change = (2.0 * window.position_displacement + window.displacement_square) * window.sample_scale
    if window.momentum.any():  # of one layer at least: the others lose a step, so that all have the same ones
        momentum = window.momentum.to(change)
        change = (change[1:] - momentum * change[:-1]) / (1.0 - momentum)
    return with_total(change)
