"""Loggers that fail, and loggers that refuse a name: what it costs, and what it does not."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from integration.models import LoggingRegression, RecordingLogger, TwoOptimizers, loader, momentum_sgd, quiet_trainer
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from thermo_callbacks import ThermoMonitor
from thermo_callbacks.callbacks.output.loggers import MOST_FAILURES, mlflow_name

ENDS = [7, 15, 23, 31, 39]


def monitor() -> ThermoMonitor:
    return ThermoMonitor("light", window=8, steps_between_windows=0)


def ours(told: Any) -> int:
    """Warnings that are not Lightning's own."""
    return sum("could not log" in str(warning.message) for warning in told)


def weights_of(module: LightningModule) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


def train(loggers: Any, *callbacks: Callback) -> tuple[ThermoMonitor, list[Tensor]]:
    """A run of five windows: its monitor, and the weights at its end."""
    own, module = monitor(), LoggingRegression()
    quiet_trainer(logger=loggers, callbacks=[own, *callbacks], log_every_n_steps=1000).fit(module, loader(40))
    return own, weights_of(module)


class FailingLogger(RecordingLogger):
    """Fails at the monitors' rows of some steps."""

    def __init__(self, fails: Callable[[int], bool]) -> None:
        super().__init__()
        self.tried: list[int] = []
        self._fails = fails

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if any(tag.startswith("thermo") for tag in metrics):
            assert step is not None
            self.tried.append(step)
            if self._fails(step):
                raise OSError(28, "No space left on device")
        super().log_metrics(metrics, step)


TOLD = (
    "^thermo_callbacks could not log to FailingLogger at step {} .OSError: .Errno 28. No space left on device.. "
    "What was to be written is lost there and nowhere else; .* given nothing more after 3 failures in a row"
)


def test_a_logger_that_fails_once_loses_one_row() -> None:
    failing, other = FailingLogger(lambda step: step == 15), RecordingLogger()
    with pytest.warns(UserWarning, match=TOLD.format(15)) as told:
        own, weights = train([failing, other])
    assert ours(told) == 1
    assert [step for step, _ in other.thermo_rows] == ENDS
    assert [step for step, _ in failing.thermo_rows] == [step for step in ENDS if step != 15]
    assert own.latest() == other.thermo_rows[-1][1]
    assert all(map(torch.equal, weights, train(False)[1]))


def test_a_logger_that_always_fails_is_left_alone_with_one_warning() -> None:
    failing, other = FailingLogger(lambda _: True), RecordingLogger()
    with pytest.warns(UserWarning, match=TOLD.format(7)) as told:
        own, weights = train([failing, other])
    assert ours(told) == 1
    assert failing.tried == ENDS[:MOST_FAILURES]
    assert [step for step, _ in other.thermo_rows] == ENDS
    assert not math.isnan(own.latest()["thermo/temperature"])
    assert all(map(torch.equal, weights, train(False)[1]))


def test_failures_that_come_singly_never_cost_the_logger() -> None:
    failing = FailingLogger(lambda step: step in ENDS[::2])
    with pytest.warns(UserWarning, match=TOLD.format(7)) as told:
        train(failing)
    assert ours(told) == 1
    assert failing.tried == ENDS


class Vandal(Callback):
    """Takes the folder of a logger away at a step."""

    def __init__(self, folder: Path, step: int) -> None:
        self._folder, self._step = folder, step

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self._step:
            shutil.rmtree(self._folder)


