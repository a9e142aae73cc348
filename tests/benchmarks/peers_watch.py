"""Hands a run to a tool at the places where a plain training loop would call it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
import torch
from faults import Run
from peers_record import Said, without_figures
from torch import Tensor, nn
from torch.optim import Optimizer

RANKS = {"critical": 0, "warning": 1, "info": 2}


@contextlib.contextmanager
def modes_kept(module: nn.Module) -> Iterator[None]:
    """Put each module back into its own mode: BatchNorm may be in eval mode by itself."""
    modes = [(each, each.training) for each in module.modules()]
    try:
        yield
    finally:
        for each, training in modes:
            each.training = training


class Watcher(pl.Callback):
    """Calls `before_step` between backward and step, and `after_step` after the step and before gradients are zeroed.

    Attributes:
        loss: Loss of the step at hand, or of the last one; the mean where gradients are accumulated.
        step: Optimizer steps so far, of all optimizers.
        batch: Inputs and targets as the network gets them.
        found: What was said while the run went on, of tools that say it then, in the order in which it was said first.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.loss, self.step = 0.0, 0
        self.stepped = True
        self.found: dict[tuple[str, str], Said] = {}
        self.batch: list[Tensor] = []

    def said(self) -> list[Said]:
        """What the tool said, what it puts first in front."""
        raise NotImplementedError

    def take(self, sentence: str, layer: str = "", severity: str = "warning") -> None:
        """Keep a sentence, without the layer and figures in it, or count it once more."""
        words = without_figures(sentence.replace(layer, ""))
        first = self.found.get((words, layer))
        step, times = (self.step, 1) if first is None else (first.step, first.times + 1)
        self.found[words, layer] = Said(words, severity, (layer,) if layer else (), step, times)

    def before_step(self, module: pl.LightningModule, optimizer: Optimizer) -> None:
        """Gradients are there and not clipped yet."""

    def after_step(self, module: pl.LightningModule, optimizer: Optimizer) -> None:
        """Parameters have moved, gradients are still there."""

    def after_batch(self, module: pl.LightningModule) -> None:
        """Each optimizer has made its steps with a batch, gradients are still there."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        def step_made(optimizer: Optimizer, *_: Any) -> None:
            self.step += 1
            self.stepped = True
            self.after_step(pl_module, optimizer)

        for optimizer in trainer.optimizers:
            optimizer.register_step_post_hook(step_made)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        change = getattr(pl_module.recipe, "batch", None)
        self.batch = batch if change is None else list(change(*batch, pl_module.over))

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        part = float(loss.detach())  # Lightning has divided it by the number of accumulated batches
        self.loss = part if self.stepped else self.loss + part
        self.stepped = False

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.stepped:
            self.after_batch(pl_module)

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


def part_of(module: pl.LightningModule, optimizer: Optimizer) -> tuple[str, nn.Module]:
    """Prefix of names, and the network that an optimizer trains: one of several, or the whole module."""
    if not isinstance(module.optimizers(), list):
        return "", module
    own = optimizer.param_groups[0]["params"][0]
    return next((f"{name}.", net) for name, net in module.named_children() if any(p is own for p in net.parameters()))


def ranked(said: list[Said]) -> list[Said]:
    """The gravest first, in their order where they are equally grave."""
    return sorted(said, key=lambda each: RANKS[each.severity])
