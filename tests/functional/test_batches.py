"""Analysis of variance of batches, and the distance of their means, against samples of known distribution."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from thermo_callbacks.functional.batches import batch_likeness, input_shift

BATCHES, SAMPLES = 12, 16


def moments(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Means and variances of batches ``[n, B, f]``."""
    return samples.mean(1), samples.var(1)


def drawn(seed: int, *, features: int = 1, batches: int = BATCHES) -> Tensor:
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(batches, SAMPLES, features, generator=chance, dtype=torch.float64)


def test_independent_samples_read_one_with_the_scatter_of_an_f_ratio() -> None:
    values = torch.tensor([batch_likeness(*moments(drawn(seed)), SAMPLES) for seed in range(2_000)])
    freedom, rest = BATCHES - 1, BATCHES * (SAMPLES - 1)
    mean = rest / (rest - 2)  # of Fisher's distribution
    spread = math.sqrt(2 * rest**2 * (freedom + rest - 2) / (freedom * (rest - 2) ** 2 * (rest - 4)))
    assert abs(float(values.mean()) - mean) < 4 * spread / math.sqrt(len(values))
    assert float(values.std()) == pytest.approx(spread, rel=0.1)


def test_a_batch_effect_is_found_at_its_size() -> None:
    effect = 0.5
    chance = torch.Generator().manual_seed(1)
    values = [
        batch_likeness(
            *moments(drawn(seed, batches=400) + effect * torch.randn(400, 1, 1, generator=chance).double()), SAMPLES
        )
        for seed in range(20)
    ]
    assert sum(values) / len(values) == pytest.approx(1 + SAMPLES * effect**2, rel=0.05)


@pytest.mark.parametrize("batches", [3, BATCHES])
def test_drawing_without_replacement_changes_nothing(batches: int) -> None:
    data, values = drawn(0, features=4).flatten(0, 1), []
    for seed in range(1_000):
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
        values.append(batch_likeness(*moments(data[order].unflatten(0, (BATCHES, SAMPLES))[:batches]), SAMPLES))
    error = float(torch.tensor(values).std()) / math.sqrt(len(values))
    assert sum(values) / len(values) == pytest.approx(1.0, abs=4 * error + 2 / len(data))


@given(scale=st.floats(1e-3, 1e3), offset=st.floats(-100, 100))
def test_units_of_the_features_do_not_count(scale: float, offset: float) -> None:
    samples = drawn(0, features=4)
    factors = torch.tensor([scale, 1.0, 1.0 / scale, 1.0], dtype=torch.float64)
    assert batch_likeness(*moments(samples * factors + offset), SAMPLES) == pytest.approx(
        batch_likeness(*moments(samples), SAMPLES), rel=1e-6
    )


def test_a_label_that_is_the_same_in_each_batch_does_not_rule_the_sum() -> None:
    labels = torch.arange(BATCHES, dtype=torch.float64)[:, None, None].expand(BATCHES, SAMPLES, 1)
    joined = torch.cat([drawn(0, features=63), labels], 2)
    assert 1.0 < batch_likeness(*moments(joined), SAMPLES) < 2.0


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_batches_say_nothing(count: int) -> None:
    assert math.isnan(batch_likeness(torch.zeros(count, 3), torch.ones(count, 3), SAMPLES))


def test_single_samples_and_constants_say_nothing() -> None:
    assert math.isnan(batch_likeness(torch.randn(4, 3), torch.ones(4, 3), 1))
    assert math.isnan(batch_likeness(torch.zeros(4, 3), torch.zeros(4, 3), SAMPLES))
    assert batch_likeness(torch.arange(4.0)[:, None], torch.zeros(4, 1), SAMPLES) == math.inf


def test_chance_is_taken_off_a_shift() -> None:
    squares = []
    for seed in range(2_000):
        before, now = drawn(2 * seed, features=8), drawn(2 * seed + 1, features=8)
        size = float(BATCHES * SAMPLES)
        reference = before.mean((0, 1))
        found = input_shift(*moments(now), reference, samples=size, reference_samples=size)
        raw = (now.mean((0, 1)) - reference).square() / moments(now)[1].mean(0)
        squares.append(float(raw.mean()) - 2 / size)
        assert found == pytest.approx(math.sqrt(max(0.0, squares[-1])))
    spread = float(torch.tensor(squares).std())
    assert abs(sum(squares) / len(squares)) < 4 * spread / math.sqrt(len(squares))


def test_a_shift_is_in_standard_deviations() -> None:
    now = 5.0 * drawn(3, features=64, batches=200) + 2.5
    found = input_shift(*moments(now), torch.zeros(64).double(), samples=3_200.0, reference_samples=1e9)
    assert found == pytest.approx(0.5, rel=0.05)


def test_a_shift_of_constants_says_nothing() -> None:
    assert math.isnan(
        input_shift(torch.ones(3, 2), torch.zeros(3, 2), torch.zeros(2), samples=9.0, reference_samples=9.0)
    )
