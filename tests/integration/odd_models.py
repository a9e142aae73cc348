"""Odd models to train, each with the data that it takes."""

from __future__ import annotations

from typing import Any

import torch
from integration.models import INPUTS, LoggingRegression, loader, momentum_sgd
from integration.odd_runs import Ended, Started, once
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import BackboneFinetuning, ModelPruning
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import pack_sequence
from torch.optim import SGD, Adam
from torch.utils.data import DataLoader, TensorDataset


class Backbone(LoggingRegression):
    """A backbone and a head."""

    def __init__(self) -> None:
        super().__init__(nn.Identity())
        self.backbone = nn.Sequential(nn.Linear(INPUTS, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh()).double()
        self.net = nn.Sequential(self.backbone, nn.Linear(6, 1).double())

    def configure_optimizers(self) -> Any:
        return SGD([p for p in self.parameters() if p.requires_grad], lr=0.02)


def thawed(start: Started) -> Ended:
    """A backbone that thaws after an epoch, with a rate of its own."""
    finetuning = BackboneFinetuning(2, lambda epoch: 1.5, backbone_initial_lr=0.001)
    return once(start.trainer(finetuning, max_epochs=5), Backbone(), loader(15))


def pruned(start: Started) -> Ended:
    """Weights that are cut off at the end of each epoch."""
    pruning = ModelPruning("l1_unstructured", amount=0.2, parameter_names=["weight"], make_pruning_permanent=False)
    return once(start.trainer(pruning, max_epochs=4), LoggingRegression(optimizer=momentum_sgd), loader(15))


class FakeQuantised(nn.Linear):
    """A layer whose weights and inputs are those of a few bits, straight through, in a range that it observes."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.register_buffer("top", torch.ones(()))

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            self.top.mul_(0.9).add_(0.1 * inputs.detach().abs().max())
        return nn.functional.linear(
            self._rounded(inputs, self.top), self._rounded(self.weight, self.weight.abs().max()), self.bias
        )

    @staticmethod
    def _rounded(values: Tensor, top: Tensor) -> Tensor:
        scale = top.detach() / 7.0
        return values + ((values / scale).round().clamp(-7, 7) * scale - values).detach()


def quantised(start: Started) -> Ended:
    """Training that knows of its quantisation."""
    net = nn.Sequential(FakeQuantised(INPUTS, 8), nn.ReLU(), FakeQuantised(8, 1)).double()
    return once(start.trainer(), LoggingRegression(net, momentum_sgd), loader(60))


class Symmetric(nn.Module):
    """The symmetric part."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight.triu() + weight.triu(1).T


class Cached(LoggingRegression):
    """Makes its weights once a step."""

    def loss(self, batch: Any) -> Tensor:
        with parametrize.cached():
            return super().loss(batch) + 0.0 * self.net(batch[0]).sum()


def parametrized(start: Started) -> Ended:
    """Orthogonal and symmetric weights."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(INPUTS, INPUTS), nn.Tanh(), nn.Linear(INPUTS, INPUTS), nn.Tanh(), nn.Linear(INPUTS, 1)
    ).double()
    nn.utils.parametrizations.orthogonal(net[0])
    parametrize.register_parametrization(net[2], "weight", Symmetric())
    return once(start.trainer(), Cached(net), loader(50))


class Words(LightningModule):
    """Predicts the next word by the embedding itself."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6, sparse=True)
        self.mix, self.head = nn.Linear(6, 6), nn.Linear(6, 11, bias=False)
        self.head.weight = self.embed.weight

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        (words,) = batch
        seen = torch.tanh(self.mix(self.embed(words[:, :-1])))
        loss = cross_entropy(self.head(seen).flatten(0, 1), words[:, 1:].flatten())
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        return SGD(self.parameters(), lr=0.1)


def words() -> Tensor:
    return torch.randint(0, 11, (200, 7), generator=torch.Generator().manual_seed(0))


def tied(start: Started) -> Ended:
    """A sparse embedding that is the output layer too."""
    torch.manual_seed(0)
    return once(start.trainer(), Words(), DataLoader(TensorDataset(words()), 4))


class Packed(LightningModule):
    """Reads sequences of several lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(2, 6), nn.Linear(6, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        sequences, targets = batch
        loss = mse_loss(self.head(self.gru(sequences)[1][0]), targets)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        return Adam(self.parameters(), lr=1e-2)


def packing(rows: Any) -> Any:
    sequences = [torch.randn(length, 2, generator=torch.Generator().manual_seed(length)) for length in rows]
    return pack_sequence(sequences, enforce_sorted=False), torch.tensor([[length / 9.0] for length in rows])


def packed(start: Started) -> Ended:
    """Packed sequences as batches."""
    torch.manual_seed(0)
    lengths = torch.randint(1, 9, (200,), generator=torch.Generator().manual_seed(1)).tolist()
    return once(start.trainer(), Packed(), DataLoader(lengths, 4, collate_fn=packing))


class Gained(nn.Module):
    """Convolutions in channels_last, and numbers without dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.0))
        self.shift = nn.Parameter(torch.tensor(0.1))
        self.convolution = nn.Conv2d(2, 4, 3)
        self.head = nn.Linear(4, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        images = inputs.to(memory_format=torch.channels_last)
        return self.gain * self.head(torch.relu(self.convolution(images)).mean((2, 3))) + self.shift


def without_dimensions(start: Started) -> Ended:
    """Parameters without dimensions, double precision, channels last."""
    torch.manual_seed(0)
    net = Gained().double().to(memory_format=torch.channels_last)
    images = torch.randn(200, 2, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    data = TensorDataset(images, images.mean((1, 2, 3))[:, None] * 5)
    return once(start.trainer(), LoggingRegression(net), DataLoader(data, 4))
