"""Entropies of known densities and predictions, the stated bias, and ties."""

from __future__ import annotations

import math
from collections.abc import Callable
from re import escape

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import normal
from scipy.special import digamma
from scipy.stats import differential_entropy
from torch import Tensor

from thermo_callbacks.functional import predictive_entropy, vasicek_entropy

GAUSSIAN = 0.5 * math.log(2.0 * math.pi * math.e)


def uniform(*shape: int, seed: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("draw", "entropy", "variance"),
    [
        (normal, GAUSSIAN, 0.5),
        (lambda count, seed: 3.0 * normal(count, seed=seed) - 7.0, GAUSSIAN + math.log(3.0), 0.5),
        (uniform, 0.0, 0.0),
        (lambda count, seed: -uniform(count, seed=seed).log(), 1.0, 1.0),
    ],
    ids=["Gaussian", "wide Gaussian", "uniform", "exponential"],
)
@pytest.mark.parametrize("count", [20_000, 500_000])
def test_known_densities(draw: Callable[..., Tensor], entropy: float, variance: float, count: int) -> None:
    """Within four standard errors, the variance of ln p over n, and the bias, which falls like 1 / sqrt(n)."""
    error = vasicek_entropy(draw(count, seed=count)).item() - entropy
    assert abs(error) < 4.0 * (variance / count) ** 0.5 + 1.0 / count**0.5


def vasicek_by_loop(values: list[float]) -> float:
    """The definition, value by value."""
    ordered, count = sorted(values), len(values)
    reach = int(math.sqrt(count) + 0.5)
    total = 0.0
    for place in range(count):
        spacing = ordered[min(place + reach, count - 1)] - ordered[max(place - reach, 0)]
        total += math.log(count / (2 * reach) * spacing)
    return total / count


@pytest.mark.parametrize("count", [5, 6, 7, 12, 13, 100, 2500, 2501])
def test_other_implementations(count: int) -> None:
    sample = normal(count, seed=count)
    expected = differential_entropy(sample.numpy(), method="vasicek")
    assert vasicek_entropy(sample).item() == pytest.approx(expected, rel=1e-12)
    assert vasicek_entropy(sample).item() == pytest.approx(vasicek_by_loop(sample.tolist()), rel=1e-12)


@pytest.mark.parametrize("count", [100, 1000])
def test_bias_is_as_stated_for_a_uniform_density(count: int) -> None:
    reach, repetitions = math.floor(math.sqrt(count) + 0.5), 400
    stated = (
        math.log(count / (2 * reach))
        + (1.0 - 2.0 * reach / count) * digamma(2 * reach)
        - digamma(count + 1)
        + 2.0 / count * sum(digamma(index + reach - 1) for index in range(1, reach + 1))
    )
    readings = torch.stack([vasicek_entropy(sample) for sample in uniform(repetitions, count, seed=7)])
    z = (readings.mean() - stated) / (readings.std() / repetitions**0.5)
    assert abs(z.item()) < 4.0
    assert readings.mean().item() < -0.02


@given(
    st.lists(st.integers(-1000, 1000), min_size=5, max_size=40, unique=True),
    st.sampled_from([-4.0, 0.125, 8.0]),
    st.integers(-5, 5),
)
def test_scale_place_and_order(values: list[int], factor: float, offset: int) -> None:
    sample = torch.tensor(values, dtype=torch.float64)
    expected = vasicek_entropy(sample) + math.log(abs(factor))
    torch.testing.assert_close(vasicek_entropy(factor * sample + offset), expected)
    assert torch.equal(vasicek_entropy(sample.flip(0)), vasicek_entropy(sample))


def test_difference_between_samples_of_one_shape_has_no_bias() -> None:
    """The reading of either sample is off by 0.09 or so; their difference is ln 5 up to the noise."""
    repetitions, count = 400, 100
    wide, narrow = 5.0 * normal(repetitions, count, seed=8), normal(repetitions, count, seed=9)
    differences = torch.stack([vasicek_entropy(a) - vasicek_entropy(b) for a, b in zip(wide, narrow, strict=True)])
    z = (differences.mean() - math.log(5.0)) / (differences.std() / repetitions**0.5)
    assert abs(z.item()) < 4.0


