"""The classifier that ``thermo-callbacks compare`` trains."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from thermo_callbacks.callbacks.lightning_names import LightningModule
from thermo_callbacks.commands.compare.models import MODELS, NetworkSettings


class Classifier(LightningModule):
    """A network that learns classes by cross-entropy, with Adam."""

    def __init__(self, network: nn.Module, learning_rate: float) -> None:
        super().__init__()
        self.network, self.learning_rate = network, learning_rate

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``[B, classes]``."""
        logits: Tensor = self.network(inputs)
        return logits

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002  Lightning's signature
        """Mean loss of a batch."""
        inputs, classes = batch
        loss = cross_entropy(self(inputs), classes)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:  # noqa: ARG002  Lightning's signature
        """Loss and accuracy of a batch that is not trained on."""
        inputs, classes = batch
        logits = self(inputs)
        self.log("val_loss", cross_entropy(logits, classes))
        self.log("val_accuracy", (logits.argmax(1) == classes).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)


@dataclass(frozen=True, kw_only=True)
class ClassifierFactory:
    """Makes the classifier of a run."""

    network: NetworkSettings
    learning_rate: float

    def __call__(self, activation: nn.Module) -> Classifier:
        """Build a classifier with a copy of the activation in each place: efficiencies are told apart by depth."""
        settings = self.network
        network = MODELS[settings.model](settings, lambda: copy.deepcopy(activation))
        classifier = Classifier(network, self.learning_rate)
        classifier.save_hyperparameters(
            {
                "model": settings.model,
                "depth": settings.depth,
                "width": settings.width,
                "learning_rate": self.learning_rate,
            }
        )
        return classifier
