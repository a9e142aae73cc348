"""What a monitor writes of its set-up: where, when, and that nothing else changes."""

from __future__ import annotations

import json
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from integration.models import BATCH_SIZE, RecordingLogger, Regression, TwoOptimizers, fit, loader, quiet_trainer
from integration.observers import Witness, differences, observe
from integration.processes import in_processes
from integration.test_final_values import Saving
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.optim import SGD

from thermo_callbacks import TemperatureMonitor, ThermoMonitor, WorkEfficiencyMonitor
from thermo_callbacks.display.text.configuration import CONFIGURATION_TAG, read_configuration

# windows of 8 noisy steps show no signal now and then
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*no value", "ignore:.*no transition temperature", "ignore:No Laplacian"
)
LIGHT = partial(ThermoMonitor, "light", 8)


def texts_in(folder: Any, tag: str = CONFIGURATION_TAG) -> list[tuple[int, dict[str, Any]]]:
    events = EventAccumulator(str(folder)).Reload()
    if f"{tag}/text_summary" not in events.Tags()["tensors"]:
        return []
    written = events.Tensors(f"{tag}/text_summary")
    return [(each.step, read_configuration(each.tensor_proto.string_val[0].decode())) for each in written]


def file_in(folder: Any, number: str = "") -> dict[str, Any]:
    return dict(json.loads(Path(folder, f"thermo_run_configuration{number}.json").read_text(encoding="utf-8")))


def test_what_is_written_is_what_was_run(tmp_path: Path) -> None:
    board, table = TensorBoardLogger(tmp_path, prefix="a"), CSVLogger(tmp_path, name="table")
    monitor = ThermoMonitor("standard", 8, sample=16, curvature_every_n_steps=5, layers=["net.0", "net.2"], seed=3)
    quiet_trainer(logger=[board, table], callbacks=monitor, accumulate_grad_batches=2).fit(Regression(), loader(40))
    (start, first), (later, second) = texts_in(board.log_dir, f"a-{CONFIGURATION_TAG}")
    assert (start, later) == (0, 5)  # the engine types are known after the first extra pass
    assert second == first | {"engine_types": second["engine_types"]}
    assert second["engine_types"].keys() == {
        tag.removeprefix("thermo_work_efficiency/") for tag in monitor.latest() if "thermo_work_efficiency/" in tag
    }
    assert second == file_in(table.log_dir)
    assert first == {
        "monitor": "ThermoMonitor",
        "preset": "standard",
        "window": 8,
        "steps_between_windows": None,
        "sample": 16,
        "curvature_every_n_steps": 5,
        "layers": ["net.0", "net.2"],
        "loss_fn": None,
        "seed": 3,
        "extra_passes": {"first": 5, "every": 5},
        "version": version("thermo-callbacks"),
        "watched_layers": ["net.0", "net.2"],
        "batch_size": 2 * BATCH_SIZE,
        "micro_batches": 2,
        "processes": 1,
        "optimizers": [
            {"class": "SGD", "learning_rate": 0.05, "momentum": 0.0, "second_memory": None, "weight_decay": 0.0}
        ],
        "inspection": {"bounded_activations": ["net.1"]},
    }


def test_optimizers_with_groups_that_differ(tmp_path: Path) -> None:
    def grouped(parameters: Any) -> SGD:
        first, *rest = parameters
        return SGD([{"params": [first], "lr": 0.01, "momentum": 0.5}, {"params": rest}], lr=0.02, momentum=0.5)

    module, table = Regression(optimizer=grouped), CSVLogger(tmp_path)
    quiet_trainer(logger=table, callbacks=LIGHT()).fit(module, loader(8))
    assert file_in(table.log_dir)["optimizers"] == [
        {"class": "SGD", "learning_rate": [0.01, 0.02], "momentum": 0.5, "second_memory": None, "weight_decay": 0.0}
    ]
    table = CSVLogger(tmp_path, name="two")
    monitor = ThermoMonitor("light", 8, loss_fn=lambda module, batch: module.loss(batch))
    quiet_trainer(logger=table, callbacks=monitor).fit(TwoOptimizers(), loader(8))
    written = file_in(table.log_dir)
    assert [each["momentum"] for each in written["optimizers"]] == [0.0, 0.9]
    assert "lambda" in written["loss_fn"]


def test_each_monitor_of_a_run_has_its_own(tmp_path: Path) -> None:
    board, table = TensorBoardLogger(tmp_path), CSVLogger(tmp_path, name="table")
    monitors = [LIGHT(), WorkEfficiencyMonitor(4), TemperatureMonitor(window=9)]
    quiet_trainer(logger=[board, table], callbacks=monitors).fit(Regression(), loader(20))
    for monitor, number in zip(monitors, ("", "_2", "_3"), strict=True):
        written = file_in(table.log_dir, number)
        assert written["monitor"] == type(monitor).__name__
        assert written == texts_in(board.log_dir, CONFIGURATION_TAG + number)[-1][1]
    assert file_in(table.log_dir, "_2")["watched_layers"] == []
    assert "window" not in file_in(table.log_dir, "_2")
    assert file_in(table.log_dir, "_3")["extra_passes"] is None


