"""The gradient at an activation's input is what comes back through the call, and nothing else."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from probes.activations.activation_passes import Model, assert_equal_records, inputs, linear, loss_of, measure
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F
from torch.testing import assert_close

from thermo_callbacks.functional import (
    learning_efficiency,
    work_efficiency,
)
from thermo_callbacks.probes.activations import ActivationProbe


class TestGradients:
    """The gradient at z is what comes through the call."""

    def test_other_uses_of_the_input_do_not_count(self) -> None:
        plain = Model(lambda self, x: F.gelu(self.first(x)), first=linear(4, 3))

        def residual(self: Any, x: Tensor) -> Tensor:
            stream = self.first(x)
            return F.gelu(stream) + (0.0 * stream).detach() + 7.0 * (stream - stream.detach())  # equal in value

        alone = measure(plain, inputs(20, 4))["root.gelu"]
        beside = measure(Model(residual, first=linear(4, 3)), inputs(20, 4))["root.gelu"]
        assert_equal_records(alone, beside, rtol=1e-9)

    def test_all_ways_through_an_activation_add(self) -> None:
        class Swish(nn.Module):
            def forward(self, z: Tensor) -> Tensor:
                return z * torch.sigmoid(z)

        first = linear(4, 3)
        fused = measure(nn.Sequential(first, nn.SiLU()), inputs(20, 4))["1"]
        written = measure(nn.Sequential(first, Swish()), inputs(20, 4), activations=[Swish])["1"]
        assert_equal_records(fused, written)
        assert written.activation == "Swish"

    @pytest.mark.parametrize("way", ["computed before", "another part of one tensor"])
    def test_what_else_comes_in_is_no_way_through(self, way: str) -> None:
        class Gate(nn.Module):
            def forward(self, z: Tensor, gate: Tensor) -> Tensor:
                return z * gate

        def forward(self: Any, x: Tensor) -> Tensor:
            if way == "computed before":
                z = self.first(x)
                return self.gate(z, torch.exp(z))
            return self.gate(*self.first(x).chunk(2, 1))

        record = measure(Model(forward, first=linear(4, 6), gate=Gate()), inputs(20, 4), activations=[Gate])["gate"]
        z = linear(4, 6)(inputs(20, 4)).detach()
        z, gate = (z, z.exp()) if way == "computed before" else z.chunk(2, 1)
        a = (z * gate).requires_grad_()
        loss_of(a).backward()
        assert a.grad is not None
        expected = learning_efficiency(gate * a.grad, a.grad).item()
        assert record.learning_efficiency == pytest.approx(expected, rel=1e-12)

    def test_a_function_with_a_backward_of_its_own(self) -> None:
        class Halve(Function):
            @staticmethod
            def forward(ctx: Any, z: Tensor) -> Tensor:
                return 0.5 * z

            @staticmethod
            def backward(ctx: Any, *gradients: Any) -> Any:
                return 0.5 * gradients[0]

        class Half(nn.Module):
            def forward(self, z: Tensor) -> Tensor:
                return Halve.apply(z)

        record = measure(nn.Sequential(linear(4, 3), Half()), inputs(20, 4), activations=[Half])["1"]
        assert (record.work_efficiency, record.learning_efficiency) == pytest.approx((0.25, 0.25), rel=1e-12)

    def test_what_is_handed_on_unchanged_loses_nothing(self) -> None:
        model = nn.Sequential(linear(4, 3), nn.Identity())
        record = measure(model, inputs(20, 4), activations=[nn.Identity])["1"]
        assert (record.work_efficiency, record.learning_efficiency, record.saturated_fraction) == (1.0, 1.0, 0.0)
        assert (record.temperature_drop, record.engine) == (0.0, "passive")

    def test_an_input_that_is_a_leaf(self) -> None:
        leaf = inputs(20, 3).requires_grad_()
        record = measure(nn.ReLU(), leaf)["root"]
        kept = measure(nn.Sequential(nn.Flatten(), nn.ReLU()), leaf)["1"]
        assert_equal_records(record, kept)
        assert record.learning_efficiency < 1.0

    def test_without_gradient_only_values(self) -> None:
        x = inputs(20, 4)
        record = measure(Model(lambda self, x: self.first(torch.tanh(x)), first=linear(4, 3)), inputs(20, 4))[
            "root.tanh"
        ]
        assert record.work_efficiency == pytest.approx(work_efficiency(x, x.tanh()).item(), rel=1e-12)
        assert math.isnan(record.learning_efficiency)
        assert math.isnan(record.saturated_fraction)
        assert record.powers.grad_input is record.powers.grad_output is None

    def test_under_no_grad_only_values(self) -> None:
        def forward(self: Any, x: Tensor) -> Tensor:
            with torch.no_grad():
                frozen = torch.tanh(self.first(x))
            return torch.sigmoid(self.second(frozen))

        records = measure(Model(forward, first=linear(4, 3), second=linear(3, 2)), inputs(20, 4))
        assert math.isnan(records["root.tanh"].learning_efficiency)
        assert records["root.tanh"].work_efficiency < 1.0
        assert records["root.sigmoid"].learning_efficiency > 0.0

    def test_a_branch_that_the_loss_does_not_see(self) -> None:
        def forward(self: Any, x: Tensor) -> Tensor:
            z = self.first(x)
            torch.tanh(z)
            return torch.sigmoid(z)

        records = measure(Model(forward, first=linear(4, 3)), inputs(20, 4))
        assert math.isnan(records["root.tanh"].learning_efficiency)
        assert records["root.sigmoid"].learning_efficiency > 0.0

    def test_two_backward_passes_add(self) -> None:
        model = nn.Sequential(linear(4, 3), nn.Tanh())
        with ActivationProbe(model) as probe:
            output = model(inputs(20, 4))
            loss_of(output).backward(retain_graph=True)
            loss_of(output).backward()
        once, twice = measure(model, inputs(20, 4))["1"], probe.result()["1"]
        assert_close(twice.powers.grad_input, 2.0 * once.powers.grad_input, rtol=1e-12, atol=0.0)  # type: ignore[operator]
        assert_equal_records(once, twice)

    def test_backward_after_the_pass_is_not_measured(self) -> None:
        model = nn.Sequential(linear(4, 3), nn.Tanh())
        with ActivationProbe(model) as probe:
            output = model(inputs(20, 4))
        loss_of(output).backward()
        assert math.isnan(probe.result()["1"].learning_efficiency)
