"""Signal and noise of gradients, as metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from thermo_callbacks.functional import gradient_moments
from thermo_callbacks.functional._statistics import ratio_of_sums
from thermo_callbacks.functional.noise import signal_power
from thermo_callbacks.metrics._base import LayerMetric, Windows
from thermo_callbacks.metrics._window import WindowStatistics


class _GradientPower(LayerMetric):
    """Sums of noise and signal power over windows; each window's signal has its own noise taken out."""

    noise_sum: Tensor
    signal_sum: Tensor

    def __init__(self, sizes: Sequence[int] | None = None, **kwargs: Any) -> None:
        super().__init__(sizes, **kwargs)
        self._add_sum_state("noise_sum", "signal_sum", length=self.num_layers)

    def _add_gradients(self, gradients: Windows, factor: float) -> None:
        layers = self._layer_windows(gradients=gradients)
        noise, signal = zip(*(gradient_moments(gradient) for (gradient,) in layers), strict=True)
        scale = self._sample_scale(layers)
        self._add(torch.stack(noise) * scale * factor, torch.stack(signal) * scale)

    def _add_window(self, window: WindowStatistics, factor: float) -> None:
        if window.steps < 2:  # so many steps were left out that nothing fluctuates
            return
        noise = window.gradient_square.mean(0)
        signal = signal_power(window.mean_gradient_square, noise, window.steps)
        self._add(noise * window.sample_scale * factor, signal * window.sample_scale)

    def _add(self, noise: Tensor, signal: Tensor) -> None:
        self.noise_sum = self.noise_sum + noise.to(self.noise_sum)
        self.signal_sum = self.signal_sum + signal.to(self.signal_sum)


class GradientNoiseScale(_GradientPower):
    r"""Gradient noise scale (critical batch size); see :func:`~thermo_callbacks.functional.gradient_noise_scale`.

    .. math:: B_\mathrm{noise} = \frac{\sum_w B_w\,\mathrm{tr}\,\Sigma_w}{\sum_w |E g|^2_w}

    with sums over windows w, and over layers for the global value. Unit: samples. NaN where the signal does not stand
    out of the noise.

    As input to ``update``: ``gradients`` ``[W, n]`` or a list with one for each layer, and the ``batch_size`` behind
    each gradient. As output of ``compute``: the global noise scale, a scalar.

    Args:
        sizes: All coordinates of each layer; None for one layer that is shown whole.
        **kwargs: Passed to :class:`torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = GradientNoiseScale()
        >>> metric.update(torch.tensor([[1.0], [3.0]]), batch_size=3)  # 3 * 2 / (4 - 2 / 2)
        >>> round(metric.compute().item(), 6)
        2.0
    """

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
        return ratio_of_sums(self.noise_sum.sum(), self.signal_sum.sum())

    def _layer_values(self) -> Tensor:
        return ratio_of_sums(self.noise_sum, self.signal_sum)

    def _accept(self, window: WindowStatistics) -> None:
        self._add_window(window, window.batch_size)


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
        self._add_gradients(gradients, 1.0)

    def compute(self) -> Tensor:
        """Global share, a scalar."""
        return ratio_of_sums(self.signal_sum.sum(), (self.signal_sum + self.noise_sum).sum())

    def _layer_values(self) -> Tensor:
        return ratio_of_sums(self.signal_sum, self.signal_sum + self.noise_sum)

    def _accept(self, window: WindowStatistics) -> None:
        self._add_window(window, 1.0)
