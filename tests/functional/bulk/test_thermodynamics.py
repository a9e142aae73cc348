"""State functions of the bulk: against the Gaussian ensemble, identities, the first law, and agitation by a step."""

from __future__ import annotations

import math

import pytest
import torch
from bulk_oracles import dense_chain_matrix, random_chain
from torch import Tensor
from torch.distributions import MultivariateNormal
from torch.testing import assert_close

from thermo_callbacks.functional import (
    bulk_complexity,
    bulk_entropy,
    bulk_first_law_residual,
    bulk_free_energy,
    bulk_log_partition,
    bulk_loss,
    equipartition_temperature,
    mean_bulk_loss,
)

SIZES, REGULATOR, TEMPERATURE = [4, 5, 3], 0.1, 0.37
N = sum(SIZES)


def linear_map(states: list[Tensor], weights: list[Tensor], data: Tensor) -> list[Tensor]:
    return [data.expand_as(states[0]), *(x @ weight.T for x, weight in zip(states, weights, strict=False))]


@pytest.fixture
def ensemble() -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
    """A linear chain, its forward pass, its complexity and 4000 states drawn from the Gaussian with matrix G / T."""
    weights, _ = random_chain(SIZES)
    slopes = [torch.ones(size, dtype=torch.float64) for size in SIZES[1:]]
    mean = [torch.linspace(-1, 1, SIZES[0], dtype=torch.float64)]
    for weight in weights:
        mean.append(weight @ mean[-1])
    matrix = dense_chain_matrix(weights, slopes, REGULATOR) / TEMPERATURE
    noise = torch.randn(N, 4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    factor = torch.linalg.cholesky(matrix, upper=True)
    drawn = torch.cat(mean) + torch.linalg.solve_triangular(factor, noise, upper=True).T
    return weights, mean, drawn, bulk_complexity(weights, slopes, REGULATOR)


def losses(weights: list[Tensor], mean: list[Tensor], drawn: Tensor) -> Tensor:
    states = list(drawn.split(SIZES, 1))
    return bulk_loss(
        states, linear_map(states, weights, mean[0]), regulator=REGULATOR, mean=[x.expand(len(drawn), -1) for x in mean]
    )


def test_mean_loss_of_the_ensemble(ensemble: tuple[list[Tensor], list[Tensor], Tensor, Tensor]) -> None:
    weights, mean, drawn, _ = ensemble
    loss = losses(weights, mean, drawn)
    expected = mean_bulk_loss(torch.tensor(TEMPERATURE, dtype=torch.float64), N)
    stderr = expected * math.sqrt(2 / N / len(drawn))  # 2 H / T is chi-squared with n degrees of freedom
    assert abs(loss.mean() - expected) < 3 * stderr
    assert_close(loss.std().item(), (expected * math.sqrt(2 / N)).item(), rtol=0.05, atol=0.0)
    assert_close(
        equipartition_temperature(loss.mean(), N).item(), TEMPERATURE, rtol=6 * math.sqrt(2 / N / 4000), atol=0
    )


def test_probability_is_normalised_by_the_partition_function(
    ensemble: tuple[list[Tensor], list[Tensor], Tensor, Tensor],
) -> None:
    """-ln p = H / T + ln Z, and the entropy is its mean."""
    weights, mean, drawn, complexity = ensemble
    slopes = [torch.ones(size, dtype=torch.float64) for size in SIZES[1:]]
    gaussian = MultivariateNormal(
        torch.cat(mean), precision_matrix=dense_chain_matrix(weights, slopes, REGULATOR) / TEMPERATURE
    )
    log_partition = bulk_log_partition(complexity, TEMPERATURE, N)
    assert_close(-gaussian.log_prob(drawn), losses(weights, mean, drawn) / TEMPERATURE + log_partition)
    assert_close(bulk_entropy(complexity, TEMPERATURE, N), gaussian.entropy())


def test_identities() -> None:
    complexity = torch.tensor([1.0, -2.0, 30.0], dtype=torch.float64)
    temperature = torch.tensor([0.1, 1.0, 7.0], dtype=torch.float64)
    log_partition, entropy, free, loss = (
        bulk_log_partition(complexity, temperature, N),
        bulk_entropy(complexity, temperature, N),
        bulk_free_energy(complexity, temperature, N),
        mean_bulk_loss(temperature, N),
    )
    assert_close(log_partition, N / 2 * (2 * math.pi * temperature).log() - complexity)
    assert_close(entropy, (loss + temperature * log_partition) / temperature)
    assert_close(free, loss - temperature * entropy)
    warm = temperature.clone().requires_grad_()
    (slope,) = torch.autograd.grad(bulk_free_energy(complexity, warm, N).sum(), warm)
    assert_close(slope, -entropy)
    (inverse,) = torch.autograd.grad(bulk_log_partition(complexity, warm, N).sum(), warm)
    assert_close(inverse * temperature.square(), loss)


def test_first_law_between_nearby_states() -> None:
    """d<H> = T (dS_x + dC) at constant structure, with both the temperature and the weights moving."""
    weights, slopes = random_chain(SIZES, samples=1)
    errors = []
    for step in (1e-2, 1e-3):
        temperature = torch.tensor([TEMPERATURE, TEMPERATURE * (1 + step)], dtype=torch.float64)
        moved = [weight * (1 - 3 * step) for weight in weights]
        complexity = torch.cat([bulk_complexity(w, slopes, REGULATOR) for w in (weights, moved)])
        loss, entropy = mean_bulk_loss(temperature, N), bulk_entropy(complexity, temperature, N)
        change, work = loss.diff(), complexity.diff()
        heat = temperature.mean() * (entropy.diff() + work)
        assert work.abs() > 0.1 * step  # the terms that must cancel are there
        errors.append(abs((change - heat) / change).item())
        assert_close(bulk_first_law_residual(loss, temperature, complexity, N), change - heat)
    assert errors[0] < 1e-4
    assert errors[1] < 2e-2 * errors[0]  # third order: two orders of the step fewer in the relative error


def test_first_law_residual_of_a_loss_that_is_not_the_ensembles() -> None:
    temperature, complexity = torch.tensor([1.0, 1.0, 2.0]).double(), torch.tensor([5.0, 6.0, 6.0]).double()
    loss = torch.tensor([3.0, 4.0, 4.0]).double()
    expected = torch.tensor([1.0, -1.5 * 5 * math.log(2.0)]).double()
    assert_close(bulk_first_law_residual(loss, temperature, complexity, 10), expected)
    with pytest.raises(ValueError, match=r"loss must hold at least two successive states, got shape \(1,\)"):
        bulk_first_law_residual(loss[:1], temperature[:1], complexity[:1], 10)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_no_value_without_a_positive_temperature(temperature: float) -> None:
    complexity = torch.tensor(1.0)
    for function in (bulk_log_partition, bulk_entropy, bulk_free_energy):
        assert function(complexity, temperature, 3).isnan()


def tanh_map(states: list[Tensor], weights: list[Tensor]) -> list[Tensor]:
    return [states[0], *(torch.tanh(x @ weight.T) for x, weight in zip(states, weights, strict=False))]


def test_agitation_is_of_second_order_in_the_step() -> None:
    weights, _ = random_chain([6, 5, 4])
    moves, _ = random_chain([6, 5, 4], seed=1)
    states = [torch.randn(8, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)]
    for weight in weights:
        states.append(torch.tanh(states[-1] @ weight.T))
    found = []
    for step in (0.0, 1e-5, 1e-4):
        after = [weight + step * move for weight, move in zip(weights, moves, strict=True)]
        found.append(bulk_loss(states, tanh_map(states, after)))
    assert found[0].shape == (8,)
    assert (found[0] == 0.0).all()
    assert_close(found[2] / found[1], torch.full((8,), 100.0, dtype=torch.float64), rtol=2e-3, atol=0.0)
    slopes = [1 - x.square() for x in states[1:]]
    first_order = [s * (x @ move.T) for s, x, move in zip(slopes, states, moves, strict=False)]
    expected = sum(0.5 * 1e-10 * x.square().sum(1) for x in first_order)
    assert_close(found[1], expected, rtol=1e-3, atol=0.0)


def test_pinned_outputs_hold_the_boundary_loss() -> None:
    weights, _ = random_chain([3, 2])
    data, targets = torch.ones(1, 3).double(), torch.tensor([[0.5, -0.5]]).double()
    states = tanh_map([data], weights)
    pinned = bulk_loss([data, targets], tanh_map(states, weights))
    assert_close(pinned, 0.5 * (targets - states[1]).square().sum(1))


def test_errors() -> None:
    x = [torch.ones(2, 3), torch.ones(2, 4)]
    with pytest.raises(
        ValueError, match=r"images must have the shapes of states, .* got \[\(2, 3\)\] and \[\(2, 3\), "
    ):
        bulk_loss(x, x[:1])
    with pytest.raises(ValueError, match=r"mean must have the shapes of states, .* got \[\] and"):
        bulk_loss(x, x, regulator=0.1)
    with pytest.raises(ValueError, match="one tensor for each layer"):
        bulk_loss([], [])
    with pytest.raises(ValueError, match="neurons must be at least 1, got 0"):
        equipartition_temperature(torch.tensor(1.0), 0)
