"""Odd modules: fits within fits, steps within backward passes, networks that grow, loaders made anew."""

from __future__ import annotations

from typing import Any

import torch
from integration.models import LoggingRegression, loader, perceptron, quiet_trainer
from integration.odd_runs import Ended, Started, once
from lightning.pytorch import Callback, LightningModule
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.optim import SGD
from torch.utils.data import DataLoader, TensorDataset


class Taught(Callback):
    """Fits a student at the end of each epoch of its teacher."""

    def __init__(self, start: Started, student: LightningModule) -> None:
        self._start, self._student = start, student
        self.trainers: list[Any] = []

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        inner = quiet_trainer(callbacks=self._start.attach())
        inner.fit(self._student, loader(20))
        self.trainers.append(inner)


def nested(start: Started) -> Ended:
    """A fit within a fit."""
    student, teacher = LoggingRegression(perceptron(seed=1)), LoggingRegression()
    taught = Taught(start, student)
    trainer = start.trainer(taught, max_epochs=2)
    trainer.fit(teacher, loader(25))
    return Ended([teacher, student], [trainer, *taught.trainers])


class InBackward(LightningModule):
    """Steps an optimizer of each parameter as soon as its gradient is there."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.net = perceptron()

    def on_train_start(self) -> None:
        owners = dict(zip(self.parameters(), self.optimizers(), strict=True))

        def step(parameter: Any) -> None:
            owners[parameter].step()
            owners[parameter].zero_grad()

        self._hooks = [p.register_post_accumulate_grad_hook(step) for p in self.parameters()]

    def on_train_end(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def training_step(self, batch: Any, batch_idx: int) -> None:
        loss = mse_loss(self.net(batch[0]), batch[1])
        self.manual_backward(loss)
        self.log("loss", loss)

    def configure_optimizers(self) -> Any:
        return [SGD([parameter], lr=0.05) for parameter in self.parameters()]


def in_backward(start: Started) -> Ended:
    """Optimizers that step within the backward pass."""
    return once(start.trainer(), InBackward(), loader(50))


class Growing(LoggingRegression):
    """Begins in configure_model, and has one more layer with each epoch."""

    def __init__(self) -> None:
        super().__init__(nn.Identity())

    def configure_model(self) -> None:
        if isinstance(self.net, nn.Identity):
            self.net = perceptron()

    def on_train_epoch_start(self) -> None:
        if self.current_epoch:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.current_epoch)
                added = nn.Linear(1, 1).double()
            self.net.append(nn.Tanh()).append(added)
            self.optimizers().optimizer.add_param_group({"params": list(added.parameters())})


def growing(start: Started) -> Ended:
    """A network that grows."""
    return once(start.trainer(max_epochs=3), Growing(), loader(25))


class Meta(LoggingRegression):
    """Takes one inner step for each sample, and learns through it."""

    def loss(self, batch: Any) -> Tensor:
        weights = dict(self.net.named_parameters())

        def of_sample(weights: Any, inputs: Tensor, target: Tensor) -> Tensor:
            return mse_loss(torch.func.functional_call(self.net, weights, (inputs[None],)), target[None])

        def after_one(inputs: Tensor, target: Tensor) -> Tensor:
            slopes = torch.func.grad(of_sample)(weights, inputs, target)
            moved = {name: weight - 0.01 * slopes[name] for name, weight in weights.items()}
            return of_sample(moved, inputs, target)

        return torch.func.vmap(after_one)(*batch).mean()


def meta(start: Started) -> Ended:
    """Gradients of each sample by torch.func, and an inner loop."""
    return once(start.trainer(), Meta(), loader(50))


class Hooked(LoggingRegression):
    """Counts its passes by hooks of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("passes", torch.zeros(2))
        self.net[0].register_forward_hook(lambda *_: self.count(0))
        self.net[2].register_full_backward_hook(lambda *_: self.count(1))

    def count(self, place: int) -> None:
        self.passes[place] += 1


def hooked(start: Started) -> Ended:
    """Anomaly detection, a profiler, determinism, hooks of one's own."""
    return once(start.trainer(detect_anomaly=True, deterministic=True, profiler="simple"), Hooked(), loader(50))


class Rebuilt(LoggingRegression):
    """Has larger batches with each epoch, read by a process of their own."""

    def train_dataloader(self) -> Any:
        data = TensorDataset(*next(iter(loader(1, 160))))
        return DataLoader(data, 4 + 4 * self.trainer.current_epoch, shuffle=True, num_workers=1)


def rebuilt(start: Started) -> Ended:
    """Loaders made anew with each epoch."""
    return once(
        start.trainer(max_epochs=3, reload_dataloaders_every_n_epochs=1),
        Rebuilt(),
    )


class Iterated(LoggingRegression):
    """Fetches its batches by itself, and sets the seed in each step."""

    def training_step(self, dataloader_iter: Any) -> Any:
        batch, batch_idx, _ = next(dataloader_iter)
        torch.manual_seed(batch_idx)
        return self.loss([batch[0] + 0.1 * torch.randn_like(batch[0]), batch[1]])


def iterated(start: Started) -> Ended:
    """A step that fetches its batches by itself."""
    return once(start.trainer(), Iterated(), loader(50))


class Seeded(LoggingRegression):
    """Sets the seed in each step."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        torch.manual_seed(batch_idx)
        return super().training_step([batch[0] + 0.1 * torch.randn_like(batch[0]), batch[1]], batch_idx)


def seeded(start: Started) -> Ended:
    """A seed set in each step."""
    return once(start.trainer(), Seeded(), loader(50))
