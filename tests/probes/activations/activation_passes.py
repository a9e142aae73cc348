"""One pass of a small model under the probe, and the same values from tensors that were kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from thermo_callbacks.functional import (
    dead_unit_fraction,
    implied_init_gain,
    learning_efficiency,
    saturated_fraction,
    temperature_drop,
    work_efficiency,
)
from thermo_callbacks.probes.activations import ActivationProbe, ActivationRecord

DOUBLE = torch.float64
NUMBERS = [  # all that isn't text
    "work_efficiency",
    "learning_efficiency",
    "temperature_drop",
    "dead_fraction",
    "saturated_fraction",
    "implied_gain",
]


def inputs(*shape: int, dtype: torch.dtype = DOUBLE, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE).to(dtype)


class Model(nn.Module):
    """A model whose forward is a function."""

    def __init__(self, forward: Callable[..., Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self._function = forward
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, tensor: Tensor) -> Tensor:
        return self._function(self, tensor)


def linear(inputs: int, outputs: int, *, dtype: torch.dtype = DOUBLE, seed: int = 0) -> nn.Linear:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(inputs, outputs, dtype=dtype)


def loss_of(output: Tensor) -> Tensor:
    """Samples and features count differently."""
    weights = torch.linspace(0.5, 2.0, output.numel(), dtype=output.dtype).view(output.shape)
    return (weights * output.square()).sum() + (weights * output).sum()


def measure(model: nn.Module, tensor: Tensor, **options: Any) -> dict[str, ActivationRecord]:
    """One forward pass, and a backward pass where there is something to learn."""
    with ActivationProbe(model, **options) as probe:
        output = model(tensor)
        if output.requires_grad:
            loss_of(output).backward()
    return probe.result()


def by_hand(
    z: Tensor, a: Tensor, function: Callable[..., Tensor], *, features: Sequence[int] = (1,)
) -> dict[str, float]:
    """Values from tensors whose gradients were kept."""
    samples = z.movedim(list(features), list(range(-len(features), 0))).flatten(0, -len(features) - 1)
    work = work_efficiency(z, a)
    return {
        "work_efficiency": work.item(),
        "learning_efficiency": learning_efficiency(z.grad, a.grad).item(),
        "temperature_drop": temperature_drop(z, a).item(),
        "dead_fraction": dead_unit_fraction(samples, function).item(),
        "saturated_fraction": saturated_fraction(z.grad, a.grad).item(),
        "implied_gain": implied_init_gain(work).item(),
    }


def assert_equal_records(first: ActivationRecord, second: ActivationRecord, *, rtol: float = 1e-12) -> None:
    for name in NUMBERS:
        assert_close(getattr(first, name), getattr(second, name), rtol=rtol, atol=rtol, equal_nan=True, msg=name)
