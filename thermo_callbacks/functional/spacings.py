"""Contribution of each value of a sample to its differential entropy, for errors and covariances."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def surprisals(samples: Tensor) -> Tensor:
    r"""Estimates of minus the logarithm of the density at each value, from the spacings of the ordered sample.

    .. math:: c_i = \ln\Big(\frac{n}{k_i}\,\big(x_{(i+m)} - x_{(i-m)}\big)\Big), \qquad
              m = \big\lfloor \sqrt n + \tfrac12 \big\rfloor

    with indices beyond an end replaced by that end, and :math:`k_i` the number of gaps that the spacing covers, 2m away
    from the ends. Their mean is Vasicek's entropy with Ebrahimi's correction for the ends. To first order in
    :math:`1/\sqrt n` the deviation of an entropy estimate is the mean deviation of :math:`-\ln p(x_i)`, so
    :math:`\mathrm{Var}_i(c_i)/n` is the square of its standard error, and the covariance of the :math:`c_i` with
    another number of each sample tells how the entropy and that number's mean vary together. The error found in this
    way is too low by a share of about :math:`2/\sqrt n`, since spacings smooth the tails.

    Source: Ebrahimi, Pflughoeft and Soofi 1994, "Two measures of sample entropy".

    Args:
        samples: Values :math:`x_i`, shape ``[..., n]``, n at least 5, of a floating dtype.

    Returns:
        The estimates in nats, in the order of the samples, same shape, at least float32; minus infinity where a
        spacing is zero, NaN for a whole sample if a value of it isn't finite.

    Example:
        >>> import torch
        >>> surprisals(torch.tensor([3.0, 1.0, 2.0, 4.0, 5.0])).exp().round(decimals=4)  # gaps of 1: n / 1
        tensor([5., 5., 5., 5., 5.])
    """
    ordered, order = samples.to(torch.promote_types(samples.dtype, torch.float32)).sort()
    low, high = _ends(samples.shape[-1], samples.device)
    gaps = (high - low).to(ordered)
    logarithms = ((ordered[..., high] - ordered[..., low]) * (samples.shape[-1] / gaps)).log()
    unsorted = torch.empty_like(logarithms).scatter(-1, order, logarithms)
    return torch.where(samples.isfinite().all(-1, keepdim=True), unsorted, torch.nan)


def entropy_of(contributions: Tensor) -> Tensor:
    """Vasicek's entropy of the samples ``[..., n]`` whose :func:`surprisals` are given, without sorting them again."""
    count = contributions.shape[-1]
    low, high = _ends(count, torch.device("cpu"))
    # at an end the spacing covers fewer gaps than the 2m that Vasicek divides by
    return contributions.mean(-1) + float(((high - low).double() / (2 * _reach(count))).log().mean())


def _reach(count: int) -> int:
    return math.floor(math.sqrt(count) + 0.5)


def _ends(count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Places in the ordered sample that the spacing of each value stretches between."""
    place = torch.arange(count, device=device)
    return (place - _reach(count)).clamp(min=0), (place + _reach(count)).clamp(max=count - 1)
