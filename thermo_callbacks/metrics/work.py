"""Efficiencies of activations as heat engines, as metrics: of each module, each type, and the whole network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from thermo_callbacks.functional.activations.pairs import paired
from thermo_callbacks.functional.activations.powers import PowerSums, power_sums, sample_powers
from thermo_callbacks.functional.statistics import Estimate
from thermo_callbacks.metrics.base import SummedMetric

Tensors = Tensor | Sequence[Tensor]
"""A tensor ``[B, ...]`` of B samples, or one for each module."""


class EfficiencyMetric(SummedMetric):
    """Base of the ratios of powers of several modules, in sums that add up."""

    _sums = PowerSums

    def __init__(self, num_modules: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(num_modules, bool) or not isinstance(num_modules, int) or not 1 <= num_modules < 2**31:
            raise ValueError(f"num_modules must be at least 1 and a whole number below 2**31, got {num_modules!r}")
        self.num_modules = num_modules
        self._add_states(power_sums([None] * num_modules, [None] * num_modules))

    def compute(self) -> Tensor:
        """Product over the modules that have a value, a scalar; NaN where none has."""
        return PowerSums.network(self._total()).value

    def compute_layers(self) -> Tensor:
        """Efficiency of each module, ``[M]``; NaN where it has none."""
        return self.estimate_layers().value

    def estimate(self) -> Estimate:
        """Product over the modules that have a value, with its standard error; scalars."""
        return self._over_ranks(lambda: PowerSums.network(self._total()))

    def estimate_layers(self) -> Estimate:
        """Efficiency of each module with its standard error, each ``[M]``."""
        return self._over_ranks(lambda: PowerSums.modules(self._total()))

    def estimate_pooled(self) -> Estimate:
        """Sum of all modules' numerators over that of their denominators; scalars.

        The mean efficiency, weighted by what each module takes in: a value for the whole of a network whose modules
        don't follow one another.

        Returns:
            The mean with its standard error.
        """
        return self._over_ranks(lambda: PowerSums.pooled(self._total()))

    def estimate_types(self, types: Sequence[str]) -> dict[str, Estimate]:
        """Sum of numerators over sum of denominators of the modules of each type.

        Args:
            types: Type of each module.

        Returns:
            Type to its efficiency, weighted by what each module takes in, with its standard error; scalars.

        Raises:
            ValueError: If there isn't one type for each module.
        """
        if len(types) != self.num_modules:
            raise ValueError(f"types must hold one name for each of the {self.num_modules} modules, got {len(types)}")
        return self._over_ranks(lambda: PowerSums.by_type(self._total(), types))

    def _add_pairs(self, numerators: Tensors, denominators: Tensors, names: tuple[str, str]) -> None:
        """Add tensors of each module; the names are those of the arguments, for errors."""
        sides = [[side] if isinstance(side, Tensor) else list(side) for side in (numerators, denominators)]
        for name, side in zip(names, sides, strict=True):
            if len(side) != self.num_modules:
                raise ValueError(
                    f"{name} must hold one tensor for each module ({self.num_modules}), got {len(side)}: say "
                    "num_modules=..."
                )
        pairs = [paired(**dict(zip(names, pair, strict=True))) for pair in zip(*sides, strict=True)]
        self._add(power_sums(*([sample_powers(tensor) for tensor in side] for side in zip(*pairs, strict=True))))


class WorkEfficiency(EfficiencyMetric):
    r"""Work efficiency of activations; see :func:`~thermo_callbacks.functional.work_efficiency`.

    .. math:: \eta_m = \frac{\sum W_m}{\sum Q_m}, \qquad \eta = \prod_m \eta_m

    with sums of :math:`W = a^2/2` and :math:`Q = z^2/2` over the elements of all batches, for each of M modules m. The
    product is the efficiency of a sequential network as a chain of engines: the share of the power that all activations
    together would leave if the layers between them kept it. In a network with branches or residual connections it has
    no such meaning: there :meth:`estimate_pooled` gives the mean weighted by heat, :math:`\sum_m W_m / \sum_m Q_m`.

    Dimensionless. Standard errors by the delta method, samples being the replicates; they assume that samples are
    independent. Their relative bias is of order 1/K for K samples, as is that of the values. The errors of aggregates
    take into account that modules see the same samples, and are NaN where the modules have different numbers of them.
    Sums that aren't finite don't count.

    As input to ``update``: ``input`` z and ``output`` a ``[B, ...]`` of B samples, or lists with one of each module. As
    output of ``compute``: the product over the modules that have a value, a scalar; NaN where none has.

    Args:
        num_modules: Number of modules M.
        **kwargs: Passed to :class:`torchmetrics.Metric`.

    Raises:
        ValueError: If ``num_modules`` is below 1.

    Example:
        >>> import torch
        >>> z = torch.tensor([[-1.0], [1.0]])
        >>> metric = WorkEfficiency(2)
        >>> metric.update([z, z], [z.relu(), z / 2])
        >>> metric.compute_layers().tolist(), metric.compute().item()
        ([0.5, 0.25], 0.125)
        >>> metric.estimate_pooled().value.item()
        0.375
    """

    def update(self, input: Tensors, output: Tensors) -> None:
        """Add a batch.

        Args:
            input: Pre-activations z ``[B, ...]``, or those of each module.
            output: Activations a, of the same shapes.
        """
        self._add_pairs(output, input, ("output", "input"))


class LearningEfficiency(EfficiencyMetric):
    r"""Learning efficiency of activations; see :func:`~thermo_callbacks.functional.learning_efficiency`.

    .. math:: \eta_m = \frac{\sum (\partial L/\partial z_m)^2}{\sum (\partial L/\partial a_m)^2}, \qquad
              \eta = \prod_m \eta_m

    with sums over the elements of all batches, for each of M modules m. Aggregates and errors are those of
    :class:`WorkEfficiency`, with the power of the learning signal in place of heat and work.

    As input to ``update``: ``grad_input`` and ``grad_output`` ``[B, ...]`` of B samples, or lists with one of each
    module. As output of ``compute``: the product over the modules that have a value, a scalar; NaN where none has.

    Args:
        num_modules: Number of modules M.
        **kwargs: Passed to :class:`torchmetrics.Metric`.

    Raises:
        ValueError: If ``num_modules`` is below 1.

    Example:
        >>> import torch
        >>> metric = LearningEfficiency()
        >>> metric.update(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 1.0]))
        >>> metric.compute().item()
        0.5
    """

    def update(self, grad_input: Tensors, grad_output: Tensors) -> None:
        """Add a batch.

        Args:
            grad_input: Gradients at the activations' inputs ``[B, ...]``, or those of each module.
            grad_output: Gradients at their outputs, of the same shapes.
        """
        self._add_pairs(grad_input, grad_output, ("grad_input", "grad_output"))
