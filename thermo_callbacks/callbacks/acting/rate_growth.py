"""Growth of the learning rate at the start of a run, while steps are small against the curvature; or its fall."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from thermo_callbacks.callbacks.acting.step_meter import StepMeter
from thermo_callbacks.callbacks.agreement import of_first_process
from thermo_callbacks.callbacks.arguments import Loss
from thermo_callbacks.callbacks.windows.step_batches import StepBatches
from thermo_callbacks.probes.guard import Guard
from thermo_callbacks.probes.parameters.optimizers import largest_momentum

UPPER_LINE = 0.9
"""Step efficiency above which a larger rate does more; 1 - efficiency is proportional to the rate."""
START = 0.1
"""Of the rate that was given, at first: a network may not get over first steps that are too long."""
FIRST_LINE = 0.8
"""Step efficiency below which the first rate is halved: what a rate of efficiency 0.9 has when it is doubled."""
LINE_SEARCH_LINE = 0.5
"""Step efficiency below which a rate that it has grown to is halved: steps are longer than a line search's.

The line is not that of a first rate, as efficiency dips for some hundred steps while a network learns its first things.
"""
TARGET = 0.75
"""Step efficiency to end at: steps half as long as a line search's."""
FACTOR = 2.0
"""From one rate to the next, and most that the last one is corrected by."""
MOST = 1000.0
"""Largest growth or fall in all: a network that does not learn at all has an efficiency near 1 at any rate."""
_EVERY = 4  # steps between two measurements
_FEWEST, _MOST_PASSES = 3, 8  # measurements at one rate: for an error, and without a clear answer
_MEMORIES = 2.0  # of the momentum, before a new rate is measured: displacements are those of the old one until then
_LARGEST_MOMENTUM = 0.99  # that is waited for in full


class GrowthVerdict(NamedTuple):
    """What follows from the step efficiency at a rate: what it is multiplied with, and whether growth ends."""

    factor: float
    last: bool
    reason: str


class RateGrowth:
    """Measures the efficiency of steps at one rate after the other, by replays of the training step.

    Args:
        trainer: The Trainer.
        pl_module: The module.
        guard: Of the callback.
        loss_fn: Loss of module and batch, in place of the training step.
    """

    def __init__(self, trainer: Any, pl_module: Any, guard: Guard, loss_fn: Loss | None) -> None:
        self._trainer = trainer
        self._meter = StepMeter(trainer, pl_module, guard, loss_fn, _EVERY)
        momentum = max(map(largest_momentum, trainer.optimizers), default=0.0)
        self._settling = math.ceil(_MEMORIES / (1.0 - min(_LARGEST_MOMENTUM, momentum)))
        self._meter.wait(self._settling)
        self._passes = 0  # measurements at this rate
        self._growth = START  # the rate over the one that was given
        self._falls = False  # it has fallen once, and grows no more: not to and fro between two rates

    def batch_start(self, batch: Any, batch_idx: int) -> GrowthVerdict | None:
        """Measure the step that was made, or get ready for the one that comes; a verdict where there is one."""
        verdict: GrowthVerdict | None = None
        due = self._meter.due()
        record = self._meter.batch_start(batch, batch_idx)
        if not due:
            return None
        if record is not None or self._meter.unable:
            verdict = self._judge(record or {})
        common: GrowthVerdict | None = of_first_process(self._trainer, verdict)
        if common is not None and not common.last:
            self._growth *= common.factor
            self._falls, self._passes = common.factor < 1.0, 0
            self._meter.take()  # of another rate
            self._meter.wait(self._settling)
        return common

    def _judge(self, record: dict[str, float]) -> GrowthVerdict | None:
        self._passes += 1
        last = self._passes >= _MOST_PASSES
        value = record.get("thermo/step_efficiency", math.nan)
        error = record.get("thermo/step_efficiency_stderr", math.nan)
        if self._meter.unable or (last and not math.isfinite(value)):
            return GrowthVerdict(1.0 / self._growth, True, "step efficiency can't be measured")
        lower, upper = value - 2.0 * error, value + 2.0 * error
        low = FIRST_LINE if self._growth <= START else LINE_SEARCH_LINE
        told = f"step efficiency {value:.3g} [{lower:.3g}, {upper:.3g}], lines {low:g} and {UPPER_LINE:g}"
        if self._passes < _FEWEST:
            return None
        if upper < low or (last and value < low):
            return self._within_reach(1.0 / FACTOR, told)
        if lower > UPPER_LINE and not self._falls:
            return self._within_reach(FACTOR, told)
        between = lower > low and (upper < UPPER_LINE or self._falls)
        return GrowthVerdict(_correction(value), True, told) if last or between else None

    def _within_reach(self, factor: float, told: str) -> GrowthVerdict:
        """The next rate, if it is not too far from the first one."""
        if not 1.0 / MOST <= self._growth * factor <= MOST:
            return GrowthVerdict(1.0, True, f"{self._growth:g} times your rate is the last that is tried, {told}")
        return GrowthVerdict(factor, False, told)

    def before_step(self, optimizer: Any, batches: StepBatches) -> None:
        """An optimizer is about to step; the batches of the step tell the scale of its gradients."""
        self._meter.before_step(optimizer, batches)

    def batch_end(self, *, stepped: bool) -> None:
        """A batch was run."""
        self._meter.batch_end(stepped=stepped)

    def end(self) -> dict[str, Any]:
        """Measure no more; the state says so."""
        self._meter.close()
        return {"ended": True}

    def close(self) -> dict[str, Any]:
        """Leave nothing behind; the state to go on from."""
        state = self.state_dict()
        self._meter.close()
        return state

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint: CPU tensors and plain values."""
        return {
            "passes": self._passes, "growth": self._growth, "falls": self._falls, "meter": self._meter.state_dict()
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the checkpoint was written; an empty state is a fresh start."""
        if state:
            self._passes, self._growth = int(state["passes"]), float(state["growth"])
            self._falls = bool(state.get("falls", False))  # checkpoints from before it could fall have none
            self._meter.load_state_dict(state["meter"])


def _correction(efficiency: float) -> float:
    """What a rate is multiplied with to have the target's efficiency: 1 - efficiency is proportional to the rate."""
    missing = max(1.0 - efficiency, (1.0 - TARGET) / FACTOR)
    return max((1.0 - TARGET) / missing, 1.0 / FACTOR)
