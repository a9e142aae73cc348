"""The response of optimizers whose answer to a gradient is known in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from oracles import normal
from torch import Tensor

from thermo_callbacks.functional import einstein_excess
from thermo_callbacks.functional.window.response import (
    ResponseFit,
    fit_response,
    memory_power,
    own_shapes,
    response_moments,
)

STEPS, WATCHED = 60, 40
SHAPES = torch.logspace(-1, 1, WATCHED, dtype=torch.float64)


def moves(gradients: Tensor, memory: tuple[float, ...], answers: tuple[float, ...]) -> Tensor:
    """Displacements of D_t = sum_j memory_j D_(t-j) - f sum_j answers_j g_(t-j), and a steady drift of decay."""
    made: list[Tensor] = []
    for step in range(len(gradients)):
        move = torch.full((WATCHED,), 0.01, dtype=torch.float64)
        for lag, weight in enumerate(memory, start=1):
            if step >= lag:
                move = move + weight * made[step - lag]
        for lag, weight in enumerate(answers):
            if step >= lag:
                move = move - weight * SHAPES * gradients[step - lag]
        made.append(move)
    return torch.stack(made)


def fit(displacements: Tensor, gradients: Tensor, shapes: Tensor) -> ResponseFit:
    owners = torch.arange(WATCHED) % 2
    return fit_response(*response_moments(displacements, gradients, shapes.expand(STEPS, -1), owners, 2))


LINEAR = {
    "SGD": ((), (0.3,), 0.0),
    "heavy ball": ((0.9,), (0.3,), 0.9),
    "Nesterov": ((0.8,), (0.3 * 1.8, -0.3 * 0.8), 0.8),
    "two memories": ((1.4, -0.45), (0.3, -0.1, 0.05), 0.9),  # (1 - 0.9 z) (1 - 0.5 z)
}


@pytest.mark.parametrize("name", LINEAR)
def test_whole_answer_of_linear_optimizers(name: str) -> None:
    memory, answers, decay = LINEAR[name]
    gradients = normal(STEPS, WATCHED, seed=1) + 0.02 * torch.arange(STEPS)[:, None]  # a slope that drifts
    found = fit(moves(gradients, memory, answers), gradients, SHAPES)
    whole = sum(answers) / (1.0 - sum(memory))
    torch.testing.assert_close(found.scale, torch.full((2,), whole, dtype=torch.float64), rtol=1e-5, atol=0.0)
    torch.testing.assert_close(found.factor, torch.full((2,), whole / answers[0]).double(), rtol=1e-5, atol=0.0)
    torch.testing.assert_close(found.momentum, torch.full((2,), decay).double(), rtol=1e-5, atol=1e-9)
    assert found.order.tolist() == [len(memory)] * 2
    assert found.clear.all()


def test_noise_lowers_the_share_and_not_the_slope() -> None:
    gradients, noise = normal(2 * STEPS, WATCHED, seed=2).split(STEPS)
    found = fit(moves(gradients, (), (0.3,)) + SHAPES.sqrt() * noise, gradients, SHAPES)
    assert found.linear.all()
    assert not found.clear.any()
    assert (((found.scale / 0.3 - 1.0) / found.scale_error).abs() < 3.0).all()
    assert (found.scale_error < 0.15).all()


def test_a_sign_is_no_linear_answer() -> None:
    gradients = normal(STEPS, WATCHED, seed=3)
    found = fit(-gradients.sign(), gradients, torch.ones(WATCHED, dtype=torch.float64))
    assert not found.linear.any()
    torch.testing.assert_close(found.share, torch.full((2,), 2.0 / math.pi).double(), rtol=0.05, atol=0.0)


def test_coordinates_show_a_shape_that_nobody_tells() -> None:
    gradients = normal(STEPS, WATCHED, seed=4)
    displacements = moves(gradients, (0.5,), (0.3,))
    assert not fit(displacements, gradients, torch.ones_like(SHAPES)).clear.any()
    shapes = own_shapes(displacements, gradients, 0.5)
    torch.testing.assert_close(shapes[0], 0.3 * SHAPES, rtol=0.02, atol=0.0)
    assert fit(displacements, gradients, shapes[0]).clear.all()


def test_what_never_moved_or_was_not_finite_is_left_out() -> None:
    gradients = normal(STEPS, WATCHED, seed=5)
    displacements = moves(gradients, (0.9,), (0.3,))
    gradients[:, :4] = displacements[:, :4] = 0.0
    gradients[20, 7] = math.nan
    found = fit(displacements, gradients, SHAPES)
    torch.testing.assert_close(found.scale, torch.full((2,), 3.0).double(), rtol=1e-5, atol=0.0)
    nothing = fit(torch.zeros_like(gradients), torch.zeros_like(gradients), SHAPES)
    assert not nothing.measured.any()
    assert not nothing.linear.any()


def test_innovations_of_a_look_ahead_hold_two_gradients() -> None:
    factor = torch.tensor([10.0, 10.0 / 1.9, 1.25], dtype=torch.float64)
    found = memory_power(torch.tensor([0.9, 0.9, 0.0], dtype=torch.float64), factor)
    # the mean square about the mean where there is no momentum, and half that of successive differences where there is
    assert found.tolist() == pytest.approx([1.0, 1.0 + 0.9 / 1.9 + (0.9 / 1.9) ** 2, 1.0 + 0.25**2])


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_drifting_slope_is_no_excess(momentum: float) -> None:
    """The drift that puts the Einstein temperature above the kinetic one."""
    gradients = normal(STEPS, WATCHED, seed=6) + 0.2 * torch.arange(STEPS)[:, None]
    displacements = moves(gradients, (momentum,), (0.3,))
    assert einstein_excess(displacements, gradients, 0.3 * SHAPES / (1.0 - momentum), momentum).abs() < 1e-9
