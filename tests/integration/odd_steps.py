"""Odd ways to write a step and its surroundings."""

from __future__ import annotations

import threading
from typing import Any

import torch
from integration.models import INPUTS, LoggingRegression, loader, momentum_sgd, perceptron
from integration.odd_runs import Ended, Started, once
from lightning.pytorch import Callback, LightningModule
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.optim import SGD


class CutShort(LoggingRegression):
    """Ends each epoch after eleven batches."""

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> Any:
        return -1 if batch_idx == 11 else None


def cut_short(start: Started) -> Ended:
    """Epochs that the module cuts short."""
    return once(start.trainer(max_epochs=5), CutShort(optimizer=momentum_sgd), loader(20))


class Augmented(LoggingRegression):
    """Adds noise to its batches, in place."""

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        batch[0].add_(0.1 * torch.randn_like(batch[0]))
        return batch


def augmented(start: Started) -> Ended:
    """Augmentation after the transfer."""
    return once(start.trainer(), Augmented(), loader(50))


class Keeping(Callback):
    """Keeps what the step gave, with its graph."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.kept.append(outputs["seen"])


class Giving(LoggingRegression):
    """Gives a dictionary."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        seen = self.net(batch[0])
        return {"loss": mse_loss(seen, batch[1]), "seen": seen, "text": "words"}


def giving(start: Started) -> Ended:
    """A step that gives more than its loss."""
    return once(start.trainer(Keeping()), Giving(), loader(50))


class Fading(LoggingRegression):
    """Halves its gradients and never clears them."""

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Any) -> None:
        for parameter in self.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(0.5)


def fading(start: Started) -> Ended:
    """Gradients that fade and are never cleared: momentum by hand."""
    return once(start.trainer(), Fading(), loader(50))


class Straight(torch.autograd.Function):
    """A sign whose gradient goes straight through, once."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        return inputs.sign()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


class Binary(LoggingRegression):
    """Has binary hidden states."""

    def loss(self, batch: Any) -> Tensor:
        return mse_loss(self.net[2](Straight.apply(self.net[0](batch[0]))), batch[1])


def binary(start: Started) -> Ended:
    """A function without a second derivative."""
    return once(start.trainer(), Binary(), loader(50))


class Truncated(LightningModule):
    """Carries its hidden state from batch to batch, and steps twice in each."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.cell, self.head = nn.GRUCell(INPUTS, 6).double(), nn.Linear(6, 1).double()
        self.state: Any = None

    def training_step(self, batch: Any, batch_idx: int) -> None:
        for inputs, targets in zip(batch[0].chunk(2), batch[1].chunk(2), strict=True):
            state = None if self.state is None else self.state.detach()
            state = self.cell(inputs, state)
            loss = mse_loss(self.head(state), targets)
            self.optimizers().zero_grad()
            self.manual_backward(loss)
            self.optimizers().step()
            self.state = state
        self.log("loss", loss)

    def configure_optimizers(self) -> Any:
        return SGD(self.parameters(), lr=0.05)


def truncated(start: Started) -> Ended:
    """Truncated backpropagation through time, by hand."""
    torch.manual_seed(0)
    return once(start.trainer(), Truncated(), loader(40))


class Followed(LoggingRegression):
    """Has a teacher that follows it, moved in the step."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher = perceptron(seed=3).requires_grad_(False)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        with torch.no_grad():
            for slow, fast in zip(self.teacher.parameters(), self.net.parameters(), strict=True):
                slow.lerp_(fast, 0.1)
            told = self.teacher(batch[0])
        return mse_loss(self.net(batch[0]), 0.5 * told + 0.5 * batch[1])


def followed(start: Started) -> Ended:
    """A teacher moved in the step."""
    return once(start.trainer(), Followed(), loader(50))


class Adapting(LoggingRegression):
    """Trains in its validation, with an optimizer of its own."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        with torch.enable_grad():
            self.loss(batch).backward()
        SGD(self.parameters(), lr=0.01).step()
        self.zero_grad()
        self.log("validated", self.loss(batch))


def adapting(start: Started) -> Ended:
    """Validation that trains."""
    trainer = start.trainer(max_epochs=2, inference_mode=False, val_check_interval=0.25)
    return once(trainer, Adapting(), loader(30), loader(3))


class AtOnce(LoggingRegression):
    """Begins to train when the other ones do."""

    def __init__(self, number: int, barrier: threading.Barrier) -> None:
        super().__init__(perceptron(seed=number))
        self._wait = barrier.wait  # a barrier itself has a lock, which nobody can copy

    def on_train_start(self) -> None:
        self._wait(60.0)


def two_threads(start: Started) -> Ended:
    """Two Trainers at once, each in a thread of its own."""
    ended: dict[int, Ended] = {}
    barrier = threading.Barrier(2)
    modules = [AtOnce(number, barrier) for number in (0, 1)]  # before the threads: a seed is for all of them

    def fit(number: int) -> None:
        ended[number] = once(start.trainer(logger=False), modules[number], loader(60))

    threads = [threading.Thread(target=fit, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Ended(modules, [ended[n].trainers[0] for n in (0, 1)])


class ByLayer(LoggingRegression):
    """Trains one layer at a time, as chance has it."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        chosen = int(torch.randint(2, ()))
        self.net[0].requires_grad_(chosen == 0)
        self.net[2].requires_grad_(chosen == 1)
        return super().training_step(batch, batch_idx)


def by_layer(start: Started) -> Ended:
    """Layers that freeze and thaw in each step."""
    return once(start.trainer(), ByLayer(optimizer=momentum_sgd), loader(60))


class Unequal(LightningModule):
    """A critic with a gradient penalty steps five times as often as the generator."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, INPUTS)).double()
        self.critic = nn.Sequential(nn.Linear(INPUTS, 8), nn.Softplus(), nn.Linear(8, 1)).double()

    def training_step(self, batch: Any, batch_idx: int) -> None:
        of_generator, of_critic = self.optimizers()
        real, made = batch[0], self.generator(torch.randn(len(batch[0]), 3, dtype=torch.float64))
        optimizer = of_critic if batch_idx % 5 else of_generator
        self.toggle_optimizer(optimizer)
        if optimizer is of_critic:
            between = (real + made.detach()).div(2).requires_grad_()
            slope = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)[0]
            loss = (self.critic(made.detach()) - self.critic(real)).mean() + (slope.norm(dim=1) - 1).square().mean()
        else:
            loss = -self.critic(made).mean()
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        self.untoggle_optimizer(optimizer)
        self.log("loss", loss)

    def configure_optimizers(self) -> Any:
        return [torch.optim.Adam(half.parameters(), lr=1e-3) for half in (self.generator, self.critic)]


def unequal(start: Started) -> Ended:
    """Two optimizers, one five times as often as the other."""
    return once(start.trainer(), Unequal(), loader(120))
