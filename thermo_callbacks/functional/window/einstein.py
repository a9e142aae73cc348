"""Einstein temperature of a window of optimizer steps."""

from __future__ import annotations

import torch
from torch import Tensor

from thermo_callbacks.functional.momentum import as_independent, fewest_steps, momentum_response
from thermo_callbacks.functional.window.arrays import ArrayWindow
from thermo_callbacks.functional.window.estimates import MeanSums, RatioSums
from thermo_callbacks.functional.window.statistics import WindowStatistics


def einstein_temperature_contributions(displacements: Tensor, mobility: Tensor, momentum: float = 0.0) -> Tensor:
    """Per-step contributions whose mean is :func:`einstein_temperature`, for its standard error.

    Args:
        displacements: What the optimizer moved, shape ``[W, n]``, consecutive steps.
        mobility: Displacement per unit of gradient, positive, shape ``[n]`` or a scalar for all coordinates.
        momentum: Decay of a heavy-ball momentum buffer.

    Returns:
        Contributions in units of the loss, shape ``[W - 1]`` without momentum and ``[W - 3]`` with it.

    Raises:
        ValueError: If the window is too short (2 steps; 4 with momentum) or ``mobility`` has another shape.
    """
    return _einstein(_kicks(displacements, mobility, momentum))[:, 0]


def einstein_temperature(displacements: Tensor, mobility: Tensor, momentum: float = 0.0) -> Tensor:
    r"""Einstein temperature: all the agitation of the parameters, also what the optimizer adds itself.

    .. math:: T_E = \frac{\phi^2}{2n} \sum_{i=1}^{n} \frac{\mathrm{Var}_W(D_{t,i} - \mu D_{t-1,i})}{m_i}

    with the variance taken as the covariance of :func:`kinetic_temperature` is (with momentum, half the mean square
    of what two successive innovations differ by), :math:`\phi = 1/(1-\mu)` and the mobility :math:`m_i` the whole
    displacement per unit of gradient: :math:`\eta\phi` for SGD, :math:`\eta M_i` for Adam, whose average does not
    amplify. This is Einstein's relation between diffusion and mobility, coordinate by coordinate. Without noise of
    the optimizer's own, :math:`\mathrm{Var}(D_i) = m_i^2 \Sigma_{ii}` makes it :math:`\frac{1}{2n}\sum_i m_i
    \Sigma_{ii}`, the :func:`kinetic_temperature`, for any preconditioner; a ratio of the two sums over coordinates
    would be ruled by the coordinates with the least gradient, whose mobility is largest. For an optimizer that
    injects noise (Langevin dynamics) it is higher, since that noise does not come through the gradient. Unit: that
    of the loss.

    Args:
        displacements: What the optimizer moved, shape ``[W, n]``, consecutive steps.
        mobility: Displacement per unit of gradient, positive, shape ``[n]`` or a scalar for all coordinates.
        momentum: Decay of a heavy-ball momentum buffer. With Nesterov's look-ahead the innovations are not white, and
            the quantity is not defined.

    Returns:
        The temperature, a scalar.

    Raises:
        ValueError: If the window is too short (2 steps; 4 with momentum) or ``mobility`` has another shape.

    Example:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> kicks = torch.randn(4000, 20, generator=generator, dtype=torch.float64)
        >>> learning_rate, temperature = 0.01, 0.5
        >>> moves = (2 * learning_rate * temperature) ** 0.5 * kicks
        >>> print(f"{einstein_temperature(moves, torch.tensor(learning_rate)):.2f}")
        0.50
    """
    return einstein_temperature_sums(_kicks(displacements, mobility, momentum)).estimate().whole.value


def einstein_temperature_sums(window: WindowStatistics) -> MeanSums:
    """Sums of :func:`einstein_temperature`: steps are the replicates."""
    return MeanSums.of(_einstein(window), window.sizes)


def einstein_excess(displacements: Tensor, gradients: Tensor, mobility: Tensor, momentum: float = 0.0) -> Tensor:
    r"""Einstein excess: share of agitation that does not come through the gradient, per share that does.

    .. math:: x = \frac{\sum_i \phi^2\,\mathrm{Var}_W(D_{t,i} - \mu D_{t-1,i})/m_i}
        {-\phi\sum_i \mathrm{Cov}_W(D_{t,i} - \mu D_{t-1,i},\ g_{t,i})} - 1

    The innovation is compared with the gradient of the same step, without the part that the next gradient repeats: so
    the drift of the mean gradient, which puts :func:`einstein_temperature` some percent above
    :func:`kinetic_temperature`, is on both sides. For an optimizer that adds no noise it is 0 up to the change of the
    mobility within the window; for Langevin dynamics at temperature T' it is T' over the kinetic temperature.
    Dimensionless. Steps are paired, so most of the noise of the two temperatures drops out of its error.

    Args:
        displacements: What the optimizer moved, shape ``[W, n]``, consecutive steps.
        gradients: Gradients of the same steps, shape ``[W, n]``.
        mobility: Displacement per unit of gradient, positive, shape ``[n]`` or a scalar for all coordinates.
        momentum: Decay of a heavy-ball momentum buffer.

    Returns:
        The excess, a scalar; NaN where the gradient drives nothing.

    Raises:
        ValueError: If shapes differ, or the window is too short (2 steps; 4 with momentum).

    Example:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> slopes, kicks = torch.randn(2, 4000, 20, generator=generator, dtype=torch.float64)
        >>> mobility = torch.tensor(0.01, dtype=torch.float64)
        >>> abs(round(einstein_excess(-mobility * slopes, slopes, mobility).item(), 6))
        0.0
        >>> noise = (2.0 * mobility * 0.0025).sqrt() * kicks  # half the temperature 0.01 / 2 of the gradient
        >>> print(f"{einstein_excess(noise - mobility * slopes, slopes, mobility):.2f}")
        0.50
    """
    response = momentum_response(momentum)
    window = ArrayWindow(
        fewest_steps(response),
        displacements=[displacements],
        gradients=[gradients],
        mobility=[mobility],
        response=response,
    )
    return einstein_excess_sums(window).estimate().whole.value


def einstein_excess_sums(window: WindowStatistics) -> RatioSums:
    """Sums of :func:`einstein_excess`: batches of about the square root of W steps are the replicates."""
    known = torch.isfinite(window.excess_power) & torch.isfinite(window.driven_power)
    powers = (torch.where(known, power, 0.0) for power in (window.excess_power, window.driven_power))
    return RatioSums.of(*powers)


def _einstein(window: WindowStatistics) -> Tensor:
    return as_independent(window.innovation_square / (2.0 * window.watched), window.momentum)


def _kicks(displacements: Tensor, mobility: Tensor, momentum: float) -> WindowStatistics:
    response = momentum_response(momentum)
    return ArrayWindow(fewest_steps(response), displacements=[displacements], mobility=[mobility], response=response)
