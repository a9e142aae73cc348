"""Logs that a real Trainer has written: one run with both loggers, one with a prefix, one with a table alone."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from thermo_callbacks import ThermoMonitor

BATCH, WINDOW, STEPS = 16, 8, 64


class Classifier(LightningModule):
    def __init__(self, rate: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        layers = [nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)]
        self.net = nn.Sequential(*layers)

    def forward(self, inputs):
        return self.net(inputs)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.rate)


class DeadClassifier(Classifier):
    """Its last activation lets nothing through."""

    def __init__(self, rate: float) -> None:
        super().__init__(rate)
        nn.init.constant_(self.net[2].bias, -20.0)


def train(rate, loggers, preset="standard", classifier=Classifier):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(BATCH * STEPS, 6, generator=generator)
    classes = (inputs @ torch.randn(6, 3, generator=generator)).argmax(1)
    seed_everything(1, verbose=False)
    monitor = ThermoMonitor(preset, window=WINDOW, steps_between_windows=0, curvature_every_n_steps=WINDOW)
    trainer = Trainer(
        max_steps=STEPS,
        accelerator="cpu",
        logger=loggers,
        callbacks=[monitor],
        log_every_n_steps=4,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(classifier(rate), DataLoader(TensorDataset(inputs, classes), batch_size=BATCH, shuffle=True))
    return monitor


@pytest.fixture(scope="session")
def logs(tmp_path_factory):
    """Folders of three runs below one root, and what their monitors knew at the end."""
    root = tmp_path_factory.mktemp("logs")
    at = {"save_dir": root, "name": "digits"}
    with warnings.catch_warnings():
        for message in (".*no value", ".*exists and is not empty", ".*Checkpoint directory"):
            warnings.filterwarnings("ignore", message)
        both = train(0.05, [TensorBoardLogger(**at, version="slow"), CSVLogger(**at, version="slow")], "full")
        prefixed = train(0.3, [TensorBoardLogger(**at, version="fast", prefix="x")])
        table = train(0.3, [CSVLogger(**at, version="table")])
    return SimpleNamespace(
        root=root,
        both=root / "digits" / "slow",
        prefixed=root / "digits" / "fast",
        table=root / "digits" / "table",
        latest={"slow": both.latest(), "fast": prefixed.latest(), "table": table.latest()},
    )
