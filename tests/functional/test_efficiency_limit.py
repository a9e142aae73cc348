"""The rate at which step efficiency goes below a line: exact on a quadratic, honest in noise."""

from __future__ import annotations

import math

import pytest
import torch
from oracles import normal
from torch import Tensor

from thermo_callbacks.functional.efficiency_limit import efficiency_limit, pooled_efficiency

RATES = torch.logspace(-3, 1, 161, dtype=torch.float64)


def steps(curvature: float, noise: float = 0.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Work and heat of steps of gradient descent on a quadratic, whose curvature differs from batch to batch."""
    curvatures = curvature * (noise * normal(len(RATES), seed=seed)).exp()
    return -RATES * (1.0 - RATES * curvatures / 2.0), -RATES


@pytest.mark.parametrize("line", [0.9, 0.5])
@pytest.mark.parametrize("curvature", [0.5, 4.0])
def test_on_a_quadratic_it_is_where_theory_says(curvature: float, line: float) -> None:
    found = efficiency_limit(RATES, *steps(curvature), line=line)
    exact = 2.0 * (1.0 - line) / curvature
    assert found.value == pytest.approx(exact, rel=0.03)  # larger steps of a pool weigh more
    assert found.lower <= found.value <= found.upper


def test_the_interval_holds_the_truth_in_noise() -> None:
    held = 0
    for seed in range(100):
        found = efficiency_limit(RATES, *steps(2.0, 0.5, seed))
        mean = 2.0 * math.exp(0.125)  # of the curvatures
        held += found.lower <= 0.2 / mean <= found.upper
    assert held >= 88


def test_there_is_none_where_it_stays_above_or_begins_below() -> None:
    for curvature in (1e-3, 1e6):
        assert all(map(math.isnan, efficiency_limit(RATES, *steps(curvature))))


def test_a_single_value_below_the_line_is_chance() -> None:
    work, heat = steps(0.5)
    work[40] *= 0.3
    assert efficiency_limit(RATES, work, heat, pooled=2).value == pytest.approx(0.4, rel=0.03)


def test_steps_whose_work_drowns_in_rounding_are_no_crossing() -> None:
    work, heat = steps(0.5)
    work[:40] = 0.01 * normal(40, seed=5)
    work[:8] = 0.0  # the loss does not change at all
    assert efficiency_limit(RATES, work, heat).value == pytest.approx(0.4, rel=0.03)


def test_a_pool_is_the_ratio_of_its_sums() -> None:
    work, heat = steps(2.0, 0.3)
    found = pooled_efficiency(work, heat)
    assert found.value.shape == (157,)
    assert found.value[7].item() == pytest.approx((work[7:12].sum() / heat[7:12].sum()).item())


def test_refuses_what_it_cannot_read() -> None:
    work, heat = steps(1.0)
    with pytest.raises(ValueError, match=r"one shape \[K\] with at least 7 steps, got \(161,\), \(160,\) and \(161,\)"):
        efficiency_limit(RATES, work[1:], heat)
    with pytest.raises(ValueError, match="pooled must be at least 2, got 1"):
        efficiency_limit(RATES, work, heat, pooled=1)
    with pytest.raises(ValueError, match="rates must rise from step to step"):
        efficiency_limit(RATES.flip(0), work, heat)
