"""Vitals of the weights: exact cases, the band of the growth, samples, and weight decay watched step by step."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch
from metric_cases import SIZES, WATCHED, empty_window, watch, window_steps
from oracles import normal
from torch import Tensor
from window_oracle import fill, statistics

from thermo_callbacks import functional as F
from thermo_callbacks.functional.window import SUMS
from thermo_callbacks.functional.window.arrays import ArrayWindow
from thermo_callbacks.functional.window.vitals import decay_share_sums, weight_growth_sums, weight_norm_sums

STEPS = window_steps(3)


class Walks(NamedTuple):
    """Many windows of weights that drift and shake, ``[runs, W, n]``."""

    positions: Tensor
    moves: Tensor
    rate: Tensor  # true growth of the squared norm in a step, relative to that at the window's middle


def walks(runs: int, steps: int, coordinates: int, momentum: float = 0.0) -> Walks:
    """Weights of different sizes that shrink at different rates, under noise that momentum carries on."""
    start = normal(coordinates, seed=1)
    pull = 2e-3 * torch.linspace(0.0, 2.0, coordinates, dtype=torch.float64)
    noise = 2e-3 * normal(runs, steps + 200, coordinates, seed=2)
    q, velocity = start.expand(runs, -1).clone(), torch.zeros(runs, coordinates, dtype=torch.float64)
    positions, moves = [], []
    for step in range(steps + 200):
        velocity = momentum * velocity + (1.0 - momentum) * (noise[:, step] - pull * start)
        if step >= 200:
            positions.append(q.clone())
            moves.append(velocity.clone())
            q = q + velocity
    positions, moves = torch.stack(positions, 1), torch.stack(moves, 1)
    change = (2.0 * positions * moves + moves.square()).sum(2)
    return Walks(positions, moves, change.mean(1))


def test_exact_cases() -> None:
    q = torch.tensor([[3.0, 4.0], [6.0, 8.0]], dtype=torch.float64)
    assert F.weight_norm(q).item() == pytest.approx(math.sqrt((25.0 + 100.0) / 2.0))
    assert F.weight_norm(q, total=8).item() == pytest.approx(math.sqrt(4.0 * (25.0 + 100.0) / 2.0))
    assert F.gradient_norm(q[:1]).item() == pytest.approx(5.0)
    assert F.update_ratio(q, -0.5 * q).item() == pytest.approx(0.5)
    # |q|^2 quarters in each step
    assert F.weight_growth(q, -0.5 * q).item() == pytest.approx(500.0 * (0.25 - 1.0))
    assert F.decay_share(q, 0.1 * q, 0.1).item() == pytest.approx(1.0 / 3.0)


@pytest.mark.parametrize("name", ["update_ratio", "weight_growth"])
def test_weights_of_zero_have_no_ratio(name: str) -> None:
    zeros = torch.zeros(4, 3)
    assert getattr(F, name)(zeros, zeros + 1.0).isnan()
    assert F.decay_share(zeros, zeros, 0.1).isnan()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_growth_covers_the_rate_of_many_windows(momentum: float) -> None:
    runs = walks(300, 50, 40, momentum)
    truth = runs.rate.mean() / runs.positions.square().sum(2).mean() * 500.0
    found = [
        weight_growth_sums(ArrayWindow(1, parameters=[q], displacements=[d])).estimate().whole
        for q, d in zip(runs.positions, runs.moves, strict=True)
    ]
    assert torch.stack([each.value for each in found]).mean().item() == pytest.approx(truth.item(), rel=0.01)
    inside = [bool(low <= truth <= high) for low, high in (each.interval(0.95) for each in found)]
    # what drifts within a window counts as scatter; of moves that momentum carries on for ten steps, a batch has seven
    assert (0.92 if momentum == 0.0 else 0.75) <= sum(inside) / len(inside) <= 0.995


def test_error_of_a_sample_is_that_of_other_samples() -> None:
    runs = walks(1, 50, 2000)
    q, d = runs.positions[0], runs.moves[0]
    whole = F.weight_growth(q, d)
    generator = torch.Generator().manual_seed(0)
    values, variances = [], []
    for _ in range(300):
        some = torch.randperm(2000, generator=generator)[:200]
        window = ArrayWindow(1, parameters=[q[:, some]], displacements=[d[:, some]], sizes=[2000])
        values.append(weight_growth_sums(window).estimate().whole.value)
        scale = 500.0 / window.weight_square[0]
        variances.append(scale.square() * window.growth_sampling_variance[0])
    scores = (torch.stack(values) - whole) / torch.stack(variances).sqrt()
    assert scores.mean().abs() < 4.0 / math.sqrt(300)
    assert 0.85 < scores.std() < 1.15


def test_the_whole_is_that_of_all_coordinates() -> None:
    sizes = list(WATCHED)
    window = watch(STEPS, sizes)
    q, d, g = (torch.cat(field, 1) for field in STEPS)
    expected = {
        "update_ratio": F.update_ratio(q, d),
        "gradient_norm": F.gradient_norm(g),
        "weight_norm": F.weight_norm(q),
        "weight_growth": F.weight_growth(q, d),
    }
    for name, value in expected.items():
        torch.testing.assert_close(SUMS[name](window).estimate().whole.value, value, rtol=1e-10, atol=0.0)


def test_layers_without_a_gradient_have_a_size_and_nothing_else() -> None:
    window = watch(STEPS, SIZES, missing=[2])
    assert weight_norm_sums(window).estimate().layers.value[2] == 0.0  # the layer is said to have no coordinate here
    for name in ("update_ratio", "gradient_norm", "weight_growth"):
        estimate = SUMS[name](window).estimate()
        assert estimate.layers.value.isnan().tolist() == [layer == 2 for layer in range(len(SIZES))]
        assert estimate.whole.value.isfinite()


def test_decay_is_watched_coordinate_by_coordinate() -> None:
    window = fill(empty_window(), STEPS)
    contraction = 1e-3 * torch.rand(window.force.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    momentum = torch.zeros(len(WATCHED), dtype=torch.float64)
    watched, sizes = torch.tensor([WATCHED, SIZES], dtype=torch.float64)
    found = window.layer_sums(contraction).statistics(watched, sizes, momentum, batch_size=1.0)
    shares = decay_share_sums(found)
    assert shares is not None
    for layer, (start, stop) in enumerate(STEPS.stretches()):
        expected = F.decay_share(STEPS.parameters[layer], STEPS.displacements[layer], contraction[start:stop])
        torch.testing.assert_close(shares.estimate().layers.value[layer], expected, rtol=1e-10, atol=0.0)
    assert decay_share_sums(statistics(window)) is None
    unknown = window.layer_sums(math.nan).statistics(watched, sizes, momentum, batch_size=1.0)
    shares = decay_share_sums(unknown)
    assert shares is not None
    assert shares.estimate().value.isnan().all()


def test_windows_that_lost_all_their_steps_have_no_value() -> None:
    steps = STEPS._replace(gradients=[layer * math.nan for layer in STEPS.gradients])
    window = statistics(fill(empty_window(), steps))
    for name in ("update_ratio", "gradient_norm", "weight_norm", "weight_growth"):
        estimate = SUMS[name](window).estimate()
        assert estimate.value.isnan().all(), name
