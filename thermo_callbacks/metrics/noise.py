"""Signal and noise of gradients, as metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from thermo_callbacks.functional import gradient_moments
from thermo_callbacks.functional.statistics import ratio_of_sums
from thermo_callbacks.functional.window.noise import signal_power
from thermo_callbacks.functional.window.statistics import WindowStatistics
from thermo_callbacks.metrics.base import LayerMetric, Windows


class _GradientPower(LayerMetric):
    """Sums of noise and signal power over windows; each window's signal has its own noise taken out."""

    noise_sum: Tensor
    signal_sum: Tensor

    def __init__(self, sizes: Sequence[int] | None = None, **kwargs: Any) -> None:
        super().__init__(sizes, **kwargs)
        self._add_sum_state("noise_sum", "signal_sum", length=self.num_layers)

    def _add_gradients(self, gradients: Windows, batch_size: float = 1.0) -> None:
        layers = self._layer_windows(gradients=gradients)
        noise, signal = zip(*(gradient_moments(gradient) for (gradient,) in layers), strict=True)
        scale = self._sample_scale(layers)
        self._add(torch.stack(noise) * scale, torch.stack(signal) * scale, batch_size)

    def _accept(self, window: WindowStatistics) -> None:
        if window.steps < 2:  # so many steps were left out that nothing fluctuates
            return
        noise = window.gradient_square.mean(0)
        signal = signal_power(window.mean_gradient_square, noise, window.steps)
        self._add(noise * window.sample_scale, signal * window.sample_scale, window.batch_size)

    def _add(self, noise: Tensor, signal: Tensor, batch_size: float) -> None:  # noqa: ARG002  one subclass needs it
        self.noise_sum = self.noise_sum + noise.to(self.noise_sum)
        self.signal_sum = self.signal_sum + signal.to(self.signal_sum)


class GradientNoiseScale(_GradientPower):
    r"""Gradient noise scale (critical batch size); see :func:`~thermo_callbacks.functional.gradient_noise_scale`.

    .. math:: B_\mathrm{noise} = \frac{\sum_w B_w\,\mathrm{tr}\,\Sigma_w}{\sum_w |E g|^2_w}

    with sums over windows w, and over layers for the global value. Unit: samples. NaN where the signal does not stand
    out of the noise, or makes up less of the gradient's power than ``minimum_share``.

    As input to ``update``: ``gradients`` ``[W, n]`` or a list with one for each layer, and the ``batch_size`` behind
    each gradient. As output of ``compute``: the global noise scale, a scalar.

    Args:
        sizes: All coordinates of each layer; None for one layer that is shown whole.
        minimum_share: Signal share below which there is no value. Near equilibrium the gradients of successive steps
            are anticorrelated, since what pushes the parameters away pulls them back, and the estimated share is too
            low by up to 1/W: with windows of W steps, 2/W keeps the scale from being the ratio to an artefact.
        **kwargs: Passed to :class:`torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = GradientNoiseScale()
        >>> metric.update(torch.tensor([[1.0], [3.0]]), batch_size=3)  # 3 * 2 / (4 - 2 / 2)
        >>> round(metric.compute().item(), 6)
        2.0
    """

    sample_noise_sum: Tensor

    def __init__(self, sizes: Sequence[int] | None = None, *, minimum_share: float = 0.0, **kwargs: Any) -> None:
        super().__init__(sizes, **kwargs)
        self.minimum_share = minimum_share
        self._add_sum_state("sample_noise_sum", length=self.num_layers)

    def update(self, gradients: Windows, batch_size: int) -> None:
        """Add a window of steps.

        Args:
            gradients: Gradients, ``[W, n]`` or one for each layer.
            batch_size: Samples behind each gradient, at least 1.

        Raises:
            ValueError: If ``batch_size`` is below 1.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1 sample, got {batch_size}")
        self._add_gradients(gradients, float(batch_size))

    def compute(self) -> Tensor:
        """Global noise scale in samples, a scalar."""
        return self._scale(self.sample_noise_sum.sum(), self.noise_sum.sum(), self.signal_sum.sum())

    def _layer_values(self) -> Tensor:
        return self._scale(self.sample_noise_sum, self.noise_sum, self.signal_sum)

    def _scale(self, sample_noise: Tensor, noise: Tensor, signal: Tensor) -> Tensor:
        resolved = signal >= self.minimum_share * (signal + noise)
        return torch.where(resolved, ratio_of_sums(sample_noise, signal), torch.nan)

    def _add(self, noise: Tensor, signal: Tensor, batch_size: float) -> None:
        super()._add(noise, signal, batch_size)
        self.sample_noise_sum = self.sample_noise_sum + (noise * batch_size).to(self.sample_noise_sum)


class SignalShare(_GradientPower):
    r"""Signal share, the learning work efficiency; see :func:`~thermo_callbacks.functional.signal_share`.

    .. math:: \frac{\sum_w |E g|^2_w}{\sum_w (|E g|^2_w + \mathrm{tr}\,\Sigma_w)}

    with sums over windows w, and over layers for the global value. Dimensionless.

    As input to ``update``: ``gradients`` ``[W, n]`` or a list with one for each layer. As output of ``compute``: the
    global share, a scalar; NaN when all gradients are zero.

    Args:
        sizes: All coordinates of each layer; None for one layer that is shown whole.
        **kwargs: Passed to :class:`torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = SignalShare()
        >>> metric.update(torch.tensor([[1.0], [3.0]]))  # 3 / (3 + 2)
        >>> round(metric.compute().item(), 6)
        0.6
    """

    def update(self, gradients: Windows) -> None:
        """Add a window of steps.

        Args:
            gradients: Gradients, ``[W, n]`` or one for each layer.
        """
        self._add_gradients(gradients)

    def compute(self) -> Tensor:
        """Global share, a scalar."""
        return ratio_of_sums(self.signal_sum.sum(), (self.signal_sum + self.noise_sum).sum())

    def _layer_values(self) -> Tensor:
        return ratio_of_sums(self.signal_sum, self.signal_sum + self.noise_sum)
