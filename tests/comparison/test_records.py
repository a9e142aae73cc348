"""Means with intervals."""

from __future__ import annotations

import math

import pytest
import torch
from comparison_runs import DIVERGED, FAILED, run, runs
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from thermo_callbacks.comparison.records import MEASURES, estimate, summarise

numbers = st.floats(-1e3, 1e3)


@given(st.lists(numbers, min_size=2, max_size=8), st.integers(1, 20))
def test_interval_is_that_of_the_t_test(values, comparisons):
    mean, width, n = estimate(values, comparisons)
    assert n == len(values)
    assert mean == pytest.approx(sum(values) / n, abs=1e-9)
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1) / n)
    if spread > 1e-6:
        chance = 2 * stats.t.sf(width / spread, n - 1)
        assert chance == pytest.approx(0.05 / comparisons, rel=1e-6)


def test_interval_covers_the_mean_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(2000, 3, generator=generator, dtype=torch.float64).tolist()
    covered = sum(abs(each.mean) <= each.half_width for each in map(estimate, samples))
    assert abs(covered - 1900) < 4 * math.sqrt(2000 * 0.95 * 0.05)


@pytest.mark.parametrize(
    ("values", "mean", "n"), [([], math.nan, 0), ([2.0], 2.0, 1), ([2.0, math.nan], 2.0, 1), ([math.inf], math.nan, 0)]
)
def test_what_has_no_interval(values, mean, n):
    result = estimate(values)
    assert (result.mean, result.n) == (pytest.approx(mean, nan_ok=True), n)
    assert math.isnan(result.half_width)


def test_ends_of_the_interval():
    result = estimate([1.0, 3.0])
    assert result.upper - 2.0 == pytest.approx(2.0 - result.lower)
    assert result.upper - 2.0 == result.half_width


def test_summaries_keep_the_order_and_leave_out_what_did_not_finish():
    relu, selu = summarise([*runs(["ReLU"]), run("SELU", 0), FAILED, DIVERGED])
    assert (relu.activation, relu.engine, relu.outcome) == ("ReLU", "passive", "3")
    assert relu.values["val_loss_best"].mean == pytest.approx(0.31)
    assert (selu.engine, selu.outcome) == ("driven", "1, 1 diverged, 1 failed")
    assert selu.values["val_loss_best"].mean == 0.70
    assert selu.values["val_loss_best"].n == 1
    assert set(selu.values) == {measure.key for measure in MEASURES}


def test_engine_is_known_if_one_run_knows_it():
    (summary,) = summarise([run("ReLU", 0, engine=""), run("ReLU", 1)])
    assert summary.engine == "passive"


def test_efficiencies_are_averaged_at_each_depth():
    first = run("ReLU", 0, work_efficiency=[("a", 0.25), ("b", 0.5)])
    second = run("ReLU", 1, work_efficiency=[("a", 0.75)])
    (summary,) = summarise([first, second])
    assert [(each.mean, each.n) for each in summary.work_efficiency] == [(0.5, 2), (0.5, 1)]
    assert math.isnan(summary.learning_efficiency[1].mean)


def test_nothing():
    assert summarise([]) == []


def test_name_of_a_run():
    assert run("ReLU", 2).name == "ReLU-2"
