"""One line on an existing Trainer: the temperature of a small classifier on scikit-learn's digits."""

import lightning.pytorch as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from thermo_callbacks import ThermoMonitor


class Classifier(pl.LightningModule):
    """Two layers; nothing in here knows of the monitor."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Cross-entropy."""
        images, labels = batch
        return nn.functional.cross_entropy(self.net(images), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain SGD."""
        return torch.optim.SGD(self.parameters(), lr=0.1)


def main() -> None:
    """Train for five epochs, and print what the monitor saw last."""
    pl.seed_everything(0, verbose=False)
    images, labels = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels))
    monitor = ThermoMonitor()
    trainer = pl.Trainer(max_epochs=5, accelerator="cpu", logger=False, enable_checkpointing=False, callbacks=[monitor])
    trainer.fit(Classifier(), DataLoader(data, batch_size=32, shuffle=True))
    for tag, value in monitor.latest().items():
        print(f"{tag:40s} {value: .4g}")


if __name__ == "__main__":
    main()
