"""What single values say about an entropy: exact on even spacings, and errors that match the scatter of estimates."""

from __future__ import annotations

import math

import pytest
import torch
from oracles import normal
from torch import Tensor
from torch.testing import assert_close

from thermo_callbacks.functional import vasicek_entropy
from thermo_callbacks.functional.spacings import entropy_of, surprisals

SHAPES = {"normal": lambda n, seed: normal(n, seed=seed), "uniform": lambda n, seed: uniform(n, seed)}


def uniform(count: int, seed: int) -> Tensor:
    return torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("count", [5, 100, 1001])
def test_even_spacings_are_the_uniform_density(count: int) -> None:
    even = 3.0 * torch.arange(count, dtype=torch.float64)[torch.randperm(count, generator=torch.Generator())]
    assert_close(surprisals(even), torch.full((count,), math.log(3.0 * count), dtype=torch.float64))


def test_their_entropy_is_that_of_the_samples() -> None:
    sample = torch.tensor([3.0, 1.0, 2.0, 4.0, 7.0])
    assert_close(entropy_of(surprisals(sample)), vasicek_entropy(sample))


def test_in_the_order_of_the_samples() -> None:
    sample = normal(500, seed=1)
    order = torch.randperm(500, generator=torch.Generator().manual_seed(2))
    assert torch.equal(surprisals(sample[order]), surprisals(sample)[order])
    low, high = sample.abs() < 0.3, sample.abs() > 2.0
    assert surprisals(sample)[low].max() < surprisals(sample)[high].min()


def test_slow_second_implementation() -> None:
    sample = normal(50, seed=3)
    ordered, reach = sorted(sample.tolist()), 7  # floor(sqrt(50) + 1/2)
    for value, found in zip(sample.tolist(), surprisals(sample).tolist(), strict=True):
        place = ordered.index(value)
        low, high = max(place - reach, 0), min(place + reach, 49)
        assert found == pytest.approx(math.log((ordered[high] - ordered[low]) * 50 / (high - low)), rel=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_variance_and_covariance_of_the_entropy(shape: str) -> None:
    """Against 1500 estimates; the error is known to be low by up to 2/sqrt(n)."""
    count, repetitions = 2000, 1500
    draws = SHAPES[shape](count * repetitions, 4).view(repetitions, count)
    seen = torch.cov(torch.stack([torch.stack([vasicek_entropy(row) for row in draws]), draws.square().mean(1)]))
    found = (
        torch.stack([torch.cov(torch.stack([surprisals(row), row.square()])) for row in draws[:200]]).mean(0) / count
    )
    scale = seen[1, 1] if shape == "uniform" else seen[0, 0]  # -ln p of the uniform density does not vary
    if shape == "normal":
        assert found[0, 0] == pytest.approx(seen[0, 0].item(), rel=0.12)
        assert found[0, 1] == pytest.approx(1.0 / count, rel=0.1)  # Cov(x^2, x^2 / 2) / n
    assert found[0, 1] == pytest.approx(seen[0, 1].item(), abs=0.1 * scale.item())


def test_ties_and_values_that_are_not_finite() -> None:
    tied = torch.cat([normal(50, seed=5), torch.full((50,), 0.25, dtype=torch.float64)])
    assert surprisals(tied).isneginf().any()
    assert surprisals(tied)[tied != 0.25].isfinite().all()
    broken = normal(50, seed=6)
    broken[3] = math.inf
    assert surprisals(broken).isnan().all()


def test_half_precision_is_taken_to_single() -> None:
    assert surprisals(normal(100, seed=7).bfloat16()).dtype == torch.float32
