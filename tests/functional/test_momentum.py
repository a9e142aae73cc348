"""Momentum: the response of PyTorch's own optimizers, and temperatures with its memory taken out."""

from __future__ import annotations

import pytest
import torch
from oracles import (
    Trajectory,
    curvatures,
    equipartition_temperature,
    innovation_covariance,
    innovation_kinetic_temperature,
    normal,
    plain_kinetic_temperature,
    simulate,
    stationary_variance,
    torch_rule,
)

from thermo_callbacks.functional import (
    MomentumResponse,
    einstein_temperature,
    kinetic_temperature,
    kinetic_temperature_contributions,
    mean_estimate,
    momentum_response,
    virial_temperature,
)

CURVATURE = curvatures(200)


def sgd_run(steps: int, seed: int, lr: float, nesterov: bool) -> Trajectory:
    """SGD with momentum 0.9 and unit noise in equilibrium; 500 steps before the window fill the momentum buffer."""
    start = stationary_variance(CURVATURE, torch.ones_like(CURVATURE), lr, 0.9).sqrt() * normal(200, seed=seed)
    rule = torch_rule(torch.optim.SGD, (200,), lr=lr, momentum=0.9, nesterov=nesterov)
    return simulate(CURVATURE, start, normal(500 + steps, 200, seed=seed + 1), rule).last(steps)


@pytest.fixture(scope="module")
def heavy_ball() -> Trajectory:
    return sgd_run(8_000, seed=10, lr=0.01, nesterov=False)


def noise_run(
    steps: int, coordinates: int, seed: int, optimizer: type[torch.optim.Optimizer], **options: float
) -> Trajectory:
    """Unit noise on a flat loss, after 100 steps that fill the momentum buffer."""
    flat = torch.zeros(coordinates, dtype=torch.float64)
    noise = normal(100 + steps, coordinates, seed=seed)
    return simulate(flat, flat, noise, torch_rule(optimizer, (coordinates,), **options)).last(steps)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.5, 0.9])
def test_response_is_that_of_sgd_to_one_gradient(momentum: float, nesterov: bool) -> None:
    impulse = torch.zeros(500, 1, dtype=torch.float64)
    impulse[0] = 1.0
    flat = torch.zeros(1, dtype=torch.float64)
    rule = torch_rule(torch.optim.SGD, (1,), lr=0.1, momentum=momentum, nesterov=nesterov)
    moves = simulate(flat, flat, impulse, rule).displacements
    response = momentum_response(momentum, nesterov=nesterov)
    assert response.momentum == momentum
    assert (moves.sum() / moves[0, 0]).item() == pytest.approx(response.factor, rel=1e-12)


@pytest.mark.parametrize("nesterov", [False, True])
def test_without_momentum_a_gradient_acts_once(nesterov: bool) -> None:
    assert momentum_response(0.0, nesterov=nesterov) == MomentumResponse(0.0, 1.0)


def test_heavy_ball_multiplies_the_temperature_by_its_memory(heavy_ball: Trajectory) -> None:
    kinetic = kinetic_temperature(heavy_ball.displacements, heavy_ball.gradients, momentum=0.9).item()
    virial = virial_temperature(heavy_ball.parameters, heavy_ball.gradients).item()
    assert [kinetic, virial, equipartition_temperature(heavy_ball, CURVATURE)] == pytest.approx([0.05] * 3, rel=0.08)


def test_heavy_ball_at_finite_learning_rate(heavy_ball: Trajectory) -> None:
    variance = stationary_variance(CURVATURE, torch.ones_like(CURVATURE), 0.01, 0.9)
    exact = (CURVATURE * variance).mean().item()
    assert equipartition_temperature(heavy_ball, CURVATURE) == pytest.approx(exact, rel=0.02)
    # the gradient's variance holds that of the parameters, 11 % here; of their move in one step successive differences
    # hold, and of the noise that it follows, 2 %
    mobility = torch.tensor(0.01 / (1.0 - 0.9))
    einstein = einstein_temperature(heavy_ball.displacements, mobility, momentum=0.9).item()
    moved = CURVATURE.square() * heavy_ball.displacements.square().mean(0) / 2.0 + 0.01 * CURVATURE
    assert einstein == pytest.approx(0.05 * (1.0 + moved.mean().item()), rel=0.005)
    assert (CURVATURE.square() * variance).mean() > 4.0 * moved.mean()


