"""Contrasts, means with errors, and finite sampling of coordinates."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import normal
from torch import Tensor

from thermo_callbacks.functional import coordinate_sampling_variance, helmert_contrasts, mean_estimate
from thermo_callbacks.functional.statistics import batch_sums, ratio_of_sums


@st.composite
def two_windows(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    steps, coordinates = draw(st.integers(2, 12)), draw(st.integers(1, 4))
    numbers = st.lists(st.floats(-100.0, 100.0), min_size=steps * coordinates, max_size=steps * coordinates)
    return tuple(torch.tensor(draw(numbers), dtype=torch.float64).view(steps, coordinates) for _ in range(2))


@given(two_windows())
def test_contrasts_hold_the_centred_sums(windows: tuple[Tensor, Tensor]) -> None:
    x, y = windows
    products = (helmert_contrasts(x) * helmert_contrasts(y)).sum(0)
    centred = ((x - x.mean(0)) * (y - y.mean(0))).sum(0)
    torch.testing.assert_close(products, centred, rtol=1e-10, atol=1e-9)


def test_contrasts_are_the_definition_row_by_row() -> None:
    x = normal(9, 2, 3, seed=0)
    contrasts = helmert_contrasts(x)
    assert contrasts.shape == (8, 2, 3)
    for t in range(2, 10):
        expected = math.sqrt((t - 1) / t) * (x[t - 1] - x[: t - 1].mean(0))
        torch.testing.assert_close(contrasts[t - 2], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("offset", [0.0, 1.0, 1e6])
def test_contrasts_of_a_constant_are_exactly_zero(offset: float) -> None:
    assert torch.equal(helmert_contrasts(torch.full((7, 2), offset)), torch.zeros(6, 2))


def test_contrasts_of_independent_rows_are_white() -> None:
    contrasts = helmert_contrasts(normal(5, 40_000, seed=1))
    covariance = contrasts @ contrasts.T / 40_000
    torch.testing.assert_close(covariance, torch.eye(4, dtype=torch.float64), rtol=0.0, atol=4.0 / math.sqrt(20_000))


def test_mean_and_standard_error_by_hand() -> None:
    steps = torch.tensor([1.0, 2.0, 4.0, 5.0], dtype=torch.float64)
    estimate = mean_estimate(steps)
    assert estimate.value.item() == 3.0
    assert estimate.stderr.item() == pytest.approx(math.sqrt((4 + 1 + 1 + 4) / 3 / 4))
    assert estimate.degrees_of_freedom.item() == 3
    low, high = estimate.interval()
    half_width = 3.182446305284263 * estimate.stderr.item()  # Student's t at 97.5 %, 3 degrees of freedom
    assert [low.item(), high.item()] == pytest.approx([3.0 - half_width, 3.0 + half_width])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_interval_keeps_the_precision(dtype: torch.dtype) -> None:
    low, high = mean_estimate(torch.tensor([1.0, 2.0, 3.0], dtype=dtype)).interval()
    assert low.dtype == high.dtype == dtype
    assert [low.item(), high.item()] == pytest.approx([-0.484, 4.484], abs=0.02)


def test_interval_widens_with_its_level() -> None:
    estimate = mean_estimate(normal(10, seed=2))
    widths = [(high - low).item() for low, high in (estimate.interval(level) for level in (0.5, 0.95, 0.999))]
    assert widths == sorted(widths)
    assert widths[0] > 0.0


def test_last_incomplete_batch_counts_in_the_mean_alone() -> None:
    estimate = mean_estimate(torch.tensor([1.0, 3.0, 5.0, 7.0, 100.0]), batch_length=2)
    assert estimate.value.item() == pytest.approx(116.0 / 5.0)
    assert estimate.stderr.item() == pytest.approx(2.0)  # batches 2 and 6: variance 8 over 2
    assert estimate.degrees_of_freedom.item() == 1


def test_sampling_variance_adds_in_quadrature() -> None:
    steps = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    estimate = mean_estimate(steps, sampling_variance=torch.tensor([3.0, 4.0]))
    torch.testing.assert_close(estimate.stderr, torch.tensor([2.0, 2.0]))
    assert mean_estimate(steps[:, 0], sampling_variance=3.0).stderr.item() == 2.0


@pytest.mark.parametrize(("steps", "batch_length"), [(1, 1), (5, 3), (2, 9)])
def test_one_batch_has_no_error(steps: int, batch_length: int) -> None:
    estimate = mean_estimate(torch.ones(steps, 2), batch_length=batch_length)
    assert torch.equal(estimate.value, torch.ones(2))
    assert all(field.isnan().all() for field in (estimate.stderr, *estimate.interval()))


def test_batches_restore_the_error_of_correlated_steps() -> None:
    """Steps with correlation 0.9^k: a mean over m scatters by sqrt(19 / m), while single steps suggest sqrt(1 / m)."""
    series = torch.empty(2000, 300, dtype=torch.float64)
    kicks = normal(2000, 300, seed=3)
    series[0] = kicks[0]
    for step in range(1, 2000):
        series[step] = 0.9 * series[step - 1] + math.sqrt(1.0 - 0.81) * kicks[step]
    truth = math.sqrt(19.0 / 2000.0)
    assert mean_estimate(series).value.std().item() == pytest.approx(truth, rel=0.15)
    assert mean_estimate(series, batch_length=100).stderr.square().mean().sqrt().item() == pytest.approx(truth, rel=0.1)
    assert mean_estimate(series).stderr.mean().item() < 0.3 * truth


def test_error_of_a_sample_of_coordinates() -> None:
    """Means over random samples scatter by what two noisy measurements of one sample say."""
    values = torch.linspace(1.0, 3.0, 500, dtype=torch.float64)
    generator = torch.Generator().manual_seed(4)
    means, variances = [], []
    for repetition in range(1000):
        chosen = torch.randperm(500, generator=generator)[:60]
        first, second = values[chosen] + normal(2, 60, seed=repetition)
        means.append(values[chosen].mean())
        variances.append(coordinate_sampling_variance(first, second, total=500))
    assert torch.stack(variances).mean().item() == pytest.approx(torch.stack(means).var().item(), rel=0.15)


def test_sampling_variance_has_edges() -> None:
    first, second = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 1.0])
    assert coordinate_sampling_variance(first, second, total=9).item() == 0.0  # a negative covariance is noise
    assert coordinate_sampling_variance(first, first, total=2).item() == 0.0
    assert coordinate_sampling_variance(first[:1], first[:1], total=9).item() == 0.0


def test_batches_are_consecutive_and_of_nearly_one_size() -> None:
    assert batch_sums(torch.arange(5.0)).tolist() == [3.0, 7.0]


@pytest.mark.parametrize("denominator", [0.0, -1.0])
def test_quotient_without_a_positive_denominator_has_no_value(denominator: float) -> None:
    assert ratio_of_sums(torch.tensor(1.0), torch.tensor(denominator)).isnan()
