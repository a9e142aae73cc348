"""Signal and noise of gradients at one point: signal share and noise scale from independent gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.statistics import (
    Estimate,
    RatioMoments,
    check_window,
    ratio_of_sums,
    student_quantile,
)

STEADY = 1.0
"""Standard errors that a longer mean may differ by from a shorter one. Of .6, 1 and 1.5, tried on digits at rates where
the signal share falls tenfold in 350 steps, 1 came nearest to the truth: less scatters, more lags."""


_LONGEST_EPOCH = 1_000
"""Batches of an epoch that are gone through one by one; after so many the rest is as the last."""


class NoiseScale(NamedTuple):
    """Gradient noise scale with its interval, in samples.

    Attributes:
        value: The estimate; where the signal is within one standard error of zero, the value at one error.
        lower: Lower end of the interval.
        upper: Upper end; infinite where the signal is not clearly above zero: the scale is at least ``lower``.
    """

    value: Tensor
    lower: Tensor
    upper: Tensor


def pair_signal_share(first: Tensor, second: Tensor) -> Estimate:
    r"""Signal share of gradients from pairs at one point: the part of a gradient's power that is not noise.

    .. math:: \sigma = \frac{|G|^2}{|G|^2 + \mathrm{tr}\,\Sigma_B}, \qquad
              \hat\sigma = \frac{\sum_k g_k \cdot g'_k}{\tfrac12 \sum_k (|g_k|^2 + |g'_k|^2)}

    with :math:`g_k` and :math:`g'_k` gradients of two independent batches of B samples *at the same parameters*: then
    :math:`E\,g_k\cdot g'_k = |G|^2` whatever the noise, and :math:`E|g_k|^2 = |G|^2 + \mathrm{tr}\,\Sigma_B`. Pairs may
    lie anywhere along a run: unlike a mean over a window of steps, a product at one point is not spoilt by a slope that
    turns from step to step. Dimensionless. A ratio of two unbiased sums has a bias of relative order 1/K. The standard
    error takes pairs as replicates (delta method).

    Source: McCandlish et al. 2018, "An Empirical Model of Large-Batch Training", for signal and noise of a batch.

    Args:
        first: Gradients :math:`g_k` of K pairs, shape ``[K, n]``.
        second: Gradients :math:`g'_k`, same shape.

    Returns:
        The share, scalars; its error is NaN for one pair, the share for gradients that are all zero.

    Raises:
        ValueError: If shapes differ or there is no pair.

    Example:
        >>> import torch
        >>> share = pair_signal_share(torch.tensor([[2.0, 1.0]]), torch.tensor([[2.0, -1.0]]))
        >>> round(share.value.item(), 4)  # (4 - 1) / ((5 + 5) / 2)
        0.6
    """
    check_window(1, first=first, second=second)
    products = (first * second).sum(1, keepdim=True)
    powers = (first.square().sum(1, keepdim=True) + second.square().sum(1, keepdim=True)) / 2.0
    return Estimate(*(part.squeeze(-1) for part in signal_share_of(products, powers)))


def signal_share_of(products: Tensor, powers: Tensor) -> Estimate:
    """Signal share of columns, from products of independent gradients and their mean squares, ``[K, L]``."""
    sums = (products, powers, products.square(), powers.square(), products * powers, torch.ones_like(products))
    moments = RatioMoments(*(each.sum(0) for each in sums))
    share = ratio_of_sums(moments.numerator, moments.denominator)
    return Estimate(share, *moments.error(share))


def noise_scale_interval(
    share: Estimate, batch_size: float, *, samples: float = math.inf, doubt: float = 1.0, level: float = 0.95
) -> NoiseScale:
    r"""Gradient noise scale (critical batch size) of a signal share, with an interval that is one-sided if need be.

    .. math:: B_\mathrm{noise} = \frac{\mathrm{tr}\,\Sigma_1}{|G|^2} = B\,\frac{1-\sigma}{\sigma}

    with the share :math:`\sigma` of gradients of B samples and :math:`\Sigma_1` the covariance of one sample's. It
    falls as the share grows, so the ends of the share's interval (Student's t) are those of the scale, in the other
    order; a share that may be zero leaves the scale without an upper end. Unit: samples.

    Batches that are drawn without replacement from N samples are not independent: products are off by up to
    :math:`\mathrm{tr}\,\Sigma_1/N` (:func:`shuffling_bias`), which is :math:`(1-\sigma)B/N` of the share. The interval
    is widened by ``doubt`` times that on both sides: a data set can't tell scales far beyond its own size.

    Args:
        share: Signal share, as from :func:`pair_signal_share`, any shape.
        batch_size: Samples B behind each gradient, at least 1.
        samples: Samples N that batches are drawn from without replacement; infinite with replacement.
        doubt: Part of what that may put products off by which the share may still be off; 1 for a share as measured.
        level: Probability that the interval covers the truth, in (0, 1).

    Returns:
        Value and ends, each of the share's shape; NaN where the share is, and an interval from 0 to infinity where only
        its error is.

    Raises:
        ValueError: If ``batch_size`` or ``samples`` is below 1, or ``level`` not in (0, 1).

    Example:
        >>> import torch
        >>> share = Estimate(torch.tensor(0.5), torch.tensor(0.1), torch.tensor(float("inf")))
        >>> [round(end.item(), 1) for end in noise_scale_interval(share, 64)]  # 64 (1 - s) / s at .5, .696, .304
        [64.0, 28.0, 146.5]
        >>> unclear = Estimate(torch.tensor(0.1), torch.tensor(0.1), torch.tensor(float("inf")))
        >>> [round(end.item(), 1) for end in noise_scale_interval(unclear, 64)]
        [576.0, 152.2, inf]
    """
    if not batch_size >= 1:
        raise ValueError(f"batch_size must be at least 1 sample, got {batch_size}")
    if not samples >= 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1 (for example 0.95), got {level}")
    value, stderr, degrees = share
    degrees = torch.where(degrees > 0, degrees, torch.nan)
    quantile = student_quantile((1.0 + level) / 2.0, degrees).to(value)
    margin = quantile * stderr + doubt * (1.0 - value).clamp(0.0, 1.0) * batch_size / samples
    floor = torch.where(stderr.isnan(), torch.finfo(value.dtype).tiny, stderr)
    best = _scale(torch.maximum(value, floor), batch_size)
    lower = torch.where(margin.isnan(), 0.0, _scale(torch.maximum(value + margin, floor), batch_size))
    upper = torch.where(margin.isnan(), torch.inf, _scale(value - margin, batch_size))
    known = ~value.isnan()
    return NoiseScale(*(torch.where(known, part, torch.nan) for part in (best, lower, upper)))


def shuffling_bias(contraction: float, batches: float, momentum: float = 0.0) -> float:
    r"""By how much products of gradients miss the signal in shuffled epochs, in units of the noise of all samples.

    .. math:: E\,g\cdot g' = |G|^2 - c\,\frac{\mathrm{tr}\,\Sigma_1}{N}, \qquad
              c = \frac1n\Bigl[\sum_{k=0}^{n-2} (1 - 2 s_k) - s_{n-1}\Bigr], \quad s_k = a \sum_{j=1}^{k} h_j

    In an epoch each of N samples is drawn once, in n batches. Two batches exclude each other, which lowers the product
    of their noise. But all batches yet to come share that the weights have moved against the noise of the k batches
    before, which raises it: :math:`h_j` is where a step has got to j steps later, in units of the step
    (:math:`h_1 = 1`, :math:`h_{j+1} = (1 + \mu - a) h_j - \mu h_{j-1}`), and a the part of a gradient that its own step
    takes away. So c goes from 1 - 1/n, where steps are short against an epoch, to nearly -1, where the weights forget
    within one. Exact for a quadratic loss with one curvature but for terms of order a/n; with several, a is their mean
    by the noise's power and c comes out too low.

    Args:
        contraction: Part a of a gradient that its own step takes away; learning rate times curvature for SGD. Taken as
            0 below 0, as 1 above 1.
        batches: Batches n in an epoch; rounded, at least 1.
        momentum: Momentum :math:`\mu` of the steps.

    Returns:
        The number c.

    Example:
        >>> shuffling_bias(0.0, 4), shuffling_bias(1.0, 4)  # exclusion alone: 3 of 4 pairs; weights that forget at once
        (0.75, -0.5)
    """
    count = max(1, round(batches))
    strength = min(max(contraction, 0.0), 1.0)
    total = moved = before = 0.0
    now = 1.0
    for _ in range(min(count, _LONGEST_EPOCH) - 1):
        total += 1.0 - 2.0 * moved
        moved += strength * now
        before, now = now, (1.0 + momentum - strength) * now - momentum * before
    return (total + (count - min(count, _LONGEST_EPOCH)) * (1.0 - 2.0 * moved) - moved) / count


def _scale(share: Tensor, batch_size: float) -> Tensor:
    share = share.clamp(max=1.0)
    return torch.where(share > 0, batch_size * (1.0 - share) / share, torch.inf)


def successive_share(products: Tensor, powers: Tensor, shift: Estimate) -> Estimate:
    r"""Signal share from gradients of successive steps, corrected for the move between them.

    .. math:: \hat\sigma = \frac{\sum_t g_t \cdot g_{t+1}}{\sum_t |g_t|^2} - \kappa, \qquad
              \kappa = \frac{E\,g_t\cdot(g(q_t + D_t; B_{t+1}) - g(q_t; B_{t+1}))}{E|g_t|^2}

    The step :math:`D_t` follows the noise of :math:`g_t`, so the next gradient holds some of it: in equilibrium the
    products are minus the signal. The shift :math:`\kappa` is measured now and then, by the next batch's gradient
    before and after the step, in which that batch's own noise cancels; it costs two gradients, and every step of a
    window gives a product. Errors of both add in squares; degrees of freedom are those of the products.

    Args:
        products: Products of successive gradients of L columns, ``[K, L]``.
        powers: Mean squares of the two, ``[K, L]``.
        shift: The shift, ``[L]``; zero with error zero for gradients at one point.

    Returns:
        The share, ``[L]``.
    """
    share = signal_share_of(products, powers)
    stderr = (share.stderr.square() + shift.stderr.square()).sqrt()
    return Estimate(share.value - shift.value, stderr, share.degrees_of_freedom)


def steady_mean(values: Sequence[Tensor], variances: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean over the latest of some values, as many as show no change, with its variance; element by element.

    From the last value back, the mean takes in another one as long as it agrees with all shorter means within
    ``STEADY`` standard errors of their difference (the adaptive choice of Lepski 1991): where a quantity stands still
    the error falls with the root of the number, and where it moves the mean does not lag.

    Args:
        values: Independent estimates in the order of time, each of one shape, at least one.
        variances: Their variances.

    Returns:
        Mean and variance.

    Example:
        >>> import torch
        >>> steady = [torch.tensor(x, dtype=torch.float64) for x in (9.0, 1.0, 1.2, 1.1)]
        >>> mean, variance = steady_mean(steady, [torch.tensor(0.03, dtype=torch.float64)] * 4)
        >>> round(mean.item(), 4), round(variance.item(), 4)  # the 9 is not of the same kind
        (1.1, 0.01)
    """
    means: list[Tensor] = []
    errors: list[Tensor] = []
    total, spread = torch.zeros_like(values[0]), torch.zeros_like(values[0])
    mean, variance = values[-1], variances[-1]
    going = torch.ones_like(mean, dtype=torch.bool)
    for count, (value, own) in enumerate(zip(reversed(values), reversed(variances), strict=True), start=1):
        total, spread = total + value, spread + own
        longer, error = total / count, spread / count**2
        if means:
            shorter, known = torch.stack(means), torch.stack(errors)
            going &= ((longer - shorter).abs() <= STEADY * (known - error).clamp(min=0.0).sqrt()).all(0)
            if not going.any():
                break
        mean, variance = torch.where(going, longer, mean), torch.where(going, error, variance)
        means.append(longer)
        errors.append(error)
    return mean, variance
