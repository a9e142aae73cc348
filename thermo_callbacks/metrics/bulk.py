"""Complexity of the bulk over samples, as a metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from thermo_callbacks.functional.bulk.complexity import bulk_complexity
from thermo_callbacks.functional.statistics import Estimate
from thermo_callbacks.metrics.base import SummedMetric


class BulkComplexity(SummedMetric):
    r"""Complexity of a network's bulk; see :func:`~thermo_callbacks.functional.bulk.complexity.bulk_complexity`.

    .. math:: C = \Big\langle \tfrac12 \ln\det\big[(1 - f'w)^T (1 - f'w) + m^2\big] \Big\rangle

    the mean over samples, in nats. The estimate is unbiased; its standard error is that of a mean of independent
    samples, :math:`s/\sqrt S`, and holds the noise of random vectors as well, where the complexities were found with
    such of their own for each sample. Samples whose complexity isn't finite are left out.

    As input to ``update``: ``weights`` of a chain of layers and ``slopes`` at a batch of states; or to
    :meth:`update_complexity`: the complexity of each sample. As output of ``compute``: the mean, a scalar; with its
    error from :meth:`estimate`. Samples add up over updates and ranks.

    Source: Vanchurin 2020, "Towards a theory of machine learning". The definition is this project's own reading.

    Args:
        regulator: The regulator m^2 for ``update``, at least 0.
        **kwargs: Passed to :class:`torchmetrics.Metric`.

    Raises:
        ValueError: If the regulator is negative or not finite.

    Example:
        >>> import torch
        >>> metric = BulkComplexity(regulator=0.5)
        >>> metric.update([torch.tensor([[2.0]])], [torch.tensor([[1.0], [1.0]])])  # det G = 4.25 at both samples
        >>> print(f"{metric.compute().mul(2).exp():.4f}")
        4.2500
    """

    complexity_sum: Tensor
    complexity_square: Tensor
    count: Tensor

    def __init__(self, regulator: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0.0 <= regulator < float("inf"):
            raise ValueError(f"regulator must be finite and not negative (m^2, for example 0.1), got {regulator}")
        self.regulator = regulator
        for name in ("complexity_sum", "complexity_square"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, weights: Sequence[Tensor], slopes: Sequence[Tensor]) -> None:
        """Add the samples of a batch.

        Args:
            weights: Weight matrices from the input on, the l-th ``[n_l, n_(l-1)]``.
            slopes: Slopes of each layer's activation at the states, the l-th ``[S, n_l]``, or ``[n_l]`` for one sample.
        """
        self._add(bulk_complexity(weights, slopes, self.regulator))

    def update_complexity(self, complexity: Tensor) -> None:
        """Add samples whose complexity is known.

        Args:
            complexity: Complexity of each sample in nats, ``[S]`` or a scalar.
        """
        # the bookkeeping that Metric wraps around update(): the cached value is stale, there is something to compute
        self._computed = None
        self._update_count += 1
        self._add(complexity)

    def compute(self) -> Tensor:
        """Mean complexity, a scalar; NaN without samples."""
        return self._estimate().value

    def estimate(self) -> Estimate:
        """Mean complexity with its standard error, scalars; the error is NaN with fewer than two samples."""
        return self._over_ranks(self._estimate)

    def _add(self, complexity: Tensor) -> None:
        values = complexity.detach().flatten().to(self.complexity_sum)
        values = values[values.isfinite()]
        self.complexity_sum = self.complexity_sum + values.sum()
        self.complexity_square = self.complexity_square + values.square().sum()
        self.count = self.count + values.numel()

    def _estimate(self) -> Estimate:
        count = self.count.to(self.complexity_sum)
        value = self.complexity_sum / count
        scatter = (self.complexity_square - count * value.square()).clamp(min=0.0)
        # beyond the digits of the sums there is no scatter to be seen
        scatter = torch.where(scatter <= 1e-14 * self.complexity_square, 0.0, scatter)
        stderr = torch.where(count > 1, (scatter / (count - 1) / count).sqrt(), torch.nan)
        return Estimate(value, stderr, (count - 1).clamp(min=0.0))
