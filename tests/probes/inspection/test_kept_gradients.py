"""Gradients before and after a backward pass."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from thermo_callbacks.probes.inspection.kept_gradients import gradient_norm, kept_share


def parameter(*gradient: float) -> nn.Parameter:
    made = nn.Parameter(torch.zeros(len(gradient)))
    made.grad = torch.tensor(gradient)
    return made


def test_the_norm_is_that_of_all_gradients_together() -> None:
    assert float(gradient_norm([parameter(3.0), nn.Parameter(torch.zeros(2)), parameter(0.0, 4.0)])) == 5.0
    assert gradient_norm([nn.Parameter(torch.zeros(2))]) is None


def test_what_was_kept_is_a_share_of_what_is_there() -> None:
    assert kept_share(torch.tensor(3.0), torch.tensor(4.0)) == 0.75
    assert kept_share(None, torch.tensor(4.0)) == 0.0
    assert kept_share(torch.tensor(0.0), torch.tensor(4.0)) == 0.0
    assert math.isnan(kept_share(torch.tensor(1.0), None))
    assert math.isnan(kept_share(torch.tensor(0.0), torch.tensor(0.0)))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_does_not_overflow(kind: torch.dtype) -> None:
    large = nn.Parameter(torch.zeros(100, dtype=kind))
    large.grad = torch.full((100,), 1e4, dtype=kind)
    assert float(gradient_norm([large])) == pytest.approx(1e5, rel=0.01)
