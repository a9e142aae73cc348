"""Heat of the layers as a metric."""

from __future__ import annotations

import pytest
import torch
from metric_cases import SIZES, WATCHED, added, watch, window_steps
from oracles import curvatures, normal, simulate, torch_rule
from torch.testing import assert_close

from thermo_callbacks.functional.energy import heat_by_step, heat_sums
from thermo_callbacks.metrics import LayerHeat

BURSTS = (window_steps(1), window_steps(2, steps=1), window_steps(3, steps=31))


@pytest.mark.parametrize("step_by_step", [False, True], ids=["arrays", "watched"])
def test_heat_of_all_coordinates_adds_over_windows(step_by_step: bool) -> None:
    metric = LayerHeat(SIZES)
    expected = torch.zeros(len(SIZES), dtype=torch.float64)
    for steps in BURSTS:
        metric.update(steps.displacements, steps.gradients)
        for layer, (_, moves, slopes) in enumerate(zip(*steps, strict=True)):
            expected[layer] += SIZES[layer] / WATCHED[layer] * torch.trace(moves @ slopes.T)
    layers, whole = metric.compute_layers(), metric.compute()
    if step_by_step:
        windows = [watch(steps, SIZES) for steps in BURSTS]
        estimates = added(map(heat_sums, windows)).estimate()
        layers, whole = estimates.layers.value, estimates.whole.value
        assert_close(sum(heat_by_step(window).sum() for window in windows), whole)
    assert_close(layers, expected, rtol=1e-10, atol=0.0)
    assert_close(whole, expected.sum(), rtol=1e-10, atol=0.0)


def test_gradient_descent_gives_off_the_energy_it_loses() -> None:
    curvature, learning_rate = curvatures(30), 1e-4
    start = normal(30, seed=0)
    run = simulate(
        curvature, start, torch.zeros(500, 30).double(), torch_rule(torch.optim.SGD, (30,), lr=learning_rate)
    )
    metric = LayerHeat()
    for moves, slopes in zip(run.displacements.view(10, 50, 30), run.gradients.view(10, 50, 30), strict=True):
        metric.update(moves, slopes)
    end = run.parameters[-1] + run.displacements[-1]
    change = 0.5 * (curvature * (end.square() - start.square())).sum()
    # a step of -eta g changes the loss by g D + D H D / 2 = -eta g (1 - eta H / 2) g
    assert change < 0.0
    assert_close(metric.compute(), change, rtol=learning_rate * curvature.max().item() / 2.0, atol=0.0)
    second_order = 0.5 * (curvature * run.displacements.square()).sum()
    assert_close(metric.compute() + second_order, change, rtol=1e-10, atol=0.0)
