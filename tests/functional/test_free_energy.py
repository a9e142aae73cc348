"""Free energy: where it is least, and its error."""

from __future__ import annotations

import math

import pytest
import torch
from oracles import curvatures, normal
from torch import Tensor
from torch.testing import assert_close

from thermo_callbacks.functional import Estimate, free_energy, free_energy_estimate, parameter_entropy


def estimate(value: float, stderr: float, degrees: float) -> Estimate:
    return Estimate(*(torch.tensor(number, dtype=torch.float64) for number in (value, stderr, degrees)))


def test_equilibrium_has_the_least_free_energy() -> None:
    curvature, temperature = curvatures(20), torch.tensor(0.3, dtype=torch.float64)

    def of(variances: Tensor) -> Tensor:
        return free_energy(0.5 * (curvature * variances).sum(), temperature, parameter_entropy(variances))

    equilibrium = (temperature / curvature).requires_grad_()
    least = of(equilibrium)
    (slope,) = torch.autograd.grad(least, equilibrium)
    assert_close(slope, torch.zeros(20).double(), rtol=0.0, atol=1e-12)
    # -T ln Z with Z = prod sqrt(2 pi T / lambda)
    expected = -temperature * 0.5 * (2.0 * math.pi * temperature / curvature).log().sum()
    assert_close(least.detach(), expected, rtol=1e-12, atol=0.0)
    for seed in range(5):
        assert of((temperature / curvature) * (0.1 * normal(20, seed=seed)).exp()) > least


def test_error_is_that_of_draws() -> None:
    parts = (estimate(2.0, 0.3, 40.0), estimate(0.5, 0.02, 9.0), estimate(-20.0, 1.0, 25.0))
    value, stderr, _ = free_energy_estimate(*parts)
    draws = [part.value + part.stderr * normal(200_000, seed=seed) for seed, part in enumerate(parts)]
    assert value == 2.0 + 0.5 * 20.0
    spread = free_energy(*draws).std()
    assert_close(stderr, spread, rtol=0.01, atol=0.0)


@pytest.mark.parametrize("uncertain", [0, 1, 2])
def test_one_uncertain_part_gives_its_degrees_of_freedom(uncertain: int) -> None:
    parts = [estimate(2.0, 0.0, 0.0), estimate(0.5, 0.0, 0.0), estimate(-20.0, 0.0, 0.0)]
    parts[uncertain] = parts[uncertain]._replace(
        stderr=torch.tensor(0.1).double(), degrees_of_freedom=torch.tensor(7.0)
    )
    result = free_energy_estimate(*parts)
    assert_close(result.stderr.item(), 0.1 * (1.0, 20.0, 0.5)[uncertain], rtol=1e-6, atol=0.0)
    assert_close(result.degrees_of_freedom.item(), 7.0)


def test_degrees_of_freedom_of_equal_shares_add_up() -> None:
    result = free_energy_estimate(estimate(0.0, 2.0, 5.0), estimate(1.0, 1.0, 5.0), estimate(2.0, 2.0, 5.0))
    assert_close(result.stderr.item(), 12.0**0.5)
    assert_close(result.degrees_of_freedom.item(), 15.0)


def test_exact_parts_give_an_exact_value() -> None:
    result = free_energy_estimate(*[estimate(1.0, 0.0, 0.0)] * 3)
    assert (result.value.item(), result.stderr.item(), result.degrees_of_freedom.item()) == (0.0, 0.0, math.inf)


def test_layers_and_unknown_errors() -> None:
    energy = estimate(2.0, 0.1, 5.0)
    temperature = Estimate(torch.tensor([0.5, 1.0]), torch.tensor([0.1, math.nan]), torch.tensor([9.0, 9.0]))
    result = free_energy_estimate(energy, temperature, estimate(-1.0, 0.2, 9.0))
    assert result.value.tolist() == [2.5, 3.0]
    assert result.stderr.isnan().tolist() == [False, True]
    assert result.degrees_of_freedom.shape == (2,)
