"""Equivalence test of stationarity: exact arithmetic, its level, its power, and what must not matter."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import curvatures, normal, simulate, stationary_variance, torch_rule
from scipy.stats import linregress
from scipy.stats import t as student_t
from torch import Tensor

from thermo_callbacks.functional import stationarity_test


def series(steps: int, seed: int, *, drift: float = 0.0, fall: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """White steps with a true relative drift, and a loss with unit noise that falls by so much over the span."""
    noise = normal(2, steps, seed=seed)
    squares = 1.0 + 0.1 * normal(steps, seed=seed + 10_000).clamp(-3.0, 3.0)
    slope = fall * (0.5 - torch.arange(steps, dtype=torch.float64) / steps)
    return 0.5 * (drift - 1.0) * squares + 0.5 * noise[0], squares, 3.0 + slope + noise[1]


def of_runs(momentum: float, steps: int, runs: int, *, start: float = 1.0) -> list[tuple[Tensor, Tensor, Tensor]]:
    """SGD on a quadratic with unit noise, and its loss with unit noise; ``start`` in standard deviations."""
    curvature, rate = curvatures(50), 0.05 * (1.0 - momentum)
    spread = stationary_variance(curvature, torch.ones_like(curvature), rate, momentum).sqrt()
    rule = torch_rule(torch.optim.SGD, (runs, 50), lr=rate, momentum=momentum)
    run = simulate(curvature, start * spread * normal(runs, 50, seed=1), normal(steps, runs, 50, seed=2), rule)
    q, d = run.parameters, run.displacements
    losses = run.energy(curvature) + normal(steps, runs, seed=3)
    return list(zip((q * d).sum(-1).unbind(1), d.square().sum(-1).unbind(1), losses.unbind(1), strict=True))


class TestExact:
    @pytest.mark.parametrize("level", [0.05, 0.01])
    def test_statistics_and_intervals_written_out(self, level: float) -> None:
        products, squares, losses = series(400, seed=1, drift=0.3, fall=0.5)
        found = stationarity_test(products, squares, losses, momentum=0.5, level=level)
        x = (2.0 * products + squares).view(10, 40).mean(1)
        y = 3.0 * squares.view(10, 40).mean(1)  # (1 + 1/2) / (1 - 1/2)
        ratio = (x.sum() / y.sum()).item()
        assert found.drift == pytest.approx(ratio, rel=1e-12)
        half = student_t.ppf(1.0 - level, 9) * ((x - ratio * y).std().item() / math.sqrt(10)) / y.mean().item()
        # std() takes off a mean that is 0 by construction
        assert found.drift_upper - found.drift == pytest.approx(half, rel=1e-9)
        assert found.drift - found.drift_lower == pytest.approx(half, rel=1e-9)
        line = linregress(torch.arange(400.0).view(10, 40).mean(1).numpy(), losses.view(10, 40).mean(1).numpy())
        scale = (losses.diff().square().mean() / 2.0).sqrt().item()
        assert found.loss_change == pytest.approx(line.slope * 400 / scale, rel=1e-9)
        half = student_t.ppf(1.0 - level, 8) * line.stderr * 400 / scale
        assert found.loss_change_upper - found.loss_change == pytest.approx(half, rel=1e-9)
        assert found.batches == 10

    @pytest.mark.parametrize("momentum", [0.0, 0.9])
    def test_free_diffusion_has_a_relative_drift_of_one(self, momentum: float) -> None:
        flat = torch.zeros(500, dtype=torch.float64)
        rule = torch_rule(torch.optim.SGD, (500,), lr=0.1, momentum=momentum)
        run = simulate(flat, flat, normal(1300, 500, seed=3), rule)
        q, d = run.parameters[100:] - run.parameters[100], run.displacements[100:]
        losses = normal(1200, seed=4)
        found = stationarity_test((q * d).sum(1), d.square().sum(1), losses, momentum=momentum)
        assert found.drift == pytest.approx(1.0, abs=0.15)
        assert not found.stationary
        assert found.reason.startswith("the squared norm of the parameters grows: relative drift")

    def test_a_straight_line_is_told_exactly(self) -> None:
        steps = torch.arange(103, dtype=torch.float64)  # batches of two lengths
        found = stationarity_test(-0.5 + 0.0 * steps, 1.0 + 0.0 * steps, 5.0 - 0.01 * steps, loss_scale=2.0)
        assert found.drift == found.drift_lower == found.drift_upper == 0.0
        assert found.loss_change == pytest.approx(-0.01 * 103 / 2.0)
        assert found.loss_change_upper - found.loss_change_lower == pytest.approx(0.0, abs=1e-12)
        assert not found.stationary
        assert found.reason.startswith("the loss falls: change of the loss -0.515")

    def test_windows_stand_for_their_steps(self) -> None:
        products, squares, losses = series(4000, seed=5)
        steps = stationarity_test(products, squares, losses)
        windows = stationarity_test(*(x.view(-1, 20).mean(1) for x in (products, squares, losses)), steps_per_value=20)
        assert windows.drift == pytest.approx(steps.drift, rel=1e-9)
        assert windows.drift_upper == pytest.approx(steps.drift_upper, rel=1e-9)
        assert windows.loss_change == pytest.approx(steps.loss_change, rel=0.15)  # but for the error of the noise
        assert windows.stationary == steps.stationary


@pytest.mark.parametrize(
    ("momentum", "values", "steps", "fewest"),
    [(0.0, 9, 1, 10), (0.9, 189, 1, 190), (0.9, 18, 10, 19), (0.9, 9, 50, 10)],
)
def test_too_short_a_span_is_never_accepted(momentum: float, values: int, steps: int, fewest: int) -> None:
    span = series(values, seed=6)
    found = stationarity_test(*span, momentum=momentum, steps_per_value=steps, tolerance=100.0, loss_tolerance=100.0)
    assert (found.stationary, found.batches) == (False, 0)
    assert found.reason == f"too short a span: {values} values, at least {fewest} are needed"
    assert all(map(math.isnan, found[1:7]))
    enough = stationarity_test(
        *series(fewest, seed=6), momentum=momentum, steps_per_value=steps, tolerance=100.0, loss_tolerance=100.0
    )
    assert enough.stationary
    assert enough.batches >= 5


def test_what_has_no_value_is_not_accepted() -> None:
    products, squares, losses = series(400, seed=7)
    still = stationarity_test(0.0 * products, 0.0 * squares, losses, loss_tolerance=1.0)
    assert math.isnan(still.drift)
    assert (still.stationary, still.reason) == (False, "the parameters did not move, or not to finite values")
    constant = stationarity_test(products, squares, 0.0 * losses)
    assert math.isnan(constant.loss_change)
    assert "has no noise to compare its change with: give loss_scale" in constant.reason
    assert stationarity_test(products, squares, 0.0 * losses, loss_scale=1.0).stationary
    broken = losses.clone()
    broken[5] = math.nan
    assert not stationarity_test(products, squares, broken).stationary


class TestLevel:
    """At its tolerance a run is accepted with the stated probability, and not more often."""

    @pytest.mark.parametrize("drift", [0.5, -0.5])
    def test_of_the_drift(self, drift: float) -> None:
        found = [stationarity_test(*series(1000, seed, drift=drift), loss_tolerance=1.0) for seed in range(400)]
        share = sum(one.stationary for one in found) / 400
        assert share == pytest.approx(0.05, abs=2.5 * math.sqrt(0.05 * 0.95 / 400))

    def test_of_the_loss(self) -> None:
        found = [stationarity_test(*series(8000, seed, fall=0.2)) for seed in range(200)]
        share = sum(one.stationary for one in found) / 200
        assert 0.0 < share <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / 200)

    def test_both_must_be_shown(self) -> None:
        assert stationarity_test(*series(8000, seed=1)).stationary
        moves = stationarity_test(*series(8000, seed=1, drift=1.0))
        falls = stationarity_test(*series(8000, seed=1, fall=1.0))
        assert moves.reason.startswith("the squared norm of the parameters grows")
        assert falls.reason.startswith("the loss falls")
        assert not moves.stationary
        assert not falls.stationary
        rises = stationarity_test(*series(8000, seed=1, drift=-1.0, fall=-1.0))
        assert rises.reason.startswith("the squared norm of the parameters shrinks")
        assert "; the loss rises" in rises.reason

    def test_a_short_span_proves_nothing(self) -> None:
        found = stationarity_test(*series(60, seed=1))
        assert not found.stationary
        assert found.reason.startswith("not shown to be within its tolerance, measure longer: ")


@pytest.mark.parametrize("momentum", [0.0, 0.9])
class TestRuns:
    """On runs: one in equilibrium, and one that falls into it, against its slow truth."""

    def test_equilibrium_is_recognised(self, momentum: float) -> None:
        found = [stationarity_test(*span, momentum=momentum) for span in of_runs(momentum, 6000, 8)]
        assert sum(one.stationary for one in found) >= 6

    def test_a_run_that_falls_is_not_accepted(self, momentum: float) -> None:
        for span in of_runs(momentum, 1000, 8, start=30.0):
            assert span[2][-100:].mean() < span[2][:100].mean() - 10.0
            assert not stationarity_test(*span, momentum=momentum).stationary


@given(
    unit=st.floats(1e-3, 1e3),
    offset=st.floats(-10.0, 10.0),
    scale=st.floats(0.1, 10.0),
    order=st.permutations(range(5)),
    seed=st.integers(0, 100),
)
def test_unit_of_the_loss_and_basis_of_the_parameters_do_not_matter(
    unit: float, offset: float, scale: float, order: list[int], seed: int
) -> None:
    q, d = 1.0 + normal(60, 5, seed=seed), 0.1 * normal(60, 5, seed=seed + 500)
    losses = normal(60, seed=seed + 1000)
    turn, _ = torch.linalg.qr(normal(5, 5, seed=seed + 2000))
    q2, d2 = (scale * (x @ turn)[:, order] for x in (q, d))
    found = stationarity_test((q * d).sum(1), d.square().sum(1), losses)
    other = stationarity_test((q2 * d2).sum(1), d2.square().sum(1), unit * losses + offset)
    assert found.stationary == other.stationary
    for name in ("drift", "drift_lower", "drift_upper", "loss_change", "loss_change_lower", "loss_change_upper"):
        assert getattr(other, name) == pytest.approx(getattr(found, name), rel=1e-6, abs=1e-8)


GOOD = series(50, seed=8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"losses": GOOD[2][:-1]},
            "losses must hold one value a step, the same steps as position_displacement (50,), got",
        ),
        ({"displacement_square": GOOD[1][None]}, "displacement_square must hold one value a step"),
        ({"position_displacement": torch.tensor(1.0)}, "position_displacement must hold one value a step"),
        ({"steps_per_value": 0}, "steps_per_value must be at least 1, got 0"),
        ({"level": 0.5}, "level must lie between 0 and 0.5 (for example 0.05), got 0.5"),
        ({"tolerance": 0.0}, "tolerance must be a positive number, got 0.0"),
        ({"loss_tolerance": math.nan}, "loss_tolerance must be a positive number, got nan"),
        ({"loss_scale": -1.0}, "loss_scale must be a positive number, got -1.0"),
        ({"momentum": 1.0}, "momentum must lie in [0, 1), got 1.0"),
    ],
)
def test_errors_name_the_argument(change: dict[str, Any], message: str) -> None:
    names = ("position_displacement", "displacement_square", "losses")
    with pytest.raises(ValueError) as error:  # noqa: PT011 the text is compared
        stationarity_test(**{**dict(zip(names, GOOD, strict=True)), **change})
    assert str(error.value).startswith(message)