@pytest.mark.parametrize("resumed", ["the same callback", "a checkpoint"])
def test_a_run_that_goes_on_writes_again_at_its_step(resumed: str, tmp_path: Path) -> None:
    monitor, board = LIGHT(), TensorBoardLogger(tmp_path)
    trainer = quiet_trainer(logger=board, callbacks=monitor, max_epochs=1)
    module = Regression()
    trainer.fit(module, loader(10))
    if resumed == "a checkpoint":
        trainer.save_checkpoint(tmp_path / "model.ckpt")
        board = TensorBoardLogger(tmp_path, version="another")  # a log of its own needs its own
        trainer = quiet_trainer(logger=board, callbacks=LIGHT(), max_epochs=2)
        trainer.fit(Regression(), loader(10), ckpt_path=tmp_path / "model.ckpt")
    else:
        trainer.fit_loop.max_epochs = 2
        trainer.fit(module, loader(10))
    assert trainer.global_step == 20
    steps = [step for step, _ in texts_in(board.log_dir)]
    assert steps == ([10] if resumed == "a checkpoint" else [0, 10])


def test_a_fault_costs_only_the_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: Any) -> str:
        raise OSError("disk full")

    monkeypatch.setattr("thermo_callbacks.callbacks.output.configuration.configuration_text", fail)
    table, monitor = CSVLogger(tmp_path), ThermoMonitor("standard", 8, curvature_every_n_steps=5)
    with pytest.warns(UserWarning, match="configuration log of ThermoMonitor is switched off.*disk full") as warned:
        quiet_trainer(logger=table, callbacks=monitor).fit(Regression(), loader(20))
    assert sum("configuration log" in str(each.message) for each in warned) == 1
    assert {"thermo/temperature", "thermo/laplacian"} <= monitor.latest().keys()
    assert not list(Path(table.log_dir).glob("*.json"))


def test_nothing_of_the_run_changes(tmp_path: Path) -> None:
    make = partial(Witness, partial(SGD, lr=0.05))
    folders = [tmp_path / name for name in ("bare", "watched")]
    bare = observe(make, folders[0])
    watched = observe(make, folders[1], ThermoMonitor("standard", 8, curvature_every_n_steps=5))
    assert differences(bare, watched) == []
    assert list(folders[1].rglob("thermo_run_configuration.json"))


class HyperparameterLogger(RecordingLogger):
    """Keeps what is said to be a hyperparameter, as loggers of services do."""

    def __init__(self) -> None:
        super().__init__()
        self.hyperparameters: list[Any] = []

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        self.hyperparameters.append((args, kwargs))


def test_hyperparameters_are_the_users_own(tmp_path: Path) -> None:
    seen = {}
    for name, callbacks in (("bare", []), ("watched", [LIGHT()])):
        loggers = [CSVLogger(tmp_path, name=name), TensorBoardLogger(tmp_path, name=f"{name} board")]
        other = HyperparameterLogger()
        module = Saving({"rate": 0.1})
        quiet_trainer(logger=[*loggers, other], callbacks=callbacks).fit(module, loader(8))
        files = [Path(logger.log_dir, "hparams.yaml").read_text() for logger in loggers]
        seen[name] = (files, repr(other.hyperparameters), dict(module.hparams), [*map(str, module.hparams_initial)])
    assert seen["bare"] == seen["watched"]


def test_loggers_that_keep_no_text_get_nothing() -> None:
    logger = fit(Regression(), LIGHT(), 8)
    assert all(isinstance(value, float) for _, row in logger.thermo_rows for value in row.values())


def test_a_dry_run_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng(devices=[]):
        trainer = Trainer(
            accelerator="cpu", fast_dev_run=10, callbacks=[LIGHT()], enable_progress_bar=False, logger=CSVLogger(".")
        )
        trainer.fit(Regression(), loader(10))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of torch knows no processes")
def test_the_first_of_several_processes_writes(tmp_path: Path) -> None:
    def work(rank: int) -> str:
        table = CSVLogger(tmp_path / f"rank {rank}", version="run")
        options = {"accelerator": "cpu", "devices": 2, "strategy": "ddp", "logger": table}
        quiet_trainer(callbacks=LIGHT(), **options).fit(Regression(), loader(20))
        return str(table.log_dir)

    first, second = in_processes(2, work, tmp_path)
    written = file_in(first)
    assert (written["processes"], written["batch_size"]) == (2, 2 * BATCH_SIZE)
    assert not Path(second).exists()
