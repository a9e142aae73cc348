"""Modules that a network holds under several names train on under a monitor as they do alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from integration.models import HIDDEN, INPUTS, Regression, loader, quiet_trainer
from integration.observers import leaves, same
from torch import Tensor, nn
from torch.optim import AdamW

from thermo_callbacks import ThermoMonitor

# short runs of small networks: now and then something has no value
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*no value", "ignore:.*no transition temperature", "ignore:No Laplacian of complexity"
)


class TwoNames(nn.Module):
    """A module under two names, each of them called, and a head."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.first = module
        self.second = module
        self.head = nn.Linear(INPUTS, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(torch.tanh(self.first(x))))


class Listed(nn.Module):
    """A layer three times in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(INPUTS, INPUTS)] * 3)
        self.head = nn.Linear(INPUTS, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.head(x)


def twice_in_a_chain() -> nn.Module:
    layer = nn.Linear(INPUTS, INPUTS)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh(), nn.Linear(INPUTS, 1))


def shared_batch_norm() -> nn.Module:
    norm = nn.BatchNorm1d(INPUTS)
    middle = [nn.Linear(INPUTS, INPUTS), norm, nn.Tanh()]
    return nn.Sequential(nn.Linear(INPUTS, INPUTS), norm, nn.Tanh(), *middle, nn.Linear(INPUTS, 1))


def encoder() -> nn.Module:
    return nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.LayerNorm(HIDDEN), nn.GELU(), nn.Linear(HIDDEN, INPUTS))


class Recurrent(nn.Module):
    """Keeps a second list of its weights, as recurrent modules of torch do, under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(1, HIDDEN, batch_first=True)
        self.again = self.cell
        self.head = nn.Linear(HIDDEN, 1)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.cell(x.unsqueeze(2))
        final, _ = self.again(states.mean(2, keepdim=True))
        return self.head(final[:, -1])


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "linear under two names": lambda: TwoNames(nn.Linear(INPUTS, INPUTS)),
    "list of one layer": Listed,
    "twice in a chain": twice_in_a_chain,
    "shared batch norm": shared_batch_norm,
    "encoder under two names": lambda: TwoNames(encoder()),
    "lstm": Recurrent,
}


def trained(build: Callable[[], nn.Module], monitors: list[Any]) -> tuple[Regression, dict[str, Any]]:
    """The module after 40 steps, and what is left of its training."""
    torch.manual_seed(0)
    module = Regression(build().double(), partial(AdamW, lr=0.01))
    trainer = quiet_trainer(callbacks=monitors)
    trainer.fit(module, loader(40))
    left = {"state_dict": dict(module.state_dict()), "optimizer": trainer.optimizers[0].state_dict()}
    return module, dict(leaves(left))


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_a_shared_module_trains_on(build: Callable[[], nn.Module]) -> None:
    _, alone = trained(build, [])
    module, watched = trained(build, [ThermoMonitor("full", 8, curvature_every_n_steps=5)])
    assert alone.keys() == watched.keys()
    assert [place for place in alone if not same(alone[place], watched[place])] == []
    held = [tensor for part in module.modules() for tensor in part._parameters.values()]
    assert {type(tensor) for tensor in held} == {nn.Parameter}
