"""Windows of steps that are watched one by one, and a slow second reading of them from whole lists of steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from metric_cases import BATCH_SIZE, SIZES, WATCHED, Burst
from torch import Tensor

from thermo_callbacks.functional import coordinate_sampling_variance, helmert_contrasts
from thermo_callbacks.functional._momentum import pair_scale
from thermo_callbacks.metrics._window import StreamingWindow
from thermo_callbacks.metrics._window_statistics import WindowStatistics

LAYERS = len(WATCHED)


def fill(window: StreamingWindow, steps: Burst, momentum: Any = 0.0, response: Any = 1.0) -> StreamingWindow:
    for rows in steps.rows().to(window.means):
        window.update(rows, momentum, response, 1.0)
    return window


def spoil(steps: Burst, bad: Sequence[int], value: float) -> Burst:
    """One coordinate of one layer has no finite gradient in the steps ``bad``."""
    gradients = [layer.clone() for layer in steps.gradients]
    gradients[3][list(bad), 5] = value
    return steps._replace(gradients=gradients)


def statistics(window: StreamingWindow, momentum: float | Sequence[float] = 0.0) -> WindowStatistics:
    decays = torch.tensor(momentum, dtype=torch.float64).expand(LAYERS)
    watched, sizes = torch.tensor([WATCHED, SIZES], dtype=torch.float64)
    return window.statistics(watched, sizes, decays, batch_size=BATCH_SIZE)


def fields(window: WindowStatistics) -> dict[str, Tensor]:
    return {name: value for name, value in vars(window).items() if isinstance(value, Tensor)}


def assert_near(actual: Tensor, expected: Tensor, rounding: float) -> None:
    """Equal up to ``rounding`` times the largest value of a layer."""
    assert actual.shape == expected.shape
    scale = expected.abs().amax(0) if expected.ndim and len(expected) else expected.abs()
    assert ((actual - expected).abs() <= rounding * scale).all(), (actual, expected)


def assert_same(actual: WindowStatistics, expected: WindowStatistics) -> None:
    """Equal in every bit."""
    for name, value in fields(expected).items():
        assert torch.equal(getattr(actual, name), value), name
    assert (actual.steps, actual.skipped, actual.batch_size) == (expected.steps, expected.skipped, expected.batch_size)


def second_reading(
    steps: Burst, valid: Sequence[bool], momentum: Sequence[Any], response: Sequence[Any]
) -> dict[str, Tensor]:
    """Sums by layer from lists of valid steps and pairs; momentum and response of a layer are a number or ``[n]``.

    A pair is completed by its last step. With any momentum it takes three valid steps.
    """
    paired = any(torch.as_tensor(decay).any() for decay in momentum)
    kept = [step for step, good in enumerate(valid) if good]
    ends = [step for step in kept if not paired or (step >= 2 and valid[step - 1] and valid[step - 2])]
    columns: dict[str, list[Tensor]] = {}
    for layer, (decay, factor) in enumerate(zip(momentum, response, strict=True)):
        q, d, g = (field[layer] for field in steps)
        now = torch.tensor(ends, dtype=torch.int64)
        innovation = factor * (d[now - 1] - decay * d[now - 2] if paired else d[now])
        fresh = g[now - 1] - decay * g[now] if paired else g[now]
        products = contrasts(innovation) * contrasts(fresh)
        values = {
            "innovation_gradient": products.sum(1),
            "innovation_square": contrasts(innovation).square().sum(1),
            "position_gradient": (contrasts(q[kept]) * contrasts(g[kept])).sum(1),
            "gradient_square": contrasts(g[kept]).square().sum(1),
            "position_displacement": (q * d).sum(1)[kept],
            "gradient_displacement": (g * d)[kept].sum(1),
            "displacement_square": d.square().sum(1)[kept],
            "mean_gradient_square": g[kept].sum(0).square().sum() / max(len(kept), 1) ** 2,
            "temperature_sampling_variance": two_halves(products, ends, decay, SIZES[layer]),
        }
        for name, value in values.items():
            columns.setdefault(name, []).append(value)
    return {name: torch.stack(layers, -1) for name, layers in columns.items()}


def contrasts(rows: Tensor) -> Tensor:
    return helmert_contrasts(rows) if len(rows) > 1 else rows[:0]


def two_halves(products: Tensor, ends: list[int], momentum: Any, total: int) -> Tensor:
    """Sampling variance from the coordinates' temperatures in even and in odd steps of the window."""
    even, odd = ([k for k, end in enumerate(ends[1:]) if end % 2 == parity] for parity in (0, 1))
    if not even or not odd:
        return torch.zeros((), dtype=torch.float64)
    temperatures = products * pair_scale(1, len(ends), momentum)
    return coordinate_sampling_variance(temperatures[even].mean(0), temperatures[odd].mean(0), total)


def assert_reads(actual: WindowStatistics, expected: dict[str, Tensor]) -> None:
    for name, value in expected.items():
        assert_near(getattr(actual, name), value, 1e-12)
