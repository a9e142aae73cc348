"""What a curvature probe does with its arguments."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from curvature_networks import energy, inputs, message, network, present, probe_of, same
from integration.curvature_models import make_module
from torch import Tensor, nn

from thermo_callbacks.functional.curvature import rademacher
from thermo_callbacks.probes.curvature import CurvatureProbe, buffers, probe_generator
from thermo_callbacks.probes.curvature.buffers import KeptMemory
from thermo_callbacks.probes.layers import layer_parameters
from thermo_callbacks.probes.replay import Replay, ReplayError

COLUMNS = ("traces", "trace_variances", "mobility_traces", "mobility_variances", "gradient_products")


def quadratic() -> tuple[nn.Module, Tensor, Callable[[Any, Any], Tensor]]:
    """Two layers of two weights each, whose loss has a given Hessian."""
    module = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)).double()
    root = torch.randn(4, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    hessian = root @ root.T

    def loss_fn(net: Any, batch: Any) -> Tensor:
        flat = torch.cat([parameter.flatten() for parameter in net.parameters()])
        return 0.5 * flat @ (hessian @ flat)

    return module, hessian, loss_fn


@pytest.mark.parametrize("method", ["double_backward", "finite_difference"])
def test_within_layers_the_rest_of_the_network_does_not_shake(method: Any) -> None:
    module, hessian, loss_fn = quadratic()
    probe = probe_of(module, loss_fn, within_layers=True, method=method)
    v = torch.cat(
        [x.flatten() for x in rademacher(list(module.parameters()), probe_generator(0, 5, torch.device("cpu")))]
    )
    sample = probe.measure(present(module), None, step=5, mobilities=dict.fromkeys(module.parameters(), 2.0))
    blocks = [hessian[part, part] @ v[part] for part in (slice(0, 2), slice(2, 4))]
    traces = torch.stack([v[part] @ block for part, block in zip((slice(0, 2), slice(2, 4)), blocks, strict=True)])
    bounds = torch.stack([2 * block.square().sum() for block in blocks])
    torch.testing.assert_close(sample.traces, traces, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(sample.trace_variances, bounds, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(sample.mobility_traces, 2 * traces, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(sample.mobility_variances, 4 * bounds, rtol=1e-6, atol=1e-9)


def test_seed_and_step_fix_the_vector() -> None:
    module = network()
    values, batch = present(module), inputs()
    first = probe_of(module).measure(values, batch, step=3)
    torch.manual_seed(99)
    assert same(first, probe_of(module).measure(values, batch, step=3))
    others = [probe_of(module).measure(values, batch, step=4), probe_of(module, seed=1).measure(values, batch, step=3)]
    assert not any(same(first, other) for other in others)


@pytest.mark.parametrize("within_layers", [False, True])
@pytest.mark.parametrize("method", ["double_backward", "finite_difference"])
def test_the_modules_parameters_are_never_written(method: Any, within_layers: bool) -> None:
    module = network()

    def clamping(net: Any, batch: Any) -> Tensor:
        for parameter in net.parameters():
            parameter.data.clamp_(-0.1, 0.1)
        return energy(net, batch)

    before = [value.clone() for value in module.parameters()]
    probe = probe_of(module, clamping, method=method, within_layers=within_layers)
    for values in (present(module), {p: p for p in module.parameters()}, {}):
        probe.measure(values, inputs(), step=0)
    assert all(torch.equal(old, parameter) for old, parameter in zip(before, module.parameters(), strict=True))


def test_parameters_without_a_value_are_as_they_are() -> None:
    module = network()
    batch = inputs()
    assert same(probe_of(module).measure({}, batch, step=0), probe_of(module).measure(present(module), batch, step=0))


def test_layers_that_are_not_watched_are_at_their_values_too() -> None:
    module = network()
    layers = layer_parameters(module, ["head"])
    values = {parameter: value + 0.5 for parameter, value in present(module).items()}
    sample = CurvatureProbe(Replay(module, energy), layers, seed=0).measure(values, inputs(), step=0)
    with torch.no_grad():
        for parameter, value in values.items():
            parameter.copy_(value)
        hidden = torch.tanh(module.first(inputs()))
    assert sample.loss == pytest.approx(energy(module, inputs()).item())
    # quadratic in the head: H = 2 <(h, 1) (h, 1)^T>
    features = torch.cat([hidden, torch.ones(len(hidden), 1, dtype=hidden.dtype)], 1)
    hessian = 2 * features.T @ features / len(features)
    v = torch.cat([x.flatten() for x in rademacher(layers["head"], probe_generator(0, 0, torch.device("cpu")))])
    torch.testing.assert_close(sample.traces, (v @ hessian @ v).reshape(1))


def test_without_mobilities_and_gradients_there_is_no_value() -> None:
    module = network()
    sample = probe_of(module).measure(present(module), inputs(), step=0)
    for name in COLUMNS[2:]:
        assert getattr(sample, name).isnan().all()
    for name in COLUMNS:
        assert (getattr(sample, name).dtype, getattr(sample, name).shape) == (torch.float64, (2,))


def test_one_number_is_a_mobility_for_all_coordinates() -> None:
    module = network()
    numbers = {parameter: 0.1 * (1 + index) for index, parameter in enumerate(module.parameters())}
    tensors = {parameter: torch.full_like(parameter, number) for parameter, number in numbers.items()}
    one, other = (
        probe_of(module).measure(present(module), inputs(), step=0, mobilities=chosen) for chosen in (numbers, tensors)
    )
    for name in COLUMNS[2:4]:
        torch.testing.assert_close(getattr(one, name), getattr(other, name))
        assert (getattr(one, name) != 0).all()


@pytest.mark.parametrize("known", [0.1, "tensor"])
def test_a_layer_with_an_unknown_mobility_has_no_value(known: Any) -> None:
    module = network()
    mobilities = {
        parameter: torch.full_like(parameter, 0.1) if known == "tensor" else known
        for parameter in module.first.parameters()
    }
    sample = probe_of(module).measure(present(module), inputs(), step=0, mobilities=mobilities)
    assert sample.mobility_traces.isnan().tolist() == [False, True]
    assert sample.mobility_variances.isnan().tolist() == [False, True]


def test_a_parameter_that_had_no_gradient_adds_nothing_to_the_product() -> None:
    module = network()
    loss = energy(module, inputs())
    weight, bias = torch.autograd.grad(loss, [module.first.weight, module.first.bias])
    given = {module.first.weight: weight, module.first.bias: 2 * bias}
    sample = probe_of(module).measure(present(module), inputs(), step=0, gradients=given)
    torch.testing.assert_close(
        sample.gradient_products, torch.stack([weight.square().sum() + 2 * bias.square().sum(), torch.zeros_like(loss)])
    )


def test_a_skipped_batch_has_no_value() -> None:
    module = network()
    said: list[tuple[str, str]] = []
    probe = probe_of(
        module,
        lambda net, batch: None,
        warn_once=lambda *both: said.append(both),
    )
    sample = probe.measure(present(module), inputs(), 7, step=0)
    assert sample.traces.isnan().tolist() == [True, True]
    assert sample.loss != sample.loss
    assert said == [("skipped batch", "loss_fn returns None for batch 7: no loss, no curvature")]
    assert probe.method == "double_backward"


def test_autocast_around_the_probe_does_not_reach_the_loss() -> None:
    module = network(dtype=torch.float32)
    batch = inputs(dtype=torch.float32)
    expected = probe_of(module).measure(present(module), batch, step=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert same(expected, probe_of(module).measure(present(module), batch, step=0))


def test_a_loss_that_depends_on_no_parameter_is_refused() -> None:
    text = "the loss of this batch depends on no parameter: return one that is made from the network"
    with pytest.raises(ReplayError, match=message(text)):
        probe_of(network(), lambda net, batch: energy(net, batch).detach()).measure({}, inputs(), step=0)


def test_a_parameter_that_the_step_freezes_has_no_curvature() -> None:
    def freezing(net: Any, batch: Any) -> Tensor:
        net.head.requires_grad_(False)
        return energy(net, batch)

    module = network()
    sample = probe_of(module, freezing).measure({}, inputs(), step=0)
    assert sample.traces[0] != 0
    assert sample.traces[1] == 0
    assert module.head.weight.requires_grad


def test_arguments_are_checked() -> None:
    module = network()
    text = "method must be one of 'auto', 'double_backward', 'finite_difference', got 'lanczos'"
    with pytest.raises(ValueError, match=message(text)):
        probe_of(module, method="lanczos")
    text = "layers must hold at least one parameter, got {}: freeze less of the module"
    with pytest.raises(ValueError, match=message(text)):
        CurvatureProbe(Replay(module, energy), {}, seed=0)


def test_a_layer_without_parameters_keeps_its_place() -> None:
    module = network()
    layers = {"none": [], **layer_parameters(module)}
    for within_layers in (False, True):
        probe = CurvatureProbe(Replay(module, energy), layers, seed=0, within_layers=within_layers)
        sample = probe.measure({}, inputs(), step=0)
        assert probe.names == ("none", "first", "head")
        assert [trace != 0 for trace in sample.traces.tolist()] == [False, True, True]


def test_measuring_in_the_middle_of_a_training_step_module() -> None:
    module = make_module("batch norm and dropout")
    targets = inputs().sum(1, keepdim=True)
    probe = CurvatureProbe(Replay(module), layer_parameters(module), seed=0)
    mean = module.net.net[1].running_mean
    before = mean.clone()
    with torch.no_grad(), torch.inference_mode():
        sample = probe.measure({}, (inputs(), targets), step=0)
    assert sample.traces.isfinite().all()
    assert module.net.net[1].running_mean is mean
    assert torch.equal(mean, before)


@pytest.mark.parametrize("within_layers", [False, True])
@pytest.mark.parametrize("method", ["double_backward", "finite_difference"])
def test_a_measurement_does_not_see_what_the_last_one_has_left(method: Any, within_layers: bool) -> None:
    module, faults = network(), [None, None, RuntimeError("out of luck"), None]

    def unlucky(net: Any, batch: Any) -> Tensor:
        if faults[0] is not None:
            raise faults[0]
        return energy(net, batch)

    options = {"method": method, "within_layers": within_layers}
    probe, others = probe_of(module, unlucky, **options), {p: torch.ones_like(p) for p in module.parameters()}
    for step in range(4):
        if faults[0] is not None:
            with pytest.raises(RuntimeError, match="out of luck"):
                probe.measure({}, inputs(), step=step)
        else:
            found = probe.measure({}, inputs(), step=step, gradients=others if step else None)
            fresh = probe_of(module, **options).measure({}, inputs(), step=step, gradients=others)
            assert same(found, fresh)
            assert not step or torch.equal(found.gradient_products, fresh.gradient_products)
        faults.pop(0)


@pytest.mark.parametrize("set_to_none", [True, False])
def test_a_step_may_clear_its_gradients(set_to_none: bool) -> None:
    module = network()

    def clearing(net: Any, batch: Any) -> Tensor:
        net.zero_grad(set_to_none=set_to_none)
        assert all(parameter.grad is None for parameter in net.parameters())
        return energy(net, batch)

    found = probe_of(module, clearing, method="finite_difference").measure({}, inputs(), step=0)
    assert same(found, probe_of(module, method="finite_difference").measure({}, inputs(), step=0))


def test_gradients_by_differences_are_those_at_the_point() -> None:
    module = network()
    others = {p: torch.ones_like(p) for p in module.parameters()}
    one, other = (
        probe_of(module, method=method).measure({}, inputs(), step=0, gradients=others)
        for method in ("double_backward", "finite_difference")
    )
    torch.testing.assert_close(one.gradient_products, other.gradient_products, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("method", ["double_backward", "finite_difference"])
def test_memory_of_a_large_network_is_not_kept(method: Any, fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "SMALL", 0)
    memory = KeptMemory()
    place = memory.like("mine", torch.zeros(1))

    def loss_fn(net: Any, batch: Any) -> Any:
        return torch.zeros(2) if fails else energy(net, batch)

    with pytest.raises(ReplayError) if fails else contextlib.nullcontext():
        probe_of(network(), loss_fn, method=method, memory=memory).measure({}, inputs(), step=0)
    assert memory.like("mine", torch.zeros(1)) is not place
