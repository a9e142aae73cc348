"""Temperatures and the equilibrium ratio against closed forms, real data and second implementations."""

from __future__ import annotations

import math

import pytest
import torch
from oracles import (
    Trajectory,
    coordinate_temperatures,
    curvatures,
    equipartition_temperature,
    langevin_rule,
    normal,
    plain_kinetic_temperature,
    simulate,
    stationary_variance,
    torch_rule,
    window_variance,
)
from sklearn.datasets import load_diabetes
from torch import Tensor

from thermo_callbacks.functional import (
    einstein_temperature,
    einstein_temperature_contributions,
    equilibrium_ratio,
    kinetic_sampling_variance,
    kinetic_temperature,
    kinetic_temperature_contributions,
    mean_estimate,
    virial_temperature,
    virial_temperature_contributions,
)

RATE = 0.01  # learning rate of the SGD runs
CURVATURE = curvatures(200)
LONG = 40_000  # steps; the slowest coordinate relaxes in 1 / (0.01 * 0.1) = 1,000
BATH = 0.5  # temperature of the Langevin kicks


@pytest.fixture(scope="module")
def plain() -> Trajectory:
    """SGD with unit noise from a draw of its equilibrium."""
    start = stationary_variance(CURVATURE, torch.ones_like(CURVATURE), RATE).sqrt() * normal(200, seed=0)
    return simulate(CURVATURE, start, normal(LONG, 200, seed=1), torch_rule(torch.optim.SGD, (200,), lr=RATE))


@pytest.fixture(scope="module")
def langevin() -> Trajectory:
    """Exact gradient: all agitation comes from the optimizer's kicks."""
    variance = stationary_variance(CURVATURE, torch.full_like(CURVATURE, 2.0 * BATH / RATE), RATE)
    start = variance.sqrt() * normal(200, seed=30)
    kicks = normal(LONG, 200, seed=31)
    return simulate(CURVATURE, start, torch.zeros_like(kicks), langevin_rule(RATE, BATH, kicks))


@pytest.mark.parametrize("reading", ["kinetic", "virial", "Einstein", "equipartition"])
def test_sgd_on_the_quadratic_has_half_the_learning_rate_as_temperature(plain: Trajectory, reading: str) -> None:
    measured = {
        "kinetic": lambda: kinetic_temperature(plain.displacements, plain.gradients).item(),
        "virial": lambda: virial_temperature(plain.parameters, plain.gradients).item(),
        "Einstein": lambda: einstein_temperature(plain.displacements, torch.tensor(RATE)).item(),
        "equipartition": lambda: equipartition_temperature(plain, CURVATURE),
    }[reading]()
    assert measured == pytest.approx(0.005, rel=0.03)


def test_sgd_temperature_at_finite_learning_rate(plain: Trajectory) -> None:
    exact = RATE * (1.0 / (2.0 - RATE * CURVATURE)).mean().item()  # 1 % above 0.005
    assert kinetic_temperature(plain.displacements, plain.gradients).item() == pytest.approx(exact, rel=0.003)


def test_sgd_in_equilibrium_has_ratio_one(plain: Trajectory) -> None:
    assert equilibrium_ratio(plain.parameters, plain.displacements).item() == pytest.approx(1.0, rel=0.03)


@pytest.mark.parametrize(("start", "ratio_says"), [(0.0, "grow"), (10.0, "shrink")])
def test_equilibrium_ratio_tells_growth_from_shrinkage(start: float, ratio_says: str) -> None:
    rule = torch_rule(torch.optim.SGD, (200,), lr=RATE)
    run = simulate(CURVATURE, torch.full_like(CURVATURE, start), normal(50, 200, seed=5), rule)
    ratio = equilibrium_ratio(run.parameters, run.displacements).item()
    assert ratio < 0.5 if ratio_says == "grow" else ratio > 2.0


def test_noise_in_proportion_to_the_curvature() -> None:
    curvature = curvatures(1000)
    rule = torch_rule(torch.optim.SGD, curvature.shape, lr=RATE)
    start = stationary_variance(curvature, curvature, RATE).sqrt() * normal(1000, seed=40)
    run = simulate(curvature, start, curvature.sqrt() * normal(4000, 1000, seed=41), rule)
    reading = kinetic_temperature(run.displacements, run.gradients).item()
    assert reading == pytest.approx(0.01076, rel=0.03)  # learning rate x mean curvature / 2
    assert reading == pytest.approx(RATE * (curvature / (2.0 - RATE * curvature)).mean().item(), rel=0.005)


