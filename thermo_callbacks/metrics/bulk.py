"""Complexity of the bulk over samples, as a metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from thermo_callbacks.functional.bulk.chain import check_regulator
from thermo_callbacks.functional.bulk.complexity import ComplexitySums, bulk_complexity, complexity_sums
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

    _sums = ComplexitySums

    def __init__(self, regulator: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_regulator(regulator)
        self.regulator = regulator
        self._add_states(complexity_sums(torch.zeros(0)))

    def update(
        self, weights: Sequence[Tensor] = (), slopes: Sequence[Tensor] = (), *, complexity: Tensor | None = None
    ) -> None:
        """Add the samples of a batch.

        Args:
            weights: Weight matrices from the input on, the l-th ``[n_l, n_(l-1)]``.
            slopes: Slopes of each layer's activation at the states, the l-th ``[S, n_l]``, or ``[n_l]`` for one sample.
            complexity: Complexity of each sample in nats, ``[S]`` or a scalar, in place of both where it is known.

        Raises:
            ValueError: If ``weights`` is a tensor, or the shapes don't make a chain.
        """
        if isinstance(weights, Tensor):
            raise ValueError(
                f"weights must be a sequence of matrices, got a tensor of shape {tuple(weights.shape)}: give the "
                "complexities of samples as update(complexity=...)"
            )
        if complexity is None:
            complexity = bulk_complexity(weights, slopes, self.regulator)
        self._add(complexity_sums(complexity))

    def update_complexity(self, complexity: Tensor) -> None:
        """Add samples whose complexity is known.

        Args:
            complexity: Complexity of each sample in nats, ``[S]`` or a scalar.
        """
        self.update(complexity=complexity)

    def compute(self) -> Tensor:
        """Mean complexity, a scalar; NaN without samples."""
        return ComplexitySums.estimate(self._total()).value

    def estimate(self) -> Estimate:
        """Mean complexity with its standard error, scalars; the error is NaN with fewer than two samples."""
        return self._over_ranks(lambda: ComplexitySums.estimate(self._total()))
