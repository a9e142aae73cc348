"""Final values beside the hyperparameters that Lightning, or the user, logs."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from integration.models import Regression, loader, quiet_trainer
from lightning.pytorch import LightningDataModule
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard_page import table_of
from torch import nn

from thermo_callbacks import TemperatureMonitor, ThermoMonitor
from thermo_callbacks.display.tensorboard.hparams import FINAL_VALUES

# windows this short have no noise scale, for example, as the monitor says
pytestmark = pytest.mark.filterwarnings("ignore:no value \\(NaN\\)")

LIGHT = ["thermo/internal_energy", "thermo/temperature", "thermo/drift_share"]


@dataclass
class Nested:
    deep: dict[str, Any]


# one of each kind that Lightning has its own way with
ODD = {
    "rate": 0.25,
    "layers": [1, 2],
    "nested": Nested({"a": {"b": 3}}),
    "space": Namespace(x="y"),
    "rows": [{"p": 1}, {"q": 2}],
    "nothing": None,
    "flag": True,
    "number": np.float64(1.5),
    "path": Path("a/b"),
    "kind": nn.ReLU,
    "scalar": torch.tensor([2.0]),
    "matrix": torch.eye(2),
}


class Saving(Regression):
    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.save_hyperparameters(settings)


class Data(LightningDataModule):
    def __init__(self, batch: int = 4) -> None:
        super().__init__()
        self.save_hyperparameters()

    def train_dataloader(self) -> Any:
        return loader(24)


def light(**options: Any) -> ThermoMonitor:
    return ThermoMonitor("light", window=8, steps_between_windows=0, **options)


def run(folder: Path, module: Any, callbacks: Any, *, data: Any = None, **options: Any) -> TensorBoardLogger:
    logger = TensorBoardLogger(folder, name="", version="run", **options)
    quiet_trainer(logger=logger, callbacks=callbacks).fit(module, loader(24) if data is None else data)
    return logger


def final(folder: Path, tags: list[str]) -> dict[str, float]:
    events = EventAccumulator(str(folder / "run")).Reload()
    return {tag: events.Scalars(tag)[-1].value for tag in tags}


def test_hyperparameters_stay_as_lightning_logs_them(tmp_path: Path) -> None:
    run(tmp_path / "without", Saving(ODD), [])
    run(tmp_path / "with", Saving(ODD), [light()])
    (names, metrics, rows), (expected, default, reference) = (table_of(tmp_path / way) for way in ("with", "without"))
    assert default == ["hp_metric"]
    assert {"rate", "nested/deep/a/b", "space/x", "rows/1/q", "kind", "matrix"} <= set(expected)
    assert sorted(names) == sorted(expected)
    assert metrics == ["hp_metric", *LIGHT]
    assert rows["run"][0] == reference["run"][0]
    assert rows["run"][1] == {"hp_metric": -1.0, **final(tmp_path / "with", LIGHT)}


def test_types_of_hyperparameters_stay_as_lightning_logs_them(tmp_path: Path) -> None:
    from tensorboard.plugins.hparams import metadata

    contents = []
    for way, callbacks in (("without", []), ("with", [light()])):
        run(tmp_path / way, Saving(ODD), callbacks)
        content = EventAccumulator(str(tmp_path / way / "run")).Reload().SummaryMetadata(metadata.EXPERIMENT_TAG)
        experiment = metadata.parse_experiment_plugin_data(content.plugin_data.content)
        contents.append({info.name: info.type for info in experiment.hparam_infos})
    assert contents[0] == contents[1]


def test_hyperparameters_of_module_and_data_are_both_there(tmp_path: Path) -> None:
    module, data = Saving({"rate": 0.25}), Data()
    before = dict(module.hparams), dict(module.hparams_initial), dict(data.hparams)
    run(tmp_path, module, [light()], data=data)
    names, metrics, rows = table_of(tmp_path)
    assert sorted(names) == ["batch", "rate"]
    assert metrics == ["hp_metric", *LIGHT]
    assert rows["run"][0] == {"batch": 4.0, "rate": 0.25}
    assert (dict(module.hparams), dict(module.hparams_initial), dict(data.hparams)) == before


def test_run_without_hyperparameters_has_a_row(tmp_path: Path) -> None:
    run(tmp_path, Regression(), [light()])
    assert table_of(tmp_path) == ([], LIGHT, {"run": ({}, final(tmp_path, LIGHT))})
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_all_monitors_of_a_run_have_their_columns(tmp_path: Path) -> None:
    standard = ThermoMonitor("standard", window=8, steps_between_windows=0, curvature_every_n_steps=8)
    run(tmp_path, Saving({"rate": 0.25}), [TemperatureMonitor(window=8, steps_between_windows=0), standard])
    _, metrics, rows = table_of(tmp_path)
    assert metrics == ["hp_metric", *FINAL_VALUES[:-1]]
    assert rows["run"][1].keys() == set(metrics), "a column that nothing is logged under"


def test_full_preset_fills_all_columns(tmp_path: Path) -> None:
    run(
        tmp_path,
        Saving({"rate": 0.25}),
        [ThermoMonitor("full", window=8, steps_between_windows=0, curvature_every_n_steps=8)],
    )
    _, metrics, rows = table_of(tmp_path)
    assert metrics == ["hp_metric", *FINAL_VALUES]
    assert rows["run"][1].keys() == set(metrics)


def test_users_own_metrics_keep_their_columns(tmp_path: Path) -> None:
    class ByHand(Saving):
        def on_train_start(self) -> None:
            self.logger.log_hyperparams(self.hparams, {"accuracy": 0.0})

    run(tmp_path, ByHand({"rate": 0.25}), [light()], default_hp_metric=False)
    assert table_of(tmp_path) == (["rate"], ["accuracy"], {"run": ({"rate": 0.25}, {"accuracy": 0.0})})


def test_users_own_table_after_the_fit_is_not_forestalled(tmp_path: Path) -> None:
    for way, module in (("saved", Saving({"rate": 0.25})), ("not", Regression())):
        logger = run(tmp_path / way, module, [light()], default_hp_metric=False)
        assert table_of(tmp_path / way) == ([], [], {})
        logger.log_hyperparams({"width": 3}, {"accuracy": 0.75})
        logger.finalize("success")
        assert table_of(tmp_path / way) == (["width"], ["accuracy"], {"run": ({"width": 3.0}, {"accuracy": 0.75})})


@pytest.mark.parametrize("when", ["before the fit", "at its start"])
def test_hyperparameters_logged_by_hand_are_kept(when: str, tmp_path: Path) -> None:
    class ByHand(Regression):
        def on_train_start(self) -> None:
            if when == "at its start":
                self.logger.log_hyperparams({"width": 3})

    logger = TensorBoardLogger(tmp_path, name="", version="run")
    if when == "before the fit":
        logger.log_hyperparams({"width": 3})
    quiet_trainer(logger=logger, callbacks=[light()]).fit(ByHand(), loader(24))
    assert table_of(tmp_path) == (["width"], ["hp_metric"], {"run": ({"width": 3.0}, {"hp_metric": -1.0})})


def test_nothing_is_said_where_nothing_shall_be(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path, name="", version="run")
    trainer = quiet_trainer(logger=logger, callbacks=[light()], enable_autolog_hparams=False)
    trainer.fit(Saving({"rate": 0.25}), loader(24))
    assert table_of(tmp_path) == ([], [], {})


def test_run_that_is_cut_off_has_the_values_so_far(tmp_path: Path) -> None:
    class Broken(Saving):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if batch_idx == 20:
                raise RuntimeError("out of luck")
            return super().training_step(batch, batch_idx)

    with pytest.raises(RuntimeError, match="out of luck"):
        run(tmp_path, Broken({"rate": 0.25}), [light()])
    assert table_of(tmp_path)[2] == {"run": ({"rate": 0.25}, {"hp_metric": -1.0, **final(tmp_path, LIGHT)})}


@pytest.mark.parametrize("saves", [True, False])
def test_resumed_run_has_one_row_with_its_last_values(saves: bool, tmp_path: Path) -> None:
    def module() -> Any:
        return Saving({"rate": 0.25}) if saves else Regression()

    checkpoint = tmp_path / "last.ckpt"
    for epochs in (1, 2):
        logger = TensorBoardLogger(tmp_path / "logs", name="", version="run")
        trainer = quiet_trainer(logger=logger, callbacks=[light()], max_epochs=epochs)
        trainer.fit(module(), loader(24), ckpt_path=checkpoint if epochs == 2 else None)
        trainer.save_checkpoint(checkpoint)
    names, metrics, rows = table_of(tmp_path / "logs")
    assert names == (["rate"] if saves else [])
    assert set(LIGHT) <= set(metrics)
    values = EventAccumulator(str(tmp_path / "logs" / "run")).Reload().Scalars("thermo/temperature")
    assert [value.step for value in values] == [7, 15, 23, 31, 39, 47]
    assert rows["run"][1]["thermo/temperature"] == values[-1].value
    assert rows.keys() == {"run"}


def test_other_loggers_are_left_alone(tmp_path: Path) -> None:
    trainer = quiet_trainer(logger=CSVLogger(tmp_path, name="", version="run"), callbacks=[light()])
    trainer.fit(Saving({"rate": 0.25}), loader(24))
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"hparams.yaml", "metrics.csv", "thermo_run_configuration.json"}
    assert (tmp_path / "run" / "hparams.yaml").read_text() == "rate: 0.25\n"


def test_a_fault_in_the_table_costs_only_the_table(monkeypatch, tmp_path):
    def fail(*arguments):
        raise RuntimeError("another Lightning")

    monkeypatch.setattr("lightning.fabric.utilities.logger._flatten_dict", fail)
    monitor = ThermoMonitor("light", window=8)
    trainer = quiet_trainer(callbacks=monitor, logger=CSVLogger(tmp_path))
    with pytest.warns(UserWarning, match="table of final values is switched off.*another Lightning"):
        trainer.fit(Saving({"rate": 0.1}), loader(8))
    assert monitor.latest()["thermo/temperature"] > 0.0
