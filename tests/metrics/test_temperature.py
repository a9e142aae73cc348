"""Temperatures as metrics: what weighs how much, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from metric_cases import SIZES, WATCHED, WindowSteps, added, assert_same_estimate, watch, window_steps
from oracles import normal
from torch import Tensor
from torch.testing import assert_close

from thermo_callbacks.functional import (
    Estimate,
    einstein_temperature,
    einstein_temperature_contributions,
    kinetic_sampling_variance,
    kinetic_temperature,
    kinetic_temperature_contributions,
    mean_estimate,
    virial_temperature_contributions,
)
from thermo_callbacks.functional.window.einstein import einstein_temperature_sums
from thermo_callbacks.functional.window.statistics import WindowStatistics
from thermo_callbacks.functional.window.temperature import kinetic_temperature_sums
from thermo_callbacks.metrics import EinsteinTemperature, KineticTemperature, VirialTemperature

TOTALS = torch.tensor(SIZES, dtype=torch.float64)
SEEN = torch.tensor(WATCHED, dtype=torch.float64)
BURSTS = (window_steps(1), window_steps(2, steps=12), window_steps(3, steps=31))


def across(layers: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Weighted mean of the layers."""
    return (torch.stack(list(layers), -1) * weights).sum(-1) / weights.sum()


@pytest.mark.parametrize("step_by_step", [False, True], ids=["arrays", "watched"])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
class TestKineticTemperature:
    """Coordinates weigh the same, watched or not; steps are the replicates."""

    @staticmethod
    def measured(momentum: float, nesterov: bool, step_by_step: bool) -> tuple[Estimate, Estimate]:
        """Estimates of the layers and of the model."""
        options: dict[str, Any] = {"momentum": momentum, "nesterov": nesterov}
        if step_by_step:
            windows = [watch(steps, SIZES, **options) for steps in BURSTS]
            estimates = added(map(kinetic_temperature_sums, windows)).estimate()
            return estimates.layers, estimates.whole
        metric = KineticTemperature(SIZES, **options)
        for steps in BURSTS:
            metric.update(steps.displacements, steps.gradients)
        assert metric.compute() == metric.estimate().value
        return metric.estimate_layers(), metric.estimate()

    @staticmethod
    def contributions(layer: int, momentum: float, nesterov: bool) -> tuple[list[Tensor], list[Tensor]]:
        """Of one layer in each window_steps: contributions, and sampling variance."""
        moved = [(steps.displacements[layer], steps.gradients[layer]) for steps in BURSTS]
        return (
            [kinetic_temperature_contributions(d, g, momentum, nesterov=nesterov) for d, g in moved],
            [kinetic_sampling_variance(d, g, SIZES[layer], momentum, nesterov=nesterov) for d, g in moved],
        )

    def test_layers(self, momentum: float, nesterov: bool, step_by_step: bool) -> None:
        estimate, _ = self.measured(momentum, nesterov, step_by_step)
        for layer in range(len(WATCHED)):
            contributions, variances = self.contributions(layer, momentum, nesterov)
            # the coordinates stay the same: windows do not average over them
            lengths = torch.tensor([len(window) for window in contributions])
            variance = (torch.stack(variances) * lengths).sum() / lengths.sum()
            expected = mean_estimate(torch.cat(contributions), sampling_variance=variance)
            assert_same_estimate(Estimate(*(field[layer] for field in estimate)), expected)

    def test_model(self, momentum: float, nesterov: bool, step_by_step: bool) -> None:
        _, estimate = self.measured(momentum, nesterov, step_by_step)
        layers = [self.contributions(layer, momentum, nesterov) for layer in range(len(WATCHED))]
        contributions = across([torch.cat(windows) for windows, _ in layers], TOTALS)
        lengths = torch.tensor([len(window) for window in layers[0][0]])
        # samples of different layers are drawn independently
        variances = (torch.stack([torch.stack(each) for _, each in layers], -1) * (TOTALS / TOTALS.sum()) ** 2).sum(-1)
        expected = mean_estimate(contributions, sampling_variance=(variances * lengths).sum() / lengths.sum())
        assert_same_estimate(estimate, expected)


