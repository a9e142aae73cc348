"""What the layer-wise metrics share: layers given in one call, additive states, a global value beside the layers'."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.exceptions import TorchMetricsUserError

from thermo_callbacks.functional import Estimate
from thermo_callbacks.functional.window.statistics import WindowStatistics

R = TypeVar("R")
Windows = Tensor | Sequence[Tensor]
"""One window ``[W, n]``, or one for each layer, all of the same steps W."""


class SummedMetric(Metric):
    """Base of metrics with more results than compute(): all see the states of all ranks.

    Args:
        **kwargs: Passed to :class:`torchmetrics.Metric`.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    def __init__(self, **kwargs: Any) -> None:
        # a rank without a new update would answer from its cache, and leave the others waiting for its sums
        super().__init__(**{"compute_with_cache": False, **kwargs})
        self._adds_ranks = bool(kwargs.get("sync_on_compute", True))

    def _over_ranks(self, result: Callable[[], R]) -> R:
        """A result of the states of all ranks added up, as inside compute()."""
        with contextlib.ExitStack() as stack:
            if self._adds_ranks:
                # who has synchronised the states by hand also takes them apart again
                with contextlib.suppress(TorchMetricsUserError):
                    stack.enter_context(self.sync_context(dist_sync_fn=self.dist_sync_fn))
            return result()


