"""Temperatures and equilibrium ratio of a window of optimizer steps."""

from __future__ import annotations

from torch import Tensor

from thermo_callbacks.functional.momentum import innovations, momentum_response, pair_scale
from thermo_callbacks.functional.statistics import (
    check_window,
    coordinate_sampling_variance,
    helmert_contrasts,
    ratio_of_sums,
)


def kinetic_temperature_contributions(
    displacements: Tensor, gradients: Tensor, momentum: float = 0.0, *, nesterov: bool = False
) -> Tensor:
    r"""Per-step contributions whose mean is :func:`kinetic_temperature`, for its standard error.

    Those of different steps are uncorrelated when the gradient noise of different steps is: feed them to
    :func:`mean_estimate`. Their mean is an unbiased estimate of the temperature; without momentum each of them is.

    Args:
        displacements: What the optimizer moved, :math:`D_t = q_{t+1} - q_t`, shape ``[W, n]``, consecutive steps.
        gradients: The gradients :math:`g_t` of the same steps as the optimizer saw them, shape ``[W, n]``.
        momentum: Decay of the optimizer's momentum buffer (SGD ``momentum``, Adam ``betas[0]``).
        nesterov: Whether the optimizer looks ahead.

    Returns:
        Contributions in units of the loss, shape ``[W - 1]`` without momentum and ``[W - 3]`` with it.

    Raises:
        ValueError: If shapes differ, the window is too short (2 steps; 4 with momentum) or momentum is outside [0, 1).

    Example:
        >>> import torch
        >>> g = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
        >>> kinetic_temperature_contributions(-0.1 * g, g)  # 0.1 * variance 2, halved
        tensor([0.1000], dtype=torch.float64)
    """
    response = momentum_response(momentum, nesterov=nesterov)
    check_window(2 if momentum == 0.0 else 4, displacements=displacements, gradients=gradients)
    innovation, gradient = innovations(displacements, gradients, momentum)
    products = (helmert_contrasts(innovation) * helmert_contrasts(gradient)).sum(1)
    return products * response.factor * pair_scale(gradients.shape[1], innovation.shape[0], momentum)


def kinetic_temperature(
    displacements: Tensor, gradients: Tensor, momentum: float = 0.0, *, nesterov: bool = False
) -> Tensor:
    r"""Kinetic temperature: the agitation that gradient noise gives the parameters, for any optimizer.

    .. math:: T = -\frac{\phi}{2n} \sum_{i=1}^{n} \mathrm{Cov}_W\big(D_{t,i} - \mu D_{t-1,i},\ g_{t,i} - \mu
    g_{t+1,i}\big)

    with the covariance over the W steps of the window and :math:`\phi` the :func:`momentum_response`. Without momentum
    this is :math:`-\frac{1}{2n}\sum_i \mathrm{Cov}_W(D_i, g_i)`: for SGD :math:`\eta\,\mathrm{tr}\,\Sigma/(2n)`,
    stochastic gradient descent read as Langevin dynamics with gradient covariance :math:`\Sigma`; for Adam
    :math:`\eta \sum_i M_i \Sigma_{ii} / (2n)`.

    With momentum, the displacement's *innovation* :math:`D_t - \mu D_{t-1}` is what this step's gradient did, and the
    next gradient is subtracted because what it repeats is not noise. The expectation is that of
    :math:`-\mathrm{Cov}(D,g)/(2(1-\mu))` up to terms of order :math:`\eta\lambda` (curvature :math:`\lambda`), but the
    memory of the momentum buffer no longer biases a window of W steps by :math:`1/(W(1-\mu))`, nor adds to its
    variance.

    Unit: that of the loss (:math:`k_B = 1`). Assumes noise independent from step to step. The estimate is unbiased for
    noise whose mean gradient stays put within the window; drift of the mean gradient counts as noise. At finite
    learning rate the value is :math:`\frac{\eta}{n}\sum_i \Sigma_{ii}/(2-\eta\lambda_i)` for SGD in equilibrium on a
    quadratic. Relative variance about :math:`2/(rW)` for noise of rank r: see
    :func:`kinetic_temperature_contributions`.

    Sources: Zhang 2024, "On the Temperature of Machine Learning Systems"; Mandt et al. 2017, "Stochastic Gradient
    Descent as Approximate Bayesian Inference". The estimator is this project's own reading.

    Args:
        displacements: What the optimizer moved, :math:`D_t = q_{t+1} - q_t`, shape ``[W, n]``, consecutive steps.
        gradients: The gradients :math:`g_t` of the same steps as the optimizer saw them, shape ``[W, n]``.
        momentum: Decay of the optimizer's momentum buffer (SGD ``momentum``, Adam ``betas[0]``).
        nesterov: Whether the optimizer looks ahead (SGD ``nesterov=True``, NAdam).

    Returns:
        The temperature, a scalar.

    Raises:
        ValueError: If shapes differ, the window is too short (2 steps; 4 with momentum) or momentum is outside [0, 1).

    Example:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> noise = torch.randn(2000, 50, generator=generator, dtype=torch.float64)  # variance 1
        >>> temperature = kinetic_temperature(-0.01 * noise, noise)  # exact: 0.01 * 1 / 2
        >>> print(f"{temperature:.4f}")
        0.0050
        >>> constant = torch.ones(10, 3)
        >>> kinetic_temperature(-0.01 * constant, constant).item()
        0.0
    """
    return kinetic_temperature_contributions(displacements, gradients, momentum, nesterov=nesterov).mean()


