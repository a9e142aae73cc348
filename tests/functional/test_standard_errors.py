"""Honest standard errors: 95 % intervals cover the true temperature in 90 to 99 of 100 runs, whatever the noise.

Gradient noise of a network has low rank: many coordinates share a few random directions. Steps are then replicates of
the noise and coordinates are not, which is what the error must know.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from oracles import Trajectory, coordinate_temperatures, curvatures, normal, simulate, torch_rule
from torch import Tensor

from thermo_callbacks.functional import (
    Estimate,
    kinetic_sampling_variance,
    kinetic_temperature_contributions,
    mean_estimate,
)

RATE, COORDINATES, WATCHED = 1e-3, 500, 60
REPETITIONS, TOGETHER = 200, 50  # repetitions in all, and side by side in one simulation
WINDOWS = (50, 200)
SETTLE = 100  # steps that fill the momentum buffer
CURVATURE = curvatures(COORDINATES)


def mixing(rank: int, spread: bool) -> Tensor:
    """Matrix A that turns ``rank`` random numbers into the noise of all coordinates; covariance A^T A."""
    matrix = normal(rank, COORDINATES, seed=rank) / rank**0.5
    decade = torch.logspace(0.0, 0.5, COORDINATES, dtype=torch.float64)  # of standard deviations: variances over ten
    order = torch.randperm(COORDINATES, generator=torch.Generator().manual_seed(rank))
    return matrix * decade[order] if spread else matrix


def equilibrium(noise_covariance: Tensor, momentum: float, seed: int) -> Tensor:
    """Draws of the equilibrium with correlated noise: Cov_ij = rate S_ij / ((1 - momentum) (lambda_i + lambda_j))."""
    covariance = RATE * noise_covariance / ((1.0 - momentum) * (CURVATURE[:, None] + CURVATURE))
    values, vectors = torch.linalg.eigh(covariance)
    return normal(TOGETHER, COORDINATES, seed=seed) @ (vectors * values.clamp(min=0.0).sqrt()).T


def repetitions(matrix: Tensor, momentum: float, count: int = REPETITIONS) -> Iterator[Trajectory]:
    """Independent runs of SGD, each of the longest window's length."""
    for block in range(count // TOGETHER):
        start = equilibrium(matrix.T @ matrix, momentum, seed=2 * block)
        kicks = normal(SETTLE + max(WINDOWS), TOGETHER, len(matrix), seed=2 * block + 1)
        rule = torch_rule(torch.optim.SGD, start.shape, lr=RATE, momentum=momentum)
        run = simulate(CURVATURE, start, kicks @ matrix, rule).last(max(WINDOWS))
        for repetition in range(TOGETHER):
            yield Trajectory(*(field[:, repetition] for field in run))


def covers(estimate: Estimate, truth: float) -> float:
    low, high = estimate.interval(0.95)
    return float(low.item() <= truth <= high.item())


def true_temperature(matrix: Tensor, momentum: float) -> float:
    return RATE * matrix.square().sum().item() / (2.0 * COORDINATES * (1.0 - momentum))


@pytest.fixture(scope="module", params=[(5, 0.0), (5, 0.9), (50, 0.0), (50, 0.9)], ids=str)
def coverage(request: pytest.FixtureRequest) -> dict[int | str, float]:
    """Part of the runs whose interval covers the truth: by window over steps, and over coordinates."""
    rank, momentum = request.param
    matrix = mixing(rank, spread=False)
    truth = true_temperature(matrix, momentum)
    hits = dict.fromkeys((*WINDOWS, "coordinates"), 0.0)
    for run in repetitions(matrix, momentum):
        for window in WINDOWS:
            part = run.last(window)
            contributions = kinetic_temperature_contributions(part.displacements, part.gradients, momentum)
            hits[window] += covers(mean_estimate(contributions), truth)
        values = coordinate_temperatures(run.displacements, run.gradients, momentum)
        hits["coordinates"] += covers(mean_estimate(values), truth)  # coordinates in the place of steps
    return {name: count / REPETITIONS for name, count in hits.items()}


@pytest.mark.parametrize("window", WINDOWS)
def test_intervals_cover_the_truth(coverage: dict[int | str, float], window: int) -> None:
    assert 0.90 <= coverage[window] <= 0.99


def test_spread_over_coordinates_is_no_standard_error(coverage: dict[int | str, float]) -> None:
    """Coordinates that share their noise are wrong together."""
    assert coverage["coordinates"] < 0.90


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("rank", [5, 50])
def test_intervals_from_a_sample_of_coordinates_cover_the_truth(rank: int, momentum: float) -> None:
    matrix = mixing(rank, spread=True)
    truth = true_temperature(matrix, momentum)
    generator = torch.Generator().manual_seed(rank)
    hits = dict.fromkeys(WINDOWS, 0.0)
    for run in repetitions(matrix, momentum):
        chosen = torch.randperm(COORDINATES, generator=generator)[:WATCHED]
        watched = Trajectory(*(field[:, chosen] for field in run))
        for window in WINDOWS:
            _, moves, gradients = watched.last(window)
            contributions = kinetic_temperature_contributions(moves, gradients, momentum)
            variance = kinetic_sampling_variance(moves, gradients, COORDINATES, momentum)
            hits[window] += covers(mean_estimate(contributions, sampling_variance=variance), truth)
    covered = {window: count / REPETITIONS for window, count in hits.items()}
    assert all(0.90 <= part <= 0.99 for part in covered.values()), covered


@pytest.mark.slow
@pytest.mark.parametrize(("rank", "momentum"), [(5, 0.0), (5, 0.9), (50, 0.0), (50, 0.9)], ids=str)
def test_ten_times_the_repetitions_come_closer_to_95_percent(rank: int, momentum: float) -> None:
    matrix, count = mixing(rank, spread=False), 10 * REPETITIONS
    truth = true_temperature(matrix, momentum)
    hits = dict.fromkeys(WINDOWS, 0.0)
    for run in repetitions(matrix, momentum, count):
        for window in WINDOWS:
            part = run.last(window)
            contributions = kinetic_temperature_contributions(part.displacements, part.gradients, momentum)
            hits[window] += covers(mean_estimate(contributions), truth)
    covered = {window: hit / count for window, hit in hits.items()}
    # a fraction of 2,000 scatters by 0.005; the window's own chi-square noise costs a short one about 0.01
    assert all(0.92 <= part <= 0.98 for part in covered.values()), covered
