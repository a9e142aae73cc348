"""Signal and noise of a window of gradients: noise scale and signal share."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.statistics import ratio_of_sums
from thermo_callbacks.functional.window.arrays import ArrayWindow
from thermo_callbacks.functional.window.estimates import LayerEstimates, with_total, without_error
from thermo_callbacks.functional.window.statistics import WindowStatistics


def gradient_moments(gradients: Tensor) -> tuple[Tensor, Tensor]:
    r"""Unbiased noise power and signal power of a window of gradients.

    .. math:: \mathrm{tr}\,\hat\Sigma = \frac{1}{W-1}\sum_t |g_t - \bar g|^2, \qquad
              \widehat{|E g|^2} = |\bar g|^2 - \frac{\mathrm{tr}\,\hat\Sigma}{W}

    Args:
        gradients: Gradients of W steps, shape ``[W, n]``.

    Returns:
        Noise power :math:`\mathrm{tr}\,\hat\Sigma` and signal power, two scalars. The second can fall below 0 by
        sampling error where there is no signal; clipping it would bias averages over windows.

    Raises:
        ValueError: If the window has fewer than 2 steps.

    Example:
        >>> import torch
        >>> noise, signal = gradient_moments(torch.tensor([[1.0], [3.0]]))
        >>> round(noise.item(), 4), round(signal.item(), 4)  # variance 2; 2^2 - 2 / 2
        (2.0, 3.0)
    """
    noise, signal = gradient_power_sums(ArrayWindow(2, gradients=[gradients]))
    return noise[-1], signal[-1]


def gradient_noise_scale(gradients: Tensor, batch_size: int) -> Tensor:
    r"""Gradient noise scale (critical batch size): samples in a batch at which noise and signal are equal.

    .. math:: B_\mathrm{noise} = B\,\frac{\mathrm{tr}\,\Sigma}{|E g|^2}

    with both moments as in :func:`gradient_moments`. Far below it a larger batch buys nearly proportional progress per
    step, far above it nearly none. Unit: samples. Assumes that the mean gradient stays put within the window. The
    ratio of two unbiased estimates has a bias of relative order 1/W; it has no value (NaN) where the signal does not
    stand out of the noise.

    Source: McCandlish et al. 2018, "An Empirical Model of Large-Batch Training".

    Args:
        gradients: Gradients of W steps, shape ``[W, n]``.
        batch_size: Samples behind each gradient (micro-batches and ranks together), at least 1.

    Returns:
        The noise scale in samples, a scalar; NaN where the estimated signal power is not positive.

    Raises:
        ValueError: If the window has fewer than 2 steps or ``batch_size`` is below 1.

    Example:
        >>> import torch
        >>> round(gradient_noise_scale(torch.tensor([[1.0], [3.0]]), batch_size=3).item(), 4)  # 3 * 2 / 3
        2.0
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1 sample, got {batch_size}")
    return noise_scale_sums(ArrayWindow(2, gradients=[gradients], batch_size=batch_size)).estimate().whole.value


def signal_share(gradients: Tensor) -> Tensor:
    r"""Signal share, the learning work efficiency of a layer: the part of the gradient's power that is not noise.

    .. math:: \frac{|E g|^2}{E |g|^2} = \frac{|E g|^2}{|E g|^2 + \mathrm{tr}\,\Sigma}

    with the unbiased moments of :func:`gradient_moments`. Of :math:`\eta|g|^2`, what a step spends, this share goes
    down the true slope; one minus it is the noise share. The quantity lies in [0, 1]; the estimate can fall below 0 by
    sampling error where there is no signal (labels drawn at random), by about :math:`1/W`. Dimensionless.

    Args:
        gradients: Gradients of W steps, shape ``[W, n]``.

    Returns:
        The share, a scalar; NaN when all gradients are zero.

    Raises:
        ValueError: If the window has fewer than 2 steps.

    Example:
        >>> import torch
        >>> round(signal_share(torch.tensor([[1.0], [3.0]])).item(), 4)  # 3 / (3 + 2)
        0.6
        >>> signal_share(torch.ones(5, 2)).item()
        1.0
    """
    return gradient_power_sums(ArrayWindow(2, gradients=[gradients])).estimate().whole.value


class GradientPowerSums(NamedTuple):
    """Noise and signal power of layers and whole, over all coordinates, ``[L + 1]``; windows add up."""

    noise_sum: Tensor
    signal_sum: Tensor

    def estimate(self) -> LayerEstimates:
        """Signal share, without errors."""
        return without_error(ratio_of_sums(self.signal_sum, self.signal_sum + self.noise_sum))


def gradient_power_sums(window: WindowStatistics) -> GradientPowerSums:
    """Noise and signal power of a window; zeros where so many steps were left out that nothing fluctuates."""
    if window.steps < 2:
        return GradientPowerSums(*torch.zeros_like(with_total(window.watched)).expand(2, -1))
    noise = window.gradient_square.mean(0)
    # a mean over W steps still holds noise
    signal = window.mean_gradient_square - noise / window.steps
    return GradientPowerSums(*with_total(torch.stack((noise, signal)) * window.sample_scale))


class NoiseScaleSums(NamedTuple):
    """:class:`GradientPowerSums`, with the noise power of a gradient of one sample."""

    noise_sum: Tensor
    signal_sum: Tensor
    sample_noise_sum: Tensor

    def resolved(self, minimum_share: float) -> NoiseScaleSums:
        """The same, without a signal where it makes up less than ``minimum_share`` of the gradient's power."""
        enough = self.signal_sum >= minimum_share * (self.signal_sum + self.noise_sum)
        return self._replace(signal_sum=torch.where(enough, self.signal_sum, torch.nan))

    def estimate(self) -> LayerEstimates:
        """Gradient noise scale in samples, without errors."""
        return without_error(ratio_of_sums(self.sample_noise_sum, self.signal_sum))


def noise_scale_sums(window: WindowStatistics) -> NoiseScaleSums:
    """Sums of :func:`gradient_noise_scale`."""
    noise, signal = gradient_power_sums(window)
    return NoiseScaleSums(noise, signal, noise * window.batch_size)
