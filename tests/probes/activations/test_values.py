"""What the probe measures: the same as the functions do of tensors kept by hand, at any precision and scale."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from probes.activations.activation_passes import (
    DOUBLE,
    NUMBERS,
    Model,
    assert_equal_records,
    by_hand,
    inputs,
    linear,
    loss_of,
    measure,
)
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from thermo_callbacks.functional import (
    dead_unit_fraction,
    work_efficiency,
)
from thermo_callbacks.functional.activations.powers import power_sums
from thermo_callbacks.probes.activations import ActivationProbe


@pytest.mark.parametrize(
    "function", [torch.relu, torch.tanh, F.gelu, F.softsign, F.hardtanh, torch.sigmoid, F.tanhshrink]
)
def test_values_are_those_of_the_functions(function: Any) -> None:
    first, second = linear(6, 5), linear(5, 3, seed=1)
    model = Model(lambda self, x: self.second(function(3.0 * self.first(x))), first=first, second=second)
    [record] = measure(model, inputs(40, 6)).values()
    z = 3.0 * first(inputs(40, 6))
    z.retain_grad()
    a = function(z)
    a.retain_grad()
    loss_of(second(a)).backward()
    for name, value in by_hand(z, a, function).items():
        assert_close(getattr(record, name), value, rtol=1e-12, atol=1e-14, msg=name)
    assert record.powers.input.shape == (40,)


def ratio_error(numerator: Tensor, denominator: Tensor) -> float:
    """Scatter of the ratio over samples."""
    ratio, samples = numerator.sum() / denominator.sum(), len(numerator)
    residuals = numerator - ratio * denominator
    return (residuals.std() * math.sqrt(samples) / denominator.sum()).item()


@pytest.mark.parametrize(("samples", "group"), [(40, 1), (512, 1), (513, 2), (1500, 3)])
def test_errors_come_from_the_scatter_of_samples(samples: int, group: int) -> None:
    x = inputs(samples, 4)
    [record] = measure(Model(lambda self, x: torch.tanh(self.first(x)), first=linear(4, 3)), x).values()
    z = linear(4, 3)(x).detach().requires_grad_()
    a = torch.tanh(z)
    a.retain_grad()
    loss_of(a).backward()
    powers = [
        torch.stack([part.sum() for part in tensor.detach().square().sum(1).split(group)])
        for tensor in (z, a, z.grad, a.grad)
    ]
    for actual, expected in zip(record.powers, powers, strict=True):
        assert_close(actual, expected, rtol=1e-12, atol=0.0)
    z, a, at_z, at_a = record.powers
    assert at_z is not None
    for value, (up, down), (above, below) in (
        (record.work_efficiency, (a, z), (powers[1], powers[0])),
        (record.learning_efficiency, (at_z, at_a), (powers[2], powers[3])),
    ):
        estimate = power_sums([up], [down]).modules()
        assert_close(estimate.value.item(), value, rtol=1e-12, atol=0.0)
        assert_close(estimate.stderr.item(), ratio_error(above, below), rtol=1e-9, atol=0.0)


class TestPrecision:
    def test_half_precision_is_summed_in_double(self) -> None:
        model = nn.Sequential(linear(64, 256, dtype=torch.bfloat16), nn.GELU())
        x = inputs(32, 64, dtype=torch.bfloat16)
        record = measure(model, x)["1"]
        z = model[0](x).detach()
        assert_close(record.work_efficiency, work_efficiency(z.double(), F.gelu(z).double()).item(), rtol=1e-12, atol=0)
        assert record.powers.input.sum().item() == pytest.approx(z.double().square().sum().item(), rel=1e-12)

    def test_autocast_stays_outside(self) -> None:
        model = nn.Sequential(linear(6, 5, dtype=torch.float32), nn.Tanh(), nn.Softplus())
        x = inputs(20, 6, dtype=torch.float32)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            probe = ActivationProbe(model)
            with probe:
                loss_of(model(x).float()).backward()
            z = model[0](x).detach()
        assert z.dtype == torch.bfloat16
        record = probe.result()["1"]
        assert_close(record.work_efficiency, work_efficiency(z.double(), z.tanh().double()).item(), rtol=1e-12, atol=0)
        assert all(0.0 < record.learning_efficiency < 1.0 for record in probe.result().values())

    @pytest.mark.parametrize("scale", [1e-30, 1e30])
    def test_single_precision_at_any_scale(self, scale: float) -> None:
        x = (scale * inputs(20, 5)).float().requires_grad_()
        with ActivationProbe(nn.ReLU()) as probe:
            (probe._model(x) * x.new_tensor(scale)).sum().backward()
        record = probe.result()["root"]
        kept = x.detach().double()
        assert record.work_efficiency == pytest.approx(work_efficiency(kept, kept.relu()).item(), rel=1e-12)
        assert record.learning_efficiency == pytest.approx((kept > 0).double().mean().item(), rel=1e-12)

    def test_large_tensors_are_summed_piece_by_piece(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model, x = nn.Sequential(linear(6, 5), nn.Tanh()), inputs(33, 6)
        whole = measure(model, x)["1"]
        monkeypatch.setattr("thermo_callbacks.probes.activations.sums.PIECE", 20)
        assert_equal_records(whole, measure(model, x)["1"])

    def test_a_subclass_of_tensor_is_measured_aside(self) -> None:
        class Annotated(Tensor):
            calls = 0

            @classmethod
            def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                cls.calls += 1
                return super().__torch_function__(func, types, args, kwargs or {})

        x = inputs(20, 5)
        torch.tanh(x.as_subclass(Annotated))
        with ActivationProbe(nn.Identity()) as probe:
            torch.tanh(x.as_subclass(Annotated))
        assert Annotated.calls == 2  # once without and once with the probe
        [record] = probe.result().values()
        assert record.work_efficiency == pytest.approx(work_efficiency(x, x.tanh()).item(), rel=1e-12)

    def test_a_constant_has_no_temperature(self) -> None:
        record = measure(nn.Sigmoid(), torch.full((7, 3), 0.1, dtype=DOUBLE).requires_grad_())["root"]
        assert math.isnan(record.temperature_drop)

    def test_a_constant_output_is_cold(self) -> None:
        x = inputs(7, 3).requires_grad_()
        record = measure(Model(lambda self, x: F.hardtanh(100.0 + x)), x)
        assert [found.temperature_drop for found in record.values()] == [1.0]

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_what_is_not_finite_has_no_value(self, bad: float) -> None:
        x = inputs(20, 4)
        x[3, 1] = bad
        records = measure(nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Flatten(), Model(first_column), nn.Tanh()), x)
        spoiled, sound = records["1"], records["4"]
        for name in NUMBERS:
            assert math.isnan(getattr(spoiled, name)), name
        assert spoiled.engine == "passive"
        assert math.isfinite(sound.work_efficiency)

    def test_an_overflow_of_gradients_leaves_the_values(self) -> None:
        model = nn.Sequential(linear(6, 5), nn.Tanh())
        with ActivationProbe(model) as probe:
            (model(inputs(20, 6)).sum() * math.inf).backward()
        record = probe.result()["1"]
        assert math.isfinite(record.work_efficiency)
        assert math.isnan(record.learning_efficiency)
        assert math.isnan(record.saturated_fraction)

    def test_zero_has_no_efficiency(self) -> None:
        record = measure(nn.ReLU(), torch.zeros(4, 3, dtype=DOUBLE))["root"]
        assert math.isnan(record.work_efficiency)
        assert record.dead_fraction == 1.0


def first_column(self: Any, x: Tensor) -> Tensor:
    return x[:, :1]


DEAD = {
    "linear, features": (lambda self, x: self.layer(x), nn.Linear(4, 5), (20, 4), (1,)),
    "linear, tokens": (lambda self, x: self.layer(x), nn.Linear(4, 5), (6, 7, 4), (2,)),
    "conv": (lambda self, x: self.layer(x), nn.Conv2d(4, 5, 1), (6, 4, 3, 3), (1,)),
    "conv, then norm and pool": (
        lambda self, x: F.avg_pool2d(F.batch_norm(self.layer(x), None, None, training=True), 1),
        nn.Conv2d(4, 5, 1),
        (6, 4, 3, 3),
        (1,),
    ),
    "conv, then linear": (
        lambda self, x: self.layer(F.conv2d(x, torch.eye(4, dtype=DOUBLE)[:, :, None, None]).permute(0, 2, 3, 1)),
        nn.Linear(4, 5),
        (6, 4, 3, 3),
        (3,),
    ),
    "unknown": (lambda self, x: 1.0 * x, nn.Identity(), (6, 4, 3), (1, 2)),
}


class TestNeurons:
    @pytest.mark.parametrize("name", DEAD)
    def test_a_neuron_is_a_feature_or_a_channel(self, name: str) -> None:
        forward, layer, shape, features = DEAD[name]
        layer = layer.to(DOUBLE)
        if not isinstance(layer, nn.Identity):
            with torch.no_grad():
                layer.bias[:2] = -50.0  # neurons that never answer
        kept: list[Tensor] = []
        model = Model(lambda self, x: F.relu(kept.append(forward(self, x)) or kept[0]), layer=layer)
        x = inputs(*shape)
        if isinstance(layer, nn.Identity):
            x[:, 1] = -1.0
        [record] = measure(model, x).values()
        order = [d for d in range(len(shape)) if d not in features]
        samples = kept[0].detach().permute(*order, *features).reshape(-1, *(kept[0].shape[d] for d in features))
        assert record.dead_fraction == pytest.approx(dead_unit_fraction(samples, F.relu).item(), rel=1e-12)
        assert (record.dead_fraction > 0.0) == (name != "conv, then norm and pool")  # the norm takes the bias out

    def test_one_sample_shows_nothing(self) -> None:
        assert math.isnan(measure(nn.ReLU(), inputs(1, 5))["root"].dead_fraction)

    def test_a_vector_is_one_neuron(self) -> None:
        assert measure(nn.ReLU(), inputs(5))["root"].dead_fraction == 0.0
        assert measure(nn.ReLU(), -inputs(5).abs())["root"].dead_fraction == 1.0

    @pytest.mark.parametrize("saturation", [0.01, 0.3])
    def test_saturation_has_a_threshold(self, saturation: float) -> None:
        x = (3.0 * inputs(40, 5)).requires_grad_()
        record = measure(nn.Tanh(), x, saturation=saturation)["root"]
        slope = 1.0 - x.detach().tanh().square()
        assert record.saturated_fraction == (slope < saturation).double().mean().item()

    def test_elements_without_signal_are_not_counted(self) -> None:
        x = (3.0 * inputs(40, 5)).requires_grad_()
        with ActivationProbe(nn.Tanh()) as probe:
            probe._model(x)[:, :3].sum().backward()
        slope = 1.0 - x.detach()[:, :3].tanh().square()
        assert probe.result()["root"].saturated_fraction == (slope < 0.01).double().mean().item()


@settings(max_examples=20)
@given(scale=st.floats(1e-6, 1e6), seed=st.integers(0, 100))
def test_the_unit_of_the_loss_does_not_matter(scale: float, seed: int) -> None:
    model = nn.Sequential(linear(4, 3, seed=seed), nn.Tanh())
    with ActivationProbe(model) as probe:
        (scale * loss_of(model(inputs(10, 4, seed=seed)))).backward()
    assert_equal_records(probe.result()["1"], measure(model, inputs(10, 4, seed=seed))["1"], rtol=1e-9)
