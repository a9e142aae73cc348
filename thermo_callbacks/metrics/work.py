"""Efficiencies of activations as heat engines, as metrics: of each module, each type, and the whole network."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from thermo_callbacks.metrics.efficiency_base import EfficiencyMetric, Tensors


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
        self._add_tensors(output, input, ("output", "input"))

    def update_sums(self, input: Sequence[Tensor | None], output: Sequence[Tensor | None]) -> None:
        """Add a batch of which only sums are known.

        Args:
            input: Sums of squares of z by replicate ``[K]`` of each module; None for one that was not called.
            output: Sums of squares of a, likewise.
        """
        self._add_sums(output=output, input=input)


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
        self._add_tensors(grad_input, grad_output, ("grad_input", "grad_output"))

    def update_sums(self, grad_input: Sequence[Tensor | None], grad_output: Sequence[Tensor | None]) -> None:
        """Add a batch of which only sums are known.

        Args:
            grad_input: Sums of squares by replicate ``[K]`` of each module; None for one without.
            grad_output: Likewise at the outputs.
        """
        self._add_sums(grad_input=grad_input, grad_output=grad_output)
