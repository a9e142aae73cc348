"""Heat and the first law."""

from __future__ import annotations

import pytest
import torch
from oracles import Trajectory, curvatures, normal, simulate, torch_rule

from thermo_callbacks.functional import first_law_residual, heat

CURVATURE = curvatures(30)
START = normal(30, seed=0) + 1.0


def descent(rate: float, duration: float, **options: float) -> Trajectory:
    """Full-batch gradient descent over a fixed time, learning rate x steps; one more step shows the end."""
    steps = round(duration / rate)
    exact = torch.zeros(steps + 1, 30, dtype=torch.float64)
    return simulate(CURVATURE, START, exact, torch_rule(torch.optim.SGD, (30,), lr=rate, **options))


def residual(run: Trajectory) -> float:
    energy = run.energy(CURVATURE)
    released = heat(run.displacements[:-1], run.gradients[:-1])
    return first_law_residual(energy[0], energy[-1], released).item()


def test_heat_of_gradient_descent_is_the_change_of_the_loss() -> None:
    run = descent(1e-4, duration=2.0)
    change = (run.energy(CURVATURE)[-1] - run.energy(CURVATURE)[0]).item()
    assert change < -10.0
    assert abs(residual(run)) < 1e-3 * abs(change)


def test_first_law_residual_falls_with_the_learning_rate() -> None:
    coarse, fine, finest = (abs(residual(descent(rate, duration=2.0))) for rate in (4e-3, 2e-3, 1e-3))
    assert coarse / fine == pytest.approx(2.0, rel=0.1)
    assert fine / finest == pytest.approx(2.0, rel=0.1)


def test_first_law_residual_is_the_second_order_of_the_steps() -> None:
    run = descent(0.01, duration=1.0)
    second_order = 0.5 * (CURVATURE * run.displacements[:-1].square()).sum().item()
    assert residual(run) == pytest.approx(second_order, rel=1e-9)


def test_heat_of_layers_adds_up() -> None:
    moves, gradients = normal(6, 5, seed=1), normal(6, 5, seed=2)
    layers = heat(moves[:, :2], gradients[:, :2]) + heat(moves[:, 2:], gradients[:, 2:])
    torch.testing.assert_close(layers, heat(moves, gradients))
    windows = heat(moves[:4], gradients[:4]) + heat(moves[4:], gradients[4:])
    torch.testing.assert_close(windows, heat(moves, gradients))


def test_heat_in_equilibrium_is_the_dissipation_of_the_noise() -> None:
    """The mean loss stands still, and each step still releases rate x |g|^2: fresh batches do the work."""
    rate, steps = 0.01, 4000
    start = (rate / (CURVATURE * (2.0 - rate * CURVATURE))).sqrt() * normal(30, seed=3)
    run = simulate(CURVATURE, start, normal(steps, 30, seed=4), torch_rule(torch.optim.SGD, (30,), lr=rate))
    expected = -rate * steps * (2.0 / (2.0 - rate * CURVATURE)).sum().item()  # power of the gradient in equilibrium
    released = heat(run.displacements, run.gradients).item()
    assert released == pytest.approx(expected, rel=0.02)
    energy = run.energy(CURVATURE)
    assert first_law_residual(energy[0], energy[-1], torch.tensor(released)).item() == pytest.approx(
        -released, rel=0.02
    )


@pytest.mark.parametrize("shape", [(), (4,)])
def test_first_law_residual_broadcasts(shape: tuple[int, ...]) -> None:
    result = first_law_residual(torch.full(shape, 3.0), torch.full(shape, 1.0), torch.tensor(-1.5))
    assert torch.equal(result, torch.full(shape, -0.5))
