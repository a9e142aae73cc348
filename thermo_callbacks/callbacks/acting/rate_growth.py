"""Growth of the learning rate at the start of a run, while steps are small against the curvature."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from thermo_callbacks.callbacks.agreement import of_first_process
from thermo_callbacks.callbacks.arguments import Loss
from thermo_callbacks.callbacks.compat import gradient_scale, logging_step
from thermo_callbacks.callbacks.extra_passes.measured_step import MeasuredStep
from thermo_callbacks.callbacks.extra_passes.schedule import ExtraPassSchedule, ExtraPassSettings
from thermo_callbacks.callbacks.extra_passes.step_balance import StepBalanceCollector
from thermo_callbacks.callbacks.windows.step_batches import StepBatches
from thermo_callbacks.probes.bulk import BulkProbe
from thermo_callbacks.probes.guard import Guard, no_trace
from thermo_callbacks.probes.parameters.stated import parameters_of

UPPER_LINE = 0.9
"""Step efficiency above which a larger rate does more; 1 - efficiency is proportional to the rate."""
FACTOR = 2.0
"""From one rate to the next."""
MOST = 1000.0
"""Largest growth in all: a network that does not learn at all has an efficiency near 1 at any rate."""
_EVERY = 4  # steps between two measurements
_FEWEST, _MOST_PASSES = 3, 8  # measurements at one rate: for an error, and without a clear answer


class GrowthVerdict(NamedTuple):
    """What follows from the step efficiency at a rate."""

    grows: bool
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
        self._trainer, self._module, self._guard = trainer, pl_module, guard
        settings = ExtraPassSettings(
            name=guard.name, seed=0, loss_fn=loss_fn, within_layers=False, activations=(), engines={},
            activation_groups={}, most_activations=None, bulk_probe=BulkProbe(), told=guard.told,
        )  # fmt: skip
        measured = MeasuredStep(trainer)
        measured.replays = settings.replays
        self._collector = StepBalanceCollector(
            trainer, pl_module, settings, layers=self._layers, measured=measured, add_shift=lambda *_: None
        )
        self._schedule = ExtraPassSchedule([self._collector], every=_EVERY, first=_EVERY, measured=measured)
        self._passes = 0  # measurements at this rate
        self._growth = 1.0

    def _layers(self) -> dict[str, list[Any]]:
        trained = [p for optimizer in self._trainer.optimizers for p in parameters_of(optimizer) if p.requires_grad]
        return {"all": trained} if trained else {}

    def batch_start(self, batch: Any, batch_idx: int) -> GrowthVerdict | None:
        """Measure the step that was made, or get ready for the one that comes; a verdict where there is one."""
        verdict: GrowthVerdict | None = None
        if self._schedule.due(step := logging_step(self._trainer)):
            with self._guard.invisible(self._module.device):
                before = self._schedule.measures_next
                record = self._schedule.batch_start(batch, batch_idx, step)
            if before or self._collector.guard.disabled:
                verdict = self._judge(record)
            verdict = of_first_process(self._trainer, verdict)
            if verdict is not None and verdict.grows:
                self._growth *= FACTOR
                self._passes = 0
                self._collector.load_state_dict({"sums": {}, "heat": {}})  # of another rate
        with self._collector.guard.protect("keeping a batch"):
            self._schedule.another_batch(batch, batch_idx)
        return verdict

    def _judge(self, record: dict[str, float]) -> GrowthVerdict | None:
        if self._collector.guard.disabled:
            return GrowthVerdict(False, "step efficiency can't be measured")
        self._passes += 1
        value = record.get("thermo/step_efficiency", math.nan)
        error = record.get("thermo/step_efficiency_stderr", math.nan)
        lower, upper = value - 2.0 * error, value + 2.0 * error
        told = f"step efficiency {value:.3g} [{lower:.3g}, {upper:.3g}], upper line {UPPER_LINE:g}"
        if self._passes >= _FEWEST and lower > UPPER_LINE:
            if self._growth * FACTOR > MOST:
                return GrowthVerdict(False, f"{self._growth:g} times the first rate are the most that is tried, {told}")
            return GrowthVerdict(True, told)
        if self._passes >= _MOST_PASSES or (self._passes >= _FEWEST and upper < UPPER_LINE):
            return GrowthVerdict(False, told)
        return None

    def before_step(self, optimizer: Any, batches: StepBatches) -> None:
        """An optimizer is about to step; the batches of the step tell the scale of its gradients."""
        if self._schedule.measuring:
            with no_trace(self._module.device.type):
                self._schedule.before_step(
                    optimizer, lambda: batches.mean_scale * gradient_scale(self._trainer, optimizer)
                )

    def batch_end(self, *, stepped: bool) -> None:
        """A batch was run."""
        if self._schedule.measuring:
            with self._guard.invisible(self._module.device):
                self._schedule.batch_end(stepped=stepped)

    def end(self) -> dict[str, Any]:
        """Measure no more; the state says so."""
        self._schedule.close()
        return {"ended": True}

    def close(self) -> dict[str, Any]:
        """Leave nothing behind; the state to go on from."""
        state = self.state_dict()
        self._schedule.close()
        return state

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint: CPU tensors and plain values."""
        return {"passes": self._passes, "growth": self._growth, "schedule": self._schedule.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the checkpoint was written; an empty state is a fresh start."""
        if state:
            self._passes, self._growth = int(state["passes"]), float(state["growth"])
            self._schedule.load_state_dict(state["schedule"])
