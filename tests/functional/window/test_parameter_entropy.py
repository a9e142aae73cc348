"""Entropy of the trainable variables and its destruction, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import curvatures, normal, stationary_variance
from torch import Tensor
from torch.testing import assert_close

from thermo_callbacks.functional import (
    entropy_destruction,
    parameter_entropy,
)
from thermo_callbacks.functional.window.coordinate_terms import coordinate_terms

SPREADS = st.lists(st.floats(-10.0, 3.0), min_size=1, max_size=12).map(
    lambda powers: 10.0 ** torch.tensor(powers, dtype=torch.float64)
)
FACTORS = st.floats(-4.0, 4.0).map(lambda power: 10.0**power)


class TestParameterEntropy:
    def test_is_that_of_a_gaussian(self) -> None:
        variances = torch.tensor([0.25, 1.0, 9.0], dtype=torch.float64)
        expected = torch.distributions.Normal(torch.zeros(3).double(), variances.sqrt()).entropy().sum()
        assert_close(parameter_entropy(variances), expected, rtol=1e-14, atol=0.0)
        assert_close(parameter_entropy(variances, total=30), 10.0 * expected, rtol=1e-14, atol=0.0)

    @pytest.mark.parametrize("steps", [4, 8, 50])
    def test_independent_steps_have_no_bias(self, steps: int) -> None:
        reps, coordinates = 4000, 5
        variances = normal(reps, steps, coordinates, seed=steps).var(1)
        values = torch.stack([parameter_entropy(row, steps=steps) for row in variances])
        expected = coordinates * 0.5 * math.log(2.0 * math.pi * math.e)
        stderr = values.std() / reps**0.5
        assert abs(values.mean() - expected) < 4.0 * stderr
        plain = torch.stack([parameter_entropy(row) for row in variances])
        assert expected - plain.mean() > 10.0 * stderr

    def test_what_does_not_move_is_left_out_and_kills_nothing(self) -> None:
        variances = torch.tensor([0.5, 0.0, 2.0, 0.0], dtype=torch.float64)
        moved = parameter_entropy(torch.tensor([0.5, 2.0], dtype=torch.float64))
        assert_close(parameter_entropy(variances), moved, rtol=1e-14, atol=0.0)
        assert_close(parameter_entropy(variances, total=8), 2.0 * moved, rtol=1e-14, atol=0.0)

    @pytest.mark.parametrize("variances", [[0.0, 0.0], [1.0, math.nan], [1.0, -1.0]], ids=["rest", "nan", "negative"])
    def test_no_value(self, variances: list[float]) -> None:
        assert parameter_entropy(torch.tensor(variances)).isnan()

    @given(SPREADS, FACTORS)
    def test_other_units_shift_it(self, variances: Tensor, factor: float) -> None:
        shifted = parameter_entropy(variances * factor**2)
        expected = parameter_entropy(variances) + len(variances) * math.log(factor)
        assert_close(shifted, expected, rtol=1e-12, atol=1e-10)

    @given(SPREADS, SPREADS)
    def test_layers_add_up(self, first: Tensor, second: Tensor) -> None:
        whole = torch.cat([first, second])
        expected = parameter_entropy(first) + parameter_entropy(second)
        assert_close(parameter_entropy(whole), expected, rtol=1e-12, atol=1e-10)

    @pytest.mark.parametrize("shape", [(), (2, 2), (0,)], ids=str)
    def test_bad_shapes(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(
            ValueError, match=r"^variances must be a floating-point tensor of shape \[n\] with n >= 1, "
        ):
            parameter_entropy(torch.zeros(shape))

    def test_bad_arguments(self) -> None:
        variances = torch.ones(3)
        with pytest.raises(ValueError, match=r"^variances must be a floating-point .* torch.int64: flatten it$"):
            parameter_entropy(torch.ones(3, dtype=torch.int64))
        with pytest.raises(ValueError, match=r"^total must be at least the 3 coordinates of variances, got 2$"):
            parameter_entropy(variances, total=2)
        pattern = "^steps must be at least 4 for a variance to have a mean inverse, got 3$"
        with pytest.raises(ValueError, match=pattern):
            parameter_entropy(variances, steps=3)
        for bad in (1.0, -0.5):
            with pytest.raises(ValueError, match=r"^momentum must lie in \[0, 1\)"):
                entropy_destruction(torch.tensor(1.0), 0.1, bad)


class TestDestruction:
    CURVATURE = curvatures(100)

    def test_destruction_is_the_contraction_of_volume(self) -> None:
        for lr in (1e-3, 1e-4):
            contraction = -torch.log1p(-lr * self.CURVATURE).sum()
            second = 0.5 * (lr * self.CURVATURE).square().sum()
            difference = contraction - entropy_destruction(self.CURVATURE.sum(), lr)
            assert_close(difference, second, rtol=0.01, atol=0.0)
        assert entropy_destruction(torch.tensor(-2.0), 0.5, momentum=0.75).item() == -4.0


class TestShortWindows:
    """What windows that are not much longer than the relaxation time miss."""

    @pytest.mark.parametrize("relaxation", [20.0, 80.0], ids="{} windows".format)
    def test_entropy_lost_in_equilibrium(self, relaxation: float) -> None:
        steps, reps = 400, 2000
        rate = relaxation / steps
        variance = stationary_variance(torch.tensor(rate).double(), torch.tensor(1.0).double(), 1.0)
        position, rows = normal(reps, seed=1) * variance.sqrt(), []
        for kick in normal(steps, reps, seed=2):
            rows.append(position)
            position = (1.0 - rate) * position + kick
        terms = coordinate_terms(torch.stack(rows).var(0), rate * variance, steps)  # lr = 1, T = lambda Var
        loss = terms.log_variance.mean() / 2.0 - variance.log() / 2.0
        assert_close(loss.item(), -1.5 / relaxation, rtol=0.3, atol=0.0)
        # the steps in which a coordinate forgets: 1 / rate, but for what a window misses of the variance
        assert_close(terms.relaxation.mean().item(), 1.0 / rate, rtol=0.05 + 4.0 / relaxation, atol=0.0)

    @pytest.mark.parametrize("relaxation", [0.0, 1.0, 20.0, 100.0])
    def test_the_correction_of_independent_steps_helps_correlated_ones(self, relaxation: float) -> None:
        steps, reps = 50, 2000
        decay = 0.0 if relaxation == 0.0 else math.exp(-1.0 / relaxation)
        position, rows = normal(reps, seed=3), []
        for kick in normal(steps, reps, seed=4):
            rows.append(position)
            position = decay * position + (1.0 - decay**2) ** 0.5 * kick  # variance 1
        variances = torch.stack(rows).var(0)
        corrected = coordinate_terms(variances, torch.ones(reps, dtype=torch.float64), steps).log_variance
        assert abs(corrected.mean()) < abs(variances.log().mean())
