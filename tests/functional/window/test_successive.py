"""Products of gradients in a stream against those of arrays, of successive steps and of halves of steps."""

from __future__ import annotations

import pytest
import torch
from oracles import normal
from torch import Tensor

from thermo_callbacks.functional.window.streaming import CHUNK
from thermo_callbacks.functional.window.successive import GradientProducts, SuccessiveGradients

LAYERS = torch.tensor([0, 1, 1])  # a chunk, and two
GRADIENTS = normal(6, 3 * CHUNK, seed=0)


def stream() -> SuccessiveGradients:
    return SuccessiveGradients(LAYERS, 2, length=8, device=torch.device("cpu"), dtype=torch.float64)


def by_layer(rows: Tensor) -> Tensor:
    return torch.stack([rows[:, :CHUNK].sum(1), rows[:, CHUNK:].sum(1)], 1)


def taken(gradients: Tensor, into: SuccessiveGradients | None = None) -> SuccessiveGradients:
    into = stream() if into is None else into
    for gradient in gradients:
        into.update(gradient.clone())
    return into


def test_successive_gradients() -> None:
    found = taken(GRADIENTS).close()
    torch.testing.assert_close(found.products, by_layer(GRADIENTS[:-1] * GRADIENTS[1:]))
    powers = by_layer(GRADIENTS.square())
    torch.testing.assert_close(found.powers, (powers[:-1] + powers[1:]) / 2)
    assert not found.at_one_point


@pytest.mark.parametrize("half", [0.5, 0.25])
def test_halves_of_a_step(half: float) -> None:
    first, second = normal(2, 6, 3 * CHUNK, seed=1)
    window = stream()
    for one, other in zip(first, second, strict=True):
        window.first_half.copy_(one)
        window.update(half * one + (1.0 - half) * other, half)
    found = window.close()
    torch.testing.assert_close(found.products, by_layer(first * second))
    torch.testing.assert_close(found.powers, by_layer((half * first + (1.0 - half) * second).square()))
    assert found.at_one_point


def test_a_step_that_is_not_finite_is_left_out_with_its_neighbour() -> None:
    broken = GRADIENTS.clone()
    broken[2, 5] = torch.inf
    found = taken(broken).close()
    kept = by_layer(GRADIENTS[:-1] * GRADIENTS[1:])[[0, 3, 4]]
    torch.testing.assert_close(found.products, kept)


def test_windows_begin_afresh() -> None:
    window = taken(GRADIENTS)
    window.close()
    torch.testing.assert_close(taken(GRADIENTS[:3], window).close().products, taken(GRADIENTS[:3]).close().products)


def test_a_checkpoint_inside_a_window_changes_nothing() -> None:
    first = taken(GRADIENTS[:3])
    second = stream()
    second.load_state_dict(first.state_dict())
    whole: GradientProducts = taken(GRADIENTS).close()
    found = taken(GRADIENTS[3:], second).close()
    assert torch.equal(found.products, whole.products)
    assert torch.equal(found.powers, whole.powers)
    assert stream().state_dict() == {}
