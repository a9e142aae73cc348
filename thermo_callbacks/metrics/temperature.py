"""Temperatures and the equilibrium ratio of training, as metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from thermo_callbacks.functional.momentum import fewest_steps
from thermo_callbacks.functional.window.einstein import einstein_temperature_sums
from thermo_callbacks.functional.window.estimates import MeanSums, RatioSums
from thermo_callbacks.functional.window.temperature import (
    equilibrium_ratio_sums,
    kinetic_temperature_sums,
    virial_temperature_sums,
)
from thermo_callbacks.metrics.base import EstimatedMetric, MomentumMetric, WindowMetric, Windows


class KineticTemperature(MomentumMetric):
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

    _sums = MeanSums

    def update(self, displacements: Windows, gradients: Windows) -> None:
        """Add a window of consecutive steps.

        Args:
            displacements: What the optimizer moved, ``[W, n]`` or one for each layer.
            gradients: Gradients of the same steps, likewise.
        """
        window = self._window(fewest_steps(self.response), displacements=displacements, gradients=gradients)
        self._add(kinetic_temperature_sums(window))


class VirialTemperature(WindowMetric, EstimatedMetric):
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

    _sums = MeanSums

    def update(self, parameters: Windows, gradients: Windows) -> None:
        """Add a window of steps.

        Args:
            parameters: Parameters before each step, ``[W, n]`` or one for each layer.
            gradients: Gradients of the same steps, likewise.
        """
        self._add(virial_temperature_sums(self._window(2, parameters=parameters, gradients=gradients)))


class EinsteinTemperature(MomentumMetric):
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

    _sums = MeanSums

    def __init__(self, sizes: Sequence[int] | None = None, *, momentum: float = 0.0, **kwargs: Any) -> None:
        # said, so that it can't come with the others: the formula knows heavy-ball momentum alone
        super().__init__(sizes, momentum=momentum, nesterov=False, **kwargs)

    def update(self, displacements: Windows, mobility: Tensor | Sequence[Tensor]) -> None:
        """Add a window of consecutive steps.

        Args:
            displacements: What the optimizer moved, ``[W, n]`` or one for each layer.
            mobility: Displacement per unit of gradient, scalar or ``[n]``, or one for each layer.
        """
        window = self._window(fewest_steps(self.response), displacements=displacements, mobility=mobility)
        self._add(einstein_temperature_sums(window))


class EquilibriumRatio(WindowMetric, EstimatedMetric):
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

    _sums = RatioSums

    def update(self, parameters: Windows, displacements: Windows) -> None:
        """Add a window of steps.

        Args:
            parameters: Parameters before each step, ``[W, n]`` or one for each layer.
            displacements: What the optimizer moved, likewise.
        """
        self._add(equilibrium_ratio_sums(self._window(1, parameters=parameters, displacements=displacements)))