def test_point_mass_is_minus_infinity() -> None:
    assert vasicek_entropy(torch.zeros(100)).item() == -math.inf
    inside = torch.cat([torch.full((21,), 0.5), uniform(79, seed=1)])  # 2 m + 1 of 100
    assert vasicek_entropy(inside).item() == -math.inf
    at_the_end = torch.cat([torch.zeros(11), uniform(89, seed=2)])  # m + 1: what ReLU leaves
    assert vasicek_entropy(at_the_end).item() == -math.inf


def test_few_ties_do_not_show() -> None:
    sample = uniform(100, seed=3)
    tied = sample.clone()
    tied[:20:2] = tied[1:20:2]
    assert vasicek_entropy(tied).isfinite()
    assert vasicek_entropy(tied).item() == pytest.approx(vasicek_entropy(sample).item(), abs=0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_low_precision_samples(dtype: torch.dtype) -> None:
    """Rounded to 8 bits, a thousand values have ties, and still spacings that are wide against the rounding."""
    sample = normal(1000, seed=4)
    reading = vasicek_entropy(sample.to(dtype))
    assert reading.dtype == torch.float32
    assert reading.item() == pytest.approx(vasicek_entropy(sample).item(), abs=0.02)


def test_coarse_rounding_is_many_point_masses() -> None:
    """Of 10,000 values rounded to tenths, 400 are zero: no density is left to measure. Of 100, four are."""
    rounded = (10.0 * normal(10_000, seed=5)).round() / 10.0
    assert vasicek_entropy(rounded).item() == -math.inf
    assert vasicek_entropy(rounded[:100]).isfinite()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_diverged_sample_has_no_entropy(bad: float) -> None:
    sample = normal(50, seed=6)
    sample[17] = bad
    assert vasicek_entropy(sample).isnan()


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_all_classes_alike(classes: int) -> None:
    assert predictive_entropy(torch.full((4, classes), 3.0)).item() == pytest.approx(math.log(classes), rel=1e-6)


def test_certainty_has_no_entropy() -> None:
    assert predictive_entropy(1e4 * torch.eye(5)).item() == 0.0


def test_predictive_entropy_against_torch_distributions() -> None:
    logits = 3.0 * normal(200, 7, seed=10)
    expected = torch.distributions.Categorical(logits=logits).entropy().mean()
    torch.testing.assert_close(predictive_entropy(logits), expected)


def test_logits_may_be_shifted_and_classes_ruled_out() -> None:
    logits = normal(50, 3, seed=11)
    torch.testing.assert_close(predictive_entropy(logits + 500.0), predictive_entropy(logits))
    ruled_out = torch.cat([logits, torch.full((50, 1), -math.inf)], dim=1)
    torch.testing.assert_close(predictive_entropy(ruled_out), predictive_entropy(logits))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.01), (torch.float16, 1e-3)])
def test_low_precision_logits(dtype: torch.dtype, tolerance: float) -> None:
    logits = normal(2000, 10, seed=12)
    reading = predictive_entropy(logits.to(dtype))
    assert reading.dtype == torch.float32
    assert reading.item() == pytest.approx(predictive_entropy(logits).item(), rel=tolerance)


SAMPLES = "samples must be a floating-point tensor of shape [n], got shape"
LOGITS = "logits must be a floating-point tensor of shape [B, C] with B >= 1 samples and C >= 2 classes, got shape"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: vasicek_entropy(torch.zeros(9, 2)), f"{SAMPLES} (9, 2) and torch.float32: flatten it"),
        (lambda: vasicek_entropy(torch.arange(9)), f"{SAMPLES} (9,) and torch.int64: flatten it"),
        (
            lambda: vasicek_entropy(torch.zeros(4)),
            "samples must hold at least 5 values to show a density, got 4: take more",
        ),
        (
            lambda: predictive_entropy(torch.zeros(8, 1)),
            f"{LOGITS} (8, 1) and torch.float32: give a single logit z as two columns [0, z]",
        ),
        (lambda: predictive_entropy(torch.zeros(8)), f"{LOGITS} (8,) and torch.float32"),
        (lambda: predictive_entropy(torch.zeros(0, 3)), f"{LOGITS} (0, 3) and torch.float32"),
        (lambda: predictive_entropy(torch.zeros(8, 3).long()), f"{LOGITS} (8, 3) and torch.int64"),
    ],
)
def test_message(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{escape(message)}"):
        call()