class TestKineticErrors:
    """Where the standard error comes from, and what is refused."""

    def test_layers_share_the_noise_of_a_step(self) -> None:
        noise = normal(40, 5, seed=0)
        metric = KineticTemperature([5, 5, 5])
        metric.update([-0.1 * noise] * 3, [noise] * 3)
        assert_close(metric.estimate().stderr, metric.estimate_layers().stderr[0], rtol=1e-12, atol=0.0)

    def test_a_sample_is_less_sure_than_the_whole(self) -> None:
        gradients = normal(60, 20, seed=1) * torch.linspace(0.1, 3.0, 20).double()
        whole, sample = KineticTemperature([20]), KineticTemperature([10**6])
        for metric in (whole, sample):
            metric.update(-0.1 * gradients, gradients)
        assert sample.compute() == whole.compute()
        assert sample.estimate().stderr > whole.estimate().stderr

    def test_one_contribution_has_no_error(self) -> None:
        gradients = normal(2, 3, seed=2)
        metric = KineticTemperature()
        metric.update(-0.1 * gradients, gradients)
        value, stderr, degrees_of_freedom = metric.estimate()
        assert value > 0.0
        assert stderr.isnan()
        assert degrees_of_freedom == 0.0
        metric.update(-0.1 * gradients, gradients)  # twice the same
        assert metric.estimate().stderr == 0.0

    def test_constant_gradients_have_no_temperature(self) -> None:
        metric = KineticTemperature()
        metric.update(torch.full((5, 3), -0.1), torch.ones(5, 3))
        assert metric.compute() == 0.0
        assert metric.estimate().stderr == 0.0

    def test_layers_of_optimizers_with_different_momentum(self) -> None:
        steps = window_steps(4)
        first, second = (WindowSteps(*(field[part] for field in steps)) for part in (slice(2), slice(2, None)))
        windows = [watch(first, SIZES[:2], momentum=0.9), watch(second, SIZES[2:], momentum=0.5)]
        estimates = kinetic_temperature_sums(WindowStatistics.join(windows)).estimate()
        expected = [
            kinetic_temperature(moves, slopes, 0.9 if layer < 2 else 0.5)
            for layer, (_, moves, slopes) in enumerate(zip(*steps, strict=True))
        ]
        assert_close(estimates.layers.value, torch.stack(expected), rtol=1e-10, atol=0.0)
        assert_close(estimates.whole.value, across(expected, TOTALS), rtol=1e-10, atol=0.0)

    def test_no_value_has_no_error(self) -> None:
        before = KineticTemperature(SIZES)
        without = kinetic_temperature_sums(watch(window_steps(4), SIZES, missing=range(len(SIZES)))).estimate()
        for estimate in (before.estimate(), before.estimate_layers(), without):
            assert estimate.value.isnan().all()
            assert estimate.stderr.isnan().all()
            assert not estimate.degrees_of_freedom.any()

    @pytest.mark.parametrize("metric", [KineticTemperature, EinsteinTemperature])
    @pytest.mark.parametrize("momentum", [1.0, -0.1, math.nan])
    def test_bad_momentum(self, metric: type[KineticTemperature], momentum: float) -> None:
        with pytest.raises(ValueError, match=rf"^momentum must lie in \[0, 1\), got {momentum}: at 1 the optimizer"):
            metric(SIZES, momentum=momentum)

    def test_windows_of_other_shapes(self) -> None:
        with pytest.raises(
            ValueError, match=r"^gradients must have the shape of displacements, \(5, 3\), got \(5, 2\)"
        ):
            KineticTemperature().update(torch.zeros(5, 3), torch.zeros(5, 2))


