"""What the layer-wise metrics share: layers given in one call, additive states, a global value beside the layers'."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.exceptions import TorchMetricsUserError

from thermo_callbacks.functional import Estimate, momentum_response
from thermo_callbacks.functional.momentum import AT_ONCE
from thermo_callbacks.functional.window.arrays import ArrayWindow
from thermo_callbacks.functional.window.estimates import LayerEstimates
from thermo_callbacks.functional.window.statistics import WindowStatistics

R = TypeVar("R")
Windows = Tensor | Sequence[Tensor]
"""One window ``[W, n]``, or one for each layer, all of the same steps W."""


class SummedMetric(Metric):
    """Base of metrics of sums that add up, with more results than compute(): all see the states of all ranks."""

    _sums: ClassVar[Any]  # class of the sums, a named tuple: a state for each of its fields

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    def __init__(self, **kwargs: Any) -> None:
        # a rank without a new update would answer from its cache, and leave the others waiting for its sums
        super().__init__(**{"compute_with_cache": False, **kwargs})
        self._adds_ranks = bool(kwargs.get("sync_on_compute", True))

    def _add_states(self, zeros: Any) -> None:
        """States that are added up over ranks, from a named tuple of sums over nothing."""
        for name, zero in zeros._asdict().items():
            self.add_state(name, zero, dist_reduce_fx="sum")

    def _add(self, sums: Any) -> None:
        """Add more sums to the states."""
        for name, more in sums._asdict().items():
            state = getattr(self, name)
            setattr(self, name, state + more.to(state))

    def _total(self) -> Any:
        """Sums of all updates so far."""
        return self._sums(*(getattr(self, name) for name in self._sums._fields))

    def _over_ranks(self, result: Callable[[], R]) -> R:
        """A result of the states of all ranks added up, as inside compute()."""
        with contextlib.ExitStack() as stack:
            if self._adds_ranks:
                # who has synchronised the states by hand also takes them apart again
                with contextlib.suppress(TorchMetricsUserError):
                    stack.enter_context(self.sync_context(dist_sync_fn=self.dist_sync_fn))
            return result()


def _are_sizes(sizes: Any) -> bool:
    listed = isinstance(sizes, Sequence) and not isinstance(sizes, str | bytes)
    return listed and bool(sizes) and all(isinstance(each, int) and each >= 1 for each in sizes)


class LayerMetric(SummedMetric):
    """Base of metrics that hold one value a layer and a global one, in states that add up."""

    def __init__(self, sizes: Sequence[int] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if sizes is not None and not _are_sizes(sizes):
            shown = list(sizes) if isinstance(sizes, tuple) else sizes
            raise ValueError(f"sizes must hold the number of coordinates of each layer, all at least 1, got {shown!r}")
        self.sizes = None if sizes is None else tuple(int(size) for size in sizes)
        self.num_layers = 1 if sizes is None else len(sizes)
        # in double precision: a sum of 1e8 float32 steps no longer moves
        zeros = torch.zeros(self.num_layers + 1, dtype=torch.float64)
        self._add_states(self._sums(*(zeros.clone() for _ in self._sums._fields)))

    def compute(self) -> Tensor:
        """Global value, a scalar; NaN where the quantity has none."""
        return self._estimates().value[-1]

    def compute_layers(self) -> Tensor:
        """Value of each layer, ``[L]``; NaN where the quantity has none."""
        return self._over_ranks(lambda: self._estimates().value[:-1])

    def _estimates(self) -> LayerEstimates:
        """Estimates of the layers, and in the last column that of the whole model."""
        return LayerEstimates(*self._total().estimate())


class EstimatedMetric(LayerMetric):
    """Base of metrics whose values have standard errors, of each layer and of the whole model."""

    def estimate(self) -> Estimate:
        """Global value with its standard error, scalars."""
        return self._over_ranks(lambda: self._estimates().whole)

    def estimate_layers(self) -> Estimate:
        """Value of each layer with its standard error, each ``[L]``."""
        return self._over_ranks(lambda: self._estimates().layers)


class WindowMetric(LayerMetric):
    """Base of metrics of windows of steps: their states are the sums that the quantity's function makes of a window.

    Windows of one step count, several windows, and ranks with different numbers of windows all add: no state depends on
    the order or on the number of updates.
    """

    response = AT_ONCE

    def _window(self, fewest: int, *, batch_size: float = math.nan, **windows: Any) -> WindowStatistics:
        """Statistics of a window in double precision, after a check of the arguments of update(), given by name."""
        columns = {name: self._layers(name, window) for name, window in windows.items()}
        for size, layer in zip(self.sizes or (), next(iter(columns.values())), strict=bool(self.sizes)):
            if layer.shape[-1] > size:
                raise ValueError(
                    f"sizes says that a layer has {size} coordinates, got a window that shows {layer.shape[-1]}"
                )
        return ArrayWindow(fewest, **columns, response=self.response, sizes=self.sizes, batch_size=batch_size)

    def _layers(self, name: str, window: Windows) -> list[Tensor]:
        """One tensor for each layer, in double precision."""
        layers = [window] if isinstance(window, Tensor) else list(window)
        if len(layers) != self.num_layers:
            raise ValueError(
                f"{name} must hold one tensor for each layer ({self.num_layers}), got {len(layers)}: say "
                "sizes=[...] with the number of coordinates of each layer"
            )
        return [layer.double() for layer in layers]


class MomentumMetric(WindowMetric, EstimatedMetric):
    """Base of metrics of windows that know the momentum of the optimizer, and whether it looks ahead."""

    def __init__(
        self, sizes: Sequence[int] | None = None, *, momentum: float = 0.0, nesterov: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(sizes, **kwargs)
        if not isinstance(nesterov, bool):
            raise ValueError(f"nesterov must be True or False, got {nesterov!r}")
        self.response = momentum_response(momentum, nesterov=nesterov)
        self.momentum, self.nesterov = momentum, nesterov