def kinetic_sampling_variance(
    displacements: Tensor, gradients: Tensor, total: int, momentum: float = 0.0, *, nesterov: bool = False
) -> Tensor:
    r"""Variance of :func:`kinetic_temperature` because n coordinates out of ``total`` were watched.

    Coordinates share the noise, so their spread says nothing about the noise of the steps; it does say how much another
    choice of coordinates would have changed the value. See :func:`coordinate_sampling_variance`.

    Args:
        displacements: As in :func:`kinetic_temperature`, shape ``[W, n]``.
        gradients: As in :func:`kinetic_temperature`, shape ``[W, n]``.
        total: Number of coordinates N that the n were drawn from without replacement.
        momentum: As in :func:`kinetic_temperature`.
        nesterov: As in :func:`kinetic_temperature`.

    Returns:
        The variance in squared units of the loss, a scalar; 0 when n equals ``total`` or with fewer than two contrasts.

    Raises:
        ValueError: If shapes differ, the window is too short (2 steps; 4 with momentum) or momentum is outside [0, 1).

    Example:
        >>> import torch
        >>> g = torch.tensor([[1.0, 2.0], [-1.0, -2.0], [1.0, 2.0]], dtype=torch.float64)
        >>> kinetic_sampling_variance(-0.1 * g, g, total=2).item()
        0.0
        >>> bool(kinetic_sampling_variance(-0.1 * g, g, total=1000) > 0)
        True
    """
    response = momentum_response(momentum, nesterov=nesterov)
    check_window(2 if momentum == 0.0 else 4, displacements=displacements, gradients=gradients)
    innovation, gradient = innovations(displacements, gradients, momentum)
    products = helmert_contrasts(innovation) * helmert_contrasts(gradient)
    if products.shape[0] < 2:
        return products.new_zeros(())
    # n = 1 in the scale: these are values of single coordinates
    scale = response.factor * pair_scale(1, innovation.shape[0], momentum)
    return coordinate_sampling_variance(products[0::2].mean(0) * scale, products[1::2].mean(0) * scale, total)


def virial_temperature_contributions(parameters: Tensor, gradients: Tensor) -> Tensor:
    """Per-step contributions whose mean is :func:`virial_temperature`.

    Successive ones are correlated, since parameters move slowly: use batches in :func:`mean_estimate`.

    Args:
        parameters: Parameters before each step, shape ``[W, n]``.
        gradients: Gradients of the same steps, shape ``[W, n]``.

    Returns:
        Contributions in units of the loss, shape ``[W - 1]``.

    Raises:
        ValueError: If shapes differ or the window has fewer than 2 steps.
    """
    check_window(2, parameters=parameters, gradients=gradients)
    return (helmert_contrasts(parameters) * helmert_contrasts(gradients)).mean(1)


