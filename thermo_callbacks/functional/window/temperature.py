"""Kinetic and virial temperature, and equilibrium ratio, of a window of optimizer steps."""

from __future__ import annotations

from torch import Tensor

from thermo_callbacks.functional.momentum import MomentumResponse, as_independent, fewest_steps, momentum_response
from thermo_callbacks.functional.statistics import batch_sums
from thermo_callbacks.functional.window.arrays import ArrayWindow
from thermo_callbacks.functional.window.estimates import MeanSums, RatioSums
from thermo_callbacks.functional.window.statistics import WindowStatistics


def kinetic_temperature_contributions(
    displacements: Tensor, gradients: Tensor, momentum: float = 0.0, *, nesterov: bool = False
) -> Tensor:
    r"""Per-step contributions whose mean is :func:`kinetic_temperature`, for its standard error.

    Feed them to :func:`mean_estimate`. Their mean is an unbiased estimate of the temperature. Without momentum each of
    them is, and they are uncorrelated when the gradient noise of different steps is; with momentum neighbours share the
    noise of a step, and each is spread from the mean by :math:`\sqrt{5/3}`, so that they scatter as if they did not.

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
    return kinetic_contributions(_moves(displacements, gradients, momentum_response(momentum, nesterov=nesterov)))[:, 0]


def kinetic_temperature(
    displacements: Tensor, gradients: Tensor, momentum: float = 0.0, *, nesterov: bool = False
) -> Tensor:
    r"""Kinetic temperature: the agitation that gradient noise gives the parameters, for any optimizer.

    .. math:: T = -\frac{\phi}{2n} \sum_{i=1}^{n} \mathrm{Cov}_W\big(D_{t,i} - \mu D_{t-1,i},\ g_{t,i} - \mu
    g_{t+1,i}\big)

    with the covariance over the window's steps and :math:`\phi` the :func:`momentum_response`. Without momentum
    this is :math:`-\frac{1}{2n}\sum_i \mathrm{Cov}_W(D_i, g_i)`: for SGD :math:`\eta\,\mathrm{tr}\,\Sigma/(2n)`,
    stochastic gradient descent read as Langevin dynamics with gradient covariance :math:`\Sigma`; for Adam
    :math:`\eta \sum_i M_i \Sigma_{ii} / (2n)`.

    With momentum, the displacement's *innovation* :math:`D_t - \mu D_{t-1}` is what this step's gradient did, and the
    next gradient is subtracted because what it repeats is not noise. The covariance is taken from each pair to the
    next (von Neumann 1941), not from the window's mean,

    .. math:: \mathrm{Cov}_W(x, y) = \frac{\langle (x_t - x_{t-1})(y_t - y_{t-1}) \rangle}{2 + \mu + l}, \qquad
              l = 1 - \phi(1-\mu)

    where the denominator is what neighbours share, l being the look-ahead's part (0 for heavy balls). So a slope that
    turns within the window, as it does where Adam learns fast, adds less: 3 to 11 % of the temperature of a
    small decoder, where deviations from the mean add 10 to 16 %. Nor does the memory of the momentum buffer bias it.

    Unit: that of the loss (:math:`k_B = 1`). Assumes noise independent from step to step. The estimate is unbiased for
    noise whose mean gradient stays put: within the window without momentum, from step to step with it. What moves the
    mean gradient counts as noise. At finite learning rate the value is
    :math:`\frac{\eta}{n}\sum_i \Sigma_{ii}/(2-\eta\lambda_i)` for SGD without momentum in equilibrium on a quadratic.
    Relative variance about :math:`2/(rW)` for noise of rank r, with momentum :math:`3.8/(rW)`: see
    :func:`kinetic_temperature_contributions`.

    Sources: Zhang 2024, "On the Temperature of Machine Learning Systems"; Mandt et al. 2017, "Stochastic Gradient
    Descent as Approximate Bayesian Inference"; von Neumann 1941, "Distribution of the Ratio of the Mean Square
    Successive Difference to the Variance" (differences). The estimator is this project's own reading.

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
    window = _moves(displacements, gradients, momentum_response(momentum, nesterov=nesterov))
    return kinetic_temperature_sums(window).estimate().whole.value


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
    window = _moves(displacements, gradients, momentum_response(momentum, nesterov=nesterov), total)
    return window.temperature_sampling_variance[0]


def kinetic_temperature_sums(window: WindowStatistics) -> MeanSums:
    """Sums of :func:`kinetic_temperature`: steps are the replicates, and a sample's variance adds to theirs."""
    return MeanSums.of(kinetic_contributions(window), window.sizes, window.temperature_sampling_variance)


def kinetic_contributions(window: WindowStatistics) -> Tensor:
    """Contributions of the contrasts of steps to each layer's kinetic temperature, ``[K - 1, L]``."""
    return as_independent(window.innovation_gradient / (-2.0 * window.watched), window.momentum)


def _moves(
    displacements: Tensor, gradients: Tensor, response: MomentumResponse, total: int | None = None
) -> WindowStatistics:
    sizes = None if total is None else [total]
    return ArrayWindow(
        fewest_steps(response), displacements=[displacements], gradients=[gradients], response=response, sizes=sizes
    )


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
    return _virial(ArrayWindow(2, parameters=[parameters], gradients=[gradients]))[:, 0]


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
    window = ArrayWindow(2, parameters=[parameters], gradients=[gradients])
    return virial_temperature_sums(window).estimate().whole.value


def virial_temperature_sums(window: WindowStatistics) -> MeanSums:
    """Sums of :func:`virial_temperature`: batches of about the square root of W steps are the replicates."""
    contributions = _virial(window)
    sums = batch_sums(contributions)[: len(contributions)]  # of no step there is no batch, not an empty one
    # a sum times K / m is a mean that counts by its length: batches differ by up to one step
    return MeanSums.of(sums * (len(sums) / max(1, len(contributions))), window.sizes)


def _virial(window: WindowStatistics) -> Tensor:
    return window.position_gradient / window.watched


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
    window = ArrayWindow(1, parameters=[parameters], displacements=[displacements])
    return equilibrium_ratio_sums(window).estimate().whole.value


def equilibrium_ratio_sums(window: WindowStatistics) -> RatioSums:
    """Sums of :func:`equilibrium_ratio`: batches of about the square root of W steps are the replicates."""
    scale = window.sample_scale
    return RatioSums.of(-2.0 * (window.position_displacement * scale), window.displacement_square * scale)
