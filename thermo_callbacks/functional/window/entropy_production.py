"""Entropy that noise produces of the trainable variables and that learning destroys of them, in nats per step."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from scipy.integrate import quad
from scipy.linalg import toeplitz
from torch import Tensor

from thermo_callbacks.functional.momentum import momentum_response
from thermo_callbacks.functional.window.coordinate_terms import (
    FEWEST_STEPS,
    check_steps,
    coordinate_terms,
    sample_scale,
)
from thermo_callbacks.functional.window.estimates import ExtensiveSums, with_total
from thermo_callbacks.functional.window.statistics import WindowStatistics

_LONGEST_WALK = 1000


def entropy_destruction(laplacian: Tensor, lr: float, momentum: float = 0.0) -> Tensor:
    r"""Entropy that learning destroys in a step: the contraction of the volume that the parameters fill.

    .. math:: \sigma_d = \frac{\eta}{1-\mu}\,\mathrm{tr}(M H)

    with H the Hessian of the mean loss, to first order in :math:`\eta` what
    :math:`-\ln|\det(1 - \eta M H)|` is without momentum; the next term is :math:`\frac12\mathrm{tr}(\eta M H)^2`. Unit:
    nats per step. Negative where the loss curves down on the whole.

    Source: Vanchurin 2020, "Towards a theory of machine learning", for the Laplacian of the free energy as the rate at
    which learning removes entropy; the definition is this project's own reading.

    Args:
        laplacian: :math:`\mathrm{tr}(M H)`, any shape: the Laplacian :math:`\mathrm{tr} H` for SGD, the trace with the
            diagonal preconditioner :math:`M = 1/(\sqrt{\hat v} + \epsilon)` for the Adam family.
        lr: Learning rate :math:`\eta`.
        momentum: Decay :math:`\mu` of a momentum buffer that sums gradients (SGD). The Adam family averages them, which
            amplifies nothing: 0.

    Returns:
        The destruction, of the shape of ``laplacian``.

    Raises:
        ValueError: If ``momentum`` is outside [0, 1).

    Example:
        >>> import torch
        >>> round(entropy_destruction(torch.tensor(20.0), 0.01, momentum=0.9).item(), 6)  # 0.01 / 0.1 * 20
        2.0
    """
    return laplacian * (lr * momentum_response(momentum).factor)


def entropy_production(
    variances: Tensor,
    temperature: Tensor | float,
    lr: float,
    *,
    momentum: float = 0.0,
    preconditioner: Tensor | None = None,
    total: int | None = None,
    steps: int | None = None,
) -> Tensor:
    r"""Entropy that noise puts back in a step: diffusion against the spread that it acts on.

    .. math:: \sigma_p = \frac Nn \sum_{i=1}^{n} \frac{m_i T_i}{\mathrm{Var}_W(q_i)}, \qquad
              m_i = \frac{\eta}{1-\mu} M_i

    with the mobility :math:`m_i` and the temperature :math:`T_i` of a coordinate, one for all where they are in thermal
    equilibrium with each other: :math:`\frac{\eta}{1-\mu}\,T\,\mathrm{tr}(M\,\mathrm{Var}^{-1})`. :math:`m_i T_i` is
    the diffusion coefficient, and the formula the production of the Fokker-Planck equation for independent Gaussians.
    Unit: nats per step. It does not depend on the units of the parameters, nor on the scale of the loss where the
    learning rate makes up for that.

    In equilibrium on a quadratic it equals :func:`entropy_destruction`: for SGD and for a diagonal preconditioner
    exactly, at any learning rate, since with the coordinate's kinetic temperature
    :math:`T_i = \frac{m_i}2 \mathrm{Var}(g_i)` the variance is :math:`T_i/\lambda_i`. One temperature T for coordinates
    of different ones makes it too large by about :math:`T\,\overline{1/T_i}`, without bound where some are cold.

    Coordinates of variance zero produce nothing; see :func:`parameter_entropy`.

    Bias. Of W independent steps, :math:`E[1/s^2] = \frac{W-1}{W-3}/\mathrm{Var}`, which ``steps`` takes out. For
    correlated ones more is left: the value is then by up to :func:`free_diffusion_production` too large for each
    coordinate that moves, and in windows far shorter than the relaxation time it is that, about 5.4/W without momentum,
    whatever the landscape. Variance: of a coordinate's value p about 2p/W.

    Source: Vanchurin 2020, "Towards a theory of machine learning", for production against destruction; the definition
    is this project's own reading.

    Args:
        variances: Variance of each watched coordinate in the window, ``[n]``.
        temperature: Temperature, a number or a scalar, or one for each coordinate, ``[n]``, in units of the loss.
        lr: Learning rate :math:`\eta`.
        momentum: Decay :math:`\mu` of a momentum buffer that sums gradients (SGD); 0 for the Adam family.
        preconditioner: Diagonal M of the preconditioner, ``[n]``; None: 1.
        total: All coordinates N; None: n.
        steps: Steps W in the window, at least 4, to take the bias out; None: the variances are exact.

    Returns:
        The production, a scalar; NaN where no coordinate moved or a variance is NaN.

    Raises:
        ValueError: If ``variances`` isn't a floating-point tensor ``[n]`` with n at least 1, ``temperature`` or
            ``preconditioner`` has another shape, ``total`` is below n, ``steps`` below 4, or ``momentum`` outside
            [0, 1).

    Example:
        >>> import torch
        >>> curvature = torch.tensor([1.0, 4.0])
        >>> variances = 0.5 / curvature  # equilibrium at temperature 0.5
        >>> round(entropy_production(variances, 0.5, lr=0.01).item(), 6)  # 0.01 * (1 + 4)
        0.05
    """
    scale = sample_scale(variances, total, steps)
    diffusion = lr * momentum_response(momentum).factor * _one_or_each("temperature", temperature, variances)
    if preconditioner is not None:
        diffusion = diffusion * _one_or_each("preconditioner", preconditioner, variances)
    terms = coordinate_terms(variances, diffusion, steps)
    return torch.where(terms.moving.any(), scale * terms.production.sum(), torch.nan)


def entropy_production_sums(window: WindowStatistics) -> ExtensiveSums:
    """Sums of :func:`entropy_production` in each layer."""
    # the temperature's error, and that of the variances: larger, since parameters remember 1 / p steps
    memory = 1.0 + window.moving / window.production + window.momentum_memory
    response = window.sample_scale * window.production * memory.sqrt()
    return ExtensiveSums.of(window, window.production, window.production_square, response)


@lru_cache(maxsize=256)
def free_diffusion_production(steps: int, momentum: float = 0.0) -> float:
    r"""Production that a freely diffusing coordinate shows in a window: what the window cannot tell from zero.

    .. math:: p_W = (W-3)\,m T\,E\Big[\frac{1}{\sum_k \lambda_k z_k^2}\Big]
              = (W-3)\,m T \int_0^\infty \prod_{k=1}^{W-1} (1 + 2 s \lambda_k)^{-1/2}\,ds

    with independent standard normal :math:`z_k` and :math:`\lambda_k` the eigenvalues of the covariance of the walk's W
    positions about their mean. Unit: nats per step and coordinate. Without a force a coordinate walks at random, by
    :math:`2mT` in variance a step, and has the variance :math:`mT(W+1)/3` about its mean on average; then
    :math:`\lambda_k = 2mT/(2\sin(\pi k/2W))^2` and

    .. math:: p_W \;\longrightarrow\; \frac{1}{2W} \int_0^\infty \frac{v^{3/2}}{\sqrt{\sinh v}}\,dv
              \approx \frac{5.379}{W}.

    With momentum :math:`\mu` the displacements have correlation :math:`\mu^k` at lag k, the walk is smooth over
    :math:`1/(1-\mu)` steps, and :math:`p_W` is larger: by half at :math:`W(1-\mu)` = 17, threefold at 5. The true
    production of a walk that has gone on for t steps is 1/(2t), and falls to zero.

    In equilibrium with production :math:`p = m\lambda` a window reads between p and about :math:`p + p_W`: without
    momentum the excess falls from :math:`p_W` to 4/W as :math:`pW` grows. A layer that reads about :math:`p_W` for each
    coordinate has not been watched for long enough to say more.

    Windows of more than 1,000 steps are computed with 1,000 longer ones, an error below 1 %.

    Args:
        steps: Steps W in the window, at least 4.
        momentum: Decay :math:`\mu` of the optimizer's momentum (SGD ``momentum``, Adam ``betas[0]``).

    Returns:
        The expected value of :func:`entropy_production` with ``steps``, for one coordinate.

    Raises:
        ValueError: If ``steps`` is below 4 or ``momentum`` outside [0, 1).

    Example:
        >>> round(free_diffusion_production(50), 4), round(free_diffusion_production(50, momentum=0.9), 4)
        (0.1015, 0.3263)
    """
    check_steps(steps)
    stretch = max(1.0, steps / _LONGEST_WALK)
    window = min(steps, _LONGEST_WALK)
    decay = max(0.0, 1.0 - stretch / momentum_response(momentum).factor)
    # displacements with a variance that makes the walk's spread 1 a step in the long run, so that m T = 1/2
    moves = toeplitz(decay ** np.arange(window - 1)) * (1.0 - decay) / (1.0 + decay)
    covariance = np.zeros((window, window))
    covariance[1:, 1:] = moves.cumsum(0).cumsum(1)
    covariance -= covariance.mean(0)
    covariance -= covariance.mean(1, keepdims=True)
    spread = np.linalg.eigvalsh(covariance)[1:].clip(min=0.0)  # all but that of the mean

    def integrand(logarithm: float) -> float:
        s = math.exp(logarithm)
        return s * math.exp(-0.5 * float(np.log1p(2.0 * s * spread).sum()))

    knee = -math.log(spread[-1])
    ends = (knee - 40.0, knee, knee + 6.0, knee + 80.0)
    integral = math.fsum(quad(integrand, *pair, epsabs=0.0, epsrel=1e-9, limit=200)[0] for pair in pairwise(ends))
    return 0.5 * (window - 3) * integral / stretch


def free_diffusion_sums(window: WindowStatistics) -> ExtensiveSums:
    """Sums of :func:`free_diffusion_production` times the coordinates that moved, where there is a production."""
    windows = entropy_production_sums(window).windows
    none = torch.zeros_like(windows)
    if window.steps < FEWEST_STEPS:
        return ExtensiveSums(none, none, none, none, windows)
    floors = [free_diffusion_production(window.steps, decay) for decay in window.momentum.tolist()]
    # rounded to the default dtype, as in the logs of earlier versions
    free = window.moving * window.sample_scale * torch.tensor(floors).to(window.moving)
    value = torch.where(windows > 0, with_total(torch.where(window.moved, free, 0.0)), 0.0)
    return ExtensiveSums(value, none, none, none, windows)


def _one_or_each(name: str, value: Tensor | float, variances: Tensor) -> Tensor | float:
    """A number for all coordinates or one for each, checked."""
    if isinstance(value, Tensor) and tuple(value.shape) not in {(), tuple(variances.shape)}:
        raise ValueError(
            f"{name} must be a scalar or of shape [{variances.shape[0]}] like variances, got {tuple(value.shape)}"
        )
    return value
