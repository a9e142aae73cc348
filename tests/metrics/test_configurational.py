"""Configurational temperature against the quadratic whose answer is known."""

from __future__ import annotations

import math
import re

import pytest
import torch

from thermo_callbacks.metrics import RughTemperature

RATE = 0.01
CURVATURES = torch.logspace(-1, 1, 50, dtype=torch.float64)


def two_layers(noise: torch.Tensor, looks: int, seed: int) -> RughTemperature:
    """Looks at independent points of the stationary state of SGD on a quadratic of two layers."""
    generator = torch.Generator().manual_seed(seed)
    # exact stationary variance of q' = (1 - rate * c) q - rate * xi
    spread = (RATE * noise / (CURVATURES * (2.0 - RATE * CURVATURES))).sqrt()
    metric = RughTemperature(sizes=[20, 30])
    for _ in range(looks):
        point, first, second = torch.randn(3, 50, generator=generator, dtype=torch.float64)
        slope = CURVATURES * point * spread
        products = (slope + first * noise.sqrt()) * (slope + second * noise.sqrt())
        metric.update(_by_layer(products), _by_layer(CURVATURES))
    return metric


def _by_layer(values: torch.Tensor) -> torch.Tensor:
    return torch.stack([part.sum() for part in values.split([20, 30])])


def exact(noise: torch.Tensor, part: slice) -> float:
    curvatures = CURVATURES[part]
    squares = curvatures * RATE * noise[part] / (2.0 - RATE * curvatures)
    return float(squares.sum() / curvatures.sum())


@pytest.mark.parametrize("noise", [torch.ones(50, dtype=torch.float64), CURVATURES], ids=["isotropic", "as curvature"])
def test_the_quadratic(noise: torch.Tensor) -> None:
    metric = two_layers(noise, looks=8_000, seed=1)
    truths = [exact(noise, slice(20)), exact(noise, slice(20, 50)), exact(noise, slice(50))]
    layers, total = metric.estimate_layers(), metric.estimate()
    values = [*layers.value.tolist(), total.value.item()]
    errors = [*layers.stderr.tolist(), total.stderr.item()]
    for value, error, truth in zip(values, errors, truths, strict=True):
        assert abs(value - truth) < 3.0 * error
    assert errors[-1] < 0.2 * truths[-1]
    assert errors[0] > errors[1]  # the flat layer's slope is drowned by its noise


def test_isotropic_noise_reads_the_kinetic_temperature_and_other_noise_does_not() -> None:
    kinetic = float((RATE / (2.0 - RATE * CURVATURES)).mean())
    assert exact(torch.ones(50, dtype=torch.float64), slice(50)) == pytest.approx(kinetic, rel=0.03)
    uneven = float((RATE * CURVATURES / (2.0 - RATE * CURVATURES)).mean())
    assert exact(CURVATURES, slice(50)) > 2.0 * uneven


def test_intervals_cover() -> None:
    noise = torch.ones(50, dtype=torch.float64)
    truth = exact(noise, slice(50))
    covered = 0
    for seed in range(200):
        lower, upper = two_layers(noise, looks=30, seed=seed).estimate().interval(0.95)
        covered += bool(lower <= truth <= upper)
    assert 0.90 <= covered / 200 <= 0.99


def test_a_weight_counts_as_often() -> None:
    weighted, repeated = RughTemperature(), RughTemperature()
    for square, laplacian, weight in [(2.0, 8.0, 1), (3.0, 4.0, 3), (1.0, 5.0, 2)]:
        weighted.update(torch.tensor([square]), torch.tensor([laplacian]), float(weight))
        for _ in range(weight):
            repeated.update(torch.tensor([square]), torch.tensor([laplacian]))
    assert weighted.compute() == repeated.compute()
    assert weighted.estimate().stderr > repeated.estimate().stderr  # three looks are not six


def test_equal_weights_leave_value_and_error() -> None:
    plain, heavy = RughTemperature(), RughTemperature()
    for square, laplacian in [(2.0, 8.0), (3.0, 4.0), (1.0, 5.0)]:
        plain.update(torch.tensor([square]), torch.tensor([laplacian]))
        heavy.update(torch.tensor([square]), torch.tensor([laplacian]), 7.0)
    for first, second in zip(plain.estimate(), heavy.estimate(), strict=True):
        torch.testing.assert_close(first, second)


def test_what_has_no_value_is_nan() -> None:
    metric = RughTemperature(sizes=[1, 1, 1])
    for _ in range(2):
        metric.update(torch.tensor([1.0, math.nan, 1.0]), torch.tensor([1.0, 1.0, -1.0]))
    assert metric.compute_layers().tolist() == pytest.approx([1.0, math.nan, math.nan], nan_ok=True)
    assert metric.compute().isnan()
    assert RughTemperature().estimate().value.isnan()


def test_a_single_look_has_no_error() -> None:
    metric = RughTemperature()
    metric.update(torch.tensor([1.0]), torch.tensor([2.0]), 5.0)
    assert metric.compute() == 0.5
    assert metric.estimate().stderr.isnan()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (torch.ones(2), torch.ones(1)),
            "gradient_products must hold one number for each of the 1 layers, got shape (2,)",
        ),
        ((torch.ones(1), torch.ones(())), "laplacians must hold one number for each of the 1 layers, got shape ()"),
        ((torch.ones(1), torch.ones(1), 0.0), "weight must be positive and finite, got 0.0"),
    ],
)
def test_wrong_arguments_are_named(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        RughTemperature().update(*arguments)
