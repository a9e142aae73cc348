"""A generator that is to draw points on a circle, against a discriminator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid
from torch.utils.data import DataLoader, TensorDataset

from faults.networks import perceptron
from faults.scores import distance

POINTS, CODES = 1_024, 4


def circle() -> Tensor:
    angles = torch.rand(POINTS, generator=torch.Generator().manual_seed(0)) * 2 * torch.pi
    return torch.stack([angles.cos(), angles.sin()], 1)


def not_saturating(logits: Tensor) -> Tensor:
    """What the generator minimises, so that it has a gradient when it is found out (Goodfellow et al. 2014)."""
    return -logsigmoid(logits).mean()


def saturating(logits: Tensor) -> Tensor:
    """What the game itself says, flat where the discriminator is sure."""
    return logsigmoid(-logits).mean()


@dataclass(frozen=True)
class Adversarial:
    """Makes runs of a generator and a discriminator, each with its own optimizer."""

    generator_loss: Callable[[Tensor], Tensor] = not_saturating
    generator_rate: float = 1e-3
    discriminator_rate: float = 5e-3
    discriminator_steps: int = 1
    steps: int = 500

    def __call__(self, seed: int) -> AdversarialRun:
        """Make the run of a seed."""
        return AdversarialRun(self, seed)


class Duel(pl.LightningModule):
    """Two networks in one training step, by manual optimization."""

    def __init__(self, recipe: Adversarial) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.recipe = recipe
        self.generator, self.discriminator = perceptron(CODES, 32, 32, 2), perceptron(2, 32, 32, 1)

    def draw(self, count: int) -> Tensor:
        drawn: Tensor = self.generator(torch.randn(count, CODES))
        return drawn

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        of_generator, of_discriminator = self.optimizers()
        true = batch[0]
        for _ in range(self.recipe.discriminator_steps):
            logits = self.discriminator(torch.cat([true, self.draw(len(true)).detach()]))
            right = torch.cat([torch.ones(len(true), 1), torch.zeros(len(true), 1)])
            self._step(of_discriminator, binary_cross_entropy_with_logits(logits, right))
        self._step(of_generator, self.recipe.generator_loss(self.discriminator(self.draw(len(true)))))

    def _step(self, optimizer: Any, loss: Tensor) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        def adam(net: nn.Module, rate: float) -> torch.optim.Optimizer:
            return torch.optim.Adam(net.parameters(), rate, betas=(0.5, 0.999))

        return [
            adam(self.generator, self.recipe.generator_rate),
            adam(self.discriminator, self.recipe.discriminator_rate),
        ]


class AdversarialRun:
    """The run of two networks with a seed."""

    def __init__(self, recipe: Adversarial, seed: int) -> None:
        torch.manual_seed(seed)
        self.module = Duel(recipe)
        chance = torch.Generator().manual_seed(seed)
        self.loader = DataLoader(TensorDataset(circle()), 64, shuffle=True, generator=chance)
        self.validation = None
        # in manual optimization Lightning counts the steps of each optimizer
        self.settings = {"max_steps": recipe.steps * (1 + recipe.discriminator_steps)}

    @torch.no_grad()
    def score(self) -> float:
        """Energy distance of what the generator draws to the circle."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return distance(self.module.draw(POINTS), circle())
