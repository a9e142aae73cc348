"""Efficiencies from sums over replicates: what the callback hands over, against what the metrics find from tensors."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from efficiency_cases import FIRST, SECOND, fed, powers
from torch import Tensor
from torch.testing import assert_close

from thermo_callbacks.functional.activations.powers import PowerSums, power_sums


def sums_of(*batches: Tensor) -> PowerSums:
    """Sums of batches of powers ``[2, B, M]``, added up."""
    parts = [power_sums(list(numerators.T), list(denominators.T)) for numerators, denominators in batches]
    return PowerSums(*(sum(part[1:], part[0]) for part in zip(*parts, strict=True)))


def assert_same(found: Any, expected: Any) -> None:
    for value, other in zip(found, expected, strict=True):
        assert_close(value, other, rtol=1e-12, atol=0.0, equal_nan=True)


def test_sums_are_as_good_as_tensors() -> None:
    sums, metric = sums_of(powers(FIRST), powers(SECOND)), fed("work", FIRST, SECOND)
    assert_same(sums.network(), metric.estimate())
    assert_same(sums.modules(), metric.estimate_layers())
    assert_same(sums.pooled(), metric.estimate_pooled())
    types, expected = sums.by_type(["a", "b", "a"]), metric.estimate_types(["a", "b", "a"])
    assert list(types) == ["a", "b"]
    for kind, estimate in types.items():
        assert_same(estimate, expected[kind])


def test_a_module_that_was_not_called_has_no_value() -> None:
    numerators, denominators = powers(FIRST)
    sums = power_sums([numerators[:, 0], None, None], [denominators[:, 0], None, denominators[:, 2]])
    layers = sums.modules()
    assert layers.value.isnan().tolist() == layers.stderr.isnan().tolist() == [False, True, True]
    alone = fed("work", [FIRST[0]], modules=1).estimate()
    assert_same(sums.network(), alone)
    assert_same(sums.pooled(), alone)
    later = PowerSums(*(first + second for first, second in zip(sums, sums_of(powers(FIRST)), strict=True)))
    assert later.modules().value.isfinite().all()


def test_no_module_was_called() -> None:
    sums = power_sums([None, None], [None, None])
    for estimate in (sums.network(), sums.pooled()):
        assert estimate.value.isnan()
    assert sums.modules().value.isnan().tolist() == [True, True]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_sums_that_are_not_finite_do_not_count(bad: float, side: int) -> None:
    sides = powers(FIRST).clone()
    sides[side, 3, 1] = bad
    sums = sums_of(powers(SECOND), sides)
    layers = sums.modules()
    assert_close(layers.value[1], fed("work", SECOND).compute_layers()[1], rtol=1e-12, atol=0.0)
    assert_close(layers.value[[0, 2]], fed("work", FIRST, SECOND).compute_layers()[[0, 2]])
    assert layers.degrees_of_freedom.tolist() == [49.0, 19.0, 49.0]
    assert sums.network().stderr.isfinite()


def scatter(numerator: Tensor, denominator: Tensor) -> float:
    """Error of the ratio of two sums, from the scatter of the samples."""
    residuals = numerator - numerator.sum() / denominator.sum() * denominator
    return (residuals.std() * math.sqrt(len(residuals)) / denominator.sum()).item()


def test_flattened_tokens_are_parts_of_their_samples() -> None:
    """One module sees samples, the other their tokens one by one: the error is that of samples all the same."""
    (up, down), tokens = powers(FIRST), 4
    parts = torch.rand(30, tokens, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    parts = parts / parts.sum(1, keepdim=True)
    flat = [(side[:, 1:2] * parts).flatten() for side in (up, down)]
    sums = power_sums([up[:, 0], flat[0]], [down[:, 0], flat[1]])
    whole = power_sums([up[:, 0], up[:, 1]], [down[:, 0], down[:, 1]])
    for found, expected in zip((sums.pooled(), sums.network()), (whole.pooled(), whole.network()), strict=True):
        assert_same(found, expected)
    assert sums.pooled().stderr.item() == pytest.approx(scatter(up[:, :2].sum(1), down[:, :2].sum(1)), rel=1e-12)


def test_replicates_that_may_not_be_the_same_samples_have_the_error_of_those_that_err_together() -> None:
    (first, second), numbers = powers(FIRST), torch.arange(3)
    columns = [[side[: 30 - 7 * number, number] for number in numbers.tolist()] for side in (first, second)]
    sums = power_sums(*columns)
    value = sums.pooled().value
    roots = [
        ((up - value * down).square().sum().sqrt() * math.sqrt(16 / 15)).item()
        for up, down in zip(*columns, strict=True)
    ]
    total = sum(side.sum().item() for side in columns[1])
    assert sums.pooled().stderr.item() == pytest.approx(sum(roots) / total, rel=1e-12)
    assert sums.network().stderr.isfinite()
    assert sums.modules().stderr.isfinite().all()
    # two of one group: their product is known, and the bound is that of groups
    pair = power_sums([*columns[0][:2], columns[0][0]], [*columns[1][:2], columns[1][0]])
    together = power_sums([2.0 * columns[0][0], columns[0][1]], [2.0 * columns[1][0], columns[1][1]])
    assert pair.pooled().stderr.item() == pytest.approx(together.pooled().stderr.item(), rel=1e-12)


def test_a_single_replicate_has_no_scatter() -> None:
    (up, down) = powers(FIRST)
    sums = power_sums([up[:, 0], up[:1, 1]], [down[:, 0], down[:1, 1]])
    assert sums.pooled().value.isfinite()
    assert sums.pooled().stderr.isnan()
    assert sums.modules().stderr.isnan().tolist() == [False, True]
