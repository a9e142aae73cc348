"""When a run counts as diverged."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from thermo_callbacks.callbacks.windows.divergence import LARGEST_GROWTH, LARGEST_WEIGHT, has_diverged, has_grown


@pytest.mark.parametrize(
    ("first", "losses", "grown"),
    [
        (2.0, [3.0, 2.0 * LARGEST_GROWTH], False),
        (2.0, [3.0, 2.1 * LARGEST_GROWTH], True),
        (2.0, [3.0, -2.1 * LARGEST_GROWTH], True),  # a loss that falls without end
        (2.0, [2.1 * LARGEST_GROWTH, 3.0], False),  # one batch, and back
        (2.0, [3.0, math.inf], False),  # a step that the gradient scaler skipped
        (2.0, [2.1 * LARGEST_GROWTH, math.nan], True),
        (1e-9, [0.5], False),  # a loss that began near zero, as that of a policy may
        (math.nan, [1.0, 1.1 * LARGEST_GROWTH], True),
        (math.nan, [1.0, 2.0], False),
        (math.nan, [], False),
    ],
)
def test_growth_of_the_loss(first: float, losses: list[float], grown: bool) -> None:
    assert has_grown(first, torch.tensor(losses, dtype=torch.float64)) is grown


@pytest.mark.parametrize(
    ("value", "diverged"), [(1.0, False), (LARGEST_WEIGHT / 2, False), (2 * LARGEST_WEIGHT, True), (math.nan, True)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.complex64])
def test_size_of_the_weights(value: float, diverged: bool, dtype: torch.dtype) -> None:
    module = nn.Linear(2, 2, dtype=dtype)
    with torch.no_grad():
        module.weight[1, 1] = value
    session: Any = SimpleNamespace(pl_module=module, windows=[])
    assert has_diverged(session) is diverged


def test_parameters_without_elements_have_not() -> None:
    module = nn.ParameterList([nn.Parameter(torch.empty(0))])
    session: Any = SimpleNamespace(pl_module=module, windows=[])
    assert not has_diverged(session)
