"""Small modules and data that comparisons are tested with; importable, so that other processes find them."""

from __future__ import annotations

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

INPUTS, CLASSES = 5, 3


def dataset(length, seed):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(length, INPUTS, generator=generator)
    return TensorDataset(inputs, inputs[:, :CLASSES].argmax(1))


def loaders(generator=None):
    training = DataLoader(dataset(96, 0), batch_size=4, shuffle=True, generator=generator)
    return training, DataLoader(dataset(40, 1), batch_size=20)


class Data(LightningDataModule):
    def __init__(self, batch_size=4):
        super().__init__()
        self.batch_size = batch_size

    def setup(self, stage):
        self.parts = dataset(96, 0), dataset(40, 1)

    def train_dataloader(self):
        return DataLoader(self.parts[0], batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.parts[1], batch_size=20)


class Net(LightningModule):
    """Takes its activation, and uses one object twice."""

    def __init__(self, activation=None, lr=0.2):
        super().__init__()
        self.activation = activation or nn.ReLU()
        self.first, self.second = nn.Linear(INPUTS, 6), nn.Linear(6, 6)
        self.head = nn.Linear(6, CLASSES)
        self.lr = lr
        self.save_hyperparameters("lr")

    def forward(self, inputs):
        return self.head(self.activation(self.second(self.activation(self.first(inputs)))))

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        logits = self(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(logits, batch[1]))
        self.log("val_accuracy", (logits.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


class PlainNet(Net):
    """Has an activation of its own, whichever."""

    def __init__(self):
        super().__init__(nn.ReLU())


class Explosive(nn.Module):
    """Gives no finite number from some call on."""

    calls = 0

    def forward(self, input):
        self.calls += 1
        return input * (float("inf") if self.calls > 20 else 1.0)


class Faulty(nn.Module):
    """Raises."""

    def forward(self, input):
        raise RuntimeError("no such luck\nand more")
