"""Entropy of the trainable variables, in nats."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from thermo_callbacks.functional.window.coordinate_terms import coordinate_terms, sample_scale
from thermo_callbacks.functional.window.estimates import ExtensiveSums
from thermo_callbacks.functional.window.statistics import WindowStatistics

_LOG_UNIT = math.log(2.0 * math.pi * math.e)


def parameter_entropy(variances: Tensor, total: int | None = None, *, steps: int | None = None) -> Tensor:
    r"""Entropy of the trainable variables: Gaussian, coordinate by coordinate.

    .. math:: S_q = \frac Nn \sum_{i=1}^{n} \tfrac12 \ln(2\pi e\,\mathrm{Var}_W(q_i))

    with the variance over the W steps of a window and the sum over the n coordinates that are watched out of N. Unit:
    nats. The differential entropy of independent Gaussians, and by Hadamard's inequality an upper bound on that of any
    density with these variances. Parameters in other units shift it: :math:`S_q(cq) = S_q(q) + N \ln|c|`.

    A coordinate of variance zero did not move, like the rows of an embedding that no batch drew: it is no degree of
    freedom of that window, and has no density. It adds nothing to the sum and the factor N/n stays, which leaves an
    estimate of the entropy of all coordinates that moved. Where that number changes, so does :math:`S_q`.

    Bias. Of W independent steps, :math:`E\ln s^2 = \ln\mathrm{Var} + \psi(\frac{W-1}2) - \ln\frac{W-1}2`
    (:math:`\psi` the digamma function), a loss of about 1/(2W) nats a coordinate, which ``steps`` takes out. Correlated
    steps lose more than that: in equilibrium with relaxation time :math:`\tau` (in steps), about
    :math:`1.5\,\tau/W` nats a coordinate for :math:`W > 5\tau`; the corrected value is the closer one at all
    :math:`\tau`. A window far shorter than :math:`\tau` shows a random walk, whose variance
    :math:`mTW/3` (mobility m, temperature T) is that of the window and not of the landscape.

    Source: Vanchurin 2020, "Towards a theory of machine learning", for the entropy of trainable variables; the
    definition is this project's own reading.

    Args:
        variances: Variance of each watched coordinate in the window, ``[n]``, in squared units of the parameter.
        total: All coordinates N; None: n.
        steps: Steps W in the window, at least 4, to take the bias out; None: the variances are exact.

    Returns:
        The entropy, a scalar; NaN where no coordinate moved, or a variance is negative or NaN.

    Raises:
        ValueError: If ``variances`` isn't a floating-point tensor ``[n]`` with n at least 1, ``total`` is below n, or
            ``steps`` below 4.

    Example:
        >>> import math
        >>> import torch
        >>> variances = torch.tensor([1.0, 4.0], dtype=torch.float64) / (2 * math.pi * math.e)
        >>> round(parameter_entropy(variances, total=4).item() / math.log(2.0), 6)  # twice ln(4) / 2
        2.0
    """
    scale = sample_scale(variances, total, steps)
    terms = coordinate_terms(variances, math.nan, steps)
    moving = terms.moving.sum()
    return torch.where(moving > 0, scale * _entropy(terms.log_variance.sum(), moving), torch.nan)


def parameter_entropy_sums(window: WindowStatistics) -> ExtensiveSums:
    """Sums of :func:`parameter_entropy` in each layer."""
    moving, log_variance = window.moving, window.log_variance
    squares = 0.25 * (window.log_variance_square + _LOG_UNIT * (2.0 * log_variance + _LOG_UNIT * moving))
    # a variance from W steps is as uncertain as 2 tau / W, and of as many coordinates as share the temperature's error
    memory = window.relaxation / moving + window.momentum_memory
    response = 0.5 * window.sample_scale * moving * memory.sqrt()
    return ExtensiveSums.of(window, _entropy(log_variance, moving), squares, response)


def _entropy(log_variance: Tensor, moving: Tensor) -> Tensor:
    """Entropy of coordinates from the sum of the logarithms of their variances, and their number."""
    return 0.5 * (log_variance + _LOG_UNIT * moving)
