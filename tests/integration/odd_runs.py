"""Odd ways to drive a training, each of which leaves the modules and Trainers that it had."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from integration.models import LoggingRegression, RecordingLogger, loader, momentum_sgd, quiet_trainer
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    LearningRateFinder,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

Attach = Callable[[], list[Any]]


class Started(NamedTuple):
    """What a driver is given: monitors to attach (afresh, each time that it asks), where rows go, and a folder."""

    attach: Attach
    logger: RecordingLogger
    folder: Path

    def trainer(self, *callbacks: Any, first: bool = False, **options: Any) -> Trainer:
        """A Trainer with the monitors after the callbacks, or before them."""
        ours = self.attach()
        order = [*ours, *callbacks] if first else [*callbacks, *ours]
        return quiet_trainer(callbacks=order, **{"logger": self.logger, "default_root_dir": self.folder, **options})


class Ended(NamedTuple):
    """What is left of a run."""

    modules: list[LightningModule]
    trainers: list[Trainer]


def once(trainer: Trainer, module: LightningModule, *data: Any, **how: Any) -> Ended:
    """Fit once."""
    trainer.fit(module, *data, **how)
    return Ended([module], [trainer])


class Stream(IterableDataset[Any]):
    """Examples without an end that is known."""

    def __iter__(self) -> Iterator[Any]:
        yield from TensorDataset(*next(iter(loader(1, 400))))


def stream(start: Started) -> Ended:
    """A stream without length, validated in between."""
    trainer = start.trainer(max_steps=60, max_epochs=-1, val_check_interval=7, limit_val_batches=2)
    return once(trainer, LoggingRegression(), DataLoader(Stream(), 4), DataLoader(Stream(), 4))


def thrice(start: Started) -> Ended:
    """One Trainer, three fits, each longer than the one before."""
    module, trainer = LoggingRegression(optimizer=momentum_sgd), start.trainer(max_epochs=1)
    for epochs in (1, 2, 4):
        trainer.fit_loop.max_epochs = epochs
        trainer.fit(module, loader(12))
    return Ended([module], [trainer])


def overfitted(start: Started) -> Ended:
    """A few batches again and again."""
    return once(
        start.trainer(max_epochs=12, overfit_batches=4),
        LoggingRegression(),
        DataLoader(TensorDataset(*next(iter(loader(1, 200)))), 4, shuffle=False),
    )


def developed(start: Started) -> Ended:
    """A check of the code that has as many steps as a run."""
    return once(start.trainer(fast_dev_run=30), LoggingRegression(), loader(40), loader(4))


def scheduled(start: Started) -> Ended:
    """A third of the batches, accumulated by 1, 3, and 2."""
    trainer = start.trainer(GradientAccumulationScheduler({0: 1, 1: 3, 2: 2}), max_epochs=4, limit_train_batches=0.3)
    return once(trainer, LoggingRegression(), loader(100))


class Sized(LoggingRegression):
    """Has the rate and the batch size that finders look for."""

    def __init__(self) -> None:
        super().__init__()
        self.lr, self.batch_size = 0.01, 2

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.lr)

    def train_dataloader(self) -> Any:
        return DataLoader(TensorDataset(*next(iter(loader(1, 400)))), self.batch_size)


def finders(start: Started, *, first: bool = False) -> Ended:
    """Finders of the batch size and of the rate."""
    found = [BatchSizeFinder(max_trials=3, steps_per_trial=2), LearningRateFinder(num_training_steps=20)]
    return once(start.trainer(*found, first=first, max_steps=40), Sized(), val_dataloaders=loader(3))


def averaged(start: Started) -> Ended:
    """Averages of the weights: Lightning's two, one of them swapped in for validation."""
    trainer = start.trainer(
        StochasticWeightAveraging(swa_lrs=0.02, swa_epoch_start=2), EMAWeightAveraging(decay=0.9), max_epochs=4
    )
    return once(trainer, LoggingRegression(), loader(15), loader(2))


