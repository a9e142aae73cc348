"""The learning signal through the depth, against networks whose signal is known."""

from __future__ import annotations

from re import escape

import pytest
import torch
from oracles import normal
from torch import Tensor, nn

from thermo_callbacks.functional import learning_signal


def gradients(gain: float, depth: int = 6, width: int = 400) -> list[Tensor]:
    """Gradients at the outputs of a plain network's activations; weights of standard deviation gain / sqrt(width)."""
    states, kept = normal(64, width, seed=0), []
    for layer in range(depth):
        states = (states @ normal(width, width, seed=layer + 1) * gain / width**0.5).requires_grad_().relu()
        states.retain_grad()
        kept.append(states)
    (states * normal(64, width, seed=50)).sum().backward()
    return [state.grad for state in kept]


@pytest.mark.parametrize("gain", [0.5, 2.0**0.5, 3.0])
def test_the_signal_falls_or_rises_by_the_gain_in_each_layer(gain: float) -> None:
    """Half of the ReLUs let it through, and the weights multiply its power by gain^2."""
    found = gradients(gain)
    for depth, gradient in enumerate(reversed(found)):
        assert learning_signal(gradient, found[-1]).item() == pytest.approx((gain**2 / 2.0) ** depth, rel=0.15)


def test_positions_of_a_unit_add_up_and_pooling_takes_nothing_away() -> None:
    inputs = normal(8, 5, 6, 6, seed=1).requires_grad_()
    pooled = nn.functional.max_pool2d(inputs, 3)
    pooled.retain_grad()
    (pooled * normal(8, 5, 2, 2, seed=2)).sum().backward()
    assert learning_signal(inputs.grad, pooled.grad).item() == pytest.approx(1.0)


def test_it_is_a_mean_over_units() -> None:
    wide, narrow = torch.ones(3, 100), torch.ones(3, 4)
    assert learning_signal(wide, narrow).item() == pytest.approx(1.0)
    assert learning_signal(0.1 * wide, -3.0 * narrow).item() == pytest.approx(0.01 / 9.0)


def test_no_signal_at_the_last_has_no_value() -> None:
    assert learning_signal(torch.ones(3, 2), torch.zeros(3, 2)).isnan()
    assert learning_signal(torch.zeros(3, 2), torch.ones(3, 2)).item() == 0.0


@pytest.mark.parametrize("bad", [torch.ones(3), torch.ones(0, 2)])
def test_message(bad: Tensor) -> None:
    pattern = f"last_grad_output must have shape [B, units, ...] and elements, got shape {tuple(bad.shape)}"
    with pytest.raises(ValueError, match=f"^{escape(pattern)}$"):
        learning_signal(torch.ones(3, 2), bad)
