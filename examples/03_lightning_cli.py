"""LightningCLI: the monitor is added in a YAML file, and its arguments are set there or on the command line.

python examples/03_lightning_cli.py                                                  # fit, as in the file beside it
python examples/03_lightning_cli.py fit --config examples/03_lightning_cli.yaml --model.lr 0.2
python examples/03_lightning_cli.py fit --trainer.callbacks+=thermo_callbacks.ThermoMonitor --print_config
"""

import sys
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.cli import LightningCLI
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Classifier(pl.LightningModule):
    """Two layers; nothing in here knows of the monitor."""

    def __init__(self, hidden: int = 64, lr: float = 0.1) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))
        self.lr = lr

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Cross-entropy."""
        images, labels = batch
        loss = nn.functional.cross_entropy(self.net(images), labels)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain SGD."""
        return torch.optim.SGD(self.parameters(), lr=self.lr)


class Digits(pl.LightningDataModule):
    """scikit-learn's digits."""

    def __init__(self, batch_size: int = 32) -> None:
        super().__init__()
        self.batch_size = batch_size

    def train_dataloader(self) -> DataLoader:
        """Shuffled batches."""
        images, labels = load_digits(return_X_y=True)
        data = TensorDataset(torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels))
        return DataLoader(data, batch_size=self.batch_size, shuffle=True)


def main() -> None:
    """Do what the command line says, and print what the monitors saw last."""
    configuration = Path(__file__).with_suffix(".yaml")
    arguments = None if sys.argv[1:] else ["fit", "--config", str(configuration)]
    cli = LightningCLI(Classifier, Digits, args=arguments)
    for tag, value in sorted(cli.trainer.callback_metrics.items()):
        if tag.startswith("thermo/"):
            print(f"{tag:40s} {value: .4g}")
    print(f"events and configuration: {Path(cli.trainer.log_dir).resolve()}")


if __name__ == "__main__":
    main()
