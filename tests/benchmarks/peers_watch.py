"""Hands a run to a tool at the places where a plain training loop would call it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
import torch
from faults import Run
from peers_record import Said
from torch import Tensor, nn
from torch.optim import Optimizer

RANKS = {"critical": 0, "warning": 1, "info": 2}


@contextlib.contextmanager
def modes_kept(module: nn.Module) -> Iterator[None]:
    """Put each module back into its own mode: BatchNorm may be in eval mode by itself."""
    modes = [(each, each.training) for each in module.modules()]
    yield
    for each, training in modes:
        each.training = training


class Watcher(pl.Callback):
    """Calls `before_step` between backward and step, and `after_step` after the step and before gradients are zeroed.

    Attributes:
        loss: Loss of the step at hand, the mean where gradients are accumulated.
        step: Optimizer steps so far.
        batch: Inputs and targets as the network gets them.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.loss, self.step = 0.0, 0
        self.batch: list[Tensor] = []

    def said(self) -> list[Said]:
        """What the tool said, what it puts first in front."""
        raise NotImplementedError

    def before_step(self, module: pl.LightningModule, optimizer: Optimizer) -> None:
        """Gradients are there and not clipped yet."""

    def after_step(self, module: pl.LightningModule, optimizer: Optimizer) -> None:
        """Parameters have moved, gradients are still there."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        def stepped(optimizer: Optimizer, *_: Any) -> None:
            self.step += 1
            self.after_step(pl_module, optimizer)
            self.loss = 0.0

        for optimizer in trainer.optimizers:
            optimizer.register_step_post_hook(stepped)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        change = getattr(pl_module.recipe, "batch", None)
        self.batch = batch if change is None else list(change(*batch, pl_module.over))

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        self.loss += float(loss.detach())  # Lightning has divided it by the number of accumulated batches

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Optimizer) -> None:
        self.before_step(pl_module, optimizer)

    @torch.no_grad()
    def test_loss(self) -> float | None:
        """Loss of the test data, as it is at this step; None for runs that have no test data."""
        data, module = getattr(self.run, "data", None), self.run.module
        if data is None:
            return None
        with modes_kept(module):
            module.eval()
            return float(module.training_step([data.test_inputs, data.test_targets], 0))


def ranked(said: list[Said]) -> list[Said]:
    """The gravest first, in their order where they are equally grave."""
    return sorted(said, key=lambda each: RANKS[each.severity])
