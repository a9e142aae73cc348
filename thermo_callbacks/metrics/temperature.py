"""Temperatures and the equilibrium ratio of training, as metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from thermo_callbacks.functional import (
    Estimate,
    einstein_temperature_contributions,
    kinetic_sampling_variance,
    kinetic_temperature_contributions,
    momentum_response,
    virial_temperature_contributions,
)
from thermo_callbacks.functional.momentum import pair_scale
from thermo_callbacks.functional.statistics import RatioSums, batch_sums, check_window, ratio_of_sums, ratio_stderr
from thermo_callbacks.functional.window.statistics import WindowStatistics
from thermo_callbacks.metrics.base import EstimatedMetric, MeanMetric, Windows


class KineticTemperature(MeanMetric):
    r"""Kinetic temperature of layers and model; see :func:`~thermo_callbacks.functional.kinetic_temperature`.

    .. math:: T_l = -\frac{\phi}{2 n_l} \sum_i \mathrm{Cov}_W(D_{t,i} - \mu D_{t-1,i}, g_{t,i} - \mu g_{t+1,i}), \qquad
              T = \sum_l N_l T_l \Big/ \sum_l N_l

    Unit: that of the loss. The standard error takes the steps as replicates and adds the variance of watching
    :math:`n_l` of :math:`N_l` coordinates.

    As input to ``update``: ``displacements`` and ``gradients``, each one window ``[W, n]`` of consecutive steps or a
    list with one for each layer. As output of ``compute``: the global temperature, a scalar; ``estimate()``,
    ``compute_layers()`` and ``estimate_layers()`` give the rest.

    Args:
        sizes: All coordinates of each layer; None for one layer that is shown whole.
        momentum: Decay of the optimizer's momentum buffer (SGD ``momentum``, Adam ``betas[0]``).
        nesterov: Whether the optimizer looks ahead.
        **kwargs: Passed to :class:`torchmetrics.Metric`.

    Raises:
        ValueError: If ``momentum`` is outside [0, 1), or ``sizes`` is empty or holds a number below 1.

    Example:
        >>> import torch
        >>> metric = KineticTemperature()
        >>> generator = torch.Generator().manual_seed(0)
        >>> for _ in range(20):  # windows add up
        ...     noise = torch.randn(50, 40, generator=generator)
        ...     metric.update(-0.01 * noise, noise)
        >>> print(f"{metric.compute():.4f}")  # exact: 0.01 * 1 / 2
        0.0050
    """

    def __init__(
        self, sizes: Sequence[int] | None = None, *, momentum: float = 0.0, nesterov: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(sizes, **kwargs)
        self.momentum = momentum_response(momentum).momentum
        self.nesterov = nesterov

    def update(self, displacements: Windows, gradients: Windows) -> None:
        """Add a window of consecutive steps.

        Args:
            displacements: What the optimizer moved, ``[W, n]`` or one for each layer.
            gradients: Gradients of the same steps, likewise.
        """
        layers = self._layer_windows(displacements=displacements, gradients=gradients)
        totals = self._totals(layers)
        options: dict[str, Any] = {"momentum": self.momentum, "nesterov": self.nesterov}
        self._add(
            torch.stack([kinetic_temperature_contributions(d, g, **options) for d, g in layers], 1),
            torch.stack(
                [kinetic_sampling_variance(d, g, n, **options) for (d, g), n in zip(layers, totals, strict=True)]
            ),
            self._weights(layers),
        )

    def _accept(self, window: WindowStatistics) -> None:
        scale = pair_scale(window.watched, window.pairs, window.momentum)
        self._add(window.innovation_gradient * scale, window.temperature_sampling_variance, window.sizes)


class VirialTemperature(MeanMetric):
    r"""Virial temperature; see :func:`~thermo_callbacks.functional.virial_temperature`.

    .. math:: T_{v,l} = \frac{1}{n_l} \sum_i \mathrm{Cov}_W(q_i, g_i)

    and the mean over layers weighted by their coordinates. Equals the kinetic temperature in thermal equilibrium, in
    windows longer than the relaxation time. Unit: that of the loss. Parameters move slowly, so that steps are
    correlated: the standard error takes batches of :math:`\sqrt W` steps as replicates, and is too small in windows
    shorter than the relaxation time.

    As input to ``update``: ``parameters`` and ``gradients``, each ``[W, n]`` or a list with one for each layer. As
    output of ``compute``: the global value, a scalar.

    Args:
        sizes: All coordinates of each layer; None for one layer that is shown whole.
        **kwargs: Passed to :class:`torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = VirialTemperature()
        >>> q = torch.tensor([[-1.0], [1.0]])
        >>> metric.update(q, 3 * q)  # curvature 3, sample variance 2
        >>> round(metric.compute().item(), 6)
        6.0
    """

    def update(self, parameters: Windows, gradients: Windows) -> None:
        """Add a window of steps.

        Args:
            parameters: Parameters before each step, ``[W, n]`` or one for each layer.
            gradients: Gradients of the same steps, likewise.
        """
        layers = self._layer_windows(parameters=parameters, gradients=gradients)
        contributions = torch.stack([virial_temperature_contributions(*layer) for layer in layers], 1)
        self._add_batches(contributions, self._weights(layers))

    def _accept(self, window: WindowStatistics) -> None:
        if window.steps > 1:  # else so many steps were left out that nothing fluctuates
            self._add_batches(window.position_gradient / window.watched, window.sizes)

    def _add_batches(self, contributions: Tensor, weights: Tensor) -> None:
        # a sum times K / m is a mean that counts by its length: batches differ by up to one step
        sums = batch_sums(contributions)
        self._add(sums * (len(sums) / max(1, len(contributions))), torch.zeros_like(sums[0]), weights)


class EinsteinTemperature(MeanMetric):
    r"""Einstein temperature; see :func:`~thermo_callbacks.functional.einstein_temperature`.

    .. math:: T_{E,l} = \frac{\phi^2}{2 n_l} \sum_i \frac{\mathrm{Var}_W(D_{t,i} - \mu D_{t-1,i})}{m_i}

    and the mean over layers weighted by their coordinates. Equals the kinetic temperature for SGD and Adam; where it is
    higher, the optimizer injects noise of its own. Unit: that of the loss.

    As input to ``update``: ``displacements`` ``[W, n]`` of consecutive steps and ``mobility`` ``[n]`` or a scalar, or
    lists with one for each layer. As output of ``compute``: the global value, a scalar.

    Args:
        sizes: All coordinates of each layer; None for one layer that is shown whole.
        momentum: Decay of a heavy-ball momentum buffer.
        **kwargs: Passed to :class:`torchmetrics.Metric`.

    Raises:
        ValueError: If ``momentum`` is outside [0, 1), or ``sizes`` is empty or holds a number below 1.

    Example:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> metric = EinsteinTemperature()
        >>> kicks = torch.randn(4000, 20, generator=generator)
        >>> metric.update((2 * 0.01 * 0.5) ** 0.5 * kicks, torch.tensor(0.01))  # Langevin noise at temperature 0.5
        >>> print(f"{metric.compute():.2f}")
        0.50
    """

    def __init__(self, sizes: Sequence[int] | None = None, *, momentum: float = 0.0, **kwargs: Any) -> None:
        super().__init__(sizes, **kwargs)
        self.momentum = momentum_response(momentum).momentum

    def update(self, displacements: Windows, mobility: Tensor | Sequence[Tensor]) -> None:
        """Add a window of consecutive steps.

        Args:
            displacements: What the optimizer moved, ``[W, n]`` or one for each layer.
            mobility: Displacement per unit of gradient, scalar or ``[n]``, or one for each layer.
        """
        layers = self._layer_windows(displacements=displacements, mobility=mobility)
        contributions = torch.stack([einstein_temperature_contributions(d, m, self.momentum) for d, m in layers], 1)
        weights = self._weights(layers)
        self._add(contributions, torch.zeros_like(weights), weights)

    def _accept(self, window: WindowStatistics) -> None:
        contributions = window.innovation_square / (2.0 * window.watched)
        self._add(contributions, torch.zeros_like(window.watched), window.sizes)


class EquilibriumRatio(EstimatedMetric):
    r"""Equilibrium ratio; see :func:`~thermo_callbacks.functional.equilibrium_ratio`.

    .. math:: R_l = \frac{-2 \sum_t q\cdot D}{\sum_t |D|^2}

    and the ratio of the sums over all layers, each scaled from its watched coordinates to all. 1 when the size of the
    parameters is stationary; dimensionless. Where the parameters are large beside their fluctuation, short windows
    scatter widely about it: read R with its standard error (``estimate()``), for which batches of :math:`\sqrt W`
    steps are the replicates. The error of watching a sample is not in it.

    As input to ``update``: ``parameters`` and ``displacements``, each ``[W, n]`` or a list with one for each layer. As
    output of ``compute``: the global ratio, a scalar; NaN when nothing moved.

    Args:
        sizes: All coordinates of each layer; None for one layer that is shown whole.
        **kwargs: Passed to :class:`torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = EquilibriumRatio()
        >>> metric.update(torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 1.0]]))  # a turn keeps the length
        >>> metric.compute().item()
        1.0
    """

    sums: Tensor

    def __init__(self, sizes: Sequence[int] | None = None, **kwargs: Any) -> None:
        super().__init__(sizes, **kwargs)
        # one row a field of RatioSums; the last column is the whole model
        states = torch.zeros(len(RatioSums._fields), self.num_layers + 1, dtype=torch.float64)
        self.add_state("sums", states, dist_reduce_fx="sum")

    def update(self, parameters: Windows, displacements: Windows) -> None:
        """Add a window of steps.

        Args:
            parameters: Parameters before each step, ``[W, n]`` or one for each layer.
            displacements: What the optimizer moved, likewise.
        """
        layers = self._layer_windows(parameters=parameters, displacements=displacements)
        for position, displacement in layers:
            check_window(1, parameters=position, displacements=displacement)
        scale = self._sample_scale(layers)
        self._add(
            torch.stack([(position * displacement).sum(1) for position, displacement in layers], 1) * scale,
            torch.stack([displacement.square().sum(1) for _, displacement in layers], 1) * scale,
        )

    def _estimates(self) -> Estimate:
        sums = RatioSums(*self.sums)
        value = ratio_of_sums(sums.numerator, sums.denominator)
        return Estimate(value, ratio_stderr(sums), (sums.batches - 1.0).clamp(min=0.0))

    def _accept(self, window: WindowStatistics) -> None:
        scale = window.sample_scale
        self._add(window.position_displacement * scale, window.displacement_square * scale)

    def _add(self, projection: Tensor, displacement_square: Tensor) -> None:
        """Add per-step sums ``[W, L]`` over all coordinates of each layer."""
        pair = torch.stack((-2.0 * projection, displacement_square)).to(self.sums)
        pair = torch.cat([pair, pair.sum(-1, keepdim=True)], -1)
        numerator, denominator = batch_sums(pair.transpose(0, 1)).unbind(1)
        count = (denominator > 0.0).to(denominator)  # where nothing moved there is no replicate
        products = (numerator.square(), denominator.square(), numerator * denominator, count)
        self.sums = self.sums + torch.stack((numerator, denominator, *products)).sum(1)