class TestVirialTemperature:
    """Batches of steps are the replicates."""

    @pytest.mark.parametrize("steps", [2, 3, 5, 17, 26, 31])
    def test_value_is_the_mean_of_all_steps(self, steps: int) -> None:
        q, _, g = window_steps(5, steps=steps)
        metric = VirialTemperature(SIZES)
        metric.update(q, g)
        contributions = [virial_temperature_contributions(*layer) for layer in zip(q, g, strict=True)]
        assert_close(metric.compute_layers(), torch.stack(contributions).mean(1), rtol=1e-10, atol=0.0)
        assert_close(metric.compute(), across(contributions, TOTALS).mean(), rtol=1e-10, atol=0.0)

    @pytest.mark.parametrize("side", [2, 4, 5])
    def test_error_is_that_of_batches_of_root_w_steps(self, side: int) -> None:
        bursts = [window_steps(seed, steps=side**2 + 1) for seed in (6, 7)]
        metric = VirialTemperature(SIZES)
        for q, _, g in bursts:
            metric.update(q, g)
        windows = [
            torch.stack([virial_temperature_contributions(*layer) for layer in zip(q, g, strict=True)], 1)
            for q, _, g in bursts
        ]
        layers = torch.cat(windows)
        assert_same_estimate(metric.estimate_layers(), mean_estimate(layers, batch_length=side))
        overall = across(layers.unbind(1), TOTALS)
        assert_same_estimate(metric.estimate(), mean_estimate(overall, batch_length=side))


class TestEinsteinTemperature:
    """Kicks over mobility, coordinate by coordinate; the mean over layers weighs by their coordinates."""

    @pytest.mark.parametrize("momentum", [0.0, 0.9])
    def test_model(self, momentum: float) -> None:
        steps = window_steps(8)
        metric = EinsteinTemperature(SIZES, momentum=momentum)
        metric.update(steps.displacements, steps.mobility)
        moved = list(zip(steps.displacements, steps.mobility, strict=True))
        by_layer = torch.stack([einstein_temperature(*layer, momentum) for layer in moved])
        assert_close(metric.compute(), (TOTALS * by_layer).sum() / TOTALS.sum(), rtol=1e-12, atol=0.0)
        contributions = [einstein_temperature_contributions(*layer, momentum) for layer in moved]
        assert_same_estimate(metric.estimate(), mean_estimate(across(contributions, TOTALS)))
        assert_same_estimate(metric.estimate_layers(), mean_estimate(torch.stack(contributions, 1)))

    def test_one_mobility_for_all_coordinates(self) -> None:
        _, moves, _ = window_steps(8)
        one, each = EinsteinTemperature(SIZES), EinsteinTemperature(SIZES)
        one.update(moves, [torch.tensor(0.1 + layer).double() for layer in range(len(moves))])
        each.update(moves, [torch.full((n,), 0.1 + layer).double() for layer, n in enumerate(WATCHED)])
        assert_close(one.compute_layers(), each.compute_layers(), rtol=1e-6, atol=0.0)
        assert_close(one.compute(), each.compute(), rtol=1e-6, atol=0.0)

    def test_a_layer_of_unknown_mobility_has_no_value(self) -> None:
        rest = WindowSteps(*(field[1:] for field in window_steps(8)))
        known = einstein_temperature_sums(watch(rest, SIZES[1:])).estimate()
        estimates = einstein_temperature_sums(watch(window_steps(8), SIZES, unknown=[0])).estimate()
        assert estimates.value[0].isnan()
        assert_close(estimates.value[1:], known.value, rtol=1e-12, atol=0.0)

    def test_looking_ahead_is_refused(self) -> None:
        with pytest.raises(TypeError, match="nesterov"):
            EinsteinTemperature(momentum=0.9, nesterov=True)

    def test_mobility_of_another_layer(self) -> None:
        pattern = r"^mobility must be a scalar or of shape \[3\] like the coordinates, got \(2,\)$"
        with pytest.raises(ValueError, match=pattern):
            EinsteinTemperature().update(torch.zeros(5, 3), torch.ones(2))
