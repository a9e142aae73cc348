"""Signal and noise of gradients, as metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from thermo_callbacks.functional.window.estimates import LayerEstimates
from thermo_callbacks.functional.window.noise import (
    GradientPowerSums,
    NoiseScaleSums,
    gradient_power_sums,
    noise_scale_sums,
)
from thermo_callbacks.metrics.base import WindowMetric, Windows


class GradientNoiseScale(WindowMetric):
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

    _sums = NoiseScaleSums

    def __init__(self, sizes: Sequence[int] | None = None, *, minimum_share: float = 0.0, **kwargs: Any) -> None:
        super().__init__(sizes, **kwargs)
        if isinstance(minimum_share, bool) or not isinstance(minimum_share, int | float) or not minimum_share < 1.0:
            raise ValueError(f"minimum_share must be a share below 1 such as 0.05, got {minimum_share!r}")
        self.minimum_share = minimum_share

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
        self._add(noise_scale_sums(self._window(2, gradients=gradients, batch_size=float(batch_size))))

    def _estimates(self) -> LayerEstimates:
        return NoiseScaleSums.resolved(self._total(), self.minimum_share).estimate()


class SignalShare(WindowMetric):
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

    _sums = GradientPowerSums

    def update(self, gradients: Windows) -> None:
        """Add a window of steps.

        Args:
            gradients: Gradients, ``[W, n]`` or one for each layer.
        """
        self._add(gradient_power_sums(self._window(2, gradients=gradients)))
