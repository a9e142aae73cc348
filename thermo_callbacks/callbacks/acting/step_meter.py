"""Measures the energy balance of one step in some, for callbacks that choose learning rates by it."""

from __future__ import annotations

from typing import Any

from thermo_callbacks.callbacks.arguments import Loss
from thermo_callbacks.callbacks.compat import gradient_scale, logging_step
from thermo_callbacks.callbacks.extra_passes.measured_step import MeasuredStep
from thermo_callbacks.callbacks.extra_passes.schedule import ExtraPassSchedule, ExtraPassSettings
from thermo_callbacks.callbacks.extra_passes.step_balance import StepBalanceCollector
from thermo_callbacks.callbacks.windows.step_batches import StepBatches
from thermo_callbacks.catalog import Scalars
from thermo_callbacks.functional.step_balance import BalanceSums
from thermo_callbacks.probes.bulk import BulkProbe
from thermo_callbacks.probes.guard import Guard, no_trace
from thermo_callbacks.probes.parameters.stated import parameters_of


class StepMeter:
    """Has one step in ``every`` measured, by replays of the training step that leave no trace.

    Args:
        trainer: The Trainer.
        pl_module: The module.
        guard: Of the callback.
        loss_fn: Loss of module and batch, in place of the training step.
        every: Steps from one that is measured to the next.
    """

    def __init__(self, trainer: Any, pl_module: Any, guard: Guard, loss_fn: Loss | None, every: int) -> None:
        self._trainer, self._module = trainer, pl_module
        settings = ExtraPassSettings(
            name=guard.name, seed=0, loss_fn=loss_fn, within_layers=False, activations=(), engines={},
            activation_groups={}, most_activations=None, bulk_probe=BulkProbe(), told=guard.told,
        )  # fmt: skip
        measured = MeasuredStep(trainer)
        measured.replays = settings.replays
        self._collector = StepBalanceCollector(
            trainer, pl_module, settings, layers=self._layers, measured=measured, add_shift=lambda *_: None
        )
        self._schedule = ExtraPassSchedule([self._collector], every=every, first=every, measured=measured)

    def _layers(self) -> dict[str, list[Any]]:
        trained = [p for optimizer in self._trainer.optimizers for p in parameters_of(optimizer) if p.requires_grad]
        return {"all": trained} if trained else {}

    @property
    def unable(self) -> str | None:
        """Why nothing can be measured; None if it can be."""
        return self._collector.guard.reason

    def due(self) -> bool:
        """Whether a measurement begins or ends with the next batch, in all processes."""
        return self._schedule.due(logging_step(self._trainer))

    def wait(self, steps: int) -> None:
        """Measure none of the next steps."""
        self._schedule.postpone(logging_step(self._trainer) + steps)

    def batch_start(self, batch: Any, batch_idx: int) -> Scalars | None:
        """A batch is about to be run: what was measured of the step before; None where it was not to be."""
        record: Scalars | None = None
        if self.due():
            ends = self._schedule.measures_next
            with self._collector.guard.invisible(self._module.device):
                step = logging_step(self._trainer)
                if self._schedule.gives_way(self._trainer, self._collector.guard, step):
                    return None
                record = self._schedule.batch_start(batch, batch_idx, step)
            record = record if ends else None
        with self._collector.guard.protect("keeping a batch"):
            self._schedule.another_batch(batch, batch_idx)
        return record

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
            with self._collector.guard.invisible(self._module.device):
                self._schedule.batch_end(stepped=stepped)

    def take(self) -> dict[str, BalanceSums]:
        """Works and heats since the last time, on the step's own batch and on the next; they begin afresh."""
        sums = {name: BalanceSums(**parts) for name, parts in self._collector.state_dict()["sums"].items()}
        self._collector.load_state_dict({"sums": {}, "heat": {}})
        return sums

    def close(self) -> None:
        """Leave nothing behind."""
        self._schedule.close()

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint: CPU tensors and plain values."""
        return self._schedule.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the checkpoint was written."""
        self._schedule.load_state_dict(state)