def test_nesterov_needs_its_own_response() -> None:
    """At a small learning rate: the look-ahead cools by order rate * curvature / (1 - momentum), 10 % at 0.01."""
    run = sgd_run(16_000, seed=20, lr=0.002, nesterov=True)
    equipartition = equipartition_temperature(run, CURVATURE)
    reading = kinetic_temperature(run.displacements, run.gradients, momentum=0.9, nesterov=True).item()
    assert [reading, equipartition] == pytest.approx([0.01, 0.01], rel=0.05)
    assert reading == pytest.approx(equipartition, rel=0.08)
    # the heavy-ball readings count the look-ahead as agitation: 1 + momentum times too much, and from step to step what
    # it takes back on top
    as_heavy_ball = kinetic_temperature(run.displacements, run.gradients, momentum=0.9).item()
    taken_back = (1.0 + (0.9 + 0.9 / 1.9) / 2.0) / (1.0 + 0.9 / 2.0)
    simple = plain_kinetic_temperature(run.displacements[:4000], run.gradients[:4000], momentum=0.9)
    assert [as_heavy_ball / taken_back, simple] == pytest.approx([1.9 * equipartition] * 2, rel=0.08)


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW])
def test_adam_with_unit_noise(optimizer: type[torch.optim.Optimizer]) -> None:
    """T = learning rate / 2, since the second moment of the gradient is 1.

    After 4,000 steps the average over 1,000 steps that Adam keeps of it has settled, to within 3 % at any moment. That
    spread shifts the mean of its inverse root by 3/8 * 0.03^2; the curvature adds rate * curvature, 0.2 % in the mean.
    The reading over 3,000 steps of 300 coordinates scatters by 0.3 %: 2 % is ample.
    """
    curvature, rate = curvatures(300), 1e-3
    start = (0.5 * rate / curvature).sqrt() * normal(300, seed=50)
    rule = torch_rule(optimizer, (300,), lr=rate)
    run = simulate(curvature, start, normal(7000, 300, seed=51), rule).last(3000)
    kinetic = kinetic_temperature(run.displacements, run.gradients, momentum=0.9).item()
    einstein = einstein_temperature(run.displacements, torch.tensor(rate), momentum=0.9).item()
    assert [kinetic, einstein] == pytest.approx([5e-4, 5e-4], rel=0.02)


def test_nadam_once_its_look_ahead_has_settled() -> None:
    """NAdam's look-ahead grows from half of beta_1 to beta_1 as 0.96^(momentum_decay * step) falls."""
    flat, noise = torch.zeros(300, dtype=torch.float64), normal(5000, 300, seed=52)
    settled = simulate(flat, flat, noise, torch_rule(torch.optim.NAdam, (300,), lr=1e-3, momentum_decay=1.0)).last(2000)
    reading = kinetic_temperature(settled.displacements, settled.gradients, momentum=0.9, nesterov=True).item()
    assert reading == pytest.approx(5e-4, rel=0.02)


def test_short_window_with_heavy_ball_is_unbiased() -> None:
    run = noise_run(6, 100_000, 60, torch.optim.SGD, lr=0.01, momentum=0.9)
    groups = zip(run.displacements.split(1000, dim=1), run.gradients.split(1000, dim=1), strict=True)
    readings = torch.stack([kinetic_temperature(*group, momentum=0.9) for group in groups])
    standard_error = readings.std().item() / len(readings) ** 0.5
    assert standard_error < 0.0005
    assert readings.mean().item() == pytest.approx(0.05, abs=4.0 * standard_error)
    # the simple formula loses 39 % to the window's mean, which the momentum buffer's memory holds
    assert plain_kinetic_temperature(run.displacements[:, :1000], run.gradients[:, :1000], momentum=0.9) < 0.035


