"""What the monitors log of activations, through a real Trainer."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from integration.models import INPUTS, RecordingLogger, Regression, loader, quiet_trainer
from torch import Tensor, nn

from thermo_callbacks import ThermoMonitor, WorkEfficiencyMonitor

FAMILIES = (
    *("work_efficiency", "learning_efficiency", "dead_fraction", "saturated_fraction", "learning_signal"),
    *("implied_gain", "temperature_drop"),
)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(INPUTS, 6), nn.Tanh(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 1)).double()


def last_of(module: Any, monitor: Any, steps: int = 18) -> dict[str, float]:
    logger = RecordingLogger()
    quiet_trainer(callbacks=[monitor], logger=logger).fit(module, loader(steps))
    return {tag: value for _, row in logger.rows for tag, value in row.items() if tag.startswith("thermo")}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("preset", "count"), [("light", 0), ("standard", 5), ("full", 7)])
def test_families_of_a_preset(preset: Any, count: int) -> None:
    monitor = ThermoMonitor(preset, window=8, steps_between_windows=0, curvature_every_n_steps=8)
    values = last_of(Regression(network()), monitor)
    for place, family in enumerate(FAMILIES):
        tags = {f"thermo_{family}/net.{index}" for index in (1, 3)}
        assert tags & set(values) == (tags if place < count else set()), family


class Pairs(Regression):
    """Two views of each batch, by one network."""

    def loss(self, batch: Any) -> Tensor:
        first, second = (self.net(batch[0] + 0.1 * view) for view in (1.0, -1.0))
        return ((first - batch[1]).square() + (first - second).square()).mean()


def test_two_views_of_a_batch_are_no_depth() -> None:
    values = last_of(Pairs(network()), WorkEfficiencyMonitor(8))
    names = {tag.partition("/")[2] for tag in values if tag.startswith("thermo_work_efficiency/")}
    assert names == {"net.1", "net.3"}
    product = values["thermo_work_efficiency/net.1"] * values["thermo_work_efficiency/net.3"]
    assert values["thermo/work_efficiency_product"] == pytest.approx(product)
    assert values["thermo_learning_signal/net.3"] == 1.0
    assert values["thermo/work_efficiency_stderr"] > 0.0


class Closures(Regression):
    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.parameters(), lr=0.1, max_iter=3)


def test_closures_of_lbfgs_are_no_depth() -> None:
    values = last_of(Closures(network()), WorkEfficiencyMonitor(4), steps=10)
    names = {tag.partition("/")[2] for tag in values if tag.startswith("thermo_work_efficiency/")}
    assert names == {"net.1", "net.3"}


class Flattened(nn.Module):
    """Works on samples, and then on their parts one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(INPUTS, 6), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        states = torch.tanh(self.first(x))
        return torch.relu(self.second(states.view(-1, 2))).view(len(x), -1).sum(1, keepdim=True)


def test_flattened_parts_leave_the_error_of_the_mean() -> None:
    values = last_of(Regression(Flattened().double()), WorkEfficiencyMonitor(8))
    assert 0.0 < values["thermo/work_efficiency_stderr"] < values["thermo/work_efficiency"]


class Gates(nn.Module):
    """A recurrent layer and its readout, with an activation in between or without one."""

    def __init__(self, kind: str, *, activation: bool) -> None:
        super().__init__()
        self.cell = kind.endswith("Cell")
        self.inner = getattr(nn, kind)(INPUTS, 4).double()
        self.between = nn.Tanh() if activation else nn.Identity()
        self.out = nn.Linear(4, 1).double()

    def forward(self, inputs: Tensor) -> Tensor:
        state = self.inner(inputs) if self.cell else self.inner(inputs.unsqueeze(0))[0][0]
        return self.out(self.between(state[0] if isinstance(state, tuple) else state))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("activation", [False, True])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN", "LSTMCell", "GRUCell"])
def test_a_network_of_nothing_but_fused_gates_says_so_once(
    kind: str, activation: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="thermo_callbacks")
    monitor = ThermoMonitor("standard", window=8, steps_between_windows=0, curvature_every_n_steps=4)
    values = last_of(Regression(Gates(kind, activation=activation)), monitor)
    said = [text for text in caplog.messages if "no values of the activations inside of" in text]
    assert len(said) == 1
    assert f"inside of nn.{kind}: it computes its gates within one call" in said[0]
    assert ("thermo/work_efficiency" in values) == activation
    assert "thermo/temperature" in values
    assert "thermo/laplacian" in values


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_network_without_activations_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="thermo_callbacks")
    monitor = ThermoMonitor("standard", window=8, steps_between_windows=0, curvature_every_n_steps=4)
    assert "thermo/work_efficiency" not in last_of(Regression(nn.Linear(INPUTS, 1).double()), monitor)
    assert len([text for text in caplog.messages if "calls no activation function that is known" in text]) == 1
