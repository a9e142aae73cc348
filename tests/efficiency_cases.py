"""The metrics of efficiency, and batches of pairs of powers to feed them with."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from thermo_callbacks.metrics import LearningEfficiency, WorkEfficiency

METRICS = {"work": WorkEfficiency, "learning": LearningEfficiency}
EITHER = pytest.mark.parametrize("name", METRICS)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair(seed: int, *shape: int) -> tuple[Tensor, Tensor]:
    """Numerators and denominators: samples differ in scale, and what goes out hangs on what comes in."""
    samples = shape or (30, 4)
    scale = (0.3 * draw(samples[0], *[1] * (len(samples) - 1), seed=seed + 500)).exp()
    base = scale * draw(*samples, seed=seed)
    return base * torch.sigmoid(2.0 * draw(*samples, seed=seed + 700)), base


def feed(name: str, numerators: Any, denominators: Any) -> dict[str, Any]:
    """Arguments of update()."""
    if name == "work":
        return {"input": denominators, "output": numerators}
    return {"grad_input": numerators, "grad_output": denominators}


def fed(name: str, *batches: Any, modules: int = 3, metric: Any = None) -> Any:
    """A metric after batches of pairs, one of each module."""
    metric = METRICS[name](modules) if metric is None else metric
    for batch in batches:
        metric.update(**feed(name, *zip(*batch, strict=True)))
    return metric


FIRST = [pair(seed) for seed in (1, 2, 3)]
SECOND = [pair(seed, 20, 4) for seed in (4, 5, 6)]


def powers(batch: Any) -> Tensor:
    """Sums of squares by sample, ``[2, B, M]``: numerators, denominators."""
    return torch.stack(
        [torch.stack([tensor.square().sum(1) for tensor in side], 1) for side in zip(*batch, strict=True)]
    )


def everything(metric: Any) -> list[Tensor]:
    types = metric.estimate_types(["a", "b", "a"]) if metric.num_modules == 3 else {}
    estimates = [metric.estimate(), metric.estimate_layers(), metric.estimate_pooled(), *types.values()]
    return [metric.compute(), metric.compute_layers(), *(value for estimate in estimates for value in estimate)]


def assert_same(first: Any, second: Any, *, rtol: float = 1e-12) -> None:
    for value, expected in zip(everything(first), everything(second), strict=True):
        assert_close(value, expected, rtol=rtol, atol=0.0, equal_nan=True)
