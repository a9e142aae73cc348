"""What the monitors log of activations, through a real Trainer."""

from __future__ import annotations

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
