"""Noise scale and signal share as metrics: sums of power over windows and layers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from metric_cases import BATCH_SIZE, SIZES, WATCHED, added, watch, window_steps
from torch import Tensor
from torch.testing import assert_close

from thermo_callbacks.functional import gradient_moments
from thermo_callbacks.functional.window.noise import gradient_power_sums, noise_scale_sums
from thermo_callbacks.metrics import GradientNoiseScale, SignalShare

WINDOWS = ((window_steps(1), 4), (window_steps(2, steps=12), 32), (window_steps(3, steps=30), 256))  # with batch sizes


def powers() -> tuple[Tensor, Tensor]:
    """Noise and signal power of all coordinates, by window and layer."""
    moments = [[torch.stack(gradient_moments(layer)) for layer in steps.gradients] for steps, _ in WINDOWS]
    scale = torch.tensor(SIZES) / torch.tensor(WATCHED, dtype=torch.float64)
    noise, signal = torch.stack([torch.stack(layers, 1) for layers in moments], 1) * scale
    return noise, signal


def assert_reads(metric: Any, sums: Iterable[Any] | None, numerator: Tensor, denominator: Tensor) -> None:
    """The metric, or the sums of windows that were watched step by step, give the ratio of sums over windows."""
    layers, whole = metric.compute_layers(), metric.compute()
    if sums is not None:
        estimates = added(sums).estimate()
        layers, whole = estimates.layers.value, estimates.whole.value
    assert_close(layers, numerator.sum(0) / denominator.sum(0), rtol=1e-10, atol=0.0)
    assert_close(whole, numerator.sum() / denominator.sum(), rtol=1e-10, atol=0.0)


@pytest.mark.parametrize("step_by_step", [False, True], ids=["arrays", "watched"])
class TestSums:
    def test_noise_scale_weighs_each_window_by_its_batch_size(self, step_by_step: bool) -> None:
        metric = GradientNoiseScale(SIZES)
        windows = [dataclasses.replace(watch(steps, SIZES), batch_size=float(size)) for steps, size in WINDOWS]
        for steps, batch_size in WINDOWS:
            metric.update(steps.gradients, batch_size)
        noise, signal = powers()
        noise = noise * torch.tensor([batch_size for _, batch_size in WINDOWS])[:, None]
        assert_reads(metric, map(noise_scale_sums, windows) if step_by_step else None, noise, signal)

    def test_signal_share_knows_no_batch_size(self, step_by_step: bool) -> None:
        metric = SignalShare(SIZES)
        windows = [dataclasses.replace(watch(steps, SIZES), batch_size=math.nan) for steps, _ in WINDOWS]
        for steps, _ in WINDOWS:
            metric.update(steps.gradients)
        noise, signal = powers()
        assert_reads(metric, map(gradient_power_sums, windows) if step_by_step else None, signal, signal + noise)


class TestLimits:
    def test_both_read_the_same_powers(self) -> None:
        scale, share = GradientNoiseScale(SIZES), SignalShare(SIZES)
        for steps, _ in WINDOWS:
            scale.update(steps.gradients, BATCH_SIZE)
            share.update(steps.gradients)
        assert_close(share.compute(), 1.0 / (1.0 + scale.compute() / BATCH_SIZE), rtol=1e-12, atol=0.0)

    def test_noise_without_signal_has_no_scale(self) -> None:
        signs = torch.tensor([1.0, -1.0, 1.0, -1.0]).view(4, 1).expand(4, 3)  # noise 4/3 and signal -1/3 a coordinate
        scale, share = GradientNoiseScale(), SignalShare()
        scale.update(signs, 8)
        share.update(signs)
        assert scale.compute().isnan()
        assert_close(share.compute().item(), -1.0 / 3.0)

    def test_a_share_below_the_resolution_of_the_window_has_no_scale(self) -> None:
        """Three fifths of the first layer's power are signal, none of the second's."""
        gradients = [torch.tensor([[1.0], [3.0]]), torch.tensor([[-4.0], [6.0]])]  # signal 3 and -24; noise 2 and 50
        for share, kept in ((0.0, True), (0.59, True), (0.61, False)):
            metric = GradientNoiseScale([1, 1], minimum_share=share)
            metric.update(gradients, batch_size=3)
            first, second = metric.compute_layers().tolist()
            assert (first == pytest.approx(2.0)) if kept else math.isnan(first)
            assert math.isnan(second)

    def test_signal_without_noise(self) -> None:
        scale, share = GradientNoiseScale(), SignalShare()
        scale.update(torch.ones(4, 3), 8)
        share.update(torch.ones(4, 3))
        assert scale.compute() == 0.0
        assert share.compute() == 1.0

    def test_no_gradient_at_all(self) -> None:
        scale, share = GradientNoiseScale([3, 2]), SignalShare([3, 2])
        gradients = [torch.zeros(4, 3), torch.ones(4, 2)]
        scale.update(gradients, 8)
        share.update(gradients)
        for metric, value in ((scale, 0.0), (share, 1.0)):
            assert_close(metric.compute_layers().tolist(), [math.nan, value], equal_nan=True)
            assert metric.compute() == value

    def test_an_unknown_batch_size_gives_no_noise_scale(self) -> None:
        window = dataclasses.replace(watch(window_steps(1), SIZES), batch_size=math.nan)
        assert noise_scale_sums(window).estimate().value.isnan().all()

    @pytest.mark.parametrize("batch_size", [0, -4])
    def test_bad_batch_size(self, batch_size: int) -> None:
        metric = GradientNoiseScale(SIZES)
        with pytest.raises(ValueError, match=f"^batch_size must be at least 1 sample, got {batch_size}$"):
            metric.update(window_steps(1).gradients, batch_size)
        assert not metric.signal_sum.any()