def test_langevin_kicks_show_in_the_einstein_temperature(langevin: Trajectory) -> None:
    estimate = mean_estimate(einstein_temperature_contributions(langevin.displacements, torch.tensor(RATE)))
    exact = BATH * (2.0 / (2.0 - RATE * CURVATURE)).mean().item()  # the descent between kicks adds 1 %
    assert estimate.stderr.item() == pytest.approx(exact * math.sqrt(2.0 / langevin.displacements.numel()), rel=0.05)
    assert estimate.value.item() == pytest.approx(exact, abs=4.0 * estimate.stderr.item())
    assert estimate.value.item() == pytest.approx(BATH, rel=0.02)


def test_langevin_parameters_show_the_virial_temperature(langevin: Trajectory) -> None:
    contributions = virial_temperature_contributions(langevin.parameters, langevin.gradients)
    estimate = mean_estimate(contributions, batch_length=4000)  # four relaxation times of the slowest coordinate
    variance = stationary_variance(CURVATURE, torch.full_like(CURVATURE, 2.0 * BATH / RATE), RATE)
    exact = (CURVATURE * window_variance(variance, 1.0 - RATE * CURVATURE, LONG)).mean().item()
    assert estimate.value.item() == pytest.approx(exact, abs=4.0 * estimate.stderr.item())
    assert estimate.value.item() == pytest.approx(BATH, rel=0.03)


def test_langevin_with_exact_gradient_has_no_kinetic_temperature(langevin: Trajectory) -> None:
    reading = kinetic_temperature(langevin.displacements, langevin.gradients).item()
    # what is left is the drift along the gradient, of order learning rate x curvature
    drift = BATH * (RATE * CURVATURE / (2.0 - RATE * CURVATURE)).mean().item()
    assert reading == pytest.approx(drift, rel=0.02)
    assert abs(reading) < 0.02 * BATH


def test_short_virial_window_of_exact_gradients_reads_low(langevin: Trajectory) -> None:
    window = langevin.last(100)
    assert virial_temperature(window.parameters, window.gradients).item() < 0.5 * BATH


def test_virial_temperature_of_sgd_is_an_identity_of_the_path(plain: Trajectory) -> None:
    """For D = -rate * g the sum over (q - mean) g telescopes into path length and the window's two ends."""
    window = plain.last(60)
    middle = window.parameters.mean(0)
    first, last = window.parameters[0], window.parameters[-1] + window.displacements[-1]
    ends = (first - middle).square().sum() - (last - middle).square().sum()
    path = window.displacements.square().sum() + ends
    expected = path / (2.0 * RATE * CURVATURE.numel() * 59)
    torch.testing.assert_close(virial_temperature(window.parameters, window.gradients), expected, rtol=1e-9, atol=0.0)


def test_short_virial_window_of_sgd_says_nothing_about_equilibrium() -> None:
    """Started at the minimum, the energy is far from equilibrium, and both temperatures read their final value."""
    rule = torch_rule(torch.optim.SGD, (200,), lr=RATE)
    run = simulate(CURVATURE, torch.zeros_like(CURVATURE), normal(50, 200, seed=6), rule)
    virial = virial_temperature(run.parameters, run.gradients).item()
    kinetic = kinetic_temperature(run.displacements, run.gradients).item()
    assert [kinetic, virial] == pytest.approx([0.005, 0.005], rel=0.15)
    assert equipartition_temperature(run, CURVATURE) < 0.5 * 0.005


def least_squares_run(rate: float, batch_size: int, steps: int) -> tuple[Trajectory, Tensor]:
    """SGD on the diabetes data, batches with replacement, and the exact trace of the noise at each step."""
    table = load_diabetes()
    inputs, target = (torch.as_tensor(part, dtype=torch.float64) for part in (table.data, table.target))
    inputs, target = ((part - part.mean(0)) / part.std(0, correction=0) for part in (inputs, target))
    drawn = torch.randint(len(target), (steps, batch_size), generator=torch.Generator().manual_seed(60))
    parameters = torch.linalg.lstsq(inputs, target[:, None]).solution[:, 0]
    run = Trajectory(*(torch.empty(steps, 10, dtype=torch.float64) for _ in range(3)))
    for step, batch in enumerate(drawn):
        run.parameters[step] = parameters
        run.gradients[step] = inputs[batch].T @ (inputs[batch] @ parameters - target[batch]) / batch_size
        run.displacements[step] = -rate * run.gradients[step]
        parameters = parameters + run.displacements[step]
    residuals = run.parameters @ inputs.T - target  # [steps, samples]; the gradient of sample i is r_i x_i
    power = (residuals.square() * inputs.square().sum(1)).mean(1)
    mean_gradient = residuals @ inputs / len(target)
    return run, (power - mean_gradient.square().sum(1)) / batch_size


