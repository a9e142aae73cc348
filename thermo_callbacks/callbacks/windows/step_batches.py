"""The batches that make up one optimizer step: how many there were, their losses, and their samples."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from thermo_callbacks.callbacks.compat import loader_batch_size, loss_scale, samples_in


class StepBatches:
    """Counts the batches of the step under way; ``batch_size`` is their size where the user has given it."""

    def __init__(self, trainer: Any, pl_module: Any, batch_size: int | None) -> None:
        self._trainer, self._module = trainer, pl_module
        self._given, self._declared = batch_size, loader_batch_size(trainer)
        self.processes = float(trainer.world_size)  # whose samples make up a step
        self.announced = False  # a step was about to happen in this batch, read or not, done or skipped
        self._backward = 0  # passes so far
        self._half = 0  # batches that the half gradient of the step is made of; 0 if none was read
        self._losses: list[Tensor] = []
        self._samples: list[int | None] = []

    @property
    def _planned(self) -> int:
        """Batches of a step; by hand, nobody plans."""
        return int(self._trainer.accumulate_grad_batches) if self._module.automatic_optimization else 1

    @property
    def batch_size(self) -> float:
        """Samples in a step as the loader tells them; NaN where it does not."""
        return float(
            self.processes * (self._given or self._declared or math.nan) * self._trainer.accumulate_grad_batches
        )

    def add_backward(self) -> bool:
        """A backward pass has ended: whether the gradients are now those of the first half of a step."""
        self._backward += 1
        if self._backward != self._planned // 2:
            return False
        # of several processes DDP averages the last gradient alone, and what stands there before is each one's own
        return self.processes == 1.0 or isinstance(self._trainer.strategy.model, DistributedDataParallel)

    @property
    def half_scale(self) -> float:
        """Factor that makes the gradients of the first half those of their mean loss."""
        # not yet unscaled, whatever the optimizer
        return float(self._planned / self._backward / loss_scale(self._trainer))

    @property
    def untouched(self) -> bool:
        """Whether there was no backward pass so far."""
        return self._backward == 0

    def note_half(self) -> None:
        """The gradients of the first half were read."""
        self._half = self._backward

    @property
    def half(self) -> float:
        """Share of the step that the gradients read before make up; 0 if none were."""
        # an epoch may end before the second half; of several processes each has read a half of its own batches
        return self._half / self._backward / self.processes if self._half < self._backward else 0.0

    @property
    def mean_scale(self) -> float:
        """Factor to the gradient of the mean loss: Lightning divides by all batches also where an epoch ends early."""
        planned = self._planned
        return 1.0 if planned == 1 or not self._backward else float(planned) / self._backward

    def note_step(self) -> None:
        """All have read what they need before the step: the batch under way ends in one, read or not."""
        self.announced = True
        self._backward = self._half = 0  # here and not after the step, which the gradient scaler may skip

    def ends_step(self) -> bool:
        """The batch has ended: whether a step was announced in it."""
        announced, self.announced = self.announced, False
        return announced

    def keep(self, outputs: Any, batch: Any) -> None:
        """Keep the loss of a batch and its size."""
        self._samples.append(self._given or samples_in(batch, self._declared))
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor) and loss.numel() == 1:
            # Lightning hands out the loss divided by the number of accumulated batches
            loss = loss.detach().reshape(())
            self._losses.append(loss if self._planned == 1 else loss * self._planned)

    @property
    def samples(self) -> float:
        """Samples in the batches that were kept, of all processes; NaN if unknown."""
        return self.processes * sum(count or math.nan for count in self._samples)

    @property
    def loss(self) -> Tensor | None:
        """Mean loss of the batches that were kept; None where none is known."""
        if not self._losses:
            return None
        return self._losses[0] if len(self._losses) == 1 else torch.stack(self._losses).mean()

    def clear(self) -> None:
        """Begin with the next step; batches of one that was skipped are no part of it."""
        self._losses.clear()
        self._samples.clear()
