"""The demo's data, model and training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from thermo_callbacks.callbacks import ThermoMonitor
from thermo_callbacks.callbacks.lightning_names import LightningModule, TensorBoardLogger, Trainer, TrainerCallback
from thermo_callbacks.callbacks.planning import WindowPlan, plan_windows
from thermo_callbacks.commands.demo.progress import DemoProgressBar
from thermo_callbacks.commands.demo.settings import DemoSettings
from thermo_callbacks.commands.digits import load_digits
from thermo_callbacks.comparison.quiet_training import interruptible, one_thread, quiet


@dataclass(frozen=True)
class DemoResult:
    """Result of a demo run.

    Attributes:
        window: Steps in a window.
        records: Values of each window, tag to value.
        ends: Last step of each of them.
        accuracy: Share of the validation images named correctly, None before the first validation.
        interrupted: Whether Ctrl-C ended the run.
    """

    window: int
    records: list[dict[str, float]]
    ends: list[int]
    accuracy: float | None
    steps: int
    interrupted: bool
    folder: Path


class DigitClassifier(LightningModule):
    """Two convolutions and two linear layers."""

    def __init__(self, optimizer: str, learning_rate: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.optimizer_name, self.learning_rate = optimizer, learning_rate
        self.conv1 = nn.Conv2d(1, 8, kernel_size=5, stride=2)
        self.conv2 = nn.Conv2d(8, 16, kernel_size=5, stride=2)
        self.hidden = nn.Linear(16 * 4 * 4, 64)
        self.output = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the ten digits, ``[B, 10]``, for images ``[B, 1, 28, 28]``."""
        features = self.conv2(self.conv1(images).relu()).relu()
        logits: Tensor = self.output(self.hidden(features.flatten(1)).relu())
        return logits

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002  Lightning's signature
        """Mean loss of a batch."""
        images, digits = batch
        loss = cross_entropy(self(images), digits)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:  # noqa: ARG002  Lightning's signature
        """Loss and accuracy of a batch that is not trained on."""
        images, digits = batch
        logits = self(images)
        self.log("val_loss", cross_entropy(logits, digits))
        accuracy = (logits.argmax(1) == digits).float().mean()
        self.log("val_accuracy", accuracy, prog_bar=True)
        self.log("hp_metric", accuracy)  # Lightning's name for the result that stands beside the hyperparameters

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer of that name."""
        if self.optimizer_name == "sgd":
            return torch.optim.SGD(self.parameters(), lr=self.learning_rate)
        if self.optimizer_name == "momentum":
            return torch.optim.SGD(self.parameters(), lr=self.learning_rate, momentum=0.9)
        family = torch.optim.Adam if self.optimizer_name == "adam" else torch.optim.AdamW
        return family(self.parameters(), lr=self.learning_rate)


class WindowRecords(TrainerCallback):
    """Keeps the values of all windows of a monitor, few in so short a run."""

    # the monitor has to stand before it in the Trainer's list

    def __init__(self, monitor: ThermoMonitor) -> None:
        self._monitor = monitor
        self.records: list[dict[str, float]] = []
        self.ends: list[int] = []

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Take in the values of a window that has ended."""
        record = self._monitor.latest()
        if record and record not in self.records[-1:]:
            self.records.append(record)
            self.ends.append(trainer.global_step - 1)


def planned_windows(settings: DemoSettings) -> WindowPlan:
    """The windows that the monitor plans for a demo of these settings."""
    plan = plan_windows(settings.steps)
    assert plan is not None  # the settings refuse a run of fewer steps than that takes
    return plan


def train(settings: DemoSettings) -> DemoResult:
    """Train the classifier on the digits with a monitor."""
    training, validation = load_digits(settings.seed)
    monitor = ThermoMonitor(seed=settings.seed)
    windows = WindowRecords(monitor)
    logger = TensorBoardLogger(settings.logdir, name="demo")
    with quiet(), one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = DigitClassifier(settings.optimizer, settings.learning_rate)
        trainer = Trainer(
            max_epochs=settings.max_epochs,
            accelerator="cpu",
            devices=1,
            logger=logger,
            callbacks=[monitor, windows, DemoProgressBar()],
            log_every_n_steps=min(10, settings.steps_per_epoch),
            num_sanity_val_steps=0,
            enable_checkpointing=False,
            enable_model_summary=False,
        )
        with interruptible():
            trainer.fit(
                model,
                DataLoader(training, batch_size=settings.batch_size, shuffle=True),
                DataLoader(validation, batch_size=250),
            )
    accuracy = trainer.callback_metrics.get("val_accuracy")
    return DemoResult(
        window=planned_windows(settings).length,
        records=windows.records,
        ends=windows.ends,
        accuracy=None if accuracy is None else float(accuracy),
        steps=trainer.global_step,
        interrupted=trainer.interrupted,
        folder=Path(logger.log_dir),
    )
