"""Signal and noise of a window of gradients: noise scale and signal share."""

from __future__ import annotations

from torch import Tensor

from thermo_callbacks.functional.statistics import check_window, helmert_contrasts, ratio_of_sums


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
    check_window(2, gradients=gradients)
    noise = helmert_contrasts(gradients).square().mean(0).sum()
    return noise, signal_power(gradients.mean(0).square().sum(), noise, gradients.shape[0])


def signal_power(mean_square: Tensor, noise: Tensor, steps: int) -> Tensor:
    """Squared norm of the mean gradient with the noise that a mean over ``steps`` steps still holds taken out.

    Args:
        mean_square: Squared norm of the window's mean gradient.
        noise: Unbiased noise power of one step.
        steps: Steps in the mean.

    Returns:
        The signal power, of the shape of ``mean_square``.
    """
    return mean_square - noise / steps


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
    noise, signal = gradient_moments(gradients)
    return ratio_of_sums(batch_size * noise, signal)


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
    noise, signal = gradient_moments(gradients)
    return ratio_of_sums(signal, signal + noise)