def test_least_squares_on_diabetes_data() -> None:
    run, noise = least_squares_run(rate=0.02, batch_size=16, steps=20_000)
    exact = 0.02 * noise.mean().item() / (2.0 * 10)
    windows = zip(run.displacements.split(50), run.gradients.split(50), strict=True)
    reading = torch.stack([kinetic_temperature(*window) for window in windows]).mean().item()
    assert reading == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("shape", [(2, 1), (2, 3), (9, 1), (20, 5)])
def test_kinetic_temperature_without_momentum_is_the_loop(shape: tuple[int, int]) -> None:
    moves, gradients = normal(*shape, seed=72), normal(*shape, seed=73)
    reading = kinetic_temperature(moves, gradients).item()
    assert reading == pytest.approx(plain_kinetic_temperature(moves, gradients), rel=1e-12)


def test_agreement_with_torch_covariance() -> None:
    moves, gradients = normal(30, 4, seed=74), normal(30, 4, seed=75)
    joint = torch.cov(torch.cat([moves, gradients], dim=1).T)
    expected = -joint[:4, 4:].trace() / (2.0 * 4)
    torch.testing.assert_close(kinetic_temperature(moves, gradients), expected, rtol=1e-12, atol=0.0)
    mobility = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    einstein = (joint[:4, :4].diagonal() / mobility).mean() / 2.0
    torch.testing.assert_close(einstein_temperature(moves, mobility), einstein, rtol=1e-12, atol=0.0)
    torch.testing.assert_close(virial_temperature(moves, gradients), -2.0 * expected, rtol=1e-12, atol=0.0)


def test_equilibrium_ratio_is_the_change_of_size() -> None:
    moves = normal(12, 3, seed=76)
    parameters = moves.cumsum(0) - moves + 2.0  # a path: each row starts where the one before it ended
    growth = (parameters[-1] + moves[-1]).square().sum() - parameters[0].square().sum()
    expected = 1.0 - growth / moves.square().sum()
    torch.testing.assert_close(equilibrium_ratio(parameters, moves), expected, rtol=1e-12, atol=0.0)


def test_no_displacement_has_no_equilibrium_ratio() -> None:
    assert equilibrium_ratio(torch.ones(3, 2), torch.zeros(3, 2)).isnan()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_contributions_average_to_the_temperature(momentum: float) -> None:
    moves, gradients = normal(12, 3, seed=77), normal(12, 3, seed=78)
    contributions = kinetic_temperature_contributions(moves, gradients, momentum)
    assert contributions.shape == (11 if momentum == 0.0 else 9,)
    torch.testing.assert_close(contributions.mean(), kinetic_temperature(moves, gradients, momentum))
    contributions = virial_temperature_contributions(moves, gradients)
    assert contributions.shape == (11,)
    torch.testing.assert_close(contributions.mean(), virial_temperature(moves, gradients))
    contributions = einstein_temperature_contributions(moves, torch.tensor(0.1), momentum)
    assert contributions.shape == (11 if momentum == 0.0 else 9,)
    torch.testing.assert_close(contributions.mean(), einstein_temperature(moves, torch.tensor(0.1), momentum))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sampling_variance_is_that_of_the_coordinates_temperatures(momentum: float) -> None:
    """With a gradient that repeats its pattern, both halves of the steps show each coordinate's true temperature."""
    size = torch.linspace(1.0, 3.0, 6, dtype=torch.float64)
    gradients = normal(4001, 1, seed=79) * size
    moves = torch.zeros_like(gradients)
    for step in range(1, len(moves)):
        moves[step] = momentum * moves[step - 1] - RATE * gradients[step]
    spread = (RATE * size.square() / (2.0 * (1.0 - momentum))).var()
    variance = kinetic_sampling_variance(moves, gradients, 60, momentum)
    assert variance.item() == pytest.approx((1.0 - 6 / 60) * spread.item() / 6, rel=0.15)
    assert kinetic_sampling_variance(moves, gradients, 6, momentum).item() == 0.0
    assert kinetic_sampling_variance(moves[:4], gradients[:4], 60, 0.9).item() == 0.0  # one contrast: no two halves


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sampling_variance_does_not_count_the_noise_of_the_steps(momentum: float) -> None:
    """Coordinates of one temperature: their readings differ by the noise of 50 steps, and another choice adds none."""
    rule = torch_rule(torch.optim.SGD, (60,), lr=RATE, momentum=momentum)
    flat = torch.zeros(60, dtype=torch.float64)
    run = simulate(flat, flat, normal(100 + 40 * 50, 60, seed=80), rule).last(40 * 50)
    readings, variances = [], []
    for moves, gradients in zip(run.displacements.split(50), run.gradients.split(50), strict=True):
        readings.append(coordinate_temperatures(moves, gradients, momentum).var() / 60)
        variances.append(kinetic_sampling_variance(moves, gradients, 10_000, momentum))
    assert torch.stack(variances).mean() < 0.3 * torch.stack(readings).mean()