class EagerCSVLogger(CSVLogger):
    """Writes each row at once, and keeps quiet when the host closes it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, name="", version="run", flush_logs_every_n_steps=1)

    def save(self) -> None:
        """Each row is written when it comes."""

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        super().log_metrics(metrics, step)
        super().save()


def test_a_folder_that_is_gone_costs_the_log_in_it(tmp_path: Path) -> None:
    files, other = EagerCSVLogger(tmp_path), RecordingLogger()
    with pytest.warns(
        UserWarning, match="^thermo_callbacks could not log to EagerCSVLogger at step 15 .FileNotFoundError"
    ) as told:
        own, weights = train([files, other], Vandal(tmp_path / "run", 12))
    assert ours(told) == 1
    assert [step for step, _ in other.thermo_rows] == ENDS
    assert not math.isnan(own.latest()["thermo/temperature"])
    assert all(map(torch.equal, weights, train(False)[1]))


@pytest.mark.parametrize("method", ["add_scalar", "add_text", "add_image", "add_custom_scalars"])
def test_a_full_disk_under_tensorboard_costs_what_is_written_there(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SummaryWriter, method, fail)
    board, other = TensorBoardLogger(tmp_path, name="", version="run", default_hp_metric=False), RecordingLogger()
    with pytest.warns(
        UserWarning, match="^thermo_callbacks could not log to TensorBoardLogger .*No space left on device"
    ) as told:
        own, weights = train([board, other])
    assert ours(told) == 1
    assert [step for step, _ in other.thermo_rows] == ENDS
    assert not math.isnan(own.latest()["thermo/temperature"])
    assert all(map(torch.equal, weights, train(False)[1]))


@pytest.mark.filterwarnings("ignore:no value")
def test_a_histogram_that_cannot_be_written_costs_no_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(SummaryWriter, "add_histogram", fail)
    own = ThermoMonitor("full", window=8, steps_between_windows=0, curvature_every_n_steps=8)
    board = TensorBoardLogger(tmp_path, name="", version="run")
    with pytest.warns(
        UserWarning, match="^thermo_callbacks could not log to TensorBoardLogger .*Read-only file system"
    ):
        quiet_trainer(logger=board, callbacks=own).fit(LoggingRegression(), loader(40))
    assert not math.isnan(own.latest()["thermo/complexity"])
    board.experiment.flush()
    found = EventAccumulator(str(tmp_path / "run")).Reload()
    assert "thermo/complexity" in found.Tags()["scalars"]
    assert found.Tags()["histograms"] == []


class MLFlowLogger(RecordingLogger):
    """Lightning's logger for MLflow by its name, and as strict as the service itself."""

    run_id = "of the service"

    def log_text(self, run_id: str, text: str, artifact_file: str) -> None:
        assert (run_id, artifact_file) == (self.run_id, "thermo_findings.md")
        self.kept_text = text

    @property
    def experiment(self) -> Any:
        return self

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        for name in metrics:
            assert re.fullmatch(r"[a-zA-Z0-9_/. -]+", name), f"Invalid metric name: {name!r}"
        super().log_metrics(metrics, step)


class SharedActivation(LoggingRegression):
    """Uses one activation twice, so that its second call has a name of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.Tanh()
        self.middle = nn.Linear(6, 6).double()

    def loss(self, batch: Any) -> Tensor:
        inputs, targets = batch
        hidden = self.act(self.middle(self.act(self.net[0](inputs))))
        return (self.net[2](hidden) - targets).square().mean()


class SharedLayer(TwoOptimizers):
    """Weights have one optimizer and biases another."""

    def configure_optimizers(self) -> Any:
        named = list(self.net.named_parameters())
        weights = [parameter for name, parameter in named if name.endswith("weight")]
        return [torch.optim.SGD(weights, lr=0.05), momentum_sgd([p for name, p in named if name.endswith("bias")])]


@pytest.mark.filterwarnings("ignore:no value")
@pytest.mark.filterwarnings("ignore:.*switched off")
@pytest.mark.parametrize(
    ("module", "tag", "translated"),
    [
        (SharedActivation, "thermo_work_efficiency/act#2", "thermo_work_efficiency/act call 2"),
        (SharedLayer, "thermo_temperature/net.0@SGD-0", "thermo_temperature/net.0 of SGD-0"),
    ],
)
def test_mlflow_gets_all_values_under_names_that_it_takes(
    module: type[LightningModule], tag: str, translated: str
) -> None:
    strict, other = MLFlowLogger(), RecordingLogger()
    own = ThermoMonitor("standard", window=8, steps_between_windows=0, curvature_every_n_steps=8)
    quiet_trainer(logger=[strict, other], callbacks=own).fit(module(), loader(40))
    assert repr(strict.series(translated)) == repr(other.series(tag)) != "[]"
    assert [len(row) for _, row in strict.thermo_rows] == [len(row) for _, row in other.thermo_rows]


def test_names_for_mlflow_are_as_many_as_the_tags() -> None:
    tags = [
        "a/act#2",
        "a/act2",
        "a/act 2",
        "a/act+2",
        "a/act:2",
        "a/act_2",
        "a/x@SGD",
        "a/xSGD",
        "a/\u00e42",
        "a/act-2",
    ]
    names = [mlflow_name(tag) for tag in tags]
    assert len(set(names)) == len(tags)
    assert all(re.fullmatch(r"[a-zA-Z0-9_/. -]+", name) for name in names)
    assert mlflow_name("thermo/temperature") == "thermo/temperature"