class LayerMetric(SummedMetric):
    """Base of metrics that hold one value a layer and a global one, in states that add up.

    Windows of one step count, several windows, and ranks with different numbers of windows all add: no state depends on
    the order or on the number of updates.

    Args:
        sizes: All coordinates N_l of each layer, of which the windows may show a sample. None: a single layer, of which
            the windows show everything.
        **kwargs: Passed to :class:`torchmetrics.Metric`.

    Raises:
        ValueError: If ``sizes`` is empty or holds a number below 1.
    """

    def __init__(self, sizes: Sequence[int] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if sizes is not None and (not sizes or min(sizes) < 1):
            raise ValueError(
                f"sizes must hold the number of coordinates of each layer, all at least 1, got {list(sizes)}"
            )
        self.sizes = None if sizes is None else tuple(int(size) for size in sizes)
        self.num_layers = 1 if sizes is None else len(sizes)

    def update_window(self, window: WindowStatistics) -> None:
        """Take in the sums of a window that was watched step by step.

        Args:
            window: The window's statistics.

        Raises:
            ValueError: If the window has another number of layers than ``sizes``.
        """
        layers = window.watched.numel()
        if layers != self.num_layers:  # sums of one layer would broadcast to all, unnoticed
            raise ValueError(f"window must hold each of the {self.num_layers} layers in sizes, got {layers}")
        # the bookkeeping that Metric wraps around update(): the cached value is stale, there is something to compute
        self._computed = None
        self._update_count += 1
        self._accept(window)

    def compute_layers(self) -> Tensor:
        """Value of each layer, ``[L]``; NaN where the quantity has none."""
        return self._over_ranks(self._layer_values)

    def _accept(self, window: WindowStatistics) -> None:
        raise NotImplementedError

    def _layer_values(self) -> Tensor:
        raise NotImplementedError

    def _layer_windows(self, **windows: Windows) -> list[tuple[Tensor, ...]]:
        """The windows regrouped by layer, in double precision.

        Args:
            **windows: The arguments of update() by name.

        Returns:
            For each layer its windows, in the order of the arguments.

        Raises:
            ValueError: If an argument has another number of layers than ``sizes``, or shows more than a layer has.
        """
        columns = []
        for name, window in windows.items():
            layers = [window] if isinstance(window, Tensor) else list(window)
            if len(layers) != self.num_layers:
                raise ValueError(
                    f"{name} must hold one tensor for each layer ({self.num_layers}), got {len(layers)}: say "
                    "sizes=[...] with the number of coordinates of each layer"
                )
            columns.append([layer.double() for layer in layers])
        grouped = list(zip(*columns, strict=True))
        for size, layer in zip(self.sizes or (), grouped, strict=bool(self.sizes)):
            if layer[0].shape[-1] > size:
                raise ValueError(
                    f"sizes says that a layer has {size} coordinates, got a window that shows {layer[0].shape[-1]}"
                )
        return grouped

    def _totals(self, layers: Sequence[tuple[Tensor, ...]]) -> list[int]:
        """All coordinates of each layer."""
        return list(self.sizes) if self.sizes is not None else [layer[0].shape[-1] for layer in layers]

    def _sample_scale(self, layers: Sequence[tuple[Tensor, ...]]) -> Tensor:
        """Factor N_l / n_l from watched to all coordinates, ``[L]``."""
        weights = self._weights(layers)
        return weights / weights.new_tensor([layer[0].shape[-1] for layer in layers])

    def _weights(self, layers: Sequence[tuple[Tensor, ...]]) -> Tensor:
        """All coordinates of each layer in double precision, where the windows live, ``[L]``."""
        return torch.tensor(self._totals(layers), dtype=torch.float64, device=layers[0][0].device)

    def _add_sum_state(self, *names: str, length: int) -> None:
        """States in double precision: a sum of 1e8 float32 steps no longer moves."""
        for name in names:
            self.add_state(name, torch.zeros(length, dtype=torch.float64), dist_reduce_fx="sum")


class EstimatedMetric(LayerMetric):
    """Base of metrics whose values have standard errors, of each layer and of the whole model."""

    def compute(self) -> Tensor:
        """Global value, a scalar; NaN where the quantity has none."""
        return self._estimates().value[-1]

    def estimate(self) -> Estimate:
        """Global value with its standard error, scalars."""
        return self._over_ranks(lambda: Estimate(*(column[-1] for column in self._estimates())))

    def estimate_layers(self) -> Estimate:
        """Value of each layer with its standard error, each ``[L]``."""
        return self._over_ranks(lambda: Estimate(*(column[:-1] for column in self._estimates())))

    def _layer_values(self) -> Tensor:
        return self._estimates().value[:-1]

    def _estimates(self) -> Estimate:
        """Estimates of the layers, and in the last column that of the whole model."""
        raise NotImplementedError


class MeanMetric(EstimatedMetric):
    """Base of metrics that are a mean of per-step contributions, with a standard error.

    The last column of each state is the global quantity: its contributions are formed step by step, since layers share
    the noise of a step, and errors of layers must not be added as if they did not.
    """

    contribution_sum: Tensor
    contribution_square: Tensor
    sampling_sum: Tensor
    count: Tensor

    def __init__(self, sizes: Sequence[int] | None = None, **kwargs: Any) -> None:
        super().__init__(sizes, **kwargs)
        self._add_sum_state("contribution_sum", "contribution_square", "sampling_sum", length=self.num_layers + 1)
        self.add_state("count", torch.zeros(self.num_layers + 1, dtype=torch.int64), dist_reduce_fx="sum")

    def _add(self, contributions: Tensor, sampling_variance: Tensor, weights: Tensor) -> None:
        """Add per-step contributions ``[m, L]``, their layers' sampling variance and weights ``[L]``."""
        present = torch.isfinite(contributions).all(0)
        weights = torch.where(present, weights, 0.0)
        weights = weights / weights.sum()  # NaN when no layer has a value, and so is the global column then
        overall = (torch.where(present, contributions, 0.0) * weights).sum(1, keepdim=True)
        overall_variance = (weights.square() * torch.where(present, sampling_variance, 0.0)).sum()
        columns = torch.cat([contributions, overall], 1).to(self.contribution_sum)
        variance = torch.cat([sampling_variance, overall_variance.view(1)]).to(self.contribution_sum)
        counted = torch.isfinite(columns).all(0)
        columns, variance = torch.where(counted, columns, 0.0), torch.where(counted, variance, 0.0)
        self.contribution_sum = self.contribution_sum + columns.sum(0)
        self.contribution_square = self.contribution_square + columns.square().sum(0)
        self.sampling_sum = self.sampling_sum + variance * len(columns)
        self.count = self.count + counted * len(columns)

    def _estimates(self) -> Estimate:
        """Mean, standard error and degrees of freedom of all columns."""
        count = self.count.to(self.contribution_sum)
        value = self.contribution_sum / count
        scatter = (self.contribution_square - count * value.square()).clamp(min=0.0)
        variance = scatter / (count - 1).clamp(min=0.0) / count + self.sampling_sum / count
        stderr = torch.where(count > 1, variance.sqrt(), torch.nan)
        return Estimate(value, stderr, (count - 1).clamp(min=0.0))
