"""What extra passes say of the move between two steps, taken together."""

from __future__ import annotations

import pytest
import torch

from thermo_callbacks.callbacks.gradient_noise import GradientNoise
from thermo_callbacks.functional.window.successive import GradientProducts

NAMES = ("layer",)
PASSES = ((1e-5, 0.3), (1e-3, -0.12), (1e-3, -0.1), (5e-4, -0.04))  # learning rate, share that the move takes


def noise_of(passes: tuple[tuple[float, float], ...]) -> GradientNoise:
    noise, one = GradientNoise(), torch.ones(1, dtype=torch.float64)
    for rate, shift in passes:
        noise.add_pass(NAMES, shift * one, one, rate)
    products = torch.tensor([[0.1], [0.2], [0.3]], dtype=torch.float64)
    noise.add_window(NAMES, GradientProducts(products, torch.ones_like(products), False), batch_size=8.0)
    return noise


def test_a_pass_counts_by_the_square_of_its_rate() -> None:
    """The least squares of a shift that is proportional to the rate, each with the same error."""
    share = noise_of(PASSES).share(1e-3)
    assert share is not None
    slope = sum(rate * shift for rate, shift in PASSES) / sum(rate**2 for rate, _ in PASSES)
    assert share.value.tolist() == pytest.approx([0.2 - 1e-3 * slope] * 2)
    left = sum((shift - rate * slope) ** 2 for rate, shift in PASSES) / 3
    error = 1e-6 * left / sum(rate**2 for rate, _ in PASSES)
    own = noise_of(PASSES[:1])._variances[-1][0].item()
    assert share.stderr.square().tolist() == pytest.approx([own + error] * 2)


def test_one_pass_may_be_wrong_by_all_that_it_says() -> None:
    share = noise_of(PASSES[1:2]).share(1e-3)
    assert share is not None
    assert share.value[0].item() == pytest.approx(0.32)
    assert share.stderr[0].item() > 0.12


def test_state_round_trip() -> None:
    one, other = noise_of(PASSES), GradientNoise()
    other.load_state_dict(one.state_dict())
    torch.testing.assert_close(other.share(1e-3), one.share(1e-3))
    # an earlier version counted all passes alike
    old = {name: value for name, value in one.state_dict().items() if name != "rates"}
    other.load_state_dict(old)
    share = other.share(1e-3)
    assert share is not None
    mean = sum(shift / rate * 1e-3 for rate, shift in PASSES) / len(PASSES)
    assert share.value[0].item() == pytest.approx(0.2 - mean)
