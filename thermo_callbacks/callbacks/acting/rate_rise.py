"""A short run in which the learning rate rises from step to step, and the energy balance of steps is measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from thermo_callbacks.callbacks.acting.step_meter import StepMeter
from thermo_callbacks.callbacks.arguments import Loss
from thermo_callbacks.callbacks.compat import Callback
from thermo_callbacks.callbacks.windows.step_batches import StepBatches
from thermo_callbacks.probes.guard import Guard

EVERY = 2
"""Steps from one that is measured to the next."""
_WORST = -1.0  # step efficiency of one step below which the run has gone too far to tell more


class RateMeasurement(NamedTuple):
    """The energy balance of one step.

    Attributes:
        learning_rate: Rate of the first parameter group.
        heat: What the step promised to first order, in units of the loss; below zero.
        work: What it did to the loss of its own batch.
        fresh_work: What it did to the loss of the next batch.
    """

    learning_rate: float
    heat: float
    work: float
    fresh_work: float

    @property
    def efficiency(self) -> float:
        """Step efficiency of this step alone."""
        return self.work / self.heat if self.heat else math.nan


class RateRise(Callback):
    """Sets the rate of each step, and ends the run where steps have long been too large.

    Args:
        rates: Rate of the first parameter group in each step; others keep their proportion to it.
        loss_fn: Loss of module and batch, in place of the training step.
    """

    def __init__(self, rates: Sequence[float], loss_fn: Loss | None) -> None:
        super().__init__()
        self._rates, self._loss_fn = rates, loss_fn
        self._guard = Guard("suggest_learning_rate")
        self.measured: list[RateMeasurement] = []
        self.reason: str | None = None
        self._meter: StepMeter | None = None
        self._step = 0
        self._used = math.nan  # rate of the step that was made last

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Take the schedulers off, whose rates are none of those to be tried, and get ready to measure."""
        trainer.strategy.lr_scheduler_configs.clear()
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        first = float(groups[0]["lr"])
        self._shares = [(group, float(group["lr"]) / first if first else 1.0) for group in groups]
        self._batches = StepBatches(trainer, pl_module, None)
        self._meter = StepMeter(trainer, pl_module, self._guard, self._loss_fn, EVERY)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Measure the step before, and set the rate of the one to come."""
        meter = self._meter
        if meter is None:
            return
        record = meter.batch_start(batch, batch_idx)
        self.reason = meter.unable
        if record is not None:
            sums = meter.take()
            if {"efficiency", "transfer"} <= sums.keys():
                own, fresh = sums["efficiency"], sums["transfer"]
                self.measured.append(RateMeasurement(self._used, float(own.heat), float(own.work), float(fresh.work)))
        last = [one.efficiency for one in self.measured[-3:]]
        diverged = record == {} and len(self.measured) > 0
        if self.reason or diverged or (len(last) == 3 and max(last) < _WORST) or self._step >= len(self._rates):
            trainer.should_stop = True
        rate = self._rates[min(self._step, len(self._rates) - 1)]
        for group, share in self._shares:
            if hasattr(group["lr"], "fill_"):
                group["lr"].fill_(rate * share)
            else:
                group["lr"] = rate * share

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        """Count the batches that are accumulated into one step."""
        self._batches.add_backward()

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Copy parameters and gradients of a step that is measured."""
        self._used = self._rates[min(self._step, len(self._rates) - 1)]
        if self._meter is not None:
            self._meter.before_step(optimizer, self._batches)
        self._batches.note_step()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Go on to the next rate."""
        stepped = self._batches.ends_step()
        self._step += stepped
        if self._meter is not None:
            self._meter.batch_end(stepped=stepped)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Leave nothing behind."""
        if self._meter is not None:
            self._meter.close()
            self._meter = None

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Leave nothing behind: after an exception no other hook comes."""
        self.on_train_end(trainer, pl_module)