def virial_temperature(parameters: Tensor, gradients: Tensor) -> Tensor:
    r"""Virial temperature: the agitation of the parameters against the forces that hold them.

    .. math:: T_v = \frac1n \sum_{i=1}^{n} \mathrm{Cov}_W(q_i, g_i)

    In thermal equilibrium it equals the kinetic temperature (the fluctuation-dissipation relation): on a quadratic with
    curvature :math:`\lambda`, :math:`\lambda\,\mathrm{Var}(q) = T`. It needs a window longer than the relaxation time
    :math:`1/(\eta\lambda)`. Within a shorter one SGD reads its kinetic temperature again, in equilibrium or not, since
    noise that moves the parameters and noise in the gradient are the same; dynamics with an exact gradient (Langevin)
    reads too low. A drift of the parameters in the window reads as anything, negative values included. Unit: that of
    the loss.

    Source: Yaida 2018, "Fluctuation-dissipation relations for stochastic gradient descent" (the relation).

    Args:
        parameters: Parameters before each step, shape ``[W, n]``.
        gradients: Gradients of the same steps, shape ``[W, n]``.

    Returns:
        The temperature, a scalar.

    Raises:
        ValueError: If shapes differ or the window has fewer than 2 steps.

    Example:
        >>> import torch
        >>> q = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
        >>> round(virial_temperature(q, 3.0 * q).item(), 6)  # curvature 3, sample variance 2
        6.0
    """
    return virial_temperature_contributions(parameters, gradients).mean()


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
    factor = momentum_response(momentum).factor
    check_window(2 if momentum == 0.0 else 4, displacements=displacements)
    coordinates = displacements.shape[1]
    if tuple(mobility.shape) not in {(), (coordinates,)}:
        raise ValueError(
            f"mobility must be a scalar or of shape [{coordinates}] like the coordinates, got {tuple(mobility.shape)}"
        )
    innovation, _ = innovations(displacements, displacements, momentum)
    squares = (helmert_contrasts(innovation) * factor).square()
    return (squares / mobility).mean(1) / 2.0


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
    return einstein_temperature_contributions(displacements, mobility, momentum).mean()


def equilibrium_ratio(parameters: Tensor, displacements: Tensor) -> Tensor:
    r"""Equilibrium ratio: 1 when the size of the parameters has stopped changing.

    .. math:: R = \frac{-2\,\langle q \cdot D\rangle}{\langle |D|^2 \rangle}

    Since :math:`|q'|^2 - |q|^2 = 2 q\cdot D + |D|^2`, R is 1 exactly when :math:`\langle|q|^2\rangle` is stationary,
    for any optimizer. R < 1: the parameters grow; R > 1: they shrink. Dimensionless. A layer whose loss does not
    depend on its scale (before BatchNorm or LayerNorm) never gets to 1 without weight decay. NaN when nothing moved.

    Source: Yaida 2018, "Fluctuation-dissipation relations for stochastic gradient descent".

    Args:
        parameters: Parameters before each step, shape ``[W, n]``.
        displacements: What the optimizer moved, shape ``[W, n]``.

    Returns:
        The ratio, a scalar; NaN when all displacements are zero.

    Raises:
        ValueError: If shapes differ or there is no step.

    Example:
        >>> import torch
        >>> q = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # a turn by 90 degrees keeps |q|
        >>> equilibrium_ratio(q, torch.tensor([[-1.0, 1.0], [-1.0, -1.0]])).item()
        1.0
    """
    check_window(1, parameters=parameters, displacements=displacements)
    return ratio_of_sums(-2.0 * (parameters * displacements).sum(), displacements.square().sum())
