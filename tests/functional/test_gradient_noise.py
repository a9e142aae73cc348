"""Signal share and noise scale: closed forms, coverage of the intervals, and a run in equilibrium."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import curvatures, normal, simulate, torch_rule
from torch import Tensor

from thermo_callbacks.functional.gradient_noise import (
    noise_scale_interval,
    pair_signal_share,
    shuffling_bias,
    signal_share_of,
    steady_mean,
    successive_share,
)
from thermo_callbacks.functional.statistics import Estimate

SLOPE = torch.linspace(0.0, 1.0, 12, dtype=torch.float64)
ROOT = normal(12, 3, seed=5)  # noise of rank 3, which is what gradients have


def pairs(count: int, seed: int, slope: Tensor = SLOPE) -> tuple[Tensor, Tensor]:
    noise = normal(2, count, 3, seed=seed) @ ROOT.T
    return slope + noise[0], slope + noise[1]


def exact(slope: Tensor = SLOPE) -> float:
    signal, noise = slope.square().sum().item(), ROOT.square().sum().item()
    return signal / (signal + noise)


def test_share_of_many_pairs_is_the_exact_one() -> None:
    share = pair_signal_share(*pairs(20_000, seed=0))
    assert abs(share.value.item() - exact()) < 4.0 * share.stderr.item()
    assert share.stderr.item() < 0.01


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 3.0])
def test_interval_covers_the_scale_and_stays_open_where_there_is_no_signal(scale: float) -> None:
    truth = 64.0 * (1.0 / exact(scale * SLOPE) - 1.0) if scale else math.inf
    covered = resolved = 0
    for seed in range(400):
        found = noise_scale_interval(pair_signal_share(*pairs(30, seed, scale * SLOPE)), 64)
        assert not found.value.isnan()
        assert found.lower <= found.value <= found.upper
        covered += bool(found.lower <= truth <= found.upper)
        resolved += bool(found.upper.isfinite())
    assert 0.90 <= covered / 400 <= 0.99
    assert resolved / 400 == pytest.approx({0.0: 0.02, 0.5: 0.05, 1.0: 0.2, 3.0: 1.0}[scale], abs=0.1)


def test_shares_below_zero_give_a_bound_and_no_guess() -> None:
    found = noise_scale_interval(Estimate(*map(torch.tensor, (-0.05, 0.1, math.inf))), 100)
    assert found.value.item() == pytest.approx(100 * 0.9 / 0.1, rel=1e-5)  # the share at one standard error
    assert found.lower.item() == pytest.approx(100 * (1 / (-0.05 + 0.1 * 1.959964) - 1), rel=1e-5)
    assert found.upper.item() == math.inf


def test_one_pair_has_a_value_and_no_bounds() -> None:
    found = noise_scale_interval(pair_signal_share(*pairs(1, seed=3, slope=5 * SLOPE)), 8)
    assert 0.0 < found.value < math.inf
    assert (found.lower.item(), found.upper.item()) == (0.0, math.inf)


def test_a_small_data_set_widens_the_interval() -> None:
    share = Estimate(*(torch.tensor(x, dtype=torch.float64) for x in (0.5, 0.0, math.inf)))
    found = noise_scale_interval(share, 64, samples=640)
    # half the noise's power times a tenth, on both sides of the share
    assert found.lower.item() == pytest.approx(64 * (1 / 0.55 - 1))
    assert found.upper.item() == pytest.approx(64 * (1 / 0.45 - 1))


def test_shift_brings_back_the_signal_that_the_steps_hide() -> None:
    """In equilibrium successive gradients are anticorrelated; kappa is known in closed form: -eta sum lambda S / S."""
    rate, curvature, steps = 0.05, curvatures(8), 40_000
    variance = rate / (curvature * (2.0 - rate * curvature))
    start = variance.sqrt() * normal(8, seed=1)
    run = simulate(curvature, start, normal(steps, 8, seed=2), torch_rule(torch.optim.SGD, (8,), lr=rate))
    power = (curvature.square() * variance + 1.0).sum()  # of a gradient: slope and unit noise
    truth = (curvature.square() * variance).sum() / power
    kappa = -rate * (curvature * (curvature.square() * variance + 1.0)).sum() / power
    products = (run.gradients[:-1] * run.gradients[1:]).sum(1, keepdim=True)
    powers = run.gradients.square().sum(1, keepdim=True).unfold(0, 2, 1).mean(-1)
    plain = signal_share_of(products, powers)
    assert plain.value.item() == pytest.approx(-truth.item(), abs=4 * plain.stderr.item())  # the signal, upside down
    share = successive_share(products, powers, Estimate(kappa.view(1), torch.zeros(1), torch.zeros(1)))
    assert share.value.item() == pytest.approx(truth.item(), abs=4 * share.stderr.item())
    assert truth > 0.05
    assert share.stderr.item() < 0.01


def test_mean_reaches_back_as_far_as_nothing_changes() -> None:
    one = torch.tensor(0.01, dtype=torch.float64)
    steady = [torch.tensor(1.0 + 0.05 * (-1) ** k, dtype=torch.float64) for k in range(10)]
    mean, variance = steady_mean(steady, [one] * 10)
    assert (mean.item(), variance.item()) == (pytest.approx(1.0), pytest.approx(0.001))
    falling = [torch.tensor(10.0 - k, dtype=torch.float64) for k in range(10)]
    mean, variance = steady_mean(falling, [one] * 10)
    assert (mean.item(), variance.item()) == (1.0, 0.01)


def test_mean_is_taken_element_by_element() -> None:
    values = [torch.tensor([0.0, 1.0]), torch.tensor([1.0, 1.0])]
    mean, _ = steady_mean(values, [torch.tensor([0.01, 0.01])] * 2)
    assert mean.tolist() == [1.0, 1.0]


@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 20))
def test_nothing_depends_on_the_scale_of_the_loss(scale: float, seed: int) -> None:
    first, second = pairs(5, seed)
    torch.testing.assert_close(pair_signal_share(scale * first, scale * second), pair_signal_share(first, second))


def half() -> Estimate:
    return Estimate(*(torch.tensor(x) for x in (0.5, 0.1, 4.0)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: noise_scale_interval(half(), 0), "batch_size must be at least 1 sample, got 0"),
        (lambda: noise_scale_interval(half(), 8, samples=0), "samples must be at least 1, got 0"),
        (lambda: noise_scale_interval(half(), 8, level=1.0), "level must lie between 0 and 1"),
        (lambda: pair_signal_share(torch.ones(2, 3), torch.ones(2, 4)), "second must have the shape of first"),
        (lambda: pair_signal_share(torch.ones(0, 3), torch.ones(0, 3)), "first must hold at least 1 steps"),
    ],
)
def test_wrong_arguments_are_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize(("contraction", "batches"), [(0.02, 3), (0.2, 3), (0.05, 12), (0.3, 12)])
def test_products_in_shuffled_epochs_miss_the_signal_by_as_much(
    contraction: float, batches: int, momentum: float
) -> None:
    per_batch = 8
    samples = batches * per_batch
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(samples, 2000, generator=generator, dtype=torch.float64)
    noise -= noise.mean(0)
    place, velocity = torch.zeros(2, 2000, dtype=torch.float64)
    before: tuple[Tensor, Tensor] | None = None
    missed = []
    for epoch in range(400 // batches + 40):
        for batch in torch.randperm(samples, generator=generator).view(batches, per_batch):
            gradient = contraction * place + noise[batch].mean(0)  # at a learning rate of 1
            if before is not None and epoch > 30:
                slope, there = before
                at_one_point = gradient - contraction * (place - there)
                missed.append((contraction * there).square().sum() - slope @ at_one_point)
            before = gradient, place
            velocity = momentum * velocity + gradient
            place = place - velocity
    of_all_samples = noise.square().sum() / (samples - 1) / samples
    found = torch.stack(missed).mean() / of_all_samples
    assert abs(shuffling_bias(contraction, batches, momentum) - found) < 0.1


def test_shuffling_bias_takes_any_number_of_batches_and_any_strength() -> None:
    assert shuffling_bias(0.1, 1) == pytest.approx(0.0)
    assert shuffling_bias(-0.3, 10) == pytest.approx(0.9)  # no step of a descent: exclusion alone
    assert shuffling_bias(7.0, 10) == shuffling_bias(1.0, 10)
    assert shuffling_bias(0.05, 1e8) == pytest.approx(-1.0, abs=1e-3)


def test_interval_is_widened_by_what_is_in_doubt() -> None:
    share = Estimate(*map(torch.tensor, (0.5, 0.0, math.inf)))
    whole, half, none = (noise_scale_interval(share, 64, samples=640, doubt=doubt) for doubt in (1.0, 0.5, 0.0))
    # (1 - share) B / N is .05
    assert [float(each.lower) for each in (whole, half, none)] == pytest.approx([64 * 9 / 11, 64 * 0.475 / 0.525, 64.0])
