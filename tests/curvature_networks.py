"""A small network, its loss, and a probe for it: what the tests of the curvature probe share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from integration.curvature_models import Activated
from integration.models import INPUTS
from torch import Tensor, nn

from thermo_callbacks.probes.curvature import CurvatureProbe, CurvatureSample
from thermo_callbacks.probes.layers import layer_parameters
from thermo_callbacks.probes.replay import Replay


def inputs(rows: int = 8, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(rows, INPUTS, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype)


def energy(module: Any, batch: Any) -> Tensor:
    return (module(batch) - 1.0).square().mean()


def network(activation: Callable[[Tensor], Tensor] = torch.tanh, dtype: torch.dtype = torch.float64) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return Activated(activation).to(dtype)


def probe_of(module: nn.Module, loss_fn: Any = energy, **options: Any) -> CurvatureProbe:
    return CurvatureProbe(Replay(module, loss_fn), layer_parameters(module), **{"seed": 0, **options})


def present(module: nn.Module) -> dict[nn.Parameter, Tensor]:
    return {parameter: parameter.detach().clone() for parameter in module.parameters()}


def same(one: CurvatureSample, other: CurvatureSample) -> bool:
    return (
        all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("traces", "trace_variances"))
        and one.loss == other.loss
    )


def message(text: str) -> str:
    return "^" + re.escape(text) + "$"
