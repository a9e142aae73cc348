"""Means with honest errors: contrasts that remove a window's mean, batch means, finite sampling, intervals."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import ndtri, stdtrit
from torch import Tensor


def student_quantile(probability: float, degrees_of_freedom: Tensor) -> Tensor:
    """Quantile of Student's t, float64 on the CPU; NaN for degrees of freedom that are NaN or not positive.

    The special function itself: the same numbers from the distribution's own method take fifty times as long.

    Returns:
        The quantiles, of the shape of ``degrees_of_freedom``.

    Example:
        >>> import torch
        >>> student_quantile(0.975, torch.tensor([2.0, float("inf")]))  # 4.303 and 1.960
        tensor([4.3027, 1.9600], dtype=torch.float64)
    """
    return torch.from_numpy(np.asarray(stdtrit(degrees_of_freedom.cpu().double().numpy(), probability)))


def widening(degrees_of_freedom: float) -> float:
    """Factor on a standard error of so few degrees of freedom with which two of it cover as often as they say.

    Returns:
        The quantile of Student's t over that of the normal distribution, for intervals of 95 %.

    Example:
        >>> round(widening(3.0), 3)  # 3.182 / 1.960
        1.624
    """
    return float(stdtrit(degrees_of_freedom, 0.975) / ndtri(0.975))


class Estimate(NamedTuple):
    """A mean with its standard error.

    Attributes:
        value: The estimate, any shape.
        stderr: Its standard error, same shape and unit as ``value``.
        degrees_of_freedom: Degrees of freedom behind ``stderr``, same shape.
    """

    value: Tensor
    stderr: Tensor
    degrees_of_freedom: Tensor

    def interval(self, level: float = 0.95) -> tuple[Tensor, Tensor]:
        r"""Two-sided confidence interval ``value -+ t_{(1+level)/2, dof} * stderr`` (Student's t).

        Args:
            level: Probability that the interval covers the truth, in (0, 1).

        Returns:
            Lower and upper end, each of the shape of ``value``; NaN where the standard error is.

        Raises:
            ValueError: If ``level`` is not in (0, 1).

        Example:
            >>> import torch
            >>> low, high = mean_estimate(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)).interval()
            >>> print(f"{low:.3f} {high:.3f}")  # 2 -+ 4.303 / sqrt(3)
            -0.484 4.484
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"level must lie between 0 and 1 (for example 0.95), got {level}")
        half_width = student_quantile((1.0 + level) / 2.0, self.degrees_of_freedom).to(self.value) * self.stderr
        return self.value - half_width, self.value + half_width


def mean_estimate(contributions: Tensor, *, batch_length: int = 1, sampling_variance: Tensor | float = 0.0) -> Estimate:
    r"""Mean of per-step contributions and its standard error, steps being the replicates.

    .. math:: \bar c = \frac1m \sum_t c_t, \qquad s^2(\bar c) = \frac{\mathrm{Var}_b(\bar c_b)}{m / b} + v

    with :math:`\bar c_b` the means of consecutive batches of ``batch_length`` steps :math:`b` and :math:`v` the
    ``sampling_variance``. ``batch_length=1`` is the ordinary standard error, right for uncorrelated steps; a batch
    longer than the correlation time makes it right for correlated ones, at the price of fewer degrees of freedom.
    A last, incomplete batch counts in the mean and not in the error.

    Args:
        contributions: One value a step, shape ``[m, ...]``.
        batch_length: Steps in a batch, at least 1.
        sampling_variance: Variance that the steps can't show, for example from watching a sample of the
            coordinates; shape ``[...]``.

    Returns:
        The estimate with shape ``[...]``. ``stderr`` is NaN with fewer than two batches.

    Raises:
        ValueError: If ``contributions`` has no step, or ``batch_length`` is below 1.

    Example:
        >>> import torch
        >>> estimate = mean_estimate(torch.tensor([1.0, 3.0, 1.0, 3.0], dtype=torch.float64))
        >>> estimate.value.item(), round(estimate.stderr.item(), 4), estimate.degrees_of_freedom.item()
        (2.0, 0.5774, 3.0)
        >>> mean_estimate(torch.tensor([1.0, 3.0, 1.0, 3.0]), batch_length=2).stderr.item()
        0.0
    """
    if contributions.ndim == 0 or contributions.shape[0] == 0:
        raise ValueError(
            f"contributions must hold at least one step, got shape {tuple(contributions.shape)}: measure longer"
        )
    if batch_length < 1:
        raise ValueError(f"batch_length must be at least 1 step, got {batch_length}")
    value = contributions.mean(0)
    batches = contributions.shape[0] // batch_length
    means = contributions[: batches * batch_length].reshape(batches, batch_length, *value.shape).mean(1)
    variance = means.var(0) / batches + sampling_variance if batches > 1 else torch.full_like(value, torch.nan)
    return Estimate(value, variance.sqrt(), torch.full_like(value, max(batches - 1, 0)))


