"""Step efficiency: exact on quadratics, for each optimizer's own step, and its errors."""

from __future__ import annotations

import pytest
import torch
from oracles import curvatures, normal
from torch import Tensor

from thermo_callbacks.functional.step_balance import balance_sums, step_efficiency


def descend(rate: float, momentum: float, steps: int, curvature: Tensor) -> tuple[Tensor, Tensor]:
    """Work and heat of steps on a quadratic with the exact gradient."""
    position, velocity = torch.ones_like(curvature), torch.zeros_like(curvature)
    works, heats = [], []
    for _ in range(steps):
        gradient = curvature * position
        velocity = momentum * velocity + gradient
        moved = position - rate * velocity
        works.append(0.5 * (curvature * (moved.square() - position.square())).sum())
        heats.append(gradient @ (moved - position))
        position = moved
    return torch.stack(works), torch.stack(heats)


@pytest.mark.parametrize("rate", [0.001, 0.1, 1.0, 1.9, 2.1])
def test_one_direction_gives_one_minus_half_the_rate_times_curvature(rate: float) -> None:
    efficiency = step_efficiency(*descend(rate, 0.0, 20, torch.ones(1, dtype=torch.float64)))
    assert efficiency.value.item() == pytest.approx(1.0 - rate / 2.0, abs=1e-9)


def test_with_momentum_it_is_that_of_the_recursion() -> None:
    works, heats = descend(0.05, 0.9, 60, curvatures(5))
    second_order = 1.0 + (works - heats).sum() / heats.sum()
    assert step_efficiency(works, heats).value.item() == pytest.approx(second_order.item(), rel=1e-12)
    assert step_efficiency(works, heats).value.item() < step_efficiency(*descend(0.005, 0.9, 60, curvatures(5))).value


def test_error_is_the_scatter_over_runs() -> None:
    def one(seed: int) -> tuple[Tensor, Tensor]:
        heat = -1.0 - 0.3 * normal(40, seed=seed).abs()
        return 0.6 * heat + 0.1 * normal(40, seed=seed + 1000), heat

    found = [step_efficiency(*one(seed)) for seed in range(400)]
    values = torch.stack([each.value for each in found])
    errors = torch.stack([each.stderr for each in found])
    assert values.mean().item() == pytest.approx(0.6, abs=4 * values.std().item() / 20)
    assert errors.mean().item() == pytest.approx(values.std().item(), rel=0.1)


def test_steps_that_promise_no_descent_have_no_efficiency() -> None:
    found = step_efficiency(torch.tensor([-1.0, 2.0]), torch.tensor([-1.0, 1.5]))
    assert found.value.isnan()
    assert step_efficiency(torch.tensor([-1.0]), torch.tensor([-2.0])).stderr.isnan()


def test_faded_sums_weigh_less_and_fewer() -> None:
    old, new = (
        balance_sums(torch.tensor(-1.0), torch.tensor(-1.0)),
        balance_sums(torch.tensor(-0.5), torch.tensor(-1.0)),
    )
    both = type(old)(*map(torch.add, old.faded(0.5), new)).estimate()
    assert both.value.item() == pytest.approx((0.5 * 1.0 + 0.5) / 1.5)
    assert both.degrees_of_freedom.item() == pytest.approx(1.5**2 / 1.25 - 1.0)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"work and heat must have one shape \[K\] with at least one step, got \(2,\)"):
        step_efficiency(torch.ones(2), torch.ones(3))
