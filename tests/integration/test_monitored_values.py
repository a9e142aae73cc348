"""What ModelCheckpoint, EarlyStopping and ReduceLROnPlateau can monitor, from the first validation on."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from integration.models import (
    LoggingRegression,
    RecordingLogger,
    Regression,
    examples,
    loader,
    perceptron,
    quiet_trainer,
    sgd,
)
from integration.processes import in_processes
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, TensorDataset

from thermo_callbacks import BulkMonitor, ThermoMonitor, TransitionTemperatureMonitor, WorkEfficiencyMonitor
from thermo_callbacks.callbacks.windows.optimizer_window import OptimizerWindow
from thermo_callbacks.callbacks.windows.session import Session
from thermo_callbacks.catalog import logged_by, quantity_of

LATE = [
    "thermo/heat",
    "thermo/free_energy",
    "thermo/laplacian",
    "thermo/work_efficiency",
    "thermo/entropy_destruction",
    "thermo/temperature",  # in epochs of under 8 steps
]
EPOCHS, STEPS = 5, 4
pytestmark = pytest.mark.filterwarnings("ignore:no value")


class Plateau(LoggingRegression):
    """Its learning rate is halved where a value does not fall."""

    def __init__(self, tag: str, patience: int = 0, interval: str = "epoch") -> None:
        super().__init__()
        self.tag, self.patience, self.interval = tag, patience, interval

    def configure_optimizers(self) -> Any:
        optimizer = sgd(self.parameters())
        scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=self.patience)
        plateau = {"scheduler": scheduler, "monitor": self.tag, "interval": self.interval}
        return {"optimizer": optimizer, "lr_scheduler": plateau}


class Offered(Callback):
    """Keeps what can be monitored at the end of each validation."""

    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            self.seen.append({tag: float(value) for tag, value in trainer.callback_metrics.items()})


def monitored(tag: str, folder: Path) -> list[Any]:
    """One of each callback that monitors a value."""
    return [
        EarlyStopping(tag, check_finite=False, patience=EPOCHS),
        ModelCheckpoint(folder, monitor=tag, save_top_k=-1, filename="{epoch}"),
    ]


@pytest.mark.parametrize("tag", LATE)
def test_a_value_that_comes_late_ends_no_run(tag: str, tmp_path: Path) -> None:
    callbacks = [ThermoMonitor("standard"), *monitored(tag, tmp_path)]
    trainer = quiet_trainer(callbacks=callbacks, max_epochs=EPOCHS, enable_checkpointing=True, num_sanity_val_steps=1)
    trainer.fit(Plateau(tag), loader(STEPS), loader(2))
    assert trainer.global_step == EPOCHS * STEPS
    assert len(list(tmp_path.glob("*.ckpt"))) == EPOCHS


@pytest.mark.parametrize("tag", LATE)
def test_a_plateau_that_is_looked_for_at_each_step_ends_no_run(tag: str) -> None:
    trainer = quiet_trainer(callbacks=ThermoMonitor("standard"), max_epochs=2)
    trainer.fit(Plateau(tag, interval="step"), loader(STEPS))
    assert trainer.global_step == 2 * STEPS


@pytest.mark.parametrize("preset", ["light", "standard", "full"])
def test_all_tags_of_a_preset_are_there_at_the_first_validation(preset: Any) -> None:
    offered = Offered()
    trainer = quiet_trainer(callbacks=[ThermoMonitor(preset), offered], max_epochs=2)
    trainer.fit(Regression(), loader(STEPS), loader(2))
    first, _ = offered.seen
    assert logged_by(preset) <= first.keys()
    assert {"thermo_heat/net.0", "thermo_temperature/net.2"} <= first.keys()
    thermo = {tag: value for tag, value in first.items() if tag.startswith("thermo")}
    assert all(map(math.isnan, thermo.values()))


@pytest.mark.parametrize(
    ("monitor", "name"),
    [
        (WorkEfficiencyMonitor(), "WorkEfficiencyMonitor"),
        (BulkMonitor(), "BulkMonitor"),
        (TransitionTemperatureMonitor(), "TransitionTemperatureMonitor"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*finds no losses and outputs")
def test_all_tags_of_a_narrow_monitor_are_there_at_the_first_validation(monitor: Any, name: str) -> None:
    offered = Offered()
    quiet_trainer(callbacks=[monitor, offered], max_epochs=2).fit(Regression(), loader(STEPS), loader(2))
    assert all(logged_by(name) <= seen.keys() for seen in offered.seen)


def fail(*_: Any, **__: Any) -> Any:
    raise RuntimeError("broken on purpose")


def test_a_fault_at_the_start_leaves_all_tags_on_offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "__init__", fail)
    tag, offered = "thermo/temperature", Offered()
    callbacks = [ThermoMonitor("full"), offered, *monitored(tag, tmp_path)]
    trainer = quiet_trainer(callbacks=callbacks, max_epochs=EPOCHS, enable_checkpointing=True)
    with pytest.warns(UserWarning, match="^ThermoMonitor is switched off"):
        trainer.fit(Plateau(tag), loader(20), loader(2))
    assert trainer.global_step == EPOCHS * 20
    assert all(logged_by("full") <= seen.keys() for seen in offered.seen)
    windows = [tag for tag in logged_by("full") if quantity_of(tag).when == "window"]
    assert all(math.isnan(seen[tag]) for seen in offered.seen for tag in windows)


def test_a_fault_on_the_way_leaves_nan_and_no_value_of_the_past(monkeypatch: pytest.MonkeyPatch) -> None:
    close, closed = OptimizerWindow.close, []

    def close_two(window: OptimizerWindow) -> None:
        closed.append(window)
        return fail() if len(closed) > 2 else close(window)

    monkeypatch.setattr(OptimizerWindow, "close", close_two)
    offered, monitor = Offered(), ThermoMonitor("light", window=8, steps_between_windows=0)
    trainer = quiet_trainer(callbacks=[monitor, offered], max_epochs=4)
    with pytest.warns(UserWarning, match="^ThermoMonitor is switched off"):
        trainer.fit(Regression(), loader(8), loader(2))
    temperatures = [seen["thermo/temperature"] for seen in offered.seen]
    assert [math.isnan(value) for value in temperatures] == [False, False, True, True]
    assert math.isnan(float(trainer.callback_metrics["thermo/temperature"]))
    assert monitor.latest()["thermo/temperature"] == pytest.approx(temperatures[1], rel=1e-6)  # the last there was


class TestNaN:
    """What the three callbacks of Lightning and torch do with NaN, as docs/page.md tells it."""

    TAG = "thermo/laplacian"  # NaN in these runs

    def run(self, module: Any, *callbacks: Callback) -> Any:
        options = {"max_epochs": EPOCHS, "enable_checkpointing": True}
        default = (
            [] if any(isinstance(each, ModelCheckpoint) for each in callbacks) else [ModelCheckpoint(save_top_k=0)]
        )
        trainer = quiet_trainer(callbacks=[ThermoMonitor("standard"), *callbacks, *default], **options)
        trainer.fit(module, loader(1), loader(2))
        return trainer

    def test_early_stopping_stops_at_once_unless_told_not_to_check(self) -> None:
        assert self.run(Regression(), EarlyStopping(self.TAG, patience=9)).current_epoch == 1

    def test_early_stopping_that_does_not_check_counts_it_as_no_progress(self) -> None:
        assert self.run(Regression(), EarlyStopping(self.TAG, check_finite=False, patience=3)).current_epoch == 3

    @pytest.mark.parametrize(("mode", "worst"), [("min", math.inf), ("max", -math.inf)])
    def test_checkpoints_take_it_for_the_worst(self, mode: Any, worst: float, tmp_path: Path) -> None:
        checkpoint = ModelCheckpoint(tmp_path, monitor=self.TAG, mode=mode, save_top_k=-1)
        self.run(Regression(), checkpoint)
        assert {float(score) for score in checkpoint.best_k_models.values()} == {worst}

    def test_plateaus_count_it_as_an_epoch_without_progress(self) -> None:
        trainer = self.run(Plateau(self.TAG, patience=1))
        assert trainer.optimizers[0].param_groups[0]["lr"] == 0.05 * 0.5**2


class UnevenPlateau(Plateau):
    """Each of two processes trains on other samples, and halves its rate where the free energy does not fall."""

    def __init__(self) -> None:
        super().__init__("thermo/free_energy")

    def train_dataloader(self) -> DataLoader[Any]:
        rank = self.trainer.global_rank
        return DataLoader(TensorDataset(*(column[rank : 160 + rank : 2] for column in examples())), 4)

    def val_dataloader(self) -> DataLoader[Any]:
        return loader(2)


def in_two(folder: Path, make: Any = lambda rank: ThermoMonitor("standard", 8, curvature_every_n_steps=8)) -> Any:
    def work(rank: int) -> dict[str, Any]:
        warnings.simplefilter("ignore")
        offered = Offered()
        trainer = quiet_trainer(
            callbacks=[make(rank), offered], devices=2, strategy="ddp", max_epochs=6, use_distributed_sampler=False
        )
        module = UnevenPlateau()
        trainer.fit(module)
        at_end = {tag: float(value) for tag, value in trainer.callback_metrics.items()}
        weights = [parameter.detach().clone() for parameter in module.parameters()]
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        return {"seen": [*offered.seen, at_end], "rate": rate, "weights": weights}

    return in_processes(2, work, folder)


def of_thermo(values: dict[str, float]) -> dict[str, str]:
    return {tag: repr(value) for tag, value in values.items() if tag.startswith("thermo")}


needs_processes = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch knows no processes")


@needs_processes
def test_processes_monitor_the_same_numbers_and_stay_together(tmp_path: Path) -> None:
    first, second = in_two(tmp_path)
    assert len(first["seen"]) == 7
    assert [of_thermo(seen) for seen in first["seen"]] == [of_thermo(seen) for seen in second["seen"]]
    assert not math.isnan(first["seen"][-1]["thermo/free_energy"])
    assert first["rate"] == second["rate"] < 0.05
    assert all(map(torch.equal, first["weights"], second["weights"]))


@needs_processes
@pytest.mark.parametrize("broken", [0, 1])
def test_processes_monitor_the_same_numbers_after_a_fault_in_one(broken: int, tmp_path: Path) -> None:
    def make(rank: int) -> ThermoMonitor:
        if rank == broken:
            OptimizerWindow.close = fail  # type: ignore[method-assign]  # in this process, which ends with the test
        return ThermoMonitor("standard", 8, curvature_every_n_steps=1000)

    first, second = in_two(tmp_path, make)
    assert [of_thermo(seen) for seen in first["seen"]] == [of_thermo(seen) for seen in second["seen"]]
    assert first["rate"] == second["rate"]
    assert all(map(torch.equal, first["weights"], second["weights"]))


def test_a_second_model_of_one_trainer_inherits_no_heat() -> None:
    monitor = ThermoMonitor("full", window=8, steps_between_windows=0, curvature_every_n_steps=8)
    trainer = quiet_trainer(callbacks=monitor)
    trainer.fit(Regression(), loader(40))
    first = monitor.latest()
    trainer.fit_loop.max_epochs = 2
    trainer.fit(Regression(perceptron(seed=1)), loader(40))
    assert trainer.global_step == 80
    alone = ThermoMonitor("full", window=8, steps_between_windows=0, curvature_every_n_steps=8)
    quiet_trainer(callbacks=alone).fit(Regression(perceptron(seed=1)), loader(40))
    for tag in ("thermo/heat", "thermo/first_law_residual", "thermo_heat/net.0", "thermo/transition_temperature"):
        assert repr(monitor.latest()[tag]) == repr(alone.latest()[tag])
        assert repr(monitor.latest()[tag]) != repr(first[tag])


def test_the_same_model_goes_on_with_its_heat() -> None:
    monitor, module = ThermoMonitor("light", window=8, steps_between_windows=0), Regression()
    trainer = quiet_trainer(callbacks=monitor)
    trainer.fit(module, loader(40))
    first = monitor.latest()["thermo/heat"]
    trainer.fit_loop.max_epochs = 2
    trainer.fit(module, loader(40))
    whole = ThermoMonitor("light", window=8, steps_between_windows=0)
    quiet_trainer(callbacks=whole, max_epochs=2).fit(Regression(), loader(40))
    assert monitor.latest()["thermo/heat"] == whole.latest()["thermo/heat"] != first


def test_the_topology_of_a_second_model_is_logged_too() -> None:
    def chain(width: int) -> Regression:
        return Regression(
            nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, 3), nn.Tanh(), nn.Linear(3, 1)).double()
        )

    logger = RecordingLogger()
    trainer = quiet_trainer(callbacks=ThermoMonitor("light"), logger=logger)
    trainer.fit(chain(6), loader(8))
    trainer.fit_loop.max_epochs = 2
    trainer.fit(chain(8), loader(8))
    assert logger.series("thermo/topology_connections") == [6 * (5 + 3) + 3, 8 * (5 + 3) + 3]