def helmert_contrasts(samples: Tensor) -> Tensor:
    r"""Contrasts of a window that hold all of its fluctuation and nothing of its mean.

    .. math:: c_t = \sqrt{\tfrac{t-1}{t}}\,\Big(x_t - \frac{1}{t-1}\sum_{s<t} x_s\Big), \qquad t = 2 \dots W

    The transform is orthonormal, so :math:`\sum_t c_t(x)\,c_t(y) = \sum_t (x_t-\bar x)(y_t-\bar y)` exactly, and the
    contrasts of independent, equally distributed rows are uncorrelated with equal variance. Each product of two
    contrasts is therefore an unbiased, uncorrelated estimate of the covariance: the replicate that a standard error
    needs.

    Args:
        samples: Rows :math:`x_t`, shape ``[W, ...]``, W at least 2.

    Returns:
        The contrasts, shape ``[W - 1, ...]``.

    Raises:
        ValueError: If there are fewer than two rows.

    Example:
        >>> import torch
        >>> x = torch.tensor([[1.0], [3.0], [5.0]], dtype=torch.float64)
        >>> helmert_contrasts(x).square().sum().item()  # the sum of squares about the mean 3 is 8
        8.0
    """
    rows = samples.shape[0] if samples.ndim else 0
    if rows < 2:
        raise ValueError(f"a window needs at least 2 steps to show a fluctuation, got {rows}: measure longer")
    shifted = samples - samples[:1]  # a large common offset would cost the running sums their digits
    count = torch.arange(1, rows, dtype=samples.dtype, device=samples.device).view(-1, *[1] * (samples.ndim - 1))
    running_mean = shifted.cumsum(0)[:-1] / count
    return (shifted[1:] - running_mean) * (count / (count + 1)).sqrt()


def coordinate_sampling_variance(first: Tensor, second: Tensor, total: int) -> Tensor:
    r"""Variance of a mean over ``n`` coordinates that were drawn without replacement out of ``total``.

    .. math:: v = \Big(1 - \frac nN\Big)\,\frac{1}{n}\,\max\big(0,\ \mathrm{Cov}_i(a_i, b_i)\big)

    where :math:`a_i` and :math:`b_i` estimate the same coordinate's value from two disjoint sets of steps. Their
    covariance over the coordinates is the spread of the true values: the noise of the two halves is independent
    and drops out, while the variance of either half would count the noise of the steps a second time.

    Args:
        first: Values :math:`a_i`, shape ``[n]``.
        second: Values :math:`b_i`, shape ``[n]``.
        total: Number of coordinates N that the n were drawn from.

    Returns:
        The variance, a scalar; 0 when all coordinates are watched.

    Example:
        >>> import torch
        >>> a = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
        >>> coordinate_sampling_variance(a, a, total=6).item()  # (1 - 1/2) * 1 / 3
        0.16666666666666666
        >>> coordinate_sampling_variance(a, a, total=3).item()
        0.0
    """
    sums = (first.sum(), second.sum(), (first * second).sum())
    return sampling_variance_from_sums(*sums, watched=first.new_tensor(first.shape[0]), total=first.new_tensor(total))


def sampling_variance_from_sums(
    first: Tensor, second: Tensor, product: Tensor, *, watched: Tensor, total: Tensor
) -> Tensor:
    """:func:`coordinate_sampling_variance` from sums of both halves and of their product; 0 if all or one are seen."""
    covariance = (product - first * second / watched) / (watched - 1)
    variance = covariance.clamp(min=0.0) * (1.0 - watched / total) / watched
    return torch.where((watched < total) & (watched > 1), variance, 0.0)


def check_window(minimum: int, **windows: Tensor) -> None:
    """Check that all windows, given by name, are floating-point ``[W, n]`` tensors of one shape, with enough steps."""
    first_name, first = next(iter(windows.items()))
    for name, window in windows.items():
        if window.ndim != 2 or not window.is_floating_point():
            raise ValueError(
                f"{name} must be a floating-point tensor of shape [W, n] (W steps of n coordinates), got shape "
                f"{tuple(window.shape)} and {window.dtype}"
            )
        if window.shape != first.shape:
            raise ValueError(
                f"{name} must have the shape of {first_name}, {tuple(first.shape)}, got {tuple(window.shape)}: give "
                "the same steps and coordinates to both"
            )
    if first.shape[0] < minimum:
        raise ValueError(f"{first_name} must hold at least {minimum} steps, got {first.shape[0]}: measure longer")


def batch_sums(series: Tensor) -> Tensor:
    """Sums over about sqrt(m) batches of consecutive steps ``[m, ...]``, whose sizes differ by one at most."""
    # the replicates for errors of correlated steps
    return torch.stack([batch.sum(0) for batch in series.tensor_split(max(1, math.isqrt(len(series))))])


def ratio_of_sums(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Quotient, any shape, that is NaN where the denominator is not positive: there the quantity has no value."""
    return torch.where(denominator > 0, numerator / denominator, torch.nan)


class RatioMoments(NamedTuple):
    """Sums over replicates x and y of a ratio of their sums, any shape; weighted, and so their squares and products."""

    numerator: Tensor
    denominator: Tensor
    numerator_square: Tensor
    denominator_square: Tensor
    product: Tensor
    replicates: Tensor  # K; as many of equal weight as would have the same error, where weights differ

    def error(self, ratio: Tensor) -> tuple[Tensor, Tensor]:
        """Standard error of the ratio (delta method), NaN from a single replicate, and its degrees of freedom."""
        # s(R)^2 = K/(K-1) sum_k (x_k - R y_k)^2 / (sum_k y_k)^2; its relative bias is of order 1/K
        scatter = self.numerator_square - 2.0 * ratio * self.product + ratio.square() * self.denominator_square
        several = self.replicates > 1.0 + 1e-9  # the sums' rounding leaves a single one at some 1e-16 above 1
        correction = torch.where(several, self.replicates / (self.replicates - 1.0), torch.nan)
        stderr = (correction * scatter.clamp(min=0.0)).sqrt() / self.denominator.abs()
        return stderr, (self.replicates - 1.0).clamp(min=0.0)
