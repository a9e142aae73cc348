"""The knee of steps against batch size: exact on exact data, covered in scatter; and the signal's prediction of it."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from oracles import normal
from torch import Tensor

from thermo_callbacks.functional import fit_critical_batch, run_noise_scale
from thermo_callbacks.functional.statistics import Estimate

SIZES = torch.tensor([8.0, 32.0, 128.0, 512.0, 2048.0], dtype=torch.float64)


def steps(knee: float, fewest: float = 50.0) -> Tensor:
    return fewest * (1.0 + knee / SIZES)


@pytest.mark.parametrize("knee", [1.0, 64.0, 3000.0])
def test_exact_steps_give_the_knee_without_an_interval_worth_the_name(knee: float) -> None:
    found = fit_critical_batch(SIZES, steps(knee))
    assert found.value == pytest.approx(knee, rel=1e-5)
    assert found.fewest_steps == pytest.approx(50.0, rel=1e-5)
    assert found.fewest_samples == pytest.approx(50.0 * knee, rel=1e-5)
    assert found.lower == pytest.approx(knee, rel=1e-3)
    assert found.upper == pytest.approx(knee, rel=1e-3)
    assert found.scatter < 1e-6


def test_it_is_the_least_sum_of_squares_and_the_interval_is_where_fishers_f_says() -> None:
    measured = torch.tensor([525.0, 175.0, 67.0, 52.0, 52.0], dtype=torch.float64)
    found = fit_critical_batch(SIZES, measured)

    def squares(knee: float) -> float:
        residuals = measured.log() - (1.0 + knee / SIZES).log()
        return float((residuals - residuals.mean()).square().sum())

    least = squares(found.value)
    assert least < min(squares(found.value * factor) for factor in (0.99, 1.01))
    assert found.scatter == pytest.approx(math.sqrt(least / 3))
    for end in (found.lower, found.upper):  # 10.128: 95 % of F with 1 and 3 degrees of freedom
        assert squares(end) == pytest.approx(least * (1.0 + 10.128 / 3), rel=1e-3)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    held, logs = 0, []
    for seed in range(200):
        found = fit_critical_batch(SIZES, steps(100.0) * (0.1 * normal(5, seed=seed)).exp())
        held += found.lower <= 100.0 <= found.upper
        logs.append(math.log(found.value / 100.0))
    assert abs(held / 200 - 0.95) < 3.0 * math.sqrt(0.95 * 0.05 / 200)
    mean = torch.tensor(logs, dtype=torch.float64)
    assert abs(float(mean.mean())) < 3.5 * float(mean.std()) / math.sqrt(200)


def test_steps_that_never_bend_leave_the_interval_open() -> None:
    flat, steep = fit_critical_batch(SIZES, steps(0.0)), fit_critical_batch(SIZES, 1e4 / SIZES)
    assert (flat.value, flat.lower, steep.value, steep.upper) == (0.0, 0.0, math.inf, math.inf)
    assert flat.upper < 1.0
    assert flat.fewest_steps == pytest.approx(50.0, rel=1e-3)
    assert steep.lower > 1e5
    assert steep.fewest_steps == 0.0
    assert steep.fewest_samples == pytest.approx(1e4, rel=1e-3)


@pytest.mark.parametrize(
    ("sizes", "counts", "options", "message"),
    [
        ([8.0, 16.0, 32.0], [9.0, 8.0], {}, "must have one shape [n], got (3,) and (2,)"),
        ([8.0, 16.0, 16.0], [9.0, 8.0, 7.0], {}, "batch_sizes must hold three different ones or more, got [8.0, 16.0"),
        ([8.0, 16.0, 0.0], [9.0, 8.0, 7.0], {}, "batch_sizes must be above 0 and finite"),
        ([8.0, 16.0, 32.0], [9.0, math.inf, 7.0], {}, "steps must be above 0 and finite (leave out runs without an"),
        ([8.0, 16.0, 32.0], [9.0, 8.0, 7.0], {"level": 1.0}, "level must lie between 0 and 1 (for example 0.95), got"),
    ],
)
def test_wrong_arguments_are_refused(sizes: Any, counts: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        fit_critical_batch(torch.tensor(sizes), torch.tensor(counts), **options)


def shares_of(scales: Tensor, batch: float, stderr: float = 0.01) -> Estimate:
    value = 1.0 / (1.0 + scales / batch)
    return Estimate(value, torch.full_like(value, stderr), torch.full_like(value, 50.0))


@pytest.mark.parametrize("batch", [4.0, 64.0, 1000.0])
def test_a_noise_scale_that_moves_is_averaged_over_noise_free_steps(batch: float) -> None:
    """A run goes through 40 noise-free steps, whose scales grow; it takes 1 + scale / batch steps for each of them."""
    scales = torch.linspace(10.0, 400.0, 40, dtype=torch.float64)
    counts = 1.0 + scales / batch
    fine = torch.repeat_interleave(scales, (1000.0 * counts).round().long())  # what each step of the run has
    found = run_noise_scale(shares_of(fine, batch), batch)
    assert float(found.value) == pytest.approx(float(scales.mean()), rel=1e-3)
    total = fit_critical_batch(SIZES, torch.stack([(1.0 + scales / size).sum() for size in SIZES]))
    assert total.value == pytest.approx(float(found.value), rel=1e-3)  # the knee of such runs


def test_windows_without_a_share_are_left_out_and_errors_do_not_shrink_with_windows() -> None:
    shares = shares_of(torch.full((30,), 64.0, dtype=torch.float64), 64.0, stderr=0.05)
    shares.value[3] = torch.nan
    found = run_noise_scale(shares, 64.0)
    margin = 2.0086 * 0.05  # 97.5 % of Student's t with 50 degrees of freedom
    expected = [64.0, *(64.0 * (0.5 - side * margin) / (0.5 + side * margin) for side in (1, -1))]
    assert [float(part) for part in found] == pytest.approx(expected, rel=1e-4)


def test_errors_shrink_with_the_root_of_the_runs() -> None:
    one, four = (
        run_noise_scale(Estimate(*(part.expand(runs, -1) for part in shares_of(torch.full((9,), 64.0), 64.0))), 64.0)
        for runs in (1, 4)
    )
    widths = [float((64.0 / (64.0 + each.lower)) - 64.0 / (64.0 + each.upper)) for each in (one, four)]
    assert widths[1] == pytest.approx(widths[0] / 2.0, rel=1e-4)


def test_a_run_without_any_share_has_no_noise_scale() -> None:
    nothing = Estimate(*(torch.full((2,), torch.nan, dtype=torch.float64) for _ in range(3)))
    assert all(math.isnan(part) for part in run_noise_scale(nothing, 8.0))


def test_no_signal_leaves_no_upper_end() -> None:
    found = run_noise_scale(shares_of(torch.full((4,), 1e5, dtype=torch.float64), 8.0), 8.0)
    assert math.isinf(found.upper)
    assert found.lower > 100.0
