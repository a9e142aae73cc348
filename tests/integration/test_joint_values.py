"""Energies, activations and what follows from them are those of one process with the batches of all."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from integration.models import RecordingLogger, Regression, examples, quiet_trainer, sgd
from integration.processes import in_processes
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset

from thermo_callbacks import ThermoMonitor

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of torch knows no processes")
BATCHES, SAMPLES = 20, 8
EVEN, UNEVEN = (4, 4), (5, 3)


def network() -> nn.Module:
    """A unit that is dead for all samples, and some that are for those of one process."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = nn.Sequential(
            nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 5), nn.PReLU(5), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1)
        )
    with torch.no_grad():
        net[0].bias[0] = -9.0
        net[0].bias[1] = net[0].bias[2] = -1.2
        net[3].weight[0] = 0.0
        net[2].bias[0] = -0.6
    return net.double()


class Divided(Regression):
    """Each process has its share of each batch; one process has all, and the mean of the shares' losses."""

    def __init__(self, shares: tuple[int, int]) -> None:
        super().__init__(network(), optimizer=sgd)
        self._shares = shares

    def train_dataloader(self) -> Any:
        columns = [column[: BATCHES * SAMPLES].view(BATCHES, SAMPLES, -1) for column in examples()]
        if self.trainer.world_size > 1:
            start = self._shares[0] * self.global_rank
            columns = [column[:, start : start + self._shares[self.global_rank]] for column in columns]
        batches = TensorDataset(*columns)
        return DataLoader(batches, batch_size=1, collate_fn=lambda rows: list(rows[0]))

    def loss(self, batch: Any) -> Tensor:
        inputs, targets = batch
        outputs = self.net(inputs)
        if self.trainer.world_size > 1:
            return mse_loss(outputs, targets)
        parts = zip(outputs.split(self._shares), targets.split(self._shares), strict=True)
        return torch.stack([mse_loss(*part) for part in parts]).mean()


def run(shares: tuple[int, int], processes: int) -> dict[str, Any]:
    logger, options = RecordingLogger(), {}
    if processes > 1:
        options = {"strategy": "ddp", "devices": processes, "use_distributed_sampler": False}
    monitor = ThermoMonitor("full", window=8, steps_between_windows=0, curvature_every_n_steps=6)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = quiet_trainer(callbacks=monitor, logger=logger, **options)
        trainer.fit(Divided(shares))
    monitored = {tag: float(value) for tag, value in trainer.callback_metrics.items()}
    return {
        "rows": logger.thermo_rows,
        "monitored": monitored,
        "warnings": [str(each.message) for each in caught if "switched off" in str(each.message)],
    }


STATE = (
    *("internal_energy", "free_energy", "bound_energy", "first_law_residual", "heat"),
    *("transition_temperature", "transition_temperature_stderr"),
    *("work_efficiency", "work_efficiency_stderr", "work_efficiency_product"),
)
ENGINES = (
    *("work_efficiency", "learning_efficiency", "temperature_drop", "dead_fraction", "saturated_fraction"),
    *("learning_signal", "implied_gain"),
)


@pytest.mark.parametrize("shares", [EVEN, UNEVEN], ids=["even", "uneven"])
def test_values_are_those_of_one_process_with_the_batches_of_all(shares: tuple[int, int], tmp_path: Path) -> None:
    alone = run(shares, 1)
    first, second = in_processes(2, lambda rank: run(shares, 2), tmp_path)
    assert first["warnings"] == second["warnings"] == []
    # what schedulers and stoppers go by is the same in all processes, bit for bit
    assert repr(first["monitored"]) == repr(second["monitored"])
    assert [step for step, _ in first["rows"]] == [step for step, _ in alone["rows"]]
    seen: dict[str, int] = {}
    for (_, row), (_, right) in zip(first["rows"], alone["rows"], strict=True):
        for tag in right:
            kind, _, name = tag.partition("/")
            if (
                (kind == "thermo" and name in STATE)
                or kind.removeprefix("thermo_") in ENGINES
                or kind == "thermo_engine"
            ):
                seen[tag] = seen.get(tag, 0) + 1
                assert row[tag] == pytest.approx(right[tag], rel=1e-7, abs=1e-12, nan_ok=True), tag
    assert {f"thermo/{name}" for name in STATE} <= seen.keys()
    for name in ENGINES:
        assert len([tag for tag in seen if tag.startswith(f"thermo_{name}/")]) == 3
    dead = [row["thermo_dead_fraction/net.1"] for _, row in first["rows"] if "thermo_dead_fraction/net.1" in row]
    assert all(value >= 1 / 6 for value in dead)
