"""Parameters of unusual kinds: complex ones, and ones without elements."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from integration.models import INPUTS, MakeOptimizer, Regression, fit
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, AdamW, RMSprop

from thermo_callbacks import ThermoMonitor

STEPS = 32


def start() -> Tensor:
    return torch.randn(INPUTS, dtype=torch.complex128, generator=torch.Generator().manual_seed(3))


class Filter(nn.Module):
    """Power of a complex filter, whose parameter is complex or is given by its real and imaginary parts."""

    def __init__(self, *, native: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(start() if native else torch.view_as_real(start()).clone())

    def forward(self, inputs: Tensor) -> Tensor:
        weight = self.weight if self.weight.is_complex() else torch.view_as_complex(self.weight)
        return (inputs.to(torch.complex128) @ weight).abs().square()[:, None] / 10.0


class Filtered(Regression):
    def __init__(self, optimizer: MakeOptimizer, *, native: bool) -> None:
        super().__init__(optimizer=optimizer)
        self.filter = Filter(native=native)

    def loss(self, batch: Any) -> Tensor:
        inputs, targets = batch
        return (self.net(inputs) + self.filter(inputs) - targets).square().mean()


def nesterov(parameters: Iterable[nn.Parameter]) -> SGD:
    return SGD(parameters, lr=0.01, momentum=0.9, nesterov=True)


def decayed(parameters: Iterable[nn.Parameter]) -> AdamW:
    return AdamW(parameters, lr=0.01, weight_decay=0.1)


def centered(parameters: Iterable[nn.Parameter]) -> RMSprop:
    return RMSprop(parameters, lr=0.003, momentum=0.5, centered=True)


def adagrad(parameters: Iterable[nn.Parameter]) -> Adagrad:
    return Adagrad(parameters, lr=0.02)


def values(module: Regression, preset: str, **options: Any) -> dict[str, float]:
    monitor = ThermoMonitor(preset, window=16, steps_between_windows=0, **options)  # type: ignore[arg-type]
    rows = fit(module, monitor, STEPS).thermo_rows
    return {f"{step} {tag}": value for step, row in rows for tag, value in row.items()}


@pytest.mark.filterwarnings("ignore:no (value|transition):UserWarning")
@pytest.mark.parametrize("preset", ["light", "standard", "full"])
@pytest.mark.parametrize("make", [nesterov, decayed, centered, adagrad])
def test_complex_parameters_are_real_and_imaginary_parts(make: MakeOptimizer, preset: str) -> None:
    found = values(Filtered(make, native=True), preset, sample=7)
    right = values(Filtered(make, native=False), preset, sample=7)
    assert found == pytest.approx(right, rel=1e-6, abs=1e-12, nan_ok=True)
    assert any(tag.endswith("thermo_temperature/filter") and math.isfinite(found[tag]) for tag in found)
    if preset == "full":
        assert any("thermo_laplacian/filter" in tag and math.isfinite(found[tag]) for tag in found)


@pytest.mark.filterwarnings("ignore:no (value|transition):UserWarning")
@pytest.mark.parametrize("preset", ["standard", "full"])
def test_training_of_complex_parameters_does_not_notice(preset: Any) -> None:
    watched, alone = Filtered(decayed, native=True), Filtered(decayed, native=True)
    fit(watched, ThermoMonitor(preset, window=16), STEPS)
    fit(alone, None, STEPS)
    for name, value in alone.state_dict().items():
        assert torch.equal(watched.state_dict()[name], value), name


class Nothing(nn.Module):
    """Parameters without elements, alone in a layer and beside others."""

    def __init__(self) -> None:
        super().__init__()
        self.none = nn.Linear(0, 2, bias=False)
        self.root = nn.Parameter(torch.zeros(3, 0, dtype=torch.float64))


class WithNothing(Regression):
    def __init__(self, optimizer: MakeOptimizer) -> None:
        super().__init__(optimizer=optimizer)
        self.nothing = Nothing()
        self.net[0].register_parameter("nothing", nn.Parameter(torch.zeros(0, dtype=torch.float64)))

    def loss(self, batch: Any) -> Tensor:
        empty = self.nothing.root.sum() + self.net[0].nothing.sum()
        return super().loss(batch) + empty + self.nothing.none(batch[0][:, :0].float()).sum()


@pytest.mark.filterwarnings("ignore:no (value|transition):UserWarning")
@pytest.mark.parametrize("preset", ["standard", "full"])
@pytest.mark.parametrize("make", [nesterov, decayed])
def test_parameters_without_elements_are_no_coordinates(make: MakeOptimizer, preset: str) -> None:
    with pytest.warns(UserWarning, match="zero-element"):
        module = WithNothing(make)
    assert repr(values(module, preset)) == repr(values(Regression(optimizer=make), preset))


class WithCompressed(Regression):
    """Has a matrix in compressed rows, which no coordinates can be read of."""

    def __init__(self) -> None:
        super().__init__()
        rows = torch.eye(3, dtype=torch.float64).to_sparse_csr()
        self.graph = nn.ParameterDict({"edges": nn.Parameter(rows)})


@pytest.mark.filterwarnings("ignore:(Sparse CSR|.*no (value|transition)|.*does not train)")
@pytest.mark.parametrize("preset", ["light", "standard"])
def test_a_layer_that_cannot_be_read_is_left_out(preset: str) -> None:
    with pytest.warns(UserWarning, match="ThermoMonitor") as caught:
        found = values(WithCompressed(), preset)
    assert [str(each.message) for each in caught if "ThermoMonitor" in str(each.message)] == [
        "ThermoMonitor leaves out 'graph' for the rest of this run: parameters that can't be read (sparse_csr "
        "Tensor). All else goes on."
    ]
    assert repr(found) == repr(values(Regression(), preset))
