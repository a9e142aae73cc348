"""Equilibrium ratio as a metric."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from metric_cases import SIZES, WATCHED, added, assert_same_estimate, watch, window_steps
from oracles import normal
from torch import Tensor
from torch.testing import assert_close

from thermo_callbacks.functional import Estimate
from thermo_callbacks.functional.window.estimates import LayerEstimates
from thermo_callbacks.functional.window.statistics import WindowStatistics
from thermo_callbacks.functional.window.temperature import equilibrium_ratio_sums
from thermo_callbacks.metrics import EquilibriumRatio

BURSTS = (window_steps(1), window_steps(2, steps=12), window_steps(3, steps=31))


class TestEquilibriumRatio:
    """One ratio of sums over windows and layers; batches of steps are the replicates of its error."""

    @staticmethod
    def batches(layers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Numerator and denominator of each batch of consecutive steps, over all coordinates of some layers."""
        pairs = []
        for steps in BURSTS:
            moved = [
                (steps.parameters[layer], steps.displacements[layer], SIZES[layer] / WATCHED[layer]) for layer in layers
            ]
            numerator = torch.stack([-2.0 * scale * (q * d).sum(1) for q, d, scale in moved]).sum(0)
            denominator = torch.stack([scale * d.square().sum(1) for _, d, scale in moved]).sum(0)
            splits = [series.tensor_split(math.isqrt(len(series))) for series in (numerator, denominator)]
            pairs += [(x.sum(), y.sum()) for x, y in zip(*splits, strict=True)]
        numerators, denominators = torch.tensor(pairs, dtype=torch.float64).unbind(1)
        return numerators, denominators

    @staticmethod
    def watched(*windows: WindowStatistics) -> LayerEstimates:
        """Estimates of windows that were watched step by step."""
        estimates: LayerEstimates = added(map(equilibrium_ratio_sums, windows)).estimate()
        return estimates

    def expected(self, *layers: int) -> Estimate:
        numerators, denominators = self.batches(layers)
        ratio, count = numerators.sum() / denominators.sum(), len(numerators)
        # residuals of the batches average to zero at the ratio: their spread is its error
        spread = ((numerators - ratio * denominators).square().sum() / (count - 1) * count).sqrt()
        return Estimate(ratio, spread / denominators.sum(), torch.tensor(count - 1.0, dtype=torch.float64))

    @pytest.mark.parametrize("step_by_step", [False, True], ids=["arrays", "watched"])
    def test_layers_and_model(self, step_by_step: bool) -> None:
        metric = EquilibriumRatio(SIZES)
        for steps in BURSTS:
            metric.update(steps.parameters, steps.displacements)
        layers, whole = metric.estimate_layers(), metric.estimate()
        assert metric.compute() == whole.value
        if step_by_step:
            estimates = self.watched(*(watch(steps, SIZES) for steps in BURSTS))
            layers, whole = estimates.layers, estimates.whole
        assert_same_estimate(whole, self.expected(*range(len(SIZES))))
        for layer in range(len(SIZES)):
            assert_same_estimate(Estimate(*(field[layer] for field in layers)), self.expected(layer))

    def test_windows_without_a_layer_are_no_replicates_of_it(self) -> None:
        layers, lost = range(len(SIZES)), window_steps(9)
        for gradients in lost.gradients:
            gradients[:] = math.nan
        windows = [watch(steps, SIZES) for steps in BURSTS]
        absent = watch(lost, SIZES), watch(window_steps(9), SIZES, missing=layers)
        for actual, expected in zip(self.watched(*windows, *absent), self.watched(*windows), strict=True):
            assert_close(actual, expected, rtol=1e-10, atol=0.0)

    def test_one_batch_has_no_error(self) -> None:
        metric = EquilibriumRatio()
        metric.update(normal(3, 4, seed=4), normal(3, 4, seed=5))
        value, stderr, degrees_of_freedom = metric.estimate()
        assert value.isfinite()
        assert stderr.isnan()
        assert degrees_of_freedom == 0.0

    def test_is_one_where_the_norm_returns(self) -> None:
        # a closed walk: displacements sum to zero
        walk = normal(9, 7, seed=3)
        positions = torch.cat([walk, walk[:1]])
        metric = EquilibriumRatio()
        metric.update(positions[:-1], positions.diff(dim=0))
        assert_close(metric.compute().item(), 1.0, rtol=1e-12, atol=0.0)

    def test_no_value_where_nothing_moved(self) -> None:
        metric = EquilibriumRatio([3, 2])
        metric.update([torch.ones(4, 3), torch.ones(4, 2)], [torch.zeros(4, 3), -torch.ones(4, 2)])
        assert_close(metric.compute_layers().tolist(), [math.nan, 2.0], equal_nan=True)
        assert metric.compute() == 2.0
