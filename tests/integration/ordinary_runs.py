"""Ten ordinary runs of different kinds, small enough for a test: data that can be learned, and rates that learn it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from integration.models import quiet_trainer
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss
from torch.optim import SGD, Adam, AdamW, RMSprop
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, TensorDataset

SAMPLES, CLASSES, LENGTH, BATCH = 1024, 4, 8, 16


class OrdinaryRun(NamedTuple):
    """A model, its data, and what the Trainer is told."""

    module: Callable[[], LightningModule]
    data: Callable[[], TensorDataset]
    options: Mapping[str, Any] = MappingProxyType({})
    monitor: Mapping[str, Any] = MappingProxyType({})  # what it is told besides the preset

    def fit(self, callbacks: list[Any], logger: Any, *, epochs: int = 2) -> Trainer:
        """Train from one seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            options = {"max_epochs": epochs, "callbacks": callbacks, "logger": logger, **self.options}
            trainer = quiet_trainer(**options)
            trainer.fit(self.module(), DataLoader(self.data(), BATCH, shuffle=True))
        return trainer


class Supervised(LightningModule):
    """A network, a loss and an optimizer."""

    def __init__(self, net: nn.Module, loss: Callable[..., Tensor], optimizer: Callable[..., Any]) -> None:
        super().__init__()
        self.net, self.loss, self.make = net, loss, optimizer

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs, targets = batch
        loss = self.loss(self.net(inputs), targets)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        return self.make(self.parameters())


class Warm(Supervised):
    """Its rate rises for 20 steps, and falls after them."""

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        scheduler = LambdaLR(optimizer, lambda step: min((step + 1) / 20, (20 / (step + 1)) ** 0.5))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class Transformer(nn.Module):
    """Two blocks over a sequence of words, whose mean is classified."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(12, 16)
        block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, words: Tensor) -> Tensor:
        return self.head(self.blocks(self.embed(words)).mean(1))


class Recurrent(nn.Module):
    """The last state of an LSTM, read out."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(1, 12, batch_first=True), nn.Linear(12, 1)

    def forward(self, series: Tensor) -> Tensor:
        return self.head(self.lstm(series)[0][:, -1])


class Adversarial(LightningModule):
    """A generator of points and its critic, each stepped by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = perceptron(4, 16, 2)
        self.critic = perceptron(2, 16, 1)

    def critics_loss(self, batch: Any) -> Tensor:
        (real,) = batch
        made = self.generator(torch.randn(len(real), 4))
        truth, lie = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        return binary_cross_entropy_with_logits(self.critic(torch.cat([real, made])), torch.cat([truth, lie]))

    def training_step(self, batch: Any, batch_idx: int) -> None:
        for_generator, for_critic = self.optimizers()
        self._step(for_critic, self.critics_loss(batch))
        made = self.generator(torch.randn(len(batch[0]), 4))
        self._step(for_generator, binary_cross_entropy_with_logits(self.critic(made), torch.ones(len(made), 1)))

    def _step(self, optimizer: Any, loss: Tensor) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()

    def configure_optimizers(self) -> Any:
        halves = (self.generator, self.critic)
        return [Adam(half.parameters(), lr=2e-3, betas=(0.5, 0.999)) for half in halves]


def perceptron(*widths: int) -> nn.Sequential:
    """Linear layers with ReLUs in between."""
    layers: list[nn.Module] = []
    for one, other in pairwise(widths):
        layers += [nn.Linear(one, other), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def convolutional() -> nn.Sequential:
    """Convolutions with batch norms."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, CLASSES),
    )  # fmt: skip


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def classes(inputs: Tensor) -> Tensor:
    """Classes that a random map of the inputs tells, with some noise."""
    scores = inputs.flatten(1) @ noise(inputs.flatten(1).shape[1], CLASSES, seed=3)
    return (scores + noise(len(inputs), CLASSES, seed=4)).argmax(1)


def vectors() -> TensorDataset:
    inputs = noise(SAMPLES, 10)
    return TensorDataset(inputs, classes(inputs))


def numbers() -> TensorDataset:
    inputs = noise(SAMPLES, 10)
    return TensorDataset(inputs, torch.sin(inputs[:, :3]).sum(1, keepdim=True) + 0.3 * noise(SAMPLES, 1, seed=5))


def images() -> TensorDataset:
    inputs = noise(SAMPLES, 1, 8, 8)
    labels = torch.arange(SAMPLES) % CLASSES
    for label in range(CLASSES):
        inputs[labels == label, :, label : label + 4, label : label + 4] += 1.0
    return TensorDataset(inputs, labels)


def sentences() -> TensorDataset:
    words = torch.randint(0, 12, (SAMPLES, LENGTH), generator=torch.Generator().manual_seed(0))
    return TensorDataset(words, words.sum(1) % 12 // 3)


def series() -> TensorDataset:
    walks = noise(SAMPLES, LENGTH, 1)
    return TensorDataset(walks, walks.mean(1) + 0.1 * noise(SAMPLES, 1, seed=5))


def points() -> TensorDataset:
    return TensorDataset(noise(SAMPLES, 2) * torch.tensor([1.0, 0.3]) + 1.0)


def supervised(
    net: Callable[[], nn.Module], loss: Callable[..., Tensor], kind: Any = Supervised, **optimizer: Any
) -> Any:
    """Makes a module, with the optimizer's class under ``of`` and its settings."""
    make = optimizer.pop("of")
    return lambda: kind(net(), loss, lambda parameters: make(parameters, **optimizer))


def classifier() -> nn.Sequential:
    return perceptron(10, 32, 32, CLASSES)


def regressor() -> nn.Sequential:
    return perceptron(10, 32, 32, 1)


RUNS = {
    "SGD": OrdinaryRun(supervised(classifier, cross_entropy, of=SGD, lr=0.05), vectors),
    "momentum": OrdinaryRun(supervised(regressor, mse_loss, of=SGD, lr=0.01, momentum=0.9), numbers),
    "Adam": OrdinaryRun(supervised(classifier, cross_entropy, of=Adam, lr=2e-3), vectors),
    "AdamW with warm-up": OrdinaryRun(supervised(classifier, cross_entropy, Warm, of=AdamW, lr=3e-3), vectors),
    "convolutions with batch norm": OrdinaryRun(
        supervised(convolutional, cross_entropy, of=SGD, lr=0.02, momentum=0.9, weight_decay=1e-3), images
    ),
    "transformer": OrdinaryRun(
        supervised(Transformer, cross_entropy, Warm, of=AdamW, lr=3e-3), sentences, {"gradient_clip_val": 1.0}
    ),
    "LSTM": OrdinaryRun(supervised(Recurrent, mse_loss, of=RMSprop, lr=2e-3), series),
    "accumulation": OrdinaryRun(
        supervised(regressor, mse_loss, of=Adam, lr=2e-3), numbers, {"accumulate_grad_batches": 2}
    ),
    "GAN by hand": OrdinaryRun(Adversarial, points, {}, {"loss_fn": Adversarial.critics_loss}),
    "bf16": OrdinaryRun(supervised(classifier, cross_entropy, of=AdamW, lr=2e-3), vectors, {"precision": "bf16-mixed"}),
}
"""Name of each kind of run to the run."""