def test_window_with_nesterov_is_unbiased_to_half_a_percent() -> None:
    run = noise_run(50, 20_000, 61, torch.optim.SGD, lr=0.01, momentum=0.9, nesterov=True)
    reading = kinetic_temperature(run.displacements, run.gradients, momentum=0.9, nesterov=True).item()
    assert reading == pytest.approx(0.05, rel=0.005)


@pytest.mark.parametrize("nesterov", [False, True])
def test_a_slope_that_turns_within_the_window_is_no_temperature(nesterov: bool) -> None:
    """The mean gradient turns by four radians in a window of 16 steps, with twice the power of its noise."""
    steps, rate, windows = 100 + 40 * 16, 0.01, 40
    angle = torch.arange(steps, dtype=torch.float64)[:, None] / 4.0
    slope = 2.0 * torch.cat([angle.cos(), angle.sin()], 1).repeat(1, 100)
    flat = torch.zeros(200, dtype=torch.float64)
    rule = torch_rule(torch.optim.SGD, (200,), lr=rate, momentum=0.9, nesterov=nesterov)
    run = simulate(flat, flat, slope + normal(steps, 200, seed=62), rule).last(16 * windows)
    pieces = list(zip(run.displacements.split(16), run.gradients.split(16), strict=True))
    contributions = torch.cat([kinetic_temperature_contributions(*each, 0.9, nesterov=nesterov) for each in pieces])
    reading = mean_estimate(contributions)
    exact = 0.05
    assert abs(reading.value - exact) < 3.0 * reading.stderr + 0.01 * exact
    assert reading.stderr < 0.02 * exact
    from_the_mean = [innovation_covariance(*each, 0.9, nesterov) for each in pieces]
    assert sum(from_the_mean) / windows > 1.05 * exact


@pytest.mark.parametrize(("nesterov", "spread"), [(False, 1.0), (True, 1.1)])
@pytest.mark.parametrize("coordinates", [1, 20])
def test_error_is_what_windows_scatter(coordinates: int, nesterov: bool, spread: float) -> None:
    run = noise_run(1000 * 16, coordinates, 63, torch.optim.SGD, lr=0.01, momentum=0.9, nesterov=nesterov)
    estimates = [
        mean_estimate(kinetic_temperature_contributions(moves, slopes, 0.9, nesterov=nesterov))
        for moves, slopes in zip(run.displacements.split(16), run.gradients.split(16), strict=True)
    ]
    values, errors = (torch.stack([getattr(each, name) for each in estimates]) for name in ("value", "stderr"))
    assert values.std().item() == pytest.approx(spread * errors.square().mean().sqrt().item(), rel=0.08)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.5, 0.9])
@pytest.mark.parametrize("shape", [(4, 3), (9, 1), (20, 5)])
def test_kinetic_temperature_is_the_loop(shape: tuple[int, int], momentum: float, nesterov: bool) -> None:
    moves, gradients = normal(*shape, seed=70), normal(*shape, seed=71)
    reading = kinetic_temperature(moves, gradients, momentum, nesterov=nesterov).item()
    assert reading == pytest.approx(innovation_kinetic_temperature(moves, gradients, momentum, nesterov), rel=1e-12)


@pytest.mark.parametrize("momentum", [0.5, 0.9])
def test_einstein_temperature_is_half_the_mean_square_of_differences_of_innovations(momentum: float) -> None:
    moves = normal(20, 4, seed=72)
    variance = (moves[1:-1] - momentum * moves[:-2]).diff(dim=0).square().mean(0).sum() / 2.0
    expected = variance / (1.0 - momentum) ** 2 / (2.0 * 4 * 0.1)
    mobility = torch.tensor(0.1, dtype=torch.float64)
    torch.testing.assert_close(einstein_temperature(moves, mobility, momentum), expected, rtol=1e-12, atol=0.0)
