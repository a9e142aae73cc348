"""Drift of the parameters' size, as a metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from thermo_callbacks.functional.momentum import momentum_response
from thermo_callbacks.functional.window.drift import DriftSums, drift_sums, fewest_drift_steps
from thermo_callbacks.functional.window.estimates import LayerEstimates
from thermo_callbacks.metrics.base import WindowMetric, Windows


class DriftShare(WindowMetric):
    r"""Drift share of layers and model; see :func:`~thermo_callbacks.functional.drift_share`.

    .. math:: \rho^2 = \frac{t^2}{t^2 + K - 1}

    with Student's t of the mean change of :math:`|q|^2` and K means of consecutive steps, of all windows together;
    changes of the whole model are sums over the layers, each scaled from its watched coordinates to all. 0 to 1,
    dimensionless; about 1/K in equilibrium. Over more windows K grows, so that a slower drift shows: read it with
    ``p_value()``.

    As input to ``update``: ``parameters`` and ``displacements``, each one window ``[W, n]`` of consecutive steps or a
    list with one for each layer. As output of ``compute``: the global share, a scalar; NaN when nothing moved.

    Args:
        sizes: All coordinates of each layer; None for one layer that is shown whole.
        momentum: Decay of the optimizer's momentum buffer (SGD ``momentum``, Adam ``betas[0]``).
        **kwargs: Passed to :class:`torchmetrics.Metric`.

    Raises:
        ValueError: If ``momentum`` is outside [0, 1), or ``sizes`` is empty or holds a number below 1.

    Example:
        >>> import torch
        >>> metric = DriftShare()
        >>> q = torch.tensor([[0.0], [1.0], [2.0], [5.0]]).sqrt()  # |q|^2 grows by 1, 1, 3, 3
        >>> metric.update(q, torch.tensor([[1.0], [2.0], [5.0], [8.0]]).sqrt() - q)
        >>> round(metric.compute().item(), 5), round(metric.p_value().item(), 4)
        (0.8, 0.0405)
    """

    _sums = DriftSums

    def __init__(self, sizes: Sequence[int] | None = None, *, momentum: float = 0.0, **kwargs: Any) -> None:
        super().__init__(sizes, **kwargs)
        self.response = momentum_response(momentum)
        self.momentum = momentum

    def update(self, parameters: Windows, displacements: Windows) -> None:
        """Add a window of consecutive steps.

        Args:
            parameters: Parameters before each step, ``[W, n]`` or one for each layer.
            displacements: What the optimizer moved, likewise.
        """
        fewest = fewest_drift_steps(self.response)
        self._add(drift_sums(self._window(fewest, parameters=parameters, displacements=displacements)))

    def p_value(self) -> Tensor:
        """p-value of the global share, a scalar."""
        return self._over_ranks(lambda: self._p_values().whole.value)

    def p_value_layers(self) -> Tensor:
        """p-value of each layer's share, ``[L]``."""
        return self._over_ranks(lambda: self._p_values().layers.value)

    def _p_values(self) -> LayerEstimates:
        return DriftSums.p_values(self._total())
