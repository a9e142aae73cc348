"""Runs of which it is known whether they are stationary, small enough for a Trainer in a test."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from integration.models import quiet_trainer
from lightning.pytorch import Callback, LightningModule
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW

SIZE, BATCHES = 20, 100
QUICK = {"level": 0.1, "loss_tolerance": 1.0}
"""Criteria whose first look comes after 150 to 200 steps."""
STEADY = {**QUICK, "cooldown": 0.0}
"""The same for a scheduler that lowers no rate for any other reason."""
TWO_PROCESSES: dict[str, Any] = {"strategy": "ddp", "devices": 2, "use_distributed_sampler": False}
OPTIMIZERS: dict[str, Any] = {
    "sgd": partial(SGD, lr=0.05),
    "momentum": partial(SGD, lr=0.02, momentum=0.5),
    "adam": partial(Adam, lr=0.02, betas=(0.5, 0.99)),
    "adamw": partial(AdamW, lr=0.02, betas=(0.5, 0.99), weight_decay=0.1),
}


class Noisy(LightningModule):
    """A quadratic in a batch's own noise: with curvature it comes to equilibrium, with a slope it never does."""

    def __init__(self, optimizer: Any, *, curvature: float = 1.0, slope: float = 0.0) -> None:
        super().__init__()
        self.q = nn.Parameter(torch.ones(SIZE, dtype=torch.float64))
        self.stiffness = curvature * torch.logspace(0.0, 1.0, SIZE, dtype=torch.float64)
        self.slope, self.make = slope, optimizer

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        away = self.q - 1.0
        return (0.5 * self.stiffness * away.square() + (batch[:-1] + self.slope) * away).sum() + batch[-1]

    def configure_optimizers(self) -> Any:
        return self.make(self.parameters())


class Batches:
    """Noise, the same in each epoch of a number and of a seed; goes on where a checkpoint was written."""

    def __init__(self, seed: int = 0, count: int = BATCHES) -> None:
        self.seed, self.count, self.position, self.batch_size = seed, count, 0, 1

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Tensor]:
        while self.position % self.count or not self.position or self.position == self._started:
            number, self.position = self.position, self.position + 1
            generator = torch.Generator().manual_seed(100_000 * self.seed + number)
            yield torch.randn(SIZE + 1, generator=generator, dtype=torch.float64)
        self._started = self.position

    _started = 0

    def state_dict(self) -> dict[str, int]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.position = self._started = state["position"]


def train(module: LightningModule, callbacks: Iterable[Any], steps: int, *, seed: int = 0, **options: Any) -> Any:
    """Train for some steps, and give back the Trainer."""
    checkpoint = options.pop("ckpt_path", None)
    trainer = quiet_trainer(callbacks=list(callbacks), max_steps=steps, max_epochs=-1, **options)
    trainer.fit(module, Batches(seed), ckpt_path=checkpoint)
    return trainer


class Rates(Callback):
    """Remembers the rate of each step."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.rates.append(float(optimizer.param_groups[0]["lr"]))


class SaveAt(Callback):
    def __init__(self, step: int, path: Any) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def rate(trainer: Any) -> float:
    return float(trainer.optimizers[0].param_groups[0]["lr"])


@contextmanager
def decisions() -> Iterator[list[str]]:
    """Lines that are logged in a block."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno == logging.INFO:
                lines.append(record.getMessage())

    logger, handler = logging.getLogger("thermo_callbacks"), Keep()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
