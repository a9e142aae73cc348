"""What a row of batches says about the data: are samples independent, and do they stay what they were."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def batch_likeness(means: Tensor, variances: Tensor, samples: float) -> float:
    r"""How much more the means of batches differ than those of independent samples.

    With the mean :math:`\bar x_{bf}` and the unbiased variance :math:`s^2_{bf}` of feature f in batch b of n batches of
    B samples each, :math:`w_f = \langle s^2_{bf} \rangle_b` and :math:`v_f` the unbiased variance of
    :math:`\bar x_{bf}` over the batches,

    .. math:: F = \frac{\sum_f B v_f / (w_f + v_f)}{\sum_f w_f / (w_f + v_f)}

    The ratio of variances of a one-way analysis of variance (Fisher 1925), each feature by its own total variance, so
    that no feature's unit counts and one that is the same within each batch does not rule the sum.

    Args:
        means: ``[n, f]``.
        variances: ``[n, f]``.
        samples: Samples of a batch, B.

    Returns:
        1 in the mean for independent samples, whatever the features; larger where samples of a batch are alike; NaN
        with fewer than two batches, two samples, or where nothing varies. Of one feature it scatters by
        sqrt(2 / (n - 1)), of independent ones by less. Drawing without replacement does not change the mean.

    Example:
        >>> x = torch.randn(50, 32, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> round(batch_likeness(x.mean(1), x.var(1), 32), 1)
        1.0
        >>> x = x.flatten(0, 1).sort(0).values.unflatten(0, (50, 32))
        >>> batch_likeness(x.mean(1), x.var(1), 32) > 1_000
        True
    """
    if len(means) < 2 or not samples >= 2:
        return math.nan
    between, within = means.var(0), variances.mean(0)
    total = between + within
    known = torch.isfinite(total) & (total > 0.0)
    if not bool(known.any()):
        return math.nan
    within_share = float((within[known] / total[known]).sum())
    between_share = float((between[known] / total[known]).sum())
    return samples * between_share / within_share if within_share > 0.0 else math.inf


def input_shift(
    means: Tensor, variances: Tensor, reference: Tensor, *, samples: float, reference_samples: float
) -> float:
    r"""Distance of the mean input from a reference, in standard deviations of the inputs.

    .. math:: \sqrt{\max\left(0, \left\langle \frac{(\bar x_f - r_f)^2}{w_f} \right\rangle_f - \frac1M - \frac1R\right)}

    with :math:`\bar x_f` the mean of M samples, :math:`r_f` that of R samples, and :math:`w_f` the variance within
    batches. What two means of independent samples differ by is taken off, so that the square is unbiased.

    Args:
        means: Means of batches, ``[n, f]``.
        variances: Their variances, ``[n, f]``.
        reference: Mean of each feature before, ``[f]``.
        samples: Samples in all of these batches, M.
        reference_samples: Samples that the reference is the mean of, R.

    Returns:
        The distance, 0 where chance explains it; NaN where nothing varies.

    Example:
        >>> means, variances = torch.full((4, 2), 3.0), torch.ones(4, 2)
        >>> round(input_shift(means, variances, torch.zeros(2), samples=1e9, reference_samples=1e9), 6)
        3.0
    """
    within = variances.mean(0)
    known = torch.isfinite(within) & (within > 0.0) & torch.isfinite(reference)
    if not bool(known.any()):
        return math.nan
    squares = (means.mean(0) - reference)[known].square() / within[known]
    return math.sqrt(max(0.0, float(squares.mean()) - 1.0 / samples - 1.0 / reference_samples))
