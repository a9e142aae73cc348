"""Einstein temperature of a window of optimizer steps."""

from __future__ import annotations

from torch import Tensor

from thermo_callbacks.functional.momentum import fewest_steps, momentum_response
from thermo_callbacks.functional.window.arrays import ArrayWindow
from thermo_callbacks.functional.window.estimates import MeanSums
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

    with :math:`\phi = 1/(1-\mu)` and the mobility :math:`m_i` the whole displacement per unit of gradient:
    :math:`\eta\phi` for SGD, :math:`\eta M_i` for Adam, whose average does not amplify. This is Einstein's relation
    between diffusion and mobility, coordinate by coordinate. Without noise of the optimizer's own,
    :math:`\mathrm{Var}(D_i) = m_i^2 \Sigma_{ii}` makes it :math:`\frac{1}{2n}\sum_i m_i \Sigma_{ii}`, the
    :func:`kinetic_temperature`, for any preconditioner; a ratio of the two sums over coordinates would be ruled by the
    coordinates with the least gradient, whose mobility is largest. For an optimizer that injects noise (Langevin
    dynamics) it is higher, since that noise does not come through the gradient. Unit: that of the loss.

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


def _einstein(window: WindowStatistics) -> Tensor:
    return window.innovation_square / (2.0 * window.watched)


def _kicks(displacements: Tensor, mobility: Tensor, momentum: float) -> WindowStatistics:
    response = momentum_response(momentum)
    return ArrayWindow(fewest_steps(response), displacements=[displacements], mobility=[mobility], response=response)
