"""Efficiencies of activations as metrics: the table for Gaussian input, sums, aggregates and their errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from activation_oracles import ORACLES
from efficiency_cases import (
    EITHER,
    FIRST,
    METRICS,
    SECOND,
    assert_same,
    draw,
    everything,
    fed,
    feed,
    pair,
    powers,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from thermo_callbacks.functional import Estimate, gaussian_efficiency, learning_efficiency, work_efficiency
from thermo_callbacks.metrics import LearningEfficiency, WorkEfficiency

BEFORE_UPDATE = "was called before the ``update`` method"


@pytest.fixture(scope="module")
def normal() -> Tensor:
    """A million samples."""
    return torch.randn(1_000_000, generator=torch.Generator().manual_seed(11))


class TestGaussianTable:
    """A million samples of N(0, std^2), against the integrals."""

    @staticmethod
    def measured(activation: str, z: Tensor) -> tuple[Estimate, Estimate]:
        z = z.clone().requires_grad_()
        a = ORACLES[activation].module.float()(z)
        a.sum().backward()
        assert z.grad is not None
        work, learning = WorkEfficiency(), LearningEfficiency()
        work.update(z.detach(), a.detach())
        learning.update(z.grad, torch.ones_like(z))
        return work.estimate(), learning.estimate()

    @pytest.mark.parametrize("activation", ORACLES)
    def test_within_one_percent_and_within_its_error(self, activation: str, normal: Tensor) -> None:
        work, learning = self.measured(activation, normal)
        expected = gaussian_efficiency(ORACLES[activation].module)
        for estimate, truth in zip((work, learning), expected, strict=True):
            assert estimate.value.item() == pytest.approx(truth, rel=0.01)
            assert abs(estimate.value.item() - truth) <= 4.0 * estimate.stderr.item() + 1e-6
            assert 0.0 <= estimate.stderr.item() < 0.003 * truth
        for estimate, listed in ((work, ORACLES[activation].work), (learning, ORACLES[activation].learning)):
            assert estimate.value.item() == pytest.approx(listed, rel=0.01)

    @pytest.mark.parametrize("std", [1e-3, 0.3, 1.0, 40.0])
    def test_relu_is_one_half_at_any_scale(self, std: float, normal: Tensor) -> None:
        work, learning = self.measured("ReLU", std * normal)
        assert work.value.item() == pytest.approx(0.5, rel=0.01)
        assert learning.value.item() == pytest.approx(0.5, rel=0.01)

    def test_selu_has_its_fixed_point_at_unit_variance(self, normal: Tensor) -> None:
        assert self.measured("SELU", normal)[0].value.item() == pytest.approx(1.0, rel=0.01)
        assert self.measured("SELU", 0.5 * normal)[0].value.item() > 1.05
        assert self.measured("SELU", 2.0 * normal)[0].value.item() < 0.95

    @pytest.mark.parametrize("activation", ORACLES)
    def test_the_type_of_engine_shows_at_some_scale(self, activation: str, normal: Tensor) -> None:
        measured = [self.measured(activation, std * normal[:20_000])[0].value for std in (0.05, 0.3, 1.0, 3.0, 20.0)]
        assert ("driven" if max(measured) > 1.0 else "passive") == ORACLES[activation].engine


@EITHER
class TestValues:
    def test_one_module_is_the_functional_twin(self, name: str) -> None:
        metric = METRICS[name]()
        numerator, denominator = FIRST[0]
        metric.update(**feed(name, numerator, denominator))
        expected = work_efficiency(denominator, numerator) if name == "work" else learning_efficiency(*FIRST[0])
        for value in (metric.compute(), metric.compute_layers()[0], metric.estimate_pooled().value):
            assert_close(value, expected, rtol=1e-12, atol=0.0)
        assert metric.compute().shape == ()

    def test_aggregates(self, name: str) -> None:
        metric = fed(name, FIRST)
        numerators, denominators = powers(FIRST).sum(1)
        assert_close(metric.compute_layers(), numerators / denominators, rtol=1e-12, atol=0.0)
        assert_close(metric.compute(), (numerators / denominators).prod(), rtol=1e-12, atol=0.0)
        assert_close(metric.estimate_pooled().value, numerators.sum() / denominators.sum(), rtol=1e-12, atol=0.0)
        types = metric.estimate_types(["ReLU", "Tanh", "ReLU"])
        assert list(types) == ["ReLU", "Tanh"]
        pooled = numerators[[0, 2]].sum() / denominators[[0, 2]].sum()
        assert_close(types["ReLU"].value, pooled, rtol=1e-12, atol=0.0)
        assert_close(types["Tanh"].value, numerators[1] / denominators[1], rtol=1e-12, atol=0.0)

    def test_batches_add(self, name: str) -> None:
        metric = fed(name, FIRST, SECOND)
        joined = [
            tuple(torch.cat(sides) for sides in zip(first, second, strict=True))
            for first, second in zip(FIRST, SECOND, strict=True)
        ]
        assert_same(metric, fed(name, joined), rtol=1e-10)
        assert_same(metric, fed(name, SECOND, FIRST), rtol=1e-10)
        for state in ("totals", "products", "replicates"):
            assert_close(getattr(metric, state), getattr(fed(name, FIRST), state) + getattr(fed(name, SECOND), state))
            assert metric._reductions[state] is torch.sum or metric._reductions[state].__name__ == "dim_zero_sum"

    def test_dimensions_behind_the_first_are_features(self, name: str) -> None:
        shaped = [tuple(tensor.view(30, 2, 2) for tensor in sides) for sides in FIRST]
        assert_same(fed(name, shaped), fed(name, FIRST))

    def test_half_precision_adds_up_in_double(self, name: str) -> None:
        half = [tuple(tensor.half() for tensor in sides) for sides in FIRST]
        assert_same(fed(name, half), fed(name, [tuple(tensor.double() for tensor in sides) for sides in half]))

    def test_zero_heat_has_no_efficiency(self, name: str) -> None:
        metric = fed(name, [(torch.zeros(5, 2), torch.zeros(5, 2))], modules=1)
        assert all(value.isnan() for value in everything(metric)[:2])

    def test_a_dead_module_stops_the_network(self, name: str) -> None:
        metric = fed(name, [(0.0 * FIRST[0][0], FIRST[0][1]), FIRST[1]], modules=2)
        assert metric.compute() == 0.0
        assert metric.estimate().stderr == 0.0

    def test_before_the_first_batch(self, name: str) -> None:
        metric = METRICS[name](2)
        with pytest.warns(UserWarning, match=BEFORE_UPDATE):
            assert metric.compute().isnan()
        assert metric.compute_layers().isnan().all()


def jackknife(statistic: Any, batch: Any) -> float:
    """Standard error from leaving out one sample at a time."""
    numerators, denominators = powers(batch)
    samples = len(numerators)
    values = []
    for left_out in range(samples):
        kept = [row for row in range(samples) if row != left_out]
        values.append(statistic(numerators[kept].sum(0), denominators[kept].sum(0)))
    spread = torch.stack(values)
    return ((samples - 1) / samples * (spread - spread.mean()).square().sum()).sqrt().item()


@EITHER
class TestErrors:
    """Standard errors, against another way to them and against the scatter that they stand for."""

    def test_agree_with_the_jackknife(self, name: str) -> None:
        batch = [pair(seed, 400, 4) for seed in (1, 2)]
        batch.append((batch[0][0] * 0.5, batch[0][1]))  # hangs on the first
        metric = fed(name, batch)
        cases = {
            metric.estimate(): lambda n, d: (n / d).prod(),
            metric.estimate_pooled(): lambda n, d: n.sum() / d.sum(),
            metric.estimate_types(["a", "b", "a"])["a"]: lambda n, d: n[[0, 2]].sum() / d[[0, 2]].sum(),
            Estimate(*(column[1] for column in metric.estimate_layers())): lambda n, d: n[1] / d[1],
        }
        for estimate, statistic in cases.items():
            assert estimate.stderr.item() == pytest.approx(jackknife(statistic, batch), rel=0.05)
            assert estimate.degrees_of_freedom == 399

    def test_cover_the_truth(self, name: str) -> None:
        # the mean of tanh^4 over that of z^2, as a product of two modules
        truth = gaussian_efficiency(lambda z: torch.tanh(z) ** 2).work
        scores = []
        for seed in range(300):
            z = draw(400, 3, seed=10_000 + seed)
            a = torch.tanh(z)
            estimate = fed(name, [(a, z), (a * a, a)], modules=2).estimate()
            scores.append((estimate.value.item() - truth) / estimate.stderr.item())
        spread = torch.tensor(scores).square().mean().sqrt().item()
        assert 0.88 < spread < 1.14  # 1 within three standard errors of 300 normal scores

    def test_one_sample_has_none(self, name: str) -> None:
        metric = fed(name, [pair(1, 1, 4)], modules=1)
        assert metric.estimate().value.isfinite()
        assert metric.estimate().stderr.isnan()
        assert metric.estimate_layers().degrees_of_freedom.tolist() == [0.0]

    def test_different_numbers_of_samples_err_together_at_worst(self, name: str) -> None:
        batch = [FIRST[0], pair(2, 47, 4), FIRST[2]]
        metric = fed(name, batch)
        assert metric.estimate().stderr > fed(name, [FIRST[0], FIRST[2]], modules=2).estimate().stderr / 2.0
        assert metric.estimate().value.isfinite()
        assert metric.estimate_layers().stderr.isfinite().all()
        types = metric.estimate_types(["a", "b", "a"])
        alone = fed(name, [FIRST[0], FIRST[2]], modules=2).estimate_pooled()
        assert_close(types["a"].stderr, alone.stderr, rtol=1e-12, atol=0.0)
        assert types["b"].stderr.isfinite()


@settings(max_examples=30)
@given(scale=st.floats(1e-20, 1e20), name=st.sampled_from(list(METRICS)), seed=st.integers(0, 50))
def test_the_unit_does_not_matter(scale: float, name: str, seed: int) -> None:
    batch = [pair(seed), pair(seed + 1)]
    scaled = [tuple(scale * tensor for tensor in sides) for sides in batch]
    metric, other = fed(name, batch, modules=2), fed(name, scaled, modules=2)
    for value, expected in zip(everything(other), everything(metric), strict=True):
        assert_close(value, expected, rtol=1e-9, atol=0.0)
