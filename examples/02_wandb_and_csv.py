"""One run logged to Weights & Biases and to a CSV file, with no change to the monitor: it logs to whatever is there.

Weights & Biases works offline here: it needs no account and no network, and keeps the run in a folder, from where
``wandb sync`` can send it later. Give ``offline=False`` to send it while training goes on. In both, the step is
Lightning's own, so the monitor's values stand beside the module's on one axis.

    python examples/02_wandb_and_csv.py            # files under thermo_logs/
    python examples/02_wandb_and_csv.py FOLDER
"""

import argparse
import csv
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from thermo_callbacks import ThermoMonitor


class Classifier(pl.LightningModule):
    """Two layers; it logs its loss as any module does."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Cross-entropy."""
        images, labels = batch
        loss = nn.functional.cross_entropy(self.net(images), labels)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain SGD."""
        return torch.optim.SGD(self.parameters(), lr=0.1)


def column(file: Path, tag: str) -> list[tuple[int, float]]:
    """Steps and values of one quantity in Lightning's CSV: a row has values of what was logged at its step only."""
    with file.open(encoding="utf-8", newline="") as lines:
        return [(int(row["step"]), float(row[tag])) for row in csv.DictReader(lines) if row[tag]]


def main(folder: Path) -> None:
    """Train with both loggers, and read the temperature back from the CSV file."""
    folder.mkdir(parents=True, exist_ok=True)
    pl.seed_everything(0, verbose=False)
    images, labels = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels))
    wandb_logger = WandbLogger(offline=True, save_dir=folder, project="thermometer")
    csv_logger = CSVLogger(folder, name="csv")
    monitor = ThermoMonitor()
    trainer = pl.Trainer(
        max_epochs=5,
        accelerator="cpu",
        logger=[wandb_logger, csv_logger],
        enable_checkpointing=False,
        callbacks=[monitor],
    )
    trainer.fit(Classifier(), DataLoader(data, batch_size=32, shuffle=True))
    wandb_logger.experiment.finish()
    file = Path(csv_logger.log_dir) / "metrics.csv"
    print("temperature, from the CSV file:")
    for step, temperature in column(file, "thermo/temperature"):
        print(f"  step {step:4d} {temperature:.3e}")
    print(f"CSV: {file.resolve()}")
    print(f"Weights & Biases: {Path(wandb_logger.experiment.dir).parent.resolve()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("thermo_logs"), help="where the files go")
    main(parser.parse_args().folder)
