"""Curvature of the loss over training: traces of Hessians, averaged so that the past is forgotten."""

from __future__ import annotations

from torch import Tensor

from thermo_callbacks.functional.curvature.averages import TraceSums, trace_sums
from thermo_callbacks.metrics.base import EstimatedMetric


class TraceMetric(EstimatedMetric):
    r"""Base of metrics that average layers' traces over updates, with weights and a standard error.

    The mean, its error and its degrees of freedom are those of
    :meth:`~thermo_callbacks.functional.curvature.averages.TraceSums.estimate`: the larger of the scatter between
    updates, which holds probes, batches and drift alike, and of what the probes' own variances imply: all there is
    after one update, and conservative for single-probe bounds. Updates count as independent. The larger of two
    estimates errs on the safe side, by a tenth of the error where both are equal, and so do weights that grow fast at
    few updates.

    The global value of an update is the sum of its layers, and its variance the sum of theirs: right for probes
    restricted to a layer, whose traces are independent, and for single-probe bounds, of which each is twice the squared
    norm :math:`|(A v)_l|^2` of the layer's part of the product. Parts of one vector add up to
    :math:`2 |A v|^2`, which is the bound for the whole (:func:`~thermo_callbacks.functional.curvature.single_probe`).
    From the scatter of common probes through all layers variances do not add up so.

    A layer whose trace or variance is not finite is left out of that update, and so is the global value then: a sum
    without it would be another quantity.

    Weights. Equal ones (1) suit a trace that does not change. For one that does, give the k-th update the weight
    :math:`k^p`: the average forgets the past, the last tenth of the updates holding :math:`1 - 0.9^{p+1}` of the weight
    (34 % for p = 3), and yet converges where the trace is stationary, with an error of
    :math:`\sigma (p+1) / \sqrt{(2p+1)\,k}`, for p = 3 1.5 times that of equal weights. An exponential average stops
    converging at a fixed error. Source: Shamir & Zhang 2013, "Stochastic gradient descent for non-smooth optimization:
    convergence results and optimal averaging schemes" (polynomial-decay averaging).

    Args:
        sizes: One entry for each layer, its number of coordinates; None: a single layer.
        **kwargs: Passed to :class:`torchmetrics.Metric`.

    Raises:
        ValueError: If ``sizes`` is empty or holds a number below 1.
    """

    _sums = TraceSums

    def update(self, traces: Tensor, variances: Tensor, weight: float = 1.0) -> None:
        """Add the traces of one moment.

        Args:
            traces: Trace of each layer's block, ``[L]``; NaN for a layer without one.
            variances: Squared standard error of each, same shape.
            weight: Weight of this update against the others, see :class:`TraceMetric`.

        Raises:
            ValueError: If shapes don't fit the number of layers, or ``weight`` isn't positive and finite.
        """
        for name, given in (("traces", traces), ("variances", variances)):
            if given.numel() != self.num_layers:
                raise ValueError(
                    f"{name} must hold one value for each layer ({self.num_layers}), got shape {tuple(given.shape)}: "
                    "say sizes=[...] with the number of coordinates of each layer"
                )
        self._add(trace_sums(traces, variances, weight))


class FreeEnergyLaplacian(TraceMetric):
    r"""Laplacian of the free energy over training; see :func:`~thermo_callbacks.functional.curvature.hessian_trace`.

    .. math:: \nabla^2 F = \mathrm{tr}\,\nabla\nabla U

    at the parameters' mean, global and of each layer's diagonal block: Vanchurin's efficiency of learning, the rate at
    which a unit of mobility destroys the parameters' entropy. Unit: loss per unit of parameter squared.

    As input to ``update``: ``traces`` ``[L]``, their ``variances`` ``[L]`` and the update's ``weight``. As output of
    ``compute``: the weighted mean of the global trace, a scalar; its error, and that of the layers, from ``estimate``
    and ``estimate_layers``. Formulas, weights and what is left out: :class:`TraceMetric`.

    Source: Vanchurin 2020, "Towards a theory of machine learning", for the quantity. The definition is this project's
    own reading.

    Args:
        sizes: One entry for each layer, its number of coordinates; None: a single layer.
        **kwargs: Passed to :class:`torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = FreeEnergyLaplacian(sizes=[10, 20])
        >>> metric.update(torch.tensor([1.0, 2.0]), torch.tensor([0.01, 0.03]), weight=1)
        >>> metric.update(torch.tensor([2.0, 4.0]), torch.tensor([0.01, 0.03]), weight=8)
        >>> round(metric.compute().item(), 6)  # (3 + 8 * 6) / 9
        5.666667
    """