def averaged_only(start: Started) -> Ended:
    """The stochastic average alone."""
    trainer = start.trainer(StochasticWeightAveraging(swa_lrs=0.02, swa_epoch_start=2), max_epochs=4)
    return once(trainer, LoggingRegression(), loader(15), loader(2))


def ema_only(start: Started) -> Ended:
    """The fading average alone."""
    trainer = start.trainer(EMAWeightAveraging(decay=0.9), max_epochs=4)
    return once(trainer, LoggingRegression(), loader(15), loader(2))


class Skipping(LoggingRegression):
    """Has no loss now and then."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return None if batch_idx % 7 == 3 else super().training_step(batch, batch_idx)


def without_a_loss(start: Started) -> Ended:
    """No loss now and then, in the midst of an accumulation."""
    return once(start.trainer(accumulate_grad_batches=3), Skipping(optimizer=momentum_sgd), loader(120))


class Clipping(LoggingRegression):
    """Clips each layer by its own norm."""

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None
    ) -> None:
        for parameter in self.parameters():
            nn.utils.clip_grad_norm_(parameter, 0.2)


class Noise(Callback):
    """Adds noise to the gradients."""

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        for parameter in pl_module.parameters():
            parameter.grad += 0.1 * torch.randn_like(parameter.grad)


def clipped(start: Started) -> Ended:
    """Noise and clipping of one's own."""
    return once(start.trainer(Noise()), Clipping(), loader(50))


class EverySecond(LoggingRegression):
    """Steps with every second batch only."""

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        if batch_idx % 2:
            optimizer.step(closure=optimizer_closure)
        else:
            optimizer_closure()

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Any) -> None:
        if not batch_idx % 2:
            optimizer.zero_grad()


def every_second(start: Started) -> Ended:
    """The closure with each batch, the step with every second one."""
    return once(start.trainer(), EverySecond(optimizer=momentum_sgd), loader(80))


def threads(start: Started) -> Ended:
    """A Trainer in a thread of its own."""
    ended: list[Ended] = []
    thread = threading.Thread(target=lambda: ended.append(once(start.trainer(), LoggingRegression(), loader(50))))
    thread.start()
    thread.join()
    return ended[0]


def stages(start: Started) -> Ended:
    """Validation, test and prediction before, between and after two fits, with the monitors twice."""
    module = LoggingRegression()
    trainer = start.trainer(max_epochs=2)
    trainer.validate(module, loader(3), verbose=False)
    trainer.fit(module, loader(20), loader(2))
    trainer.test(module, loader(3), verbose=False)
    trainer.fit_loop.max_epochs = 3
    trainer.fit(module, loader(20), loader(2))
    trainer.predict(module, loader(3))
    return Ended([module], [trainer])


class Raising(Callback):
    """Raises at one step."""

    raised = False

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == 21 and not self.raised:
            self.raised = True
            raise LookupError("a fault of the user's own")


def raised(start: Started) -> Ended:
    """An exception in mid-run, caught, and the fit once more."""
    module, trainer = LoggingRegression(optimizer=momentum_sgd), start.trainer(Raising(), max_epochs=2)
    for _ in range(2):
        try:
            trainer.fit(module, loader(30))
        except LookupError:
            continue
    return Ended([module], [trainer])


def resumed(start: Started) -> Ended:
    """A checkpoint in mid-epoch, with an accumulation that is open, resumed by a new Trainer."""
    kept = start.folder / "kept"
    saver = ModelCheckpoint(kept, every_n_train_steps=13, save_top_k=-1, filename="{step}")
    options = {"accumulate_grad_batches": 2, "max_epochs": 2, "enable_checkpointing": True}
    first = start.trainer(saver, **options, limit_train_batches=37)
    first.fit(LoggingRegression(optimizer=momentum_sgd), loader(37))
    module = LoggingRegression(optimizer=momentum_sgd)
    second = start.trainer(**{**options, "enable_checkpointing": False})
    second.fit(module, loader(37), ckpt_path=kept / "step=13.ckpt")
    return Ended([module], [second])
