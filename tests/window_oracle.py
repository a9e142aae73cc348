"""Windows of steps that are watched one by one, and a slow second reading of them from whole lists of steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from metric_cases import BATCH_SIZE, SIZES, WATCHED, WindowSteps
from torch import Tensor

from thermo_callbacks.functional import coordinate_sampling_variance, helmert_contrasts
from thermo_callbacks.functional.window.statistics import WindowStatistics
from thermo_callbacks.functional.window.streaming import StreamingWindow

LAYERS = len(WATCHED)
ENTROPY_SUMS = ("moving", "log_variance", "log_variance_square", "relaxation")


def fill(window: StreamingWindow, steps: WindowSteps, momentum: Any = 0.0, response: Any = 1.0) -> StreamingWindow:
    for rows in steps.rows().to(window.references):
        window.update(rows, momentum, response, 1.0)
    return window


def spoil(steps: WindowSteps, bad: Sequence[int], value: float) -> WindowSteps:
    """One coordinate of one layer has no finite gradient in the steps ``bad``."""
    gradients = [layer.clone() for layer in steps.gradients]
    gradients[3][list(bad), 5] = value
    return steps._replace(gradients=gradients)


def statistics(window: StreamingWindow, momentum: float | Sequence[float] = 0.0) -> WindowStatistics:
    decays = torch.tensor(momentum, dtype=torch.float64).expand(LAYERS)
    watched, sizes = torch.tensor([WATCHED, SIZES], dtype=torch.float64)
    return window.layer_sums().statistics(watched, sizes, decays, batch_size=BATCH_SIZE)


def fields(window: WindowStatistics) -> dict[str, Tensor]:
    return {name: value for name, value in vars(window).items() if isinstance(value, Tensor)}


def assert_near(actual: Tensor, expected: Tensor, rounding: float) -> None:
    """Equal up to ``rounding`` times the largest value of a layer, NaN with NaN."""
    assert actual.shape == expected.shape
    scale = expected.abs().amax(0) if expected.ndim and len(expected) else expected.abs()
    near = (actual - expected).abs() <= rounding * scale
    assert (near | (actual.isnan() & expected.isnan())).all(), (actual, expected)


def assert_same(actual: WindowStatistics, expected: WindowStatistics) -> None:
    """Equal in every bit, NaN with NaN."""
    for name, value in fields(expected).items():
        torch.testing.assert_close(getattr(actual, name), value, rtol=0.0, atol=0.0, equal_nan=True, msg=name)
    assert (actual.steps, actual.skipped, actual.batch_size) == (expected.steps, expected.skipped, expected.batch_size)


def second_reading(
    steps: WindowSteps, valid: Sequence[bool], momentum: Sequence[Any], response: Sequence[Any]
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
        if paired:
            # neighbouring pairs share gradients: x_t = g_t - l g_(t-1) and y_t = g_t - mu g_(t+1)
            lag = 1.0 - factor * (1.0 - decay)
            moved, pushed = innovation.diff(dim=0), fresh.diff(dim=0)
            near = (now.diff() == 1)[:, None].double()
            products = moved * pushed / 2.0 / (1.0 + near * (decay + lag) / 2.0)
            squares = moved.square() / 2.0
        else:
            products, squares = contrasts(innovation) * contrasts(fresh), contrasts(innovation).square()
        values = {
            "innovation_gradient": products.sum(1),
            "innovation_square": squares.sum(1),
            "position_gradient": (contrasts(q[kept]) * contrasts(g[kept])).sum(1),
            "gradient_square": contrasts(g[kept]).square().sum(1),
            "position_displacement": (q * d).sum(1)[kept],
            "gradient_displacement": (g * d)[kept].sum(1),
            "displacement_square": d.square().sum(1)[kept],
            "mean_gradient_square": g[kept].sum(0).square().sum() / max(len(kept), 1) ** 2,
            "temperature_sampling_variance": two_halves(products, ends, SIZES[layer], paired=paired),
            **entropy_sums(q[kept], products, len(ends)),
        }
        for name, value in values.items():
            columns.setdefault(name, []).append(value)
    return {name: torch.stack(layers, -1) for name, layers in columns.items()}


def entropy_sums(positions: Tensor, products: Tensor, pairs: int) -> dict[str, Tensor]:
    """Sums over coordinates of what the entropy and its error need, with a mobility of 1, one coordinate at a time."""
    steps = len(positions)
    half = torch.tensor((steps - 1) / 2.0, dtype=torch.float64)
    total = dict.fromkeys(ENTROPY_SUMS, 0.0)
    for column, pushes in zip(positions.T.tolist(), products.T, strict=True):
        mean = math.fsum(column) / max(steps, 1)
        variance = math.fsum((x - mean) ** 2 for x in column) / max(steps - 1, 1)
        if steps < 2 or variance == 0.0:
            continue
        logarithm = math.log(variance) - float(half.digamma() - half.log()) if steps >= 4 else math.nan
        temperature = -float(pushes.sum()) / (2.0 * (pairs - 1)) if pairs > 1 else math.nan
        production = temperature / variance * (steps - 3) / (steps - 1) if steps >= 4 else math.nan
        relaxation = math.nan if math.isnan(production) else min(1.0 / production, steps) if production > 0 else steps
        terms = (1.0, logarithm, logarithm**2, relaxation)
        total = {name: total[name] + term for name, term in zip(total, terms, strict=True)}
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in total.items()}


def contrasts(rows: Tensor) -> Tensor:
    return helmert_contrasts(rows) if len(rows) > 1 else rows[:0]


def two_halves(products: Tensor, ends: list[int], total: int, *, paired: bool) -> Tensor:
    """Sampling variance from the coordinates' temperatures in two halves of the window."""
    # even and odd steps; with momentum blocks of four, since neighbours share their noise
    block = 4 if paired else 1
    even, odd = ([k for k, end in enumerate(ends[1:]) if end // block % 2 == parity] for parity in (0, 1))
    if not even or not odd:
        return torch.zeros((), dtype=torch.float64)
    temperatures = -products / 2.0
    return coordinate_sampling_variance(temperatures[even].mean(0), temperatures[odd].mean(0), total)


def assert_reads(actual: WindowStatistics, expected: dict[str, Tensor]) -> None:
    for name, value in expected.items():
        # inverse temperatures lose the digits that their sums over steps cancel
        assert_near(getattr(actual, name), value, 1e-10 if name in ENTROPY_SUMS else 1e-12)
