"""Measured curvature against the whole Hessian, for everything that makes a Hessian hard to get."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
import torch
from integration.curvature_models import CASES, make_module
from integration.models import INPUTS
from torch import Tensor, nn

from thermo_callbacks.functional.curvature import rademacher
from thermo_callbacks.probes.curvature import CurvatureProbe, CurvatureSample, probe_generator
from thermo_callbacks.probes.layers import layer_parameters
from thermo_callbacks.probes.replay import Replay

SEED = 11


def batch(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(8, INPUTS, generator=generator, dtype=torch.float64)
    return inputs.to(dtype), inputs.sum(1, keepdim=True).sin().to(dtype)


def trained(module: nn.Module) -> dict[str, list[nn.Parameter]]:
    return layer_parameters(module)


def flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


@cache
def truth(name: str) -> tuple[float, Tensor, Tensor, tuple[int, ...]]:
    """Loss, gradient, Hessian of the case without what is hard, and the number of coordinates of each layer."""
    module = make_module(name, plain=True)
    layers = trained(module)
    parameters = [parameter for owned in layers.values() for parameter in owned]
    torch.manual_seed(SEED)  # the dropout masks
    options: dict[str, Any] = {"create_graph": True, "allow_unused": True, "materialize_grads": True}
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        loss = module.training_step(batch(), 0)
        gradient = flat([g.to_dense() for g in torch.autograd.grad(loss, parameters, **options)])
    rows = [
        flat(torch.autograd.grad(entry, parameters, retain_graph=True, allow_unused=True, materialize_grads=True))
        if entry.requires_grad
        else torch.zeros_like(gradient)
        for entry in gradient
    ]
    sizes = tuple(sum(parameter.numel() for parameter in owned) for owned in layers.values())
    return loss.item(), gradient.detach(), torch.stack(rows), sizes


def measure(module: Any, probe: CurvatureProbe, steps: int, **options: Any) -> list[CurvatureSample]:
    """Samples at the parameters that the module has, while it goes on to others."""
    values = {parameter: parameter.detach().clone() for parameter in module.parameters()}
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.5)
    torch.manual_seed(SEED)
    return [probe.measure(values, batch(), step=step, **options) for step in range(steps)]


def vector(module: nn.Module, step: int) -> Tensor:
    parameters = [parameter for owned in trained(module).values() for parameter in owned]
    return flat(rademacher(parameters, probe_generator(0, step, torch.device("cpu"))))


def by_layer(row: Tensor, sizes: Sequence[int]) -> Tensor:
    return torch.stack([part.sum() for part in row.split(list(sizes))])


@pytest.mark.parametrize("name", CASES)
def test_one_probe_is_what_the_whole_hessian_says(name: str) -> None:
    module = make_module(name)
    said: list[tuple[str, str]] = []
    probe = CurvatureProbe(Replay(module), trained(module), seed=0, warn_once=lambda *both: said.append(both))
    loss, gradient, hessian, sizes = truth(name)
    generator = torch.Generator().manual_seed(4)
    other = {p: torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in module.parameters()}
    mobilities = {p: torch.rand(p.shape, generator=generator, dtype=p.dtype) for p in module.parameters()}
    parameters = [parameter for owned in trained(module).values() for parameter in owned]
    mobility, given = (flat([chosen[p] for p in parameters]) for chosen in (mobilities, other))
    samples = measure(module, probe, 2, mobilities=mobilities, gradients=other)
    assert probe.method == CASES[name].method
    assert [topic for topic, _ in said] == (["method"] if probe.method == "finite_difference" else [])
    close: dict[str, float] = {"rtol": 1e-6, "atol": 1e-8}  # double precision, and differences of it
    for step, sample in enumerate(samples):
        v = vector(module, step)
        product = hessian @ v
        torch.testing.assert_close(sample.traces, by_layer(v * product, sizes), **close)
        torch.testing.assert_close(sample.trace_variances, by_layer(2 * product.square(), sizes), **close)
        torch.testing.assert_close(sample.mobility_traces, by_layer(v * mobility * product, sizes), **close)
        bounds = by_layer(2 * (mobility * product).square(), sizes)
        torch.testing.assert_close(sample.mobility_variances, bounds, **close)
        torch.testing.assert_close(sample.gradient_products, by_layer(gradient * given, sizes), **close)
        assert sample.loss == pytest.approx(loss, rel=1e-9)
    assert hessian.diagonal().abs().max() > 0.01  # the oracle itself has curvature


@pytest.mark.parametrize("name", CASES)
def test_the_average_over_steps_is_the_exact_trace(name: str) -> None:
    module = make_module(name)
    probe = CurvatureProbe(Replay(module), trained(module), seed=0)
    _, _, hessian, sizes = truth(name)
    traces = torch.stack([sample.traces for sample in measure(module, probe, 30)])
    traces = torch.cat([traces, traces.sum(1, keepdim=True)], 1)
    blocks = by_layer(hessian.diagonal(), sizes)
    exact = torch.cat([blocks, blocks.sum(0, keepdim=True)])
    error = traces.std(0) / math.sqrt(len(traces))
    assert ((traces.mean(0) - exact).abs() <= 3 * error + 1e-8).all()
